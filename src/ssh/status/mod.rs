//! The status that a plain `ssh host` shows: the user, what is open, and each decision as it happens, in all their sessions. On a
//! terminal the last line has the rates, and Enter shows them for each tunnel.

mod meter;

use std::fmt::Write;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use russh::ChannelId;
use russh::server::Handle;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use meter::Meter;

use super::channel::{Incoming, Outgoing};
use crate::events::{Decision, Events, News};
use crate::rates::size;
use crate::relay::{Inbound, Sink, Source};
use crate::request::{Action, VerdictWord, printable};
use crate::sessions::{Forward, Session, Sessions};

/// One status channel.
pub(super) struct View {
    pub(super) session: Arc<Session>,
    pub(super) sessions: Sessions,
    pub(super) events: Events,
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
    /// The client has a terminal in raw mode, of so many columns: lines end in CR LF, and Ctrl-C arrives as a byte.
    pub(super) terminal: Option<Columns>,
}

/// How wide a terminal is; the client says so whenever that changes. 0: it is not known.
pub(super) type Columns = Arc<AtomicU32>;

/// What the user does at the keyboard.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// Cancelled by Ctrl-C, Ctrl-D and the end of the input.
    pub(super) left: CancellationToken,
    /// Enter was pressed.
    pub(super) entered: Arc<Notify>,
}

impl View {
    /// Shows until the user leaves or the session ends.
    pub(super) async fn show(self, keys: Keys, mut screen: Outgoing) {
        let _in_use = self.session.in_use();
        let mut news = self.events.followers().follow(&self.session.user);
        let (began, mut meter) = (Instant::now(), Meter::default());
        let (mut below, mut listed) = (String::new(), None::<Instant>);
        let mut seconds = interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Keys { left, entered } = keys;
        let mut text = self.greeting();
        loop {
            let mut shown = self.shown(&text, &mut meter, &below).into();
            let leaves = tokio::select! {
                sent = screen.data(&mut shown) => !sent,
                () = left.cancelled() => true,
            };
            if leaves {
                break;
            }
            text = tokio::select! {
                // A user may have thousands of tunnels, and many terminals: they are counted and listed once a second in each, however
                // often something is decided or Enter is pressed.
                _ = seconds.tick(), if self.terminal.is_some() => {
                    below = self.counted(&mut meter, began.elapsed());
                    String::new()
                }
                () = entered.notified() => match listed.is_none_or(|listed| listed.elapsed() >= SECOND) {
                    true => {
                        listed = Some(Instant::now());
                        self.open_now(&Rated::Yes)
                    }
                    false => String::new(),
                },
                next = news.next() => match next {
                    Ok(next) => self.line(&next),
                    Err(RecvError::Lagged(missed)) => format!("({missed} decisions are not shown)\n"),
                    Err(RecvError::Closed) => break,
                },
                () = left.cancelled() => break,
                _ = self.session.stop.ended() => break,
            };
        }
        let mut last = meter.over("", String::new()).into();
        // A client that takes nothing any more is not waited for.
        let _ = timeout(SECOND, screen.data(&mut last)).await;
        let _ = self.handle.exit_status_request(self.channel, 0).await;
        screen.eof().await;
        screen.close().await;
    }

    /// What to send for these lines: on a terminal with the last line below them.
    fn shown(&self, text: &str, meter: &mut Meter, below: &str) -> String {
        let end = if self.terminal.is_some() { "\r\n" } else { "\n" };
        let lines: String = text.lines().map(|line| printable(line, MAX_LINE) + end).collect();
        match self.terminal {
            Some(_) => meter.over(&lines, below.to_owned()),
            None => lines,
        }
    }

    /// The last line of the terminal.
    fn counted(&self, meter: &mut Meter, at: Duration) -> String {
        let columns = self
            .terminal
            .as_ref()
            .map_or(0, |columns| columns.load(Ordering::Relaxed));
        let columns = match columns {
            0 => USUAL_COLUMNS,
            columns => usize::try_from(columns).unwrap_or(USUAL_COLUMNS).min(MAX_LINE),
        };
        meter.line(at, self.sessions.share_of(&self.session.user), columns)
    }

