//! Upgrade of the program while it serves: real programs that take each other's place, with real clients meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{Process, Server, Setup, eventually, install, install_script, ping, signal};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portreeve");

/// A gateway whose program is a copy in its folder, and which waits long for what is open.
fn upgradable() -> Setup {
    let setup = Setup::allowing();
    let program = setup.path("program");
    install(PROGRAM.as_ref(), &program);
    setup.program(&program)
}

fn patient() -> Setup {
    upgradable().tables("[limits]\ndrain-timeout = \"5m\"")
}

/// Puts another build of the program in the place of the one that was started.
fn replace_program(gateway: &Process) {
    install(PROGRAM.as_ref(), &gateway.path("program"));
}

fn replace_program_by_script(gateway: &Process, script: &str) {
    install_script(script, &gateway.path("program"));
}

/// Upgrades the process that serves now, and answers the audit line of what came of it.
fn upgrade(gateway: &Process, process: u32) -> Value {
    let before = gateway.events("gateway-upgraded").len();
    signal(process, "USR2");
    eventually("an upgrade", || {
        gateway.events("gateway-upgraded").into_iter().nth(before)
    })
}

/// The same; answers the process that serves from then on.
fn upgraded(gateway: &Process, process: u32) -> u32 {
    let line = upgrade(gateway, process);
    assert_eq!(line["ok"], true, "{line}");
    u32::try_from(line["process"].as_u64().unwrap()).unwrap()
}

fn control(gateway: &Process) -> PathBuf {
    gateway.path("portreeve/admin.sock")
}

/// What the control socket answers.
fn asked(mut stream: UnixStream, request: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}");
    write!(stream, "{head}\r\nContent-Type: application/json\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn status(gateway: &Process) -> Value {
    let answer = asked(UnixStream::connect(control(gateway)).unwrap(), "GET /v1/status", "");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

/// The status as this process tells it. Until the one before has heard of it, both answer on the one socket.
fn status_of(gateway: &Process, process: u32) -> Value {
    eventually("an answer of the new process", || {
        Some(status(gateway)).filter(|status| status["process"] == process)
    })
}

/// Ends a process that is no child of this one, and waits for its last line.
fn stopped(gateway: &Process, process: u32) {
    signal(process, "TERM");
    gateway.audited("its last line", |line| {
        line["event"] == "gateway-stopped" && line["process"] == process
    });
}

#[test]
fn tunnels_go_on_while_another_program_takes_over_and_the_old_one_ends_with_them() {
    let target = Server::named("hello");
    let echo = Server::echo();
    let mut gateway = patient().start_program();
    let old = gateway.id();
    let tunnels = gateway.local(&echo.address());
    let mut near = tunnels.connect();
    assert!(ping(&mut near));
    replace_program(&gateway);
    let new = upgraded(&gateway, old);
    let runs = fs::metadata(format!("/proc/{new}/exe")).unwrap().ino();
    assert_eq!(runs, fs::metadata(gateway.path("program")).unwrap().ino());
    let started = gateway.audited("the new program", |line| line["replaces"] == old);
    assert_eq!(
        (&started["event"], &started["process"]),
        (&"gateway-started".into(), &new.into())
    );
    // What is open goes on, and its session may open more.
    assert!(ping(&mut near));
    assert!(ping(&mut tunnels.connect()));
    // What is new is the new one's.
    assert_eq!(gateway.through(&target.address()).stdout, "hello");
    let status = status_of(&gateway, new);
    assert_eq!((&status["sessions"], &status["draining"]), (&0.into(), &false.into()));
    drop((near, tunnels));
    assert_eq!(gateway.ended(), Some(0));
    gateway.audited("the old one's last line", |line| {
        line["event"] == "gateway-stopped" && line["process"] == old
    });
    assert!(
        control(&gateway).exists(),
        "the old one has removed the new one's socket"
    );
    assert_eq!(gateway.through(&target.address()).stdout, "hello");
    stopped(&gateway, new);
    eventually("the end of the socket", || (!control(&gateway).exists()).then_some(()));
}

/// Does something again and again, and counts how often, until told to stop.
fn load<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    stop: &'scope AtomicBool,
    work: impl Fn() + Send + 'scope,
) -> std::sync::Arc<AtomicUsize> {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counts = std::sync::Arc::clone(&count);
    scope.spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            work();
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

/// Stops what runs also if the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_connection_and_no_forward_is_refused_in_five_upgrades_under_load() {
    let target = Server::named("hello");
    let gateway = upgradable().start_program();
    let stop = AtomicBool::new(false);
    let connects = || {
        let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
        let mut banner = [0; 4];
        stream.read_exact(&mut banner).expect("a server");
        assert_eq!(&banner, b"SSH-");
    };
    let forwards = || {
        let answer = gateway.through(&target.address());
        assert_eq!(answer.stdout, "hello", "{answer:?}");
    };
    let administers = || drop(status(&gateway));
    let mut process = gateway.id();
    thread::scope(|scope| {
        let _stops = Stops(&stop);
        let work = [
            load(scope, &stop, connects),
            load(scope, &stop, forwards),
            load(scope, &stop, forwards),
            load(scope, &stop, administers),
        ];
        for _ in 0..5 {
            replace_program(&gateway);
            let next = upgraded(&gateway, process);
            let done: Vec<_> = work.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let is_over = || {
                let now = work.iter().map(|count| count.load(Ordering::Relaxed));
                now.zip(&done).all(|(now, before)| now > before + 1)
            };
            eventually("work of all kinds after an upgrade", || is_over().then_some(()));
            gateway.audited("the end of the old process", |line| {
                line["event"] == "gateway-stopped" && line["process"] == process
            });
            process = next;
        }
    });
    assert_eq!(gateway.events("gateway-started").len(), 6);
}

