//! Frames, as a terminal of each size shows them.

use std::time::Duration;

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::super::decision;
use super::super::facts::Status;
use super::super::input::Action;
use super::super::state::{News, Snapshot};
use super::*;

fn now() -> Timestamp {
    "2026-11-28T10:00:00Z".parse().unwrap()
}

fn status() -> Status {
    Status::read(&json!({
        "version": "0.1.0", "started": "2026-11-26T07:30:00Z", "listen": ["127.0.0.1:2222"], "draining": false,
        "sessions": 2, "tunnels": 3, "listeners": 1, "buffered_bytes": 2048, "audit": { "writable": true, "pending": 0 },
        "policies": [{ "plugin": "access", "name": "rules", "version": "0.3.0", "sha256": "7a31f0c2b9d4e8877a31f0c2", "generation": 4,
            "shadow": { "version": "0.4.0", "sha256": "51c0ffee51c0ffee" } }],
    }))
}

fn tunnel(id: &str, user: &str, target: &str, rate: u64) -> serde_json::Value {
    json!({
        "forward": id, "session": format!("s-{user}"), "user": user, "action": "connect", "requested": target, "effective": target,
        "dialled": "10.0.5.7:5432", "since": "2026-11-28T09:47:55Z", "bytes_up": 5 * rate, "bytes_down": 99 * rate,
        "rate_up": rate / 8, "rate_down": rate,
    })
}

/// A gateway with two sessions and three tunnels, most of a minute after the first look.
fn busy() -> State {
    let mut state = State::new(status(), now());
    let mut bytes = 0;
    for second in 1..=40 {
        bytes += 400_000 * (second * 5 % 9);
        state.hear(News::Snapshot(Box::new(Snapshot {
            status: status(),
            sessions: json!([
                { "session": "s-alice", "user": "alice", "client": "192.0.2.10:51234", "method": "publickey", "fingerprint": "SHA256:abc",
                  "software": "SSH-2.0-OpenSSH_10.0", "since": "2026-11-28T08:00:00Z", "tunnels": 2, "listeners": 1,
                  "bytes_up": bytes / 16, "bytes_down": bytes },
                { "session": "s-bob", "user": "bob", "client": "[2001:db8::7]:40022", "method": "certificate",
                  "software": "SSH-2.0-Go", "since": "2026-11-28T09:59:00Z", "tunnels": 1, "listeners": 0, "bytes_up": 0, "bytes_down": 0 },
            ]),
            tunnels: json!([
                tunnel("f-1", "alice", "db.internal:5432", 1_500_000),
                tunnel("f-2", "alice", "git.internal:22", 0),
                tunnel("f-3", "bob", "wiki.internal:443", 4096),
            ]),
            at: Duration::from_secs(second),
        })));
    }
    for (verdict, user, target, code) in [
        ("allow", "alice", "db.internal:5432", "databases"),
        ("deny", "bob", "10.0.0.9:22", "no-rule"),
    ] {
        let body = json!({
            "time": "2026-11-28T09:59:58.123456Z", "verdict": verdict, "user": user, "session": format!("s-{user}"),
            "requested": target, "code": code, "reason": "see the rules",
        });
        state.hear(News::Line(decision::Line::read("forward-decided", &body).unwrap()));
    }
    state
}

fn terminal(state: &State, width: u16, height: u16, coloured: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, state, Colours::new(coloured)))
        .unwrap();
    terminal
}

/// The lines of a frame, without spaces at their ends.
fn lines(state: &State, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(state, width, height, true);
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn screen(state: &State, width: u16, height: u16) -> String {
    lines(state, width, height).join("\n")
}

fn all_in(state: &State, width: u16, height: u16, wanted: &[&str]) {
    let shown = screen(state, width, height);
    for words in wanted {
        assert!(shown.contains(words), "`{words}` is missing:\n{shown}");
    }
}

#[test]
fn a_terminal_of_80_by_24_shows_everything_that_matters() {
    let expected = include_str!("screens/80x24.txt");
    let shown = screen(&busy(), 80, 24) + "\n";
    if std::env::var_os("RENEW").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/screens/80x24.txt");
        std::fs::write(path, &shown).unwrap();
        return;
    }
    assert_eq!(shown, expected, "RENEW=1 writes it anew:\n{shown}");
    let manual = include_str!("../../docs/operating.md");
    assert!(
        manual.contains(expected),
        "docs/operating.md does not show src/top/screens/80x24.txt as it is"
    );
}

#[test]
fn a_wide_terminal_has_more_columns() {
    let narrow = lines(&busy(), 80, 24)[5].clone();
    let wide = lines(&busy(), 120, 40);
    let heads = wide.iter().find(|line| line.starts_with("USER")).unwrap();
    for (head, in_narrow) in [("TARGET", true), ("DOWN/S", true), ("ACTION", false), (" UP ", false)] {
        assert_eq!(
            (narrow.contains(head), heads.contains(head)),
            (in_narrow, true),
            "{head}"
        );
    }
}

