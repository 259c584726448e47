//! The last line: keys, what is typed, or what became of it; and the page of help.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::{Colours, line};
use crate::top::list::Kind;
use crate::top::state::{Confirm, Mode, State};

pub(super) fn draw(frame: &mut Frame, area: Rect, state: &State, paint: Colours) {
    match &state.mode {
        Mode::Filter => typed(
            frame,
            area,
            "filter: ",
            &state.filter,
            "  (Enter keeps it, Esc clears it)",
            paint,
        ),
        Mode::Confirm(confirm) => {
            let hint = state.note.as_ref().map_or_else(
                || "  (Enter closes, Esc does not)".to_owned(),
                |note| format!("  {note}"),
            );
            typed(
                frame,
                area,
                &question(confirm, area.width),
                &confirm.reason,
                &hint,
                paint,
            );
        }
        Mode::Watch | Mode::Help => match &state.note {
            Some(note) => frame.render_widget(Span::styled(note.as_str(), paint.head()), area),
            None => frame.render_widget(Span::styled(KEYS, paint.aside()), area),
        },
    }
}

/// What will be closed, leaving half of the line for the reason.
fn question(confirm: &Confirm, width: u16) -> String {
    let verb = match confirm.kind {
        Kind::Tunnels => "close",
        Kind::Sessions => "end",
    };
    let what: Vec<_> = confirm.what.chars().collect();
    let room = usize::from(width) * 5 / 8 - "close ? reason: ".len();
    let what: String = match what.get(..room) {
        Some(start) => start.iter().chain(['…'].iter()).collect(),
        None => what.iter().collect(),
    };
    format!("{verb} {what}? reason: ")
}

/// A text that is typed, with the cursor at its end. Of a text that is too long the end is shown.
fn typed(frame: &mut Frame, area: Rect, before: &str, words: &str, hint: &str, paint: Colours) {
    let room = usize::from(area.width).saturating_sub(Span::raw(before).width() + 1);
    let mut shown = words;
    while Span::raw(shown).width() > room {
        let mut rest = shown.chars();
        rest.next();
        shown = rest.as_str();
    }
    let end = Span::raw(before).width() + Span::raw(shown).width();
    let spans = vec![
        Span::styled(before.to_owned(), paint.head()),
        Span::raw(shown.to_owned()),
        Span::styled(hint.to_owned(), paint.aside()),
    ];
    frame.render_widget(Line::from(spans), area);
    let x = area.x.saturating_add(u16::try_from(end).unwrap_or(area.width));
    frame.set_cursor_position(Position { x, y: area.y });
}

pub(super) fn help(frame: &mut Frame, area: Rect, paint: Colours) {
    for (index, (key, meaning)) in (0..).zip(HELP) {
        let words = Line::from(vec![
            Span::styled(format!("  {key:<22}"), paint.head()),
            Span::raw(*meaning),
        ]);
        frame.render_widget(words, line(area, index));
    }
}

const KEYS: &str = "q quit  Tab other table  s sort  r reverse  / filter  k close  p pause  ? help";

const HELP: &[(&str, &str)] = &[
    ("Tab", "show tunnels or sessions"),
    ("arrows, PgUp, PgDn", "select a row; Home and End: the first, the last"),
    ("s, r", "sort by the next column, reverse the order"),
    ("/", "show only what contains a text: user, target, session"),
    ("k", "close the selected tunnel or end the session"),
    ("p", "pause, go on"),
    ("q, Esc, Ctrl-C", "quit"),
    ("", "Rates are in bytes per second: up from the client."),
    ("", "Press q, Esc or ? to leave this page."),
];
