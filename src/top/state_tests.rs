//! What keys and news make of the state.

use serde_json::json;

use super::super::list::Move;
use super::*;

fn now() -> Timestamp {
    "2026-11-28T10:00:00Z".parse().unwrap()
}

fn state() -> State {
    State::new(Status::default(), now())
}

/// A session of `alice` and a tunnel of hers, with so many bytes after so many seconds.
fn snapshot(second: u64, bytes: u64) -> News {
    News::Snapshot(Box::new(Snapshot {
        status: Status {
            tunnels: 1,
            ..Status::default()
        },
        sessions: json!([{ "session": "s-1", "user": "alice", "client": "192.0.2.1:4000", "bytes_up": bytes, "bytes_down": 0 }]),
        tunnels: json!([{ "forward": "f-1", "session": "s-1", "user": "alice", "requested": "db:5432", "effective": "db:5432" }]),
        at: Duration::from_secs(second),
    }))
}

fn press(state: &mut State, actions: &[Action]) -> Vec<Request> {
    actions.iter().filter_map(|action| state.act(*action)).collect()
}

fn typing(state: &mut State, words: &str) {
    for character in words.chars() {
        state.act(Action::Type(character));
    }
}

fn line(number: u64) -> Line {
    Line::Missed(number)
}

#[test]
fn a_row_is_closed_only_with_a_reason() {
    for (front, kind, id) in [
        (Kind::Tunnels, Kind::Tunnels, "f-1"),
        (Kind::Sessions, Kind::Sessions, "s-1"),
    ] {
        let mut state = state();
        state.hear(snapshot(1, 0));
        state.front = front;
        assert_eq!(press(&mut state, &[Action::Close, Action::Accept]), []);
        assert!(matches!(state.mode, Mode::Confirm(_)), "it still asks");
        assert!(state.note.is_some(), "it says what is missing");
        typing(&mut state, "  ");
        assert_eq!(press(&mut state, &[Action::Accept]), [], "spaces are no reason");
        typing(&mut state, "x\u{1b}incident 7");
        let close = Request::Close {
            kind,
            id: id.to_owned(),
            reason: "  xincident 7".to_owned(),
        };
        assert_eq!(press(&mut state, &[Action::Accept]), [close]);
        assert_eq!(state.mode, Mode::Watch);
    }
}

#[test]
fn what_was_asked_about_is_closed_also_if_another_row_is_selected_since() {
    let mut state = state();
    state.hear(snapshot(1, 0));
    state.act(Action::Close);
    typing(&mut state, "why");
    state.tunnels.replace(Vec::new());
    let requests = press(&mut state, &[Action::Accept]);
    assert!(
        matches!(requests.as_slice(), [Request::Close { id, .. }] if id == "f-1"),
        "{requests:?}"
    );
}

#[test]
fn a_change_of_mind_closes_nothing() {
    let mut state = state();
    assert_eq!(
        press(&mut state, &[Action::Close, Action::Accept]),
        [],
        "no row is there"
    );
    assert_eq!(
        state.note.take(),
        None,
        "and what was said of it is gone with the next key"
    );
    state.hear(snapshot(1, 0));
    state.act(Action::Close);
    typing(&mut state, "why");
    assert_eq!(press(&mut state, &[Action::Cancel, Action::Accept]), []);
    assert_eq!(state.mode, Mode::Watch);
}

#[test]
fn a_filter_is_applied_as_it_is_typed_and_cleared_by_escape() {
    let mut state = state();
    state.hear(snapshot(1, 0));
    state.act(Action::Filter);
    typing(&mut state, "bob");
    assert_eq!((state.tunnels.count(), state.sessions.count()), (0, 0));
    press(&mut state, &[Action::EraseAll]);
    typing(&mut state, "alix");
    press(&mut state, &[Action::Erase, Action::Accept]);
    assert_eq!(
        (state.filter.as_str(), state.tunnels.count(), state.sessions.count()),
        ("ali", 1, 1)
    );
    assert_eq!(state.mode, Mode::Watch);
    press(&mut state, &[Action::Filter, Action::EraseAll]);
    typing(&mut state, "bob");
    press(&mut state, &[Action::Cancel]);
    assert_eq!((state.filter.as_str(), state.tunnels.count()), ("", 1));
}

#[test]
fn a_text_that_is_typed_has_an_end() {
    let mut state = state();
    state.act(Action::Filter);
    typing(&mut state, &"é".repeat(500));
    assert_eq!(state.filter.len(), MAX_TYPED);
}

#[test]
fn a_pause_holds_everything_back_and_loses_no_decision() {
    let mut state = state();
    state.hear(News::Line(line(1)));
    state.act(Action::Pause);
    state.hear(snapshot(1, 0));
    state.hear(News::Line(line(2)));
    state.tick("2026-11-28T11:00:00Z".parse().unwrap());
    assert_eq!((state.tunnels.len(), state.lines.len(), state.now), (0, 1, now()));
    state.act(Action::Pause);
    state.hear(News::Line(line(3)));
    assert_eq!(state.lines, [line(1), line(2), line(3)]);
    state.hear(snapshot(2, 0));
    assert_eq!(state.tunnels.len(), 1);
}

#[test]
fn decisions_are_kept_within_bounds() {
    let mut state = state();
    for number in 0..2 * MAX_LINES as u64 {
        state.hear(News::Line(line(number)));
    }
    assert_eq!(
        (state.lines.len(), state.lines.front()),
        (MAX_LINES, Some(&line(MAX_LINES as u64)))
    );
}

#[test]
fn a_gateway_that_is_gone_is_named_so_until_it_answers() {
    let mut state = state();
    state.hear(snapshot(1, 0));
    state.hear(News::Gone("first".to_owned()));
    state.tick("2026-11-28T10:00:05Z".parse().unwrap());
    state.hear(News::Gone("second".to_owned()));
    assert_eq!(
        state.trouble.gone,
        Some((now(), "second".to_owned())),
        "since the first failure"
    );
    assert_eq!(state.tunnels.len(), 1, "what was known is still shown");
    state.hear(snapshot(9, 0));
    assert_eq!(state.trouble.gone, None);
}

#[test]
fn sessions_have_rates_from_the_second_snapshot_on() {
    let mut state = state();
    let cell = |state: &State| state.sessions.rows().next().unwrap().cells[6].shown(now());
    state.hear(snapshot(1, 1000));
    assert_eq!((cell(&state), state.rates.total()), ("-".to_owned(), None));
    state.hear(snapshot(3, 3000));
    assert_eq!(
        (cell(&state), state.rates.total()),
        ("1000 B".to_owned(), Some((1000, 0)))
    );
}

#[test]
fn keys_move_in_the_table_that_is_shown() {
    let mut state = state();
    let sessions = |ids: &[&str]| {
        ids.iter()
            .map(|id| Row::session(&json!({ "session": id, "user": "u" }), None).unwrap())
            .collect()
    };
    state.sessions.replace(sessions(&["s-1", "s-2", "s-3"]));
    state.page = 2;
    press(&mut state, &[Action::Select(Move::Down)]);
    assert_eq!(state.sessions.at(), 0, "the other table is shown");
    press(
        &mut state,
        &[Action::Switch, Action::Select(Move::PageDown), Action::Reverse],
    );
    assert_eq!((state.front, state.sessions.at()), (Kind::Sessions, 2));
    assert_eq!(state.sessions.sorted_by(), ("DOWN/S", false));
    assert_eq!(state.tunnels.sorted_by(), ("DOWN/S", true));
}