#[test]
fn a_small_terminal_says_what_it_takes() {
    for (width, height, usable) in [
        (40, 10, false),
        (59, 24, false),
        (80, 15, false),
        (60, 16, true),
        (1, 1, false),
    ] {
        let shown = screen(&busy(), width, height);
        assert_eq!(shown.contains("TUNNELS"), usable, "{width}x{height}:\n{shown}");
    }
    let said = lines(&busy(), 40, 10).join(" ");
    assert!(said.contains("40x10 is too small") && said.contains("60x16"), "{said}");
}

#[test]
fn every_size_can_be_drawn_in_every_mode() {
    let modes: [&[Action]; 4] = [
        &[],
        &[Action::Help],
        &[Action::Filter, Action::Type('a')],
        &[Action::Close, Action::Type('a')],
    ];
    for actions in modes {
        let mut state = busy();
        for action in actions {
            state.act(*action);
        }
        for width in (1..130).step_by(7) {
            for height in 1..45 {
                terminal(&state, width, height, true);
            }
        }
    }
}

#[test]
fn sessions_are_shown_after_tab_with_their_rates() {
    let mut state = busy();
    state.act(Action::Switch);
    all_in(
        &state,
        80,
        24,
        &[
            "CLIENT",
            "192.0.2.10:51234",
            "781.2 KiB",
            "2h00m",
            "SSH-2.0-OpenSSH_10.0",
        ],
    );
}

#[test]
fn what_is_wrong_stands_in_the_header() {
    let mut state = busy();
    state.hear(News::Gone("connection refused".to_owned()));
    state.hear(News::Following(Err("the stream ended".to_owned())));
    all_in(
        &state,
        80,
        24,
        &["NO ANSWER for 0s: connection refused", "not followed: the stream ended"],
    );
    let mut state = busy();
    state.status.draining = true;
    state.status.audit = Some((false, 7));
    state.act(Action::Pause);
    all_in(
        &state,
        80,
        24,
        &["PAUSED", "DRAINING", "CANNOT BE WRITTEN, 7 lines waiting"],
    );
    state.status.policies.clear();
    all_in(&state, 80, 24, &["no policy: every request is refused"]);
}

#[test]
fn a_close_names_what_it_closes_and_shows_the_reason() {
    let mut state = busy();
    state.act(Action::Close);
    for character in "incident 7".chars() {
        state.act(Action::Type(character));
    }
    let last = lines(&state, 120, 40).pop().unwrap();
    assert!(
        last.starts_with("close the tunnel of alice to db.internal:5432? reason: incident 7"),
        "{last}"
    );
}

#[test]
fn the_filter_holds_for_decisions_too() {
    let mut state = busy();
    state.act(Action::Filter);
    for character in "bob".chars() {
        state.act(Action::Type(character));
    }
    let shown = screen(&state, 80, 24);
    assert!(
        shown.contains("10.0.0.9:22") && shown.contains("filter \"bob\": 1 shown"),
        "{shown}"
    );
    assert!(!shown.contains("alice"), "{shown}");
}

#[test]
fn a_long_list_shows_its_selected_row() {
    let mut state = busy();
    let rows = (0..500).map(|number| tunnel(&format!("f-{number:03}"), &format!("user{number:03}"), "db:1", 0));
    state
        .tunnels
        .replace(rows.filter_map(|body| super::super::row::Row::tunnel(&body)).collect());
    state.page = page(Size::new(80, 24), &state);
    for (action, user) in [("Home", "user000"), ("End", "user499")] {
        let step = if action == "Home" {
            super::super::list::Move::First
        } else {
            super::super::list::Move::Last
        };
        state.act(Action::Select(step));
        let shown = lines(&state, 80, 24);
        assert!(shown.iter().any(|line| line.starts_with(user)), "{shown:#?}");
    }
}

#[test]
fn no_text_of_the_gateway_is_more_than_text() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\nm";
    let mut state = State::new(
        Status::read(&json!({ "version": evil, "listen": [evil], "policies": [{ "plugin": evil, "shadow": evil }] })),
        now(),
    );
    let mut body = tunnel("f-1", evil, evil, 1);
    body["action"] = evil.into();
    state.hear(News::Snapshot(Box::new(Snapshot {
        status: state.status.clone(),
        sessions: json!([{ "session": "s-1", "user": evil, "client": evil, "software": evil, "method": evil }]),
        tunnels: json!([body]),
        at: Duration::ZERO,
    })));
    let body = json!({ "time": evil, "verdict": evil, "user": evil, "requested": evil, "reason": evil, "code": evil });
    state.hear(News::Line(decision::Line::read("forward-decided", &body).unwrap()));
    for front in [Action::Switch, Action::Switch, Action::Close] {
        state.act(front);
        let terminal = terminal(&state, 120, 40, true);
        for cell in terminal.backend().buffer().content() {
            assert!(
                !cell.symbol().chars().any(crate::request::is_unseen),
                "{:?}",
                cell.symbol()
            );
        }
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    let coloured = |coloured: bool| {
        let terminal = terminal(&busy(), 80, 24, coloured);
        let cells = terminal.backend().buffer().content();
        cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert_eq!((coloured(true), coloured(false)), (true, false));
}
