//! Divides a limited number of places fairly between users.
//!
//! The number of places is limited, in all and for each user: a user may take another place while they hold fewer than are free,
//! times [`Shares`]' `weight`. A user who is alone gets a large part of all, several users get equal parts, and the last one to
//! come finds a place unless almost as many users as there are places hold some. A user at their limit waits for one of their
//! own places, and delays no other user.
//!
//! This is the dynamic threshold of Choudhury and Hahne, by which switches share the memory for packets among their ports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A bounded number of places, and who holds them.
pub struct Shares {
    weight: usize,
    state: Mutex<State>,
}

/// A place, given back when it is dropped.
pub struct Share {
    shares: Arc<Shares>,
    /// None once it was given back.
    user: Option<Arc<str>>,
}

struct State {
    free: usize,
    users: HashMap<Arc<str>, Holder>,
    /// The users who wait: first the one who holds the fewest, and of equals the one who asked first.
    line: BTreeSet<(usize, u64, Arc<str>)>,
    next: u64,
}

#[derive(Default)]
struct Holder {
    held: usize,
    /// In the order in which they came.
    queue: BTreeMap<u64, oneshot::Sender<Share>>,
    /// Where in the line the user is.
    in_line: Option<(usize, u64)>,
}

impl Shares {
    /// So many places. One user may hold `weight` times as many as are left free for all others.
    #[must_use]
    pub fn new(places: usize, weight: usize) -> Arc<Self> {
        Arc::new(Self {
            weight,
            state: Mutex::new(State {
                free: places,
                users: HashMap::new(),
                line: BTreeSet::new(),
                next: 0,
            }),
        })
    }

    /// A place, if this user may have one now.
    #[must_use]
    pub fn try_take(self: &Arc<Self>, user: &str) -> Option<Share> {
        let user = self.lock().take(user, self.weight)?;
        Some(self.share(user))
    }

    /// Waits for a place. Those of one user get theirs in the order in which they asked. Cancel-safe.
    pub async fn take(self: &Arc<Self>, user: &str) -> Share {
        let mut waits = {
            let mut state = self.lock();
            if let Some(user) = state.take(user, self.weight) {
                drop(state);
                return self.share(user);
            }
            state.wait(self, user)
        };
        match (&mut waits.given).await {
            Ok(share) => share,
            // The other end goes only with a place, or after this one.
            Err(_) => std::future::pending().await,
        }
    }

    fn share(self: &Arc<Self>, user: Arc<str>) -> Share {
        Share {
            shares: Arc::clone(self),
            user: Some(user),
        }
    }

    /// Takes a place back, and gives what is free to those who wait.
    fn give_back(self: &Arc<Self>, user: Arc<str>) {
        let mut returned = vec![user];
        while let Some(user) = returned.pop() {
            let mut state = self.lock();
            state.give_back(&user);
            let next = state.hand_out(self.weight);
            drop(state);
            for (waits, user) in next {
                if let Err(mut unwanted) = waits.send(self.share(user)) {
                    returned.extend(unwanted.user.take());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(user) = self.user.take() {
            self.shares.give_back(user);
        }
    }
}

impl State {
    /// A request does not overtake one of the same user that waits.
    fn take(&mut self, user: &str, weight: usize) -> Option<Arc<str>> {
        let most = self.most(weight);
        let may = |holder: &Holder| holder.held < most && holder.queue.is_empty();
        if !self.users.get(user).map_or(most > 0, may) {
            return None;
        }
        let user = self.known(user);
        self.users.entry(Arc::clone(&user)).or_default().held += 1;
        self.free -= 1;
        Some(user)
    }

    fn wait(&mut self, shares: &Arc<Shares>, user: &str) -> Waits {
        let (sender, given) = oneshot::channel();
        let user = self.known(user);
        let number = self.next;
        self.next += 1;
        let holder = self.users.entry(Arc::clone(&user)).or_default();
        holder.queue.insert(number, sender);
        self.line_up(&user);
        Waits {
            shares: Arc::clone(shares),
            user,
            number,
            given,
        }
    }

    fn give_back(&mut self, user: &Arc<str>) {
        self.free += 1;
        if let Some(holder) = self.users.get_mut(user) {
            holder.held -= 1;
        }
        self.line_up(user);
    }

    fn leave(&mut self, user: &Arc<str>, number: u64) {
        if let Some(holder) = self.users.get_mut(user) {
            holder.queue.remove(&number);
        }
        self.line_up(user);
    }

    /// Places for those who wait and may have one.
    fn hand_out(&mut self, weight: usize) -> Vec<(oneshot::Sender<Share>, Arc<str>)> {
        let mut given = Vec::new();
        while let Some((held, _, user)) = self.line.first().cloned() {
            // If the one who holds the fewest may not have one, no other user may.
            if held >= self.most(weight) {
                break;
            }
            let next = self.users.get_mut(&user).and_then(|holder| {
                let (_, waits) = holder.queue.pop_first()?;
                holder.held += 1;
                Some(waits)
            });
            let Some(waits) = next else {
                // Only those who wait are in the line.
                self.line.pop_first();
                continue;
            };
            self.free -= 1;
            given.push((waits, Arc::clone(&user)));
            self.line_up(&user);
        }
        given
    }

    /// A user who holds so many may take no further one now.
    fn most(&self, weight: usize) -> usize {
        self.free.saturating_mul(weight)
    }

    fn known(&self, user: &str) -> Arc<str> {
        let known = self.users.get_key_value(user);
        known.map_or_else(|| Arc::from(user), |(user, _)| Arc::clone(user))
    }

    /// Gives the user the right place in the line after a change, and forgets one who has nothing and wants nothing.
    fn line_up(&mut self, user: &Arc<str>) {
        let Some(holder) = self.users.get_mut(user) else {
            return;
        };
        let now = holder.queue.keys().next().map(|first| (holder.held, *first));
        let before = std::mem::replace(&mut holder.in_line, now);
        let is_gone = holder.held == 0 && holder.queue.is_empty();
        if before != now {
            if let Some((held, first)) = before {
                self.line.remove(&(held, first, Arc::clone(user)));
            }
            if let Some((held, first)) = now {
                self.line.insert((held, first, Arc::clone(user)));
            }
        }
        if is_gone {
            self.users.remove(user);
        }
    }
}

/// One who waits. Dropped, they no longer do, and what they were given meanwhile is given back.
struct Waits {
    shares: Arc<Shares>,
    user: Arc<str>,
    number: u64,
    given: oneshot::Receiver<Share>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.shares.lock().leave(&self.user, self.number);
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