#[test]
fn a_new_program_that_does_not_serve_leaves_the_old_one_as_it_was() {
    let target = Server::named("hello");
    let echo = Server::echo();
    let mut gateway = patient().start_program();
    let tunnels = gateway.local(&echo.address());
    let mut near = tunnels.connect();
    assert!(ping(&mut near));
    let config = fs::read_to_string(gateway.path("portreeve.toml")).unwrap();
    let fails = |because: &str| {
        let line = upgrade(&gateway, gateway.id());
        assert_eq!(line["ok"], false, "{line}");
        assert!(line["reason"].as_str().unwrap().contains(because), "{because}: {line}");
        assert!(ping(&mut tunnels.connect()), "{because}");
        assert_eq!(gateway.through(&target.address()).stdout, "hello", "{because}");
        let status = status(&gateway);
        assert_eq!(
            (&status["process"], &status["draining"]),
            (&gateway.id().into(), &false.into()),
            "{because}"
        );
    };
    replace_program_by_script(&gateway, "exec false");
    fails("exit status: 1");
    replace_program_by_script(&gateway, "kill -SEGV $$");
    fails("signal: 11");
    fs::remove_file(gateway.path("program")).unwrap();
    fails("cannot start ");
    fs::write(gateway.path("program"), "no program").unwrap();
    fails("cannot start ");
    replace_program(&gateway);
    fs::write(
        gateway.path("portreeve.toml"),
        config.replace("[server]", "[server]\ncolour = 1"),
    )
    .unwrap();
    fails("colour");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("listen = [\"127.0.0.1:0\", \"{}\"]", taken.local_addr().unwrap());
    fs::write(
        gateway.path("portreeve.toml"),
        config.replace("listen = [\"127.0.0.1:0\"]", &busy),
    )
    .unwrap();
    fails("cannot listen on");
    // It was none of these that could not be mended.
    fs::write(gateway.path("portreeve.toml"), config).unwrap();
    let new = upgraded(&gateway, gateway.id());
    assert!(ping(&mut near));
    drop((near, tunnels));
    assert_eq!(gateway.ended(), Some(0));
    stopped(&gateway, new);
}

