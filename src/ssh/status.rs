//! What a plain `ssh host` shows: who you are, what is open, and each decision as it happens.

use std::fmt::Write;
use std::future::poll_fn;
use std::sync::Arc;

use russh::ChannelId;
use russh::server::Handle;
use tokio::sync::broadcast::error::RecvError;

use super::channel::{Incoming, Outgoing};
use crate::audit::VerdictWord;
use crate::forwarder::{News, Visit};
use crate::registry::Registry;
use crate::relay::{Inbound, Sink, Source};

/// One status channel.
pub(super) struct View {
    pub(super) visit: Arc<Visit>,
    pub(super) registry: Registry,
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
    /// The client has a terminal in raw mode: lines end in CR LF, and Ctrl-C arrives as a byte.
    pub(super) terminal: bool,
}

impl View {
    /// Shows until the user leaves or the session ends.
    pub(super) async fn show(self, mut keys: Incoming, mut screen: Outgoing) {
        let mut news = self.visit.news.subscribe();
        let mut text = self.greeting();
        loop {
            let end = if self.terminal { "\r\n" } else { "\n" };
            let shown = text.replace('\n', end);
            let leaves = tokio::select! {
                sent = screen.data(shown.into()) => !sent,
                () = left(&mut keys) => true,
            };
            if leaves {
                break;
            }
            text = tokio::select! {
                next = news.recv() => match next {
                    Ok(next) => line(&next),
                    Err(RecvError::Lagged(missed)) => format!("({missed} decisions are not shown)\n"),
                    Err(RecvError::Closed) => break,
                },
                () = left(&mut keys) => break,
                _ = self.visit.stop.ended() => break,
            };
        }
        let _ = self.handle.exit_status_request(self.channel, 0).await;
        screen.eof().await;
        screen.close().await;
    }

    fn greeting(&self) -> String {
        let principal = &self.visit.principal;
        let mut text = format!(
            "portreeve {}: ports are forwarded, nothing else.\n",
            env!("CARGO_PKG_VERSION")
        );
        let _ = write!(text, "You are {}", principal.user);
        if !principal.groups.is_empty() {
            let _ = write!(text, " ({})", principal.groups.join(", "));
        }
        let _ = write!(text, ", by {}", principal.credential.method);
        if let Some(fingerprint) = &principal.credential.fingerprint {
            let _ = write!(text, " {fingerprint}");
        }
        let _ = writeln!(text, ".");
        let open = self.registry.forwards_of(&self.visit.connection.id);
        if open.is_empty() {
            text.push_str("Nothing is open.\n");
        }
        for forward in open {
            let request = &forward.request;
            let _ = write!(text, "open: {} {}", request.action.as_str(), request.requested);
            if forward.effective != request.target {
                let _ = write!(text, " -> {}", forward.effective);
            }
            text.push('\n');
        }
        text.push_str("Decisions follow; Ctrl-C leaves.\n");
        text
    }
}

fn line(news: &News) -> String {
    let decided = &news.decided;
    let word = match decided.verdict {
        VerdictWord::Allow => "allowed",
        VerdictWord::Deny => "refused",
        VerdictWord::Rewrite => "rewritten",
        VerdictWord::Failed => "undecided",
    };
    let mut text = format!("{word}: {} {}", decided.action.as_str(), decided.requested);
    if let Some(effective) = &decided.effective {
        let _ = write!(text, " -> {effective}");
    }
    if let Some(sentence) = &news.sentence {
        let _ = write!(text, ": {sentence}");
    }
    let _ = writeln!(text, " [ref {}]", news.forward);
    text
}

/// Ctrl-C, Ctrl-D or the end of the client's input.
async fn left(keys: &mut Incoming) {
    loop {
        match poll_fn(|context| keys.poll_next(context)).await {
            Some(Inbound::Data(bytes)) if !bytes.iter().any(|byte| matches!(byte, 3 | 4)) => {}
            _ => return,
        }
    }
}
