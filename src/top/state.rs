//! What is known of the gateway, and what the user has chosen. It does no I/O: news and actions come in, requests go out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::decision::Line;
use super::facts::{Status, number, word};
use super::input::Action;
use super::list::{Kind, List};
use super::row::Row;
use crate::rates::Rates;
use crate::request::is_unseen;

/// All that a frame is drawn from.
pub(super) struct State {
    pub(super) status: Status,
    pub(super) tunnels: List,
    pub(super) sessions: List,
    /// The table that is shown.
    pub(super) front: Kind,
    pub(super) rates: Rates,
    /// The newest last.
    pub(super) lines: VecDeque<Line>,
    pub(super) mode: Mode,
    pub(super) filter: String,
    pub(super) pause: Option<Pause>,
    pub(super) trouble: Trouble,
    /// What became of the last request of the user.
    pub(super) note: Option<String>,
    /// The present, for ages.
    pub(super) now: Timestamp,
    /// Rows that the table has room for.
    pub(super) page: usize,
}

/// What keys mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Watch,
    Help,
    /// The filter is typed.
    Filter,
    /// The reason is typed for which something is closed.
    Confirm(Confirm),
}

/// What will be closed, as it was when the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirm {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// In words.
    pub(super) what: String,
    pub(super) reason: String,
}

/// Decisions that came during a pause.
#[derive(Debug, Default)]
pub(super) struct Pause {
    lines: VecDeque<Line>,
}

/// Why what is shown is old; empty if it is not.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Since when and why the gateway does not answer.
    pub(super) gone: Option<(Timestamp, String)>,
    /// Why decisions cannot be followed.
    pub(super) unheard: Option<String>,
}

/// What the gateway said, and what became of requests.
#[derive(Debug)]
pub(super) enum News {
    Snapshot(Box<Snapshot>),
    /// It does not answer, and why.
    Gone(String),
    Line(Line),
    /// Whether decisions are followed, or why not.
    Following(Result<(), String>),
    /// What was closed, or why nothing was.
    Closed(Result<String, String>),
}

/// Everything at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    /// The answer of `GET /v1/sessions`.
    pub(super) sessions: Value,
    /// The answer of `GET /v1/tunnels`.
    pub(super) tunnels: Value,
    /// Since any moment.
    pub(super) at: Duration,
}

/// What the user wants that others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Close { kind: Kind, id: String, reason: String },
}

impl State {
    pub(super) fn new(status: Status, now: Timestamp) -> Self {
        Self {
            status,
            tunnels: List::new(Kind::Tunnels),
            sessions: List::new(Kind::Sessions),
            front: Kind::Tunnels,
            rates: Rates::default(),
            lines: VecDeque::new(),
            mode: Mode::Watch,
            filter: String::new(),
            pause: None,
            trouble: Trouble::default(),
            note: None,
            now,
            page: 1,
        }
    }

    /// The table that is shown.
    pub(super) fn list(&self) -> &List {
        match self.front {
            Kind::Tunnels => &self.tunnels,
            Kind::Sessions => &self.sessions,
        }
    }

    fn list_mut(&mut self) -> &mut List {
        match self.front {
            Kind::Tunnels => &mut self.tunnels,
            Kind::Sessions => &mut self.sessions,
        }
    }

