//! What the gateway writes to, and who does not read it: nothing of that holds up what serves, and nothing gets lost unsaid.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::Value;

use crate::harness::{Process, Server, Setup, eventually, wire};

/// Writes until nothing more is taken.
fn fill(stream: &mut impl Write) {
    while stream.write(&[b'x'; 512]).is_ok() {}
}

/// A stream that takes nothing, and its other end.
fn full() -> (Stdio, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    fill(&mut writer);
    writer.set_nonblocking(false).unwrap();
    (std::os::fd::OwnedFd::from(writer).into(), reader)
}

/// Where it listens, from the audit log in its folder.
fn logged(setup: &Setup) -> impl FnOnce(&mut std::process::Child) -> std::net::SocketAddr + use<> {
    let path = setup.path("audit.jsonl");
    move |_| {
        eventually("the first line", || {
            let text = fs::read_to_string(&path).ok()?;
            let line: Value = serde_json::from_str(text.lines().next()?).ok()?;
            line["listen"][0].as_str()?.parse().ok()
        })
    }
}

#[test]
fn streams_that_are_not_read_hold_up_no_login_and_no_forward() {
    let target = Server::named("hello");
    let setup = Setup::allowing();
    let ((out, _out), (errors, mut unread)) = (full(), full());
    let address = logged(&setup);
    let mut gateway = setup.start_program_to(out, errors, address);
    for _ in 0..2 {
        // Each leaves lines in the log.
        let stranger = gateway.ssh().to("mallory@127.0.0.1").args(["-W", "db:1"]).run(b"");
        assert!(stranger.errors.contains("Permission denied"), "{stranger:?}");
    }
    assert_eq!(gateway.through(&target.address()).stdout, "hello");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let last = gateway.audit().pop().unwrap();
    assert_eq!(last["event"], "gateway-stopped");
    unread.set_nonblocking(true).unwrap();
    assert!(unread.read(&mut [0; 1]).is_ok());
}

/// The audit log of a program on its standard output, which is a pipe that does not block.
fn on_stdout(setup: Setup) -> (Process, impl FnOnce() -> Vec<Value>) {
    let (reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut lines = BufReader::new(reader);
    let mut first = String::new();
    let process = setup.start_program_to(std::os::fd::OwnedFd::from(writer).into(), Stdio::null(), |_| {
        lines.read_line(&mut first).unwrap();
        let line: Value = serde_json::from_str(&first).unwrap();
        line["listen"][0].as_str().unwrap().parse().unwrap()
    });
    let rest = thread::spawn(move || {
        let mut all = vec![first];
        // Slower than it is written.
        all.extend(lines.lines().map(|line| {
            thread::yield_now();
            line.unwrap()
        }));
        all.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    });
    (process, || rest.join().unwrap())
}

#[test]
fn an_audit_log_on_standard_output_has_each_line_once_and_nothing_else() {
    let target = Server::named("x");
    let (mut gateway, lines) = on_stdout(Setup::allowing().audit_file("-"));
    let proxy = gateway.dynamic();
    for _ in 0..100 {
        let mut stream = proxy.socks5("127.0.0.1", target.port).expect("a forward");
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
    }
    drop(proxy);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let lines = lines();
    for event in ["forward-decided", "tunnel-opened", "tunnel-closed"] {
        let mut found: Vec<_> = lines
            .iter()
            .filter(|line| line["event"] == event)
            .map(|line| line["forward"].as_str().unwrap())
            .collect();
        assert_eq!(found.len(), 100, "{event}");
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 100, "{event}");
    }
    assert_eq!(lines.last().unwrap()["event"], "gateway-stopped");
}

#[test]
fn an_audit_log_that_takes_nothing_refuses_and_does_not_keep_the_gateway_from_its_end() {
    let setup = Setup::allowing().audit_file("pipe");
    let path = setup.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut both = OpenOptions::new();
    both.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut pipe = both.open(&path).unwrap();
    fill(&mut pipe);
    let mut gateway = setup.start_program_to(Stdio::piped(), Stdio::null(), |child| {
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
    });
    let answer = gateway.through("127.0.0.1:1");
    assert!(answer.errors.contains("cannot write its audit log"), "{answer:?}");
    // Whether what is lost is given up first or the second signal comes first.
    assert!(matches!(gateway.ended_by("TERM"), Some(0 | 1)));
}

