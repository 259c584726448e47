//! The table of tunnels or sessions, and the pane of decisions below it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::layout::Areas;
use super::{Colours, line};
use crate::top::decision::{self, Decision};
use crate::top::list::{Column, Kind, List, first_in_window};
use crate::top::row::{Cell, Row};
use crate::top::state::State;

pub(super) fn table(frame: &mut Frame, areas: &Areas, state: &State, paint: Colours) {
    let list = state.list();
    frame.render_widget(title(state, paint), areas.title);
    let columns = Columns::of(list, areas.columns);
    columns.heads(frame, list, paint);
    let height = usize::from(areas.rows.height);
    let first = first_in_window(list.at(), list.count(), height);
    for (index, (row, at)) in (0..).zip(list.rows().zip(0..).skip(first).take(height)) {
        let area = line(areas.rows, index);
        columns.row(frame, area, row, state);
        if at == list.at() {
            frame.buffer_mut().set_style(area, paint.selected());
        }
    }
    let detail = list.selected().map(|row| &row.detail);
    for (index, words) in (0..).zip(detail.into_iter().flatten()) {
        frame.render_widget(Span::styled(words.as_str(), paint.aside()), line(areas.detail, index));
    }
}

/// Both tables with their sizes, the one that is shown reversed, and how it is sorted and filtered.
fn title(state: &State, paint: Colours) -> Line<'_> {
    let mut spans = Vec::new();
    for (name, kind, list) in [
        ("TUNNELS", Kind::Tunnels, &state.tunnels),
        ("SESSIONS", Kind::Sessions, &state.sessions),
    ] {
        let style = if state.front == kind {
            paint.selected()
        } else {
            paint.aside()
        };
        spans.push(Span::styled(format!(" {name} {} ", list.len()), style));
    }
    let list = state.list();
    let (head, largest_first) = list.sorted_by();
    let arrow = if largest_first { '▼' } else { '▲' };
    spans.push(Span::raw(format!("  by {head} {arrow}")));
    if !state.filter.is_empty() {
        spans.push(Span::styled(
            format!("  filter \"{}\": {} shown", state.filter, list.count()),
            paint.bad(),
        ));
    }
    Line::from(spans)
}

/// The columns for which the terminal is wide enough, each with its index, and where they are.
struct Columns {
    shown: Vec<(usize, &'static Column)>,
    areas: Vec<Rect>,
}

impl Columns {
    fn of(list: &List, area: Rect) -> Self {
        let all = list.kind.columns().iter().enumerate();
        let shown: Vec<_> = all.filter(|(_, column)| column.from <= area.width).collect();
        let widths = shown.iter().map(|(_, column)| match column.width {
            0 => Constraint::Fill(1),
            width => Constraint::Length(width),
        });
        let areas = Layout::horizontal(widths).spacing(1).split(area).to_vec();
        Self { shown, areas }
    }

    fn heads(&self, frame: &mut Frame, list: &List, paint: Colours) {
        let first = list.rows().next();
        for ((index, column), area) in self.shown.iter().zip(&self.areas) {
            let is_number = first.and_then(|row| row.cells.get(*index)).is_some_and(Cell::is_number);
            let head = Line::styled(column.head, paint.head());
            frame.render_widget(if is_number { head.right_aligned() } else { head }, *area);
        }
    }

    fn row(&self, frame: &mut Frame, area: Rect, row: &Row, state: &State) {
        for ((index, _), column) in self.shown.iter().zip(&self.areas) {
            let Some(cell) = row.cells.get(*index) else { continue };
            let words = Line::raw(cell.shown(state.now));
            let words = if cell.is_number() { words.right_aligned() } else { words };
            frame.render_widget(
                words,
                Rect {
                    x: column.x,
                    width: column.width,
                    ..area
                },
            );
        }
    }
}

/// The newest at the bottom.
pub(super) fn decisions(frame: &mut Frame, area: Rect, state: &State, paint: Colours) {
    let mut title = vec![Span::styled("DECISIONS", paint.head())];
    if let Some(words) = &state.trouble.unheard {
        title.push(Span::styled(
            format!("  not followed: {words}; trying again"),
            paint.bad(),
        ));
    }
    frame.render_widget(Line::from(title), line(area, 0));
    let filter = state.filter.to_lowercase();
    let room = usize::from(area.height.saturating_sub(1));
    let newest = state.lines.iter().rev().filter(|line| line.matches(&filter)).take(room);
    let shown: Vec<_> = newest.collect();
    for (index, told) in (1..).zip(shown.into_iter().rev()) {
        frame.render_widget(told_line(told, paint), line(area, index));
    }
}

fn told_line(told: &decision::Line, paint: Colours) -> Line<'_> {
    let decision = match told {
        decision::Line::Missed(count) => {
            return Line::styled(
                format!("(missed {count} events: they came faster than they were read)"),
                paint.bad(),
            );
        }
        decision::Line::Decision(decision) => decision,
    };
    let Decision {
        time,
        verdict,
        user,
        target,
        why,
        ..
    } = decision;
    let style = match verdict.as_str() {
        "allow" | "rewrite" => paint.good(),
        _ => paint.bad(),
    };
    Line::from(vec![
        Span::styled(format!("{time} "), paint.aside()),
        Span::styled(format!("{verdict:<7} "), style),
        Span::raw(format!("{user} {target} {why}")),
    ])
}
