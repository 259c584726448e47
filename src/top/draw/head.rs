//! The header: the gateway, what is open, how fast it goes, and its policies.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::layout::FACTS;
use super::{Colours, line};
use crate::rates;
use crate::top::facts::Policy;
use crate::top::row::age;
use crate::top::state::State;

pub(super) fn draw(frame: &mut Frame, area: Rect, state: &State, paint: Colours) {
    let mut lines = vec![
        gateway(state, paint),
        counts(state, paint),
        rates(state, area.width, paint),
    ];
    lines.extend(policies(state, usize::from(area.height.saturating_sub(FACTS)), paint));
    for (index, words) in (0..).zip(lines) {
        frame.render_widget(words, line(area, index));
    }
}

/// Which gateway, where and since when; or that it does not answer.
fn gateway(state: &State, paint: Colours) -> Line<'_> {
    let status = &state.status;
    let mut spans = vec![Span::styled(format!("portreeve {}", status.version), paint.head())];
    if let Some((since, words)) = &state.trouble.gone {
        let words = format!("  NO ANSWER for {}: {words}; trying again", age(*since, state.now));
        spans.push(Span::styled(words, paint.bad()));
        return Line::from(spans);
    }
    if state.pause.is_some() {
        spans.push(Span::styled("  PAUSED", paint.bad()));
    }
    if status.draining {
        spans.push(Span::styled("  DRAINING", paint.bad()));
    }
    if let Some(started) = status.started {
        spans.push(Span::raw(format!("  up {}", age(started, state.now))));
    }
    spans.push(Span::raw(format!("  listens on {}", status.listen.join(", "))));
    Line::from(spans)
}

fn counts(state: &State, paint: Colours) -> Line<'_> {
    let status = &state.status;
    let counts = format!(
        "  sessions {}  tunnels {}  listeners {}  buffered {}",
        status.sessions,
        status.tunnels,
        status.listeners,
        rates::size(status.buffered)
    );
    let audit = match status.audit {
        Some((true, 0)) => Span::styled("writable", paint.good()),
        Some((true, waiting)) => Span::raw(format!("writable, {waiting} lines waiting")),
        Some((false, waiting)) => Span::styled(format!("CANNOT BE WRITTEN, {waiting} lines waiting"), paint.bad()),
        None => Span::raw("unknown"),
    };
    Line::from(vec![Span::raw("audit log "), audit, Span::raw(counts)])
}

/// The rate of all, and the last minute of it in what is left of the line.
fn rates(state: &State, width: u16, paint: Colours) -> Line<'_> {
    let words = match state.rates.total() {
        Some((up, down)) => format!("up {}/s  down {}/s  ", rates::size(up), rates::size(down)),
        None => "up -  down -  ".to_owned(),
    };
    // The bars stay in place while the numbers change.
    let words = format!("{words:<36}");
    let room = usize::from(width).saturating_sub(words.chars().count());
    let bars = state.rates.bars(room);
    Line::from(vec![Span::raw(words), Span::styled(bars, paint.good())])
}

fn policies(state: &State, room: usize, paint: Colours) -> Vec<Line<'_>> {
    let all = &state.status.policies;
    if all.is_empty() {
        return vec![Line::styled("no policy: every request is refused", paint.bad())];
    }
    let hidden = all.len().saturating_sub(room);
    let mut lines: Vec<_> = all.iter().take(room).map(policy).collect();
    if let (Some(last), 1..) = (lines.last_mut(), hidden) {
        last.push_span(Span::styled(format!("  and {hidden} more"), paint.aside()));
    }
    lines
}

fn policy(policy: &Policy) -> Line<'_> {
    let generation = policy
        .generation
        .as_ref()
        .map(|generation| format!(", generation {generation}"));
    let shadow = policy.shadow.as_ref().map(|shadow| format!(", shadow {shadow}"));
    Line::raw(format!(
        "policy {} {} sha256 {}{}{}",
        policy.plugin,
        policy.version,
        policy.digest,
        generation.unwrap_or_default(),
        shadow.unwrap_or_default()
    ))
}
