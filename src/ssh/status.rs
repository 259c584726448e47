//! The status that a plain `ssh host` shows: the user, what is open, and each decision as it happens, in all their sessions.

use std::fmt::Write;
use std::future::poll_fn;
use std::sync::Arc;

use russh::ChannelId;
use russh::server::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::channel::{Incoming, Outgoing};
use crate::events::{Decision, Events, News};
use crate::relay::{Inbound, Sink, Source};
use crate::request::{VerdictWord, printable};
use crate::sessions::{Session, Sessions};

/// One status channel.
pub(super) struct View {
    pub(super) session: Arc<Session>,
    pub(super) sessions: Sessions,
    pub(super) events: Events,
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
    /// The client has a terminal in raw mode: lines end in CR LF, and Ctrl-C arrives as a byte.
    pub(super) terminal: bool,
}

impl View {
    /// Shows until the user leaves or the session ends.
    pub(super) async fn show(self, left: CancellationToken, mut screen: Outgoing) {
        let _in_use = self.session.in_use();
        let mut news = self.events.followers().follow(&self.session.user);
        let mut text = self.greeting();
        loop {
            let end = if self.terminal { "\r\n" } else { "\n" };
            let lines = text.lines().map(|line| printable(line, MAX_LINE) + end);
            let shown: String = lines.collect();
            let mut shown = shown.into();
            let leaves = tokio::select! {
                sent = screen.data(&mut shown) => !sent,
                () = left.cancelled() => true,
            };
            if leaves {
                break;
            }
            text = tokio::select! {
                next = news.next() => match next {
                    Ok(next) => self.line(&next),
                    Err(RecvError::Lagged(missed)) => format!("({missed} decisions are not shown)\n"),
                    Err(RecvError::Closed) => break,
                },
                () = left.cancelled() => break,
                _ = self.session.stop.ended() => break,
            };
        }
        let _ = self.handle.exit_status_request(self.channel, 0).await;
        screen.eof().await;
        screen.close().await;
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
        let open = self.sessions.forwards_of(&principal.user);
        if open.is_empty() {
            text.push_str("Nothing is open.\n");
        }
        for forward in open {
            let request = &forward.request;
            let requested = printable(&request.requested.to_string(), MAX_LINE);
            let _ = write!(text, "open: {} {requested}", request.action.as_str());
            if forward.effective != request.target {
                let _ = write!(text, " -> {}", forward.effective);
            }
            if request.connection.id != self.session.connection.id {
                let _ = write!(text, " (another session, from {})", request.connection.client);
            }
            text.push('\n');
        }
        text.push_str("Decisions follow; press Ctrl-C to leave.\n");
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

/// Takes what the client types until the channel closes; `left` is cancelled by Ctrl-C, Ctrl-D and
/// the end of its input.
pub(super) async fn wait_for_leaving(mut keys: Incoming, left: CancellationToken) {
    let _closed = left.clone().drop_guard();
    while let Some(inbound) = poll_fn(|context| keys.poll_next(context)).await {
        match inbound {
            Inbound::Data(bytes) if !bytes.iter().any(|byte| matches!(byte, 3 | 4)) => {}
            _ => left.cancel(),
        }
    }
}

const MAX_LINE: usize = 1024;
