//! An open login: its user and what they may forward now, checked again whenever that may have changed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Accounts, Admitted, NotIn, Proof, Refused};
use crate::auth::ForwardLimits;
use crate::request::Principal;

/// An open session's claim to be let in, and what it gives at present.
///
/// A login proves once that a client holds a key or knows a password. What follows from that is for the configuration and
/// the key files to say, and they change: this keeps what is needed to ask them again.
pub struct Standing {
    user: String,
    client: IpAddr,
    proof: Proof,
    rights: ArcSwap<Rights>,
    /// Whether the last answer was none.
    in_doubt: AtomicBool,
    /// Whether open tunnels and listeners must be judged again because the login now gives other rights. A new request may be the
    /// first to find that out.
    unjudged: AtomicBool,
    /// One at a time reads the files.
    asking: Mutex<()>,
}

/// What a login gives, as of one answer of the accounts.
pub struct Rights {
    /// Who.
    pub principal: Arc<Principal>,
    /// What may be forwarded, before any policy is asked.
    pub limits: Arc<ForwardLimits>,
    /// From when on the key or certificate is void.
    until: Option<Timestamp>,
    given_by: Weak<Accounts>,
}

/// What came of asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// The user may still log in. True if that now gives something else than before.
    Stands(bool),
    /// The user may no longer log in, and why.
    Gone(Refused),
    /// That cannot be found out at the moment, and why.
    Unsure(String),
}

/// Whether somebody else's answer will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once {
    Enough,
    More,
}

impl Standing {
    /// Of a user who has just logged in from `client`, as `given_by` says.
    #[must_use]
    pub fn new(admitted: Admitted, client: IpAddr, given_by: Weak<Accounts>) -> Self {
        let Admitted {
            principal,
            limits,
            until,
            proof,
        } = admitted;
        Self {
            user: principal.user.clone(),
            client,
            proof,
            rights: ArcSwap::from_pointee(Rights {
                principal: Arc::new(principal),
                limits: Arc::new(limits),
                until,
                given_by,
            }),
            in_doubt: AtomicBool::new(false),
            unjudged: AtomicBool::new(false),
            asking: Mutex::new(()),
        }
    }

    /// Whether it could not be found out, when it was last asked, if the user may still log in.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// Whether open tunnels and listeners of this login must be judged again, because it gives other rights now.
    #[must_use]
    pub fn is_to_be_judged(&self) -> bool {
        self.unjudged.load(Ordering::Relaxed)
    }

    /// The same, and clears it: the caller judges them.
    pub fn takes_up_judging(&self) -> bool {
        self.unjudged.swap(false, Ordering::AcqRel)
    }

    /// What the login gave when the accounts were last asked.
    #[must_use]
    pub fn rights(&self) -> Arc<Rights> {
        self.rights.load_full()
    }

    /// Whether that answer came from these accounts and has not expired.
    #[must_use]
    pub fn is_current(&self, accounts: &Arc<Accounts>) -> bool {
        let rights = self.rights.load();
        std::ptr::eq(rights.given_by.as_ptr(), Arc::as_ptr(accounts)) && !rights.is_over()
    }

    /// Asks again unless the last answer [is current](Self::is_current).
    pub async fn ask(self: &Arc<Self>, accounts: &Arc<Accounts>) -> Recheck {
        if self.is_current(accounts) {
            return Recheck::Stands(false);
        }
        self.ask_in_turn(accounts, Once::Enough).await
    }

    /// Asks again. Only an answer that the user may log in changes what the login gives.
    pub async fn ask_again(self: &Arc<Self>, accounts: &Arc<Accounts>) -> Recheck {
        self.ask_in_turn(accounts, Once::More).await
    }

    /// No longer than [`PATIENCE`], however many ask.
    async fn ask_in_turn(self: &Arc<Self>, accounts: &Arc<Accounts>, once: Once) -> Recheck {
        let asked = timeout(PATIENCE, async {
            let _turn = self.asking.lock().await;
            // Whoever had the turn before may have asked the same.
            if once == Once::Enough && self.is_current(accounts) {
                return Recheck::Stands(false);
            }
            let standing = Arc::clone(self);
            let answer = accounts
                .ask(&self.user, move |accounts| standing.answer(accounts))
                .await;
            self.note(answer.unwrap_or_else(|words| Err(NotIn::Unsure(words))), accounts)
        });
        let late = || NotIn::Unsure("reading the key files timed out".to_owned());
        asked.await.unwrap_or_else(|_| self.note(Err(late()), accounts))
    }

    fn note(&self, answer: Result<Admitted, NotIn>, accounts: &Arc<Accounts>) -> Recheck {
        self.in_doubt
            .store(matches!(answer, Err(NotIn::Unsure(_))), Ordering::Relaxed);
        match answer {
            Ok(admitted) => Recheck::Stands(self.renew(admitted, accounts)),
            Err(NotIn::Refused(reason)) => Recheck::Gone(reason),
            Err(NotIn::Unsure(reason)) => Recheck::Unsure(reason),
        }
    }

    fn answer(&self, accounts: &Accounts) -> Result<Admitted, NotIn> {
        accounts.judge(&self.user, &self.proof, self.client)
    }

    /// True if it gives something else than before. What is the same stays in its place, so that it can be recognised.
    fn renew(&self, admitted: Admitted, accounts: &Arc<Accounts>) -> bool {
        let old = self.rights();
        let same_principal = *old.principal == admitted.principal;
        let same_limits = *old.limits == admitted.limits;
        self.rights.store(Arc::new(Rights {
            principal: match same_principal {
                true => Arc::clone(&old.principal),
                false => Arc::new(admitted.principal),
            },
            limits: match same_limits {
                true => Arc::clone(&old.limits),
                false => Arc::new(admitted.limits),
            },
            until: admitted.until,
            given_by: Arc::downgrade(accounts),
        }));
        let changed = !same_principal || !same_limits;
        if changed {
            self.unjudged.store(true, Ordering::Release);
        }
        changed
    }
}

impl Rights {
    /// Whether the key or certificate has expired since.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
    }
}

/// How long key files may take to be read, as on a file server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