#[test]
fn a_new_program_that_hangs_is_ended_after_its_time() {
    let target = Server::named("hello");
    let gateway = upgradable()
        .tables("[limits]\nupgrade-timeout = \"1s\"")
        .start_program();
    replace_program_by_script(
        &gateway,
        &format!("echo $$ > {}; exec sleep 600", gateway.path("hangs").display()),
    );
    let line = upgrade(&gateway, gateway.id());
    assert_eq!(line["ok"], false);
    assert!(
        line["reason"].as_str().unwrap().contains("limits.upgrade-timeout"),
        "{line}"
    );
    let hung = fs::read_to_string(gateway.path("hangs")).unwrap();
    assert!(!Path::new("/proc").join(hung.trim()).exists());
    assert_eq!(gateway.through(&target.address()).stdout, "hello");
}

/// With its log in the file `errors`.
pub fn heard(setup: Setup) -> Process {
    let errors = fs::File::create(setup.path("errors")).unwrap();
    setup.start_program_to(Stdio::piped(), errors.into(), |child| {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
    })
}

#[test]
fn a_second_upgrade_is_refused_meanwhile_and_a_stop_ends_both() {
    let mut gateway = heard(upgradable());
    replace_program_by_script(
        &gateway,
        &format!("echo $$ > {}; exec sleep 600", gateway.path("hangs").display()),
    );
    gateway.signal("USR2");
    let hung = eventually("the new program", || {
        let text = fs::read_to_string(gateway.path("hangs")).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    });
    gateway.signal("USR2");
    let says = |words: &str| fs::read_to_string(gateway.path("errors")).unwrap().contains(words);
    eventually("a refusal", || {
        says("upgrade refused: one is already under way").then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    assert!(!Path::new("/proc").join(hung).exists());
    let line = gateway.event("gateway-upgraded");
    assert_eq!(
        (&line["ok"], &line["reason"]),
        (&false.into(), &"the running gateway stops".into())
    );
    assert_eq!(gateway.audit().pop().unwrap()["event"], "gateway-stopped");
}

#[test]
fn the_old_process_can_still_be_stopped() {
    let echo = Server::echo();
    let mut gateway = upgradable().tables("[limits]\ndrain-timeout = \"5m\"").start_program();
    let tunnels = gateway.local(&echo.address());
    let mut near = tunnels.connect();
    assert!(ping(&mut near));
    let new = upgraded(&gateway, gateway.id());
    gateway.signal("TERM");
    eventually("the drain", || (!ping(&mut tunnels.connect())).then_some(()));
    assert!(ping(&mut near), "it may go on to its end");
    assert_eq!(gateway.ended_by("TERM"), Some(1));
    assert_eq!(status(&gateway)["process"], new);
    stopped(&gateway, new);
}

#[test]
fn a_lock_and_a_rotated_log_reach_the_old_process_too() {
    let echo = Server::echo();
    let setup = patient();
    let kept = setup.path("kept");
    let mut gateway = setup.directory(&kept).start_program();
    let tunnels = gateway.local(&echo.address());
    let mut near = tunnels.connect();
    assert!(ping(&mut near));
    let new = upgraded(&gateway, gateway.id());
    fs::rename(gateway.path("audit.jsonl"), gateway.path("audit.1")).unwrap();
    signal(new, "HUP");
    gateway.event("config-reloaded");
    drop(gateway.local(&echo.address()).connect());
    let lock = asked(
        UnixStream::connect(control(&gateway)).unwrap(),
        "PUT /v1/locks/alice",
        "{\"reason\": \"incident 7\"}",
    );
    assert!(lock.starts_with("HTTP/1.1 200"), "{lock}");
    assert_eq!(gateway.ended(), Some(0), "its last session was the user's");
    assert!(!ping(&mut near));
    let old = gateway.id();
    gateway.audited("the old one's last line in the new file", |line| {
        line["event"] == "gateway-stopped" && line["process"] == old
    });
    gateway.audited("the end of the tunnel", |line| {
        line["event"] == "tunnel-closed" && line["cause"] == "killed"
    });
    stopped(&gateway, new);
}

/// Sockets of a process, by their numbers in the system.
fn sockets(process: u32) -> BTreeSet<PathBuf> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let open = files.filter_map(|file| fs::read_link(file.path()).ok());
    open.filter(|file| file.to_string_lossy().starts_with("socket:"))
        .collect()
}

#[test]
fn the_new_process_has_the_listeners_and_nothing_else_of_the_old_one() {
    let echo = Server::echo();
    let mut gateway = patient().start_program();
    let client = gateway.remote(&format!("0:127.0.0.1:{}", echo.port));
    let listener = gateway.event("listener-opened")["bound"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let before = sockets(gateway.id());
    let new = upgraded(&gateway, gateway.id());
    let after = sockets(new);
    assert_eq!(before.intersection(&after).count(), 2, "{before:?} {after:?}");
    // A remote forward stays where it is.
    let mut far = TcpStream::connect(&listener).unwrap();
    assert!(ping(&mut far));
    let port = listener.rsplit_once(':').unwrap().1;
    let again = gateway
        .ssh()
        .args(["-N", "-R", &format!("{port}:127.0.0.1:{}", echo.port)])
        .start();
    again.says(&format!("remote port forwarding failed for listen port {port}"));
    drop((far, client));
    assert_eq!(gateway.ended(), Some(0));
    let one_more = gateway
        .ssh()
        .args(["-N", "-R", &format!("{port}:127.0.0.1:{}", echo.port)])
        .start();
    eventually("the same forward in the new one", || {
        TcpStream::connect(&listener)
            .ok()
            .filter(|_| !one_more.said("failed"))
            .map(drop)
    });
    stopped(&gateway, new);
}

#[test]
fn no_user_reaches_the_control_socket_through_either_process() {
    // Without the floor, the socket itself asks who comes.
    for (floor, told) in [("true", ""), ("false", "HTTP/1.1 403")] {
        no_user_reaches_the_control_socket(floor, told);
    }
}

fn no_user_reaches_the_control_socket(floor: &str, told: &str) {
    let gateway = patient()
        .tables(&format!("[floors]\nown-listeners = {floor}"))
        .start_program();
    let path = control(&gateway).to_str().unwrap().to_owned();
    let old = gateway.local(&path);
    let refused = |mut stream: UnixStream| {
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        match told {
            "" => answer.is_empty(),
            told => answer.starts_with(told),
        }
    };
    assert!(refused(old.connect()));
    let second = upgraded(&gateway, gateway.id());
    let new = gateway.local(&path);
    assert!(refused(old.connect()) && refused(new.connect()));
    let third = upgraded(&gateway, second);
    assert!(refused(old.connect()) && refused(new.connect()));
    drop((old, new));
    // Until the process before has heard of it, both answer on the one socket.
    eventually("the answer of the newest", || {
        (status(&gateway)["process"] == third).then_some(())
    });
    stopped(&gateway, third);
}

#[test]
fn a_service_manager_hears_which_process_is_the_main_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let heard = || {
        let mut told = [0; 128];
        let length = manager.recv(&mut told).unwrap();
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    let mut gateway = upgradable()
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .start_program();
    assert_eq!(heard(), "READY=1");
    let new = upgraded(&gateway, gateway.id());
    let told = [heard(), heard()];
    assert!(
        told.contains(&"READY=1".to_owned()) && told.contains(&format!("MAINPID={new}\nREADY=1")),
        "{told:?}"
    );
    assert_eq!(gateway.ended(), Some(0));
    signal(new, "TERM");
    assert_eq!(heard(), "STOPPING=1");
}