    /// The time goes on, unless it is paused.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.pause.is_none() {
            self.now = now;
        }
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Snapshot(snapshot) => {
                self.trouble.gone = None;
                if self.pause.is_none() {
                    self.take(*snapshot);
                }
            }
            News::Gone(words) => {
                let since = self.trouble.gone.take().map_or(self.now, |(since, _)| since);
                self.trouble.gone = Some((since, words));
            }
            News::Line(line) => keep(
                self.pause.as_mut().map_or(&mut self.lines, |pause| &mut pause.lines),
                line,
            ),
            News::Following(following) => self.trouble.unheard = following.err(),
            News::Closed(Ok(words) | Err(words)) => self.note = Some(words),
        }
    }

    fn take(&mut self, snapshot: Snapshot) {
        let Snapshot {
            status,
            sessions,
            tunnels,
            at,
        } = snapshot;
        let sessions = sessions.as_array().map(Vec::as_slice).unwrap_or_default();
        let tunnels = tunnels.as_array().map(Vec::as_slice).unwrap_or_default();
        let rates = self.rates.count(at, bytes(sessions));
        let rate = |session: &Value| rates.get(&word(session, "session")?).copied();
        let rows = sessions
            .iter()
            .filter_map(|session| Row::session(session, rate(session)));
        self.sessions.replace(rows.collect());
        self.tunnels.replace(tunnels.iter().filter_map(Row::tunnel).collect());
        self.status = status;
    }

    /// Does what a key asks for, as far as it can be done here.
    pub(super) fn act(&mut self, action: Action) -> Option<Request> {
        if !matches!(action, Action::Type(_) | Action::Erase | Action::EraseAll) {
            self.note = None;
        }
        match action {
            Action::Quit => return Some(Request::Quit),
            Action::Select(step) => {
                let page = self.page;
                self.list_mut().select(step, page);
            }
            Action::Switch => self.front = self.front.other(),
            Action::Sort => self.list_mut().sort_by_next(),
            Action::Reverse => self.list_mut().reverse(),
            Action::Help => self.mode = Mode::Help,
            Action::Filter => self.mode = Mode::Filter,
            Action::Close => self.ask_to_close(),
            Action::Pause => self.pause_or_go_on(),
            Action::Type(character) => self.edit(|words| words.push(character)),
            Action::Erase => self.edit(|words| {
                words.pop();
            }),
            Action::EraseAll => self.edit(String::clear),
            Action::Cancel => self.cancel(),
            Action::Accept => return self.accept(),
        }
        None
    }

    fn ask_to_close(&mut self) {
        let kind = self.front;
        match self.list().selected() {
            Some(row) => {
                self.mode = Mode::Confirm(Confirm {
                    kind,
                    id: row.id.clone(),
                    what: row.named(kind),
                    reason: String::new(),
                });
            }
            None => self.note = Some(format!("no {} is selected", kind.one())),
        }
    }

    fn pause_or_go_on(&mut self) {
        match self.pause.take() {
            None => self.pause = Some(Pause::default()),
            Some(pause) => pause.lines.into_iter().for_each(|line| keep(&mut self.lines, line)),
        }
    }

    /// Changes what is typed, if that has room and can be seen.
    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        let words = match &mut self.mode {
            Mode::Filter => &mut self.filter,
            Mode::Confirm(confirm) => &mut confirm.reason,
            Mode::Watch | Mode::Help => return,
        };
        let before = words.clone();
        change(words);
        if words.len() > MAX_TYPED || words.chars().any(is_unseen) {
            *words = before;
        }
        if self.mode == Mode::Filter {
            self.apply_filter();
        }
    }

    fn apply_filter(&mut self) {
        self.tunnels.filter(&self.filter);
        self.sessions.filter(&self.filter);
    }

    fn cancel(&mut self) {
        if self.mode == Mode::Filter {
            self.filter.clear();
            self.apply_filter();
        }
        self.mode = Mode::Watch;
    }

    fn accept(&mut self) -> Option<Request> {
        match std::mem::replace(&mut self.mode, Mode::Watch) {
            Mode::Confirm(confirm) if confirm.reason.trim().is_empty() => {
                self.note = Some("type a reason first, or Esc to leave it open".to_owned());
                self.mode = Mode::Confirm(confirm);
                None
            }
            Mode::Confirm(Confirm { kind, id, reason, .. }) => {
                self.note = Some("closing …".to_owned());
                Some(Request::Close { kind, id, reason })
            }
            _ => None,
        }
    }
}

fn bytes(sessions: &[Value]) -> HashMap<String, (u64, u64)> {
    let both = |session: &Value| (number(session, "bytes_up"), number(session, "bytes_down"));
    let named = sessions
        .iter()
        .filter_map(|session| Some((word(session, "session")?, both(session))));
    named.collect()
}

fn keep(lines: &mut VecDeque<Line>, line: Line) {
    lines.push_back(line);
    if lines.len() > MAX_LINES {
        lines.pop_front();
    }
}

/// Decisions that are kept; no terminal shows more.
const MAX_LINES: usize = 300;
/// Bytes of a filter or reason.
const MAX_TYPED: usize = 200;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
