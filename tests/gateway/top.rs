//! `portreeve top` in a real terminal, beside a real gateway with a real `ssh`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::harness::{Running, Setup};
use crate::terminal::Terminal;
use crate::terms::target;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portreeve");

fn administered() -> Running {
    Setup::allowing().tables("[admin]\nsocket = \"admin.sock\"\n").start()
}

fn top(socket: &Path) -> Terminal {
    top_with(socket, &[])
}

fn top_with(socket: &Path, variables: &[(&str, &str)]) -> Terminal {
    let socket = socket.to_str().unwrap();
    Terminal::start(PROGRAM, &["top", "--socket", socket], variables, 100, 30)
}

#[test]
fn an_administrator_sees_a_tunnel_and_closes_it_with_a_reason() {
    let gateway = administered();
    let mut top = top(&gateway.path("admin.sock"));
    top.shows("TUNNELS 0");
    let (port, _target) = target(|stream: TcpStream| stream);
    let wanted = format!("127.0.0.1:{port}");
    let local = gateway.local(&wanted);
    let mut near = local.connect();

    top.shows("TUNNELS 1");
    let screen = top.shows(&format!("allow   alice {wanted}"));
    let row = screen.lines().find(|line| line.starts_with("alice")).unwrap();
    assert!(row.contains(&wanted), "{screen}");
    top.types("\t");
    top.shows("publickey");
    top.types("\tk");
    top.shows(&format!("close the tunnel of alice to {wanted}"));
    top.types("\r");
    top.shows("type a reason first");
    top.types("incident 7\r");
    top.shows("the tunnel is closed");

    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(gateway.event("tunnel-closed")["cause"], "killed");
    let line = gateway.event("admin-action");
    assert_eq!(
        (&line["action"], &line["reason"]),
        (&"close".into(), &"incident 7".into())
    );
    top.shows("TUNNELS 0");
    top.types("q");
    assert_eq!(top.left(), Some(0));
}

#[test]
fn a_session_is_ended_and_its_user_is_told() {
    let gateway = administered();
    let client = gateway.ssh().args(["-N"]).start();
    let mut top = top(&gateway.path("admin.sock"));
    top.shows("SESSIONS 1");
    top.types("\t");
    top.shows("publickey");
    top.types("k");
    top.shows("end the session of alice");
    top.types("incident 8\r");
    top.shows("the session has ended");
    client.says("incident 8");
    top.types("\x1b");
    assert_eq!(top.left(), Some(0));
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let gateway = administered();
    type Leave = fn(&mut Terminal);
    let ways: [(&str, Leave); 6] = [
        ("q", |top| top.types("q")),
        ("Esc", |top| top.types("\x1b")),
        ("Ctrl-C", |top| top.types("\x03")),
        ("Ctrl-C while a filter is typed", |top| top.types("/abc\x03")),
        ("SIGTERM", |top| top.signal("TERM")),
        ("SIGHUP", |top| top.signal("HUP")),
    ];
    for (way, leave) in ways {
        let mut top = top(&gateway.path("admin.sock"));
        top.shows("DECISIONS");
        leave(&mut top);
        assert_eq!(top.left(), Some(0), "{way}");
    }
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let gateway = administered();
    let mut top = top(&gateway.path("admin.sock"));
    top.shows("DECISIONS");
    top.resize(40, 10);
    top.shows("40x10 is too small");
    top.resize(80, 24);
    top.hides("too small");
    top.shows("DECISIONS");
    top.types("q");
    assert_eq!(top.left(), Some(0));
}

#[test]
fn a_gateway_that_goes_away_is_said_to_be_gone_and_found_again() {
    let gateway = administered();
    let (socket, away) = (gateway.path("admin.sock"), gateway.path("away.sock"));
    let mut top = top(&socket);
    top.shows("audit log writable");
    fs::rename(&socket, &away).unwrap();
    top.shows("NO ANSWER");
    top.types("?");
    top.shows("leave this page");
    top.types("?");
    fs::rename(&away, &socket).unwrap();
    top.hides("NO ANSWER");
    top.types("q");
    assert_eq!(top.left(), Some(0));
}

/// Answers the first request, and leaves all that follow without an answer.
fn stalled(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let mut waiting: Vec<UnixStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if waiting.is_empty() {
                let _ = stream.read(&mut [0; 4096]);
                let body = r#"{"version":"9.9.9"}"#;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).unwrap();
            }
            waiting.push(stream);
        }
    });
}

#[test]
fn keys_are_obeyed_while_the_gateway_answers_nothing() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("stalled.sock");
    stalled(&socket);
    let mut top = top(&socket);
    top.shows("portreeve 9.9.9");
    top.types("?");
    top.shows("leave this page");
    top.types("q");
    top.shows("DECISIONS");
    top.types("q");
    assert_eq!(top.left(), Some(0));
}

#[test]
fn no_color_is_honoured() {
    let gateway = administered();
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut top = top_with(&gateway.path("admin.sock"), variables);
        top.shows("audit log writable");
        top.types("q");
        assert_eq!(top.had_colour(), coloured, "{variables:?}");
        assert_eq!(top.left(), Some(0));
    }
}

#[test]
fn without_a_gateway_or_a_terminal_it_says_so_and_ends() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("admin.sock");
    let terminal = top(&socket);
    terminal.shows("no gateway answers on");
    assert_eq!(terminal.left(), Some(4));
    let piped = Command::new(PROGRAM)
        .args(["top", "--socket"])
        .arg(&socket)
        .output()
        .unwrap();
    let said = String::from_utf8(piped.stderr).unwrap();
    assert_eq!(piped.status.code(), Some(2));
    assert!(said.contains("not a terminal") && said.contains("--json"), "{said}");
    assert!(piped.stdout.is_empty());
}
