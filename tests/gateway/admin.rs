//! The control socket and the monitoring listener of a running gateway, with the program's own client and with raw requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::guests::{Guest, denies};
use crate::harness::{Reached, Running, Server, Setup, eventually, ping};
use crate::terms::target;

/// A gateway whose control socket is in its folder, and which monitoring can reach.
fn administered() -> Running {
    Setup::allowing()
        .tables("[admin]\nsocket = \"admin.sock\"\nhttp = \"127.0.0.1:0\"\n")
        .start()
}

pub struct Told {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `portreeve ctl`, in a process of its own, as an administrator types it.
pub fn ctl(gateway: &Reached, arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.arg("ctl").arg("--socket").arg(gateway.path("admin.sock"));
    let output = command.args(arguments).output().unwrap();
    Told {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn asked(gateway: &Reached, arguments: &[&str]) -> Value {
    let told = ctl(gateway, &[&["--json"], arguments].concat());
    assert_eq!(told.code, 0, "{} {}", told.out, told.err);
    serde_json::from_str(&told.out).unwrap()
}

/// The status line and the body of an answer.
pub fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    split(stream)
}

/// The status line of an answer of the control socket, to a process of its own: the gateway's is not admitted.
fn post(gateway: &Running, path: &str, body: &str) -> String {
    let script = "import http.client, socket, sys\n\
        ask = http.client.HTTPConnection('x')\n\
        ask.sock = socket.socket(socket.AF_UNIX)\n\
        ask.sock.connect(sys.argv[1])\n\
        ask.request('POST', sys.argv[2], sys.argv[3], {'Content-Type': 'application/json'})\n\
        answer = ask.getresponse()\n\
        print(answer.status, answer.reason, end='')";
    let socket = gateway.path("admin.sock");
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(socket)
        .args([path, body])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn split(mut stream: impl Read) -> (String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn administrators_see_what_is_open_and_close_it_without_touching_the_rest() {
    let gateway = administered();
    let (one, _one) = target(|stream: TcpStream| stream);
    let (other, _other) = target(|stream: TcpStream| stream);
    let [first, second] = [one, other].map(|port| gateway.local(&format!("127.0.0.1:{port}")));
    let mut near = first.connect();
    let mut kept = second.connect();
    eventually("both tunnels", || {
        (asked(&gateway, &["status"])["tunnels"] == 2).then_some(())
    });

    let status = asked(&gateway, &["status"]);
    assert_eq!(
        (&status["sessions"], &status["listeners"], &status["draining"]),
        (&2.into(), &0.into(), &false.into())
    );
    assert_eq!(status["policies"][0]["plugin"], "test");
    assert_eq!(status["audit"]["writable"], true);
    let wanted = format!("127.0.0.1:{one}");
    let tunnels = asked(&gateway, &["tunnels", "--target", &wanted]);
    assert_eq!(tunnels.as_array().unwrap().len(), 1, "{tunnels}");
    assert_eq!(
        (&tunnels[0]["user"], &tunnels[0]["requested"]),
        (&"alice".into(), &wanted.clone().into())
    );
    assert!(ctl(&gateway, &["tunnels"]).out.contains(&wanted));

    // A dry run closes nothing, and without a reason nothing is closed.
    let would = asked(&gateway, &["close", "--target", &wanted, "--dry-run"]);
    assert_eq!(would["closed"], Value::from(vec![tunnels[0]["forward"].clone()]));
    assert_eq!(ctl(&gateway, &["close", "--target", &wanted]).code, 2);
    assert_eq!(ctl(&gateway, &["close", "--reason", "all of it"]).code, 1);
    assert_eq!(asked(&gateway, &["status"])["tunnels"], 2);

    let closed = asked(&gateway, &["close", "--target", &wanted, "--reason", "incident 7"]);
    assert_eq!(closed, would);
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
    let line = gateway.event("tunnel-closed");
    assert_eq!(
        (&line["cause"], &line["forward"]),
        (&"killed".into(), &closed["closed"][0])
    );
    let line = gateway.event("admin-action");
    assert_eq!(
        (&line["action"], &line["reason"]),
        (&"close".into(), &"incident 7".into())
    );
    assert!(line["uid"].is_u64() && line["admin"].is_string(), "{line}");
    kept.write_all(b"still here").unwrap();
    assert_eq!(
        asked(&gateway, &["tunnels", "--user", "alice"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_reload_and_a_drain_can_be_asked_for() {
    let gateway = administered();
    assert_eq!(ctl(&gateway, &["reload"]).code, 0);
    assert_eq!(gateway.event("config-reloaded")["ok"], true);
    std::fs::write(gateway.path("portreeve.toml"), "[server]\nlisten = 3\n").unwrap();
    let told = ctl(&gateway, &["reload"]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("portreeve.toml:2:10"), "{}", told.err);

    // What is not known is no reload.
    for (path, body) in [
        ("/v1/reload?dry_run=1", ""),
        ("/v1/reload", "{\"dry\":true}"),
        ("/v1/reload", "{\"dry_run\":1}"),
    ] {
        assert_eq!(post(&gateway, path, body), "422 Unprocessable Entity", "{path} {body}");
    }

    assert_eq!(ctl(&gateway, &["drain", "--timeout", "1s"]).code, 0);
    gateway.block_on(gateway.asked_to_drain());
    let actions: Vec<_> = gateway.events("admin-action");
    assert_eq!(actions.len(), 3, "{actions:?}");
}

#[test]
fn a_dry_run_of_a_reload_says_what_would_change_and_changes_nothing() {
    let gateway = administered();
    let file = gateway.path("portreeve.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let write = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        std::fs::write(&file, config.replace(from, to) + "[forwarding]\nremote = false\n").unwrap();
    };
    write("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.2:0\"]");
    let told = ctl(&gateway, &["reload", "--dry-run"]);
    assert_eq!(
        (told.code, told.out.as_str()),
        (
            0,
            "would apply: forwarding.remote\nwould need a restart: server.listen\n"
        )
    );
    let lists = asked(&gateway, &["reload", "--dry-run"]);
    write("component = \"policy.wasm\"", "component = \"nowhere.wasm\"");
    let told = ctl(&gateway, &["reload", "--dry-run"]);
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(
        told.err.contains("nowhere.wasm") && told.err.contains("forwarding.remote"),
        "{}",
        told.err
    );
    std::fs::write(&file, config.replace("[server]", "[server]\ncolour = 1")).unwrap();
    let told = ctl(&gateway, &["reload", "--dry-run"]);
    assert!(told.code == 1 && told.err.contains("colour"), "{}", told.err);
    // None of these has left a trace, and remote forwards are still permitted.
    let done = ["admin-action", "config-reloaded", "policy-rejected"].map(|event| gateway.events(event).len());
    assert_eq!(done, [0, 0, 0]);
    let target = Server::echo();
    drop(gateway.remote(&format!("0:127.0.0.1:{}", target.port)));
    write("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.2:0\"]");
    assert_eq!(asked(&gateway, &["reload"]), lists);
}

#[test]
fn a_gateway_says_whether_it_is_ready() {
    let gateway = administered();
    let address = gateway.monitored().unwrap();
    assert_eq!(
        get(address, "/healthz"),
        ("HTTP/1.1 200 OK".to_owned(), "alive\n".to_owned())
    );
    let ready = ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned());
    // It is once it accepts connections.
    eventually("readiness", || (get(address, "/readyz") == ready).then_some(()));
    // What steers is not served here.
    assert_eq!(get(address, "/v1/status").0, "HTTP/1.1 404 Not Found");
    let answer = gateway.through(&address.to_string());
    assert!(
        answer.errors.contains("administratively prohibited"),
        "{}",
        answer.errors
    );
}

#[test]
fn the_gateway_does_not_lead_its_users_to_its_control_socket() {
    let gateway = administered();
    let path: PathBuf = gateway.path("admin.sock");
    let local = gateway.local(path.to_str().unwrap());
    let mut stream = local.connect();
    let _ = write!(
        stream,
        "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(!text.contains("version"), "{text}");
}

#[test]
fn wrong_requests_are_answered_with_a_sentence() {
    let gateway = administered();
    let send = |request: &str| {
        let mut stream = UnixStream::connect(gateway.path("admin.sock")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        split(stream).0
    };
    // This process is the gateway's own, which is not admitted whatever it asks.
    assert_eq!(
        send("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 403 Forbidden"
    );
}

#[test]
fn administrators_read_along_and_those_who_come_back_miss_nothing() {
    let gateway = administered();
    let target = Server::echo();
    let wanted = target.address();
    let mut reader = Events::of(&gateway, &["--target", &wanted]);
    // It reads from now on: what it is told of is asked for again until it is.
    let local = gateway.local(&wanted);
    let first = eventually("an event", || {
        let mut stream = local.connect();
        stream.write_all(b"x").unwrap();
        drop(stream);
        reader.told().filter(|told| told["event"] == "forward-decided")
    });
    assert_eq!(
        (&first["user"], &first["requested"]),
        (&"alice".into(), &wanted.clone().into())
    );
    // Others of those that were asked for may come in between.
    let next = |reader: &mut Events| {
        eventually("the next event of the same forward", || {
            reader.told().filter(|told| told["forward"] == first["forward"])
        })
    };
    let opened = next(&mut reader);
    assert_eq!(opened["event"], "tunnel-opened", "{opened}");
    // Its end says nothing of the target, and belongs to it all the same.
    drop(local);
    assert_eq!(next(&mut reader)["event"], "tunnel-closed");
    // Another target is not wanted: what comes after it is told, and it is not.
    gateway.through("127.0.0.1:1");
    let later = gateway.local(&wanted);
    let _stream = later.connect();
    eventually("an event of a later session", || {
        let told = reader.told()?;
        assert_ne!(told["requested"], "127.0.0.1:1");
        (told["session"] != first["session"]).then_some(())
    });
}

/// `portreeve ctl --json events`, which goes on until it is dropped.
pub struct Events {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Events {
    pub fn of(gateway: &Running, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
        command
            .args(["ctl", "--json", "--socket"])
            .arg(gateway.path("admin.sock"));
        command.arg("events").args(arguments);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    pub fn told(&mut self) -> Option<Value> {
        let line = self.lines.recv_timeout(std::time::Duration::from_millis(100)).ok()?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sessions_are_listed_with_what_they_have_open_and_can_be_ended() {
    let gateway = administered();
    let target = Server::echo();
    let [first, second] = [(), ()].map(|()| gateway.local(&target.address()));
    let [mut ended, mut kept] = [first.connect(), second.connect()];
    for stream in [&mut ended, &mut kept] {
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    }
    let tunnels = eventually("both tunnels, with what went through them", || {
        let tunnels = asked(&gateway, &["tunnels"]);
        let sent = |tunnel: &Value| tunnel["bytes_up"] == 5;
        (tunnels.as_array().unwrap().iter().filter(|one| sent(one)).count() == 2).then_some(tunnels)
    });
    for key in ["since", "rate_up", "rate_down", "policy", "terms", "tags"] {
        assert!(!tunnels[0][key].is_null(), "{key}: {tunnels}");
    }
    assert_eq!(tunnels[0]["policy"]["name"], "test");
    let sessions = asked(&gateway, &["sessions", "--user", "alice"]);
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
    for session in sessions.as_array().unwrap() {
        assert_eq!(
            (
                &session["tunnels"],
                &session["listeners"],
                &session["bytes_up"],
                &session["method"]
            ),
            (&1.into(), &0.into(), &5.into(), &"publickey".into()),
            "{session}"
        );
        assert!(
            session["software"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"),
            "{session}"
        );
        assert!(
            session["fingerprint"].as_str().unwrap().starts_with("SHA256:"),
            "{session}"
        );
    }
    assert_eq!(
        asked(&gateway, &["sessions", "--user", "bob"]),
        Value::Array(Vec::new())
    );
    assert_eq!(
        asked(&gateway, &["tunnels", "--plugin", "other"]),
        Value::Array(Vec::new())
    );
    assert_eq!(
        asked(&gateway, &["tunnels", "--plugin", "test"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(ctl(&gateway, &["tunnels", "--target", "300.1.1.1/99"]).code, 1);

    let opened = gateway.events("tunnel-opened");
    let session = opened[0]["session"].as_str().unwrap();
    let would = asked(&gateway, &["close", "--session", session, "--dry-run"]);
    assert_eq!(would["sessions"], Value::from(vec![session]));
    assert_eq!(asked(&gateway, &["sessions"]).as_array().unwrap().len(), 2);
    let closed = asked(&gateway, &["close", "--session", session, "--reason", "incident 8"]);
    assert_eq!(closed, would);
    assert_eq!(gateway.event("tunnel-closed")["cause"], "killed");
    let line = gateway.event("session-closed");
    assert_eq!(
        (&line["session"], &line["reason"]),
        (
            &session.into(),
            &"an administrator ended the session: incident 8".into()
        )
    );
    // The other goes on, whichever of the two it is.
    let goes_on =
        |stream: &mut UnixStream| stream.write_all(b"still").is_ok() && stream.read_exact(&mut [0; 5]).is_ok();
    assert_eq!(
        [ended, kept]
            .iter_mut()
            .filter_map(|stream| goes_on(stream).then_some(()))
            .count(),
        1
    );
    assert_eq!(asked(&gateway, &["sessions"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_locked_user_is_out_until_unlocked_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let start = || {
        Setup::allowing()
            .directory(&kept)
            .tables("[admin]\nsocket = \"admin.sock\"\n")
            .start()
    };
    let gateway = start();
    let target = Server::echo();
    let local = gateway.local(&target.address());
    let mut open = local.connect();
    eventually("the tunnel", || (gateway.open() == 1).then_some(()));
    let told = ctl(&gateway, &["lock", "alice", "--reason", "stolen laptop", "--for", "1h"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(
        told.out.contains("1 sessions ended, 1 tunnels and listeners closed"),
        "{}",
        told.out
    );
    assert!(matches!(open.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "killed");
    let closed = gateway.event("session-closed");
    assert_eq!(closed["reason"], "an administrator has locked this user: stolen laptop");
    let line = gateway.event("admin-action");
    assert_eq!(
        (&line["action"], &line["reason"]),
        (&"lock".into(), &"stolen laptop".into())
    );
    let locks = asked(&gateway, &["locks"]);
    assert_eq!(
        (&locks[0]["user"], &locks[0]["reason"]),
        (&"alice".into(), &"stolen laptop".into())
    );
    assert!(locks[0]["until"].is_string() && locks[0]["uid"].is_u64(), "{locks}");
    drop((local, gateway));

    let gateway = start();
    let refused = gateway.ssh().args(["-N"]).start().finish(b"");
    assert!(refused.errors.contains("Permission denied"), "{}", refused.errors);
    let failed = gateway.audited("the login", |line| line["event"] == "auth-failed");
    assert_eq!(failed["reason"], "the user is locked: stolen laptop");
    assert_eq!(ctl(&gateway, &["unlock", "alice"]).code, 0);
    assert_eq!(ctl(&gateway, &["unlock", "alice"]).code, 1);
    assert_eq!(gateway.through(&target.address()).stdout, "");
    assert_eq!(gateway.event("auth-succeeded")["user"], "alice");
    for wrong in [
        &["lock", "", "--reason", "x"][..],
        &["lock", "a", "--reason", " "],
        &["lock", "a", "--reason", "x", "--for", "0s"],
    ] {
        assert_eq!(ctl(&gateway, wrong).code, 1, "{wrong:?}");
    }
}

#[test]
fn a_user_is_told_on_the_status_channel_what_was_closed_and_why() {
    let gateway = administered();
    let target = Server::echo();
    let open = gateway.local(&target.address());
    let mut near = open.connect();
    assert!(ping(&mut near));
    let mut status = gateway.ssh().start();
    let mut lines = BufReader::new(status.stdout.take().unwrap()).lines();
    let mut next = |words: &str| {
        let mut lines = lines.by_ref().map(|line| line.unwrap());
        lines.find(|line| line.contains(words)).expect(words)
    };
    next("Decisions follow");
    asked(
        &gateway,
        &["close", "--user", "alice", "--reason", "INC-78: key leaked"],
    );
    let line = next("closed: ");
    let told = format!(
        "closed: connect {}: an administrator closed it: INC-78: key leaked",
        target.address()
    );
    assert_eq!(line, told);
    let mut other = open.connect();
    assert!(ping(&mut other));
    gateway.swap(&Guest::that(denies("no more")));
    assert!(next("closed: ").contains("the policies in force now do not permit it"));
    assert_eq!(asked(&gateway, &["status"])["hardening"]["seccomp"], "off");
}