    fn greeting(&self) -> String {
        let principal = self.session.principal();
        let mut text = format!(
            "portreeve {}: this server only forwards ports.\n",
            env!("CARGO_PKG_VERSION")
        );
        let _ = write!(text, "You are {}", printable(&principal.user, MAX_LINE));
        if !principal.groups.is_empty() {
            let _ = write!(text, " ({})", printable(&principal.groups.join(", "), MAX_LINE));
        }
        let _ = write!(text, ", by {}", principal.credential.method);
        if let Some(fingerprint) = &principal.credential.fingerprint {
            let _ = write!(text, " {fingerprint}");
        }
        let _ = writeln!(text, ".");
        text.push_str(&self.open_now(&Rated::No));
        text.push_str(match self.terminal {
            Some(_) => "Decisions follow; press Enter for what is open and its rates, Ctrl-C to leave.\n",
            None => "Decisions follow; press Ctrl-C to leave.\n",
        });
        text
    }

    /// What the user has open in all sessions, in the order of opening.
    fn open_now(&self, rated: &Rated) -> String {
        let mut open = self.sessions.forwards_of(&self.session.user);
        if open.is_empty() {
            return "Nothing is open.\n".to_owned();
        }
        open.sort_by(|one, other| one.request.id.cmp(&other.request.id));
        let mut text = String::new();
        for forward in open.iter().take(MOST_OPEN) {
            text.push_str(&self.open_line(forward, rated));
        }
        if let more @ 1.. = open.len().saturating_sub(MOST_OPEN) {
            let _ = writeln!(text, "and {more} more");
        }
        text
    }

    fn open_line(&self, forward: &Forward, rated: &Rated) -> String {
        let request = &forward.request;
        let requested = printable(&request.requested.to_string(), MAX_LINE);
        let mut text = format!("open: {} {requested}", request.action.as_str());
        if forward.effective != request.target {
            let _ = write!(text, " -> {}", forward.effective);
        }
        if let (Rated::Yes, Action::Connect | Action::Accept) = (rated, request.action) {
            let (up, down) = forward.bytes.both();
            let _ = write!(text, ", up {}, down {}", size(up), size(down));
            if let Some((up, down)) = forward.rate(Instant::now()) {
                let _ = write!(text, ", now {}/s and {}/s", size(up), size(down));
            }
        }
        if request.connection.id != self.session.connection.id {
            let _ = write!(text, " (another session, from {})", request.connection.client);
        }
        text.push('\n');
        text
    }

    fn line(&self, news: &News) -> String {
        match news {
            News::Decided(decision) => self.decision(decision),
            News::Closed(words) => format!("closed: {}\n", printable(words, MAX_LINE)),
        }
    }

    fn decision(&self, news: &Decision) -> String {
        let decided = &news.decided;
        let word = match decided.verdict {
            VerdictWord::Allow => "allowed",
            VerdictWord::Deny => "refused",
            VerdictWord::Rewrite => "rewritten",
            VerdictWord::Failed => "undecided",
        };
        let requested = printable(&decided.requested.to_string(), MAX_LINE);
        let mut text = format!("{word}: {} {requested}", decided.action.as_str());
        if let Some(effective) = &decided.effective {
            let _ = write!(text, " -> {effective}");
        }
        if let Some(sentence) = &decided.told {
            let _ = write!(text, ": {}", printable(sentence, MAX_LINE));
        }
        let _ = write!(text, " [ref {}]", news.forward);
        if let Some(repeated) = decided.repeated {
            let _ = write!(text, " ({repeated} times)");
        }
        if news.session != self.session.connection.id {
            let _ = write!(text, " (another session, from {})", news.client);
        }
        text.push('\n');
        text
    }
}

/// Takes what the client types until the channel closes.
pub(super) async fn watch_keys(mut typed: Incoming, keys: Keys) {
    let _closed = keys.left.clone().drop_guard();
    while let Some(inbound) = poll_fn(|context| typed.poll_next(context)).await {
        match inbound {
            Inbound::Data(bytes) if !bytes.iter().any(|byte| matches!(byte, 3 | 4)) => {
                if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                    keys.entered.notify_one();
                }
            }
            _ => keys.left.cancel(),
        }
    }
}

/// Whether what is open is listed with its rates.
enum Rated {
    Yes,
    No,
}

const MAX_LINE: usize = 1024;
/// A longer list is of no use to a person.
const MOST_OPEN: usize = 200;
/// Of a terminal that does not say how wide it is.
const USUAL_COLUMNS: usize = 80;
const SECOND: Duration = Duration::from_secs(1);
