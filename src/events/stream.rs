//! The stream itself: carries each fact from its source to all listeners.

use std::sync::Arc;

use super::line::line;
use super::{Event, Followers, Live, Subject, log};
use crate::audit::{Audit, Haste, Written};

/// Where facts are announced. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Listeners>);

struct Listeners {
    audit: Audit,
    live: Live,
    followers: Followers,
    others: Vec<Box<dyn Listener>>,
}

/// A listener that the gateway adds.
pub trait Listener: Send + Sync {
    /// Hears a fact. It must not wait.
    fn hear(&self, subject: &Subject, event: &Event);
}

impl Events {
    /// A stream that this log and these others listen to.
    #[must_use]
    pub fn new(audit: Audit, others: Vec<Box<dyn Listener>>) -> Self {
        Self(Arc::new(Listeners {
            audit,
            live: Live::default(),
            followers: Followers::default(),
            others,
        }))
    }

    /// Announces a fact, without waiting for any of those who listen.
    pub fn emit(&self, subject: &Subject, event: &Event) {
        if let Some(line) = self.announce(subject, event) {
            self.0.audit.write(line, haste(event));
        }
    }

    /// The same; the answer tells when it is in the audit log.
    #[must_use]
    pub fn emit_surely(&self, subject: &Subject, event: &Event) -> Written<'_> {
        match self.announce(subject, event) {
            Some(line) => self.0.audit.write_surely(line, haste(event)),
            None => self.0.audit.unwritten(),
        }
    }

    fn announce(&self, subject: &Subject, event: &Event) -> Option<Vec<u8>> {
        log::tell(subject, event);
        self.0.followers.hear(subject, event);
        for other in &self.0.others {
            other.hear(subject, event);
        }
        match line(subject, event) {
            Ok(line) => {
                self.0.live.hear(subject, event, &line);
                Some(line)
            }
            Err(error) => {
                tracing::error!(%error, "an event cannot be written");
                None
            }
        }
    }

    /// The audit log, for what is asked of it besides its lines.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// The stream for administrators.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// The status channels of users.
    #[must_use]
    pub fn followers(&self) -> &Followers {
        &self.0.followers
    }
}

/// What was refused or changed is written at once; what went as permitted may wait for the next line.
fn haste(event: &Event) -> Haste {
    match event {
        Event::AuthSucceeded(_) | Event::TunnelOpened { .. } | Event::TunnelClosed(_) | Event::SessionClosed { .. } => {
            Haste::MayWait
        }
        _ => Haste::AtOnce,
    }
}
