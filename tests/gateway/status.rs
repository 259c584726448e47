//! What a plain `ssh host` shows on a terminal.

use std::io::Write;

use crate::harness::{Running, Server, Setup, ping};
use crate::terminal::Terminal;

fn shown(gateway: &Running) -> Terminal {
    let words = gateway.ssh().words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Terminal::start("ssh", &words, &[], 100, 30)
}

#[test]
fn a_terminal_shows_what_is_open_with_its_rates_below_the_decisions() {
    let (target, other) = (Server::echo(), Server::named("x"));
    let gateway = Setup::allowing().start();
    let open = gateway.local(&target.address());
    let mut near = open.connect();
    assert!(ping(&mut near));
    let mut status = shown(&gateway);
    status.shows("You are alice");
    status.shows("press Enter for what is open");
    let screen = status.shows("1 tunnel  up ");
    assert!(screen.contains("/s  down "), "{screen}");

    // A decision goes above the line, which stays the last one.
    assert_eq!(gateway.through(&other.address()).stdout, "x");
    let screen = status.shows("allowed: connect");
    let last = screen.trim_end().lines().last().unwrap();
    assert!(last.starts_with("1 tunnel"), "{screen}");

    near.write_all(&[b'x'; 5000]).unwrap();
    status.shows("KiB/s  ");
    status.types("\r");
    let screen = status.shows(", up 4.9 KiB, down 4.9 KiB");
    assert!(
        screen.contains(&format!("open: connect {}", target.address())),
        "{screen}"
    );

    drop((near, open));
    status.hides("1 tunnel");
    status.types("\x03");
    assert_eq!(status.left(), Some(0));
}

#[test]
fn a_narrow_terminal_keeps_the_line_on_one_line() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let open = gateway.local(&target.address());
    let mut near = open.connect();
    assert!(ping(&mut near));
    let mut status = shown(&gateway);
    status.shows("1 tunnel  up ");
    status.resize(16, 30);
    status.has_line("1 tunnel  up 0");
    status.types("\x04");
    assert_eq!(status.left(), Some(0));
}
