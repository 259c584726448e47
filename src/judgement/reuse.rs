//! Verdicts that a policy lets the connection use again, so that it is not asked each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::{Generation, PolicyRef};
use crate::request::{Action, Endpoint, ForwardRequest, Principal, Requested, Verdict};

/// The verdicts of one connection that its policy lets be used again (`reuse-seconds`).
///
/// A request is equal to an earlier one when everything is that the policy could see, apart from its
/// id, its time and the port of its originator, which clients choose at random for each connection;
/// what is equal for the whole connection (the client) is no part of the key.
/// A swap makes every verdict unusable, because it belongs to another generation; so does a change
/// of what the policy is told of the user.
#[derive(Default)]
pub struct Verdicts(Mutex<HashMap<Key, Reusable>>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    action: Action,
    target: Endpoint,
    requested: Requested,
    originator: Option<IpAddr>,
}

struct Reusable {
    answer: PolicyAnswer,
    generation: Arc<Generation>,
    principal: Arc<Principal>,
    until: Instant,
}

/// What the policy said, and the names that it was told.
#[derive(Clone)]
pub(super) struct PolicyAnswer {
    pub(super) verdict: Verdict,
    pub(super) policy: Option<PolicyRef>,
    pub(super) names: Vec<(String, Vec<IpAddr>)>,
}

impl Verdicts {
    pub(super) fn find(&self, asked: &ForwardRequest, generation: &Arc<Generation>) -> Option<PolicyAnswer> {
        let key = Key::of(asked);
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(&key)?;
        let usable = found.until > Instant::now()
            && Arc::ptr_eq(&found.generation, generation)
            && Arc::ptr_eq(&found.principal, &asked.principal);
        usable.then(|| found.answer.clone())
    }

    pub(super) fn keep(
        &self,
        asked: &ForwardRequest,
        generation: &Arc<Generation>,
        answer: PolicyAnswer,
        seconds: u32,
    ) {
        let now = Instant::now();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, one| one.until > now && Arc::ptr_eq(&one.generation, generation));
        }
        if kept.len() < MOST {
            let until = now + Duration::from_secs(u64::from(seconds));
            let generation = Arc::clone(generation);
            let principal = Arc::clone(&asked.principal);
            kept.insert(
                Key::of(asked),
                Reusable {
                    answer,
                    generation,
                    principal,
                    until,
                },
            );
        }
    }
}

impl Key {
    fn of(request: &ForwardRequest) -> Self {
        Self {
            action: request.action,
            target: request.target.clone(),
            requested: request.requested.clone(),
            originator: request.originator.map(|originator| originator.ip()),
        }
    }
}

/// Verdicts that one connection may keep.
const MOST: usize = 256;