/// What the shell's `ulimit -f` does, to a gateway that runs.
fn limit_files(gateway: &Process, bytes: u64) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let limit = Rlimit {
        current: Some(bytes),
        maximum: None,
    };
    let process = Pid::from_raw(gateway.id() as i32);
    prlimit(process, Resource::Fsize, limit).unwrap();
}

#[test]
fn a_log_that_reaches_the_limit_on_file_size_refuses_and_does_not_end_the_gateway() {
    let setup = Setup::allowing();
    let path = setup.path("audit.jsonl");
    fs::write(&path, "").unwrap();
    let mut gateway = setup.start_program();
    let target = Server::named("x");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    let limit = fs::metadata(&path).unwrap().len() + 100;
    limit_files(&gateway, limit);
    let answer = eventually("a refusal", || {
        let answer = gateway.through(&target.address());
        (answer.stdout != "x").then_some(answer)
    });
    assert!(answer.errors.contains("cannot write its audit log"), "{answer:?}");
    // No line is torn.
    assert!(fs::metadata(&path).unwrap().len() <= limit);
    assert!(fs::read_to_string(&path).unwrap().ends_with('\n'));
    // Rotated, it goes on.
    fs::rename(&path, gateway.path("old")).unwrap();
    limit_files(&gateway, 1 << 20);
    gateway.signal("HUP");
    eventually("a forward", || {
        (gateway.through(&target.address()).stdout == "x").then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn no_signal_that_can_be_caught_ends_the_gateway_without_its_last_line() {
    let target = Server::named("x");
    #[rustfmt::skip]
    let ignored = ["USR1", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XCPU", "XFSZ", "34", "64"];
    for last in ["TERM", "INT", "QUIT"] {
        let mut gateway = Setup::allowing().start_program();
        for signal in ignored.iter().chain([&last]) {
            gateway.signal(signal);
        }
        assert_eq!(gateway.ended(), Some(0), "{last}");
        assert_eq!(gateway.audit().pop().unwrap()["event"], "gateway-stopped", "{last}");
    }
    let mut gateway = Setup::allowing().start_program();
    gateway.signal("USR1");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
}

fn refuses(gateway: &Process, user: &str) {
    use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let key = load_secret_key(gateway.path("id"), None).unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let mut client = wire::connect(gateway).await;
        let answer = client.authenticate_publickey(user, key).await.unwrap();
        assert!(!answer.success());
    });
}

#[test]
fn a_user_name_forges_no_line_of_any_log() {
    let setup = Setup::allowing().tables("[auth]\nauthorized-keys = [\"keys/%u\", \"%h/.ssh/authorized_keys\"]");
    let path = setup.path("errors");
    let errors = fs::File::create(&path).unwrap();
    let address = logged(&setup);
    let mut gateway = setup.start_program_to(Stdio::null(), errors.into(), address);
    let forged = "2026-01-01T00:00:00.000000Z ERROR portreeve forged";
    let names = [
        format!("x\n{forged}\n"),
        format!("{}\n{forged}\n\u{1b}[2J\u{1b}]52,c,aGk=\u{7}", "x".repeat(300)),
        format!("{}\r{forged}\u{2028}\u{202e}\u{9b}2J\u{e0041}\u{200b}", "é".repeat(200)),
        "x".repeat(250),
        "x".repeat(100_000),
    ];
    for name in &names {
        refuses(&gateway, name);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let said = fs::read_to_string(&path).unwrap();
    let log = fs::read_to_string(gateway.path("audit.jsonl")).unwrap();
    let unseen = |text: &str| {
        text.chars()
            .find(|character| *character != '\n' && portreeve::request::is_unseen(*character))
    };
    assert_eq!((unseen(&said), unseen(&log)), (None, None), "{said}\n{log}");
    assert!(
        !said
            .lines()
            .any(|line| line.starts_with("2026-01-01") || line.len() > 8192),
        "{said}"
    );
    let failed = gateway.events("auth-failed");
    assert!(failed.len() >= names.len(), "{failed:?}");
    for line in failed {
        let user = line["user"].as_str().unwrap();
        assert!(
            unseen(user).is_none() && user.len() < 600 && !user.contains('\n'),
            "{line}"
        );
    }
}
