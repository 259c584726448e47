//! The status channels of a user's sessions, which follow the decisions for that user.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Decided, Event, Subject};
use crate::request::ForwardRequest;

/// What a status channel shows.
pub enum News {
    /// A decision.
    Decided(Box<Decision>),
    /// Something of the user's was closed, and why.
    Closed(String),
}

/// One decision.
pub struct Decision {
    /// The session that asked.
    pub session: String,
    /// Where its client is.
    pub client: SocketAddr,
    /// What was decided.
    pub decided: Decided,
    /// The audit log's `forward`.
    pub forward: String,
}

/// The status channels of all users. Cheap to clone.
#[derive(Clone, Default)]
pub struct Followers(Arc<Channels>);

#[derive(Default)]
struct Channels {
    /// How many follow, so that a decision that none follows costs nothing.
    all: AtomicUsize,
    users: Mutex<HashMap<String, broadcast::Sender<Arc<News>>>>,
}

/// What is decided for one user from now on.
pub struct Following {
    user: String,
    news: broadcast::Receiver<Arc<News>>,
    followers: Followers,
}

impl Followers {
    /// Follows what is decided for this user.
    #[must_use]
    pub fn follow(&self, user: &str) -> Following {
        let mut users = self.0.lock();
        self.0.all.fetch_add(1, Ordering::Relaxed);
        let channel = users
            .entry(user.to_owned())
            .or_insert_with(|| broadcast::channel(NEWS).0);
        Following {
            user: user.to_owned(),
            news: channel.subscribe(),
            followers: self.clone(),
        }
    }

    /// Tells those who follow the user whom a decision is about. What is judged again without being asked for is no news.
    pub(super) fn hear(&self, subject: &Subject, event: &Event) {
        let Event::ForwardDecided(decided) = event else {
            return;
        };
        if self.0.all.load(Ordering::Relaxed) == 0 || decided.again.is_some() {
            return;
        }
        let (Some(user), Some(session), Some(client)) = (&subject.user, &subject.session, subject.client) else {
            return;
        };
        if let Some(channel) = self.0.lock().get(user) {
            let decision = Decision {
                session: session.clone(),
                client,
                decided: Decided::clone(decided),
                forward: subject.forward.clone().unwrap_or_default(),
            };
            let _ = channel.send(Arc::new(News::Decided(Box::new(decision))));
        }
    }

    /// Tells those who follow this user that something of theirs is closed, and why.
    pub(crate) fn say_closed(&self, request: &ForwardRequest, why: &str) {
        if self.0.all.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(channel) = self.0.lock().get(&request.principal.user) {
            let what = format!("{} {}", request.action.as_str(), request.requested);
            let _ = channel.send(Arc::new(News::Closed(format!("{what}: {why}"))));
        }
    }
}

impl Following {
    /// The next decision. Cancel-safe.
    ///
    /// # Errors
    /// How many were missed, where they came too fast.
    pub async fn next(&mut self) -> Result<Arc<News>, RecvError> {
        self.news.recv().await
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut users = self.followers.0.lock();
        self.followers.0.all.fetch_sub(1, Ordering::Relaxed);
        // This one still counts.
        if users
            .get(&self.user)
            .is_some_and(|channel| channel.receiver_count() <= 1)
        {
            users.remove(&self.user);
        }
    }
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Arc<News>>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decisions that a slow status channel may fall behind.
const NEWS: usize = 64;
