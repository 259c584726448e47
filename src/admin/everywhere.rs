//! What is said to all gateways of a fleet, or asked of them: the same as here, done by each.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ulid::Ulid;

use super::close::{Closing, close_here};
use super::filter::Wanted;
use super::lists::{filter, listed};
use super::locks::{lift_here, lock_out, named};
use super::peer::Administrator;
use super::routes::{Answer, Failed, MAX_REASON, json as shown, set};
use super::{Steered, publish};
use crate::fleet::{Answered, Fleet, Heard, Keep, Unavailable};
use crate::locks::Lock;
use crate::request::{clipped, printable};

/// What one gateway tells the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Lock(Lock),
    Unlock {
        user: String,
        at: Timestamp,
        by: Administrator,
    },
    Close {
        question: String,
        wanted: Wanted,
        reason: Option<String>,
        dry_run: bool,
        by: Administrator,
    },
    Show {
        question: String,
        what: What,
        wanted: Wanted,
    },
    /// Publish what happens to this stream, until it ends.
    Follow {
        stream: String,
        wanted: Wanted,
    },
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Status,
    Sessions,
    Tunnels,
    Listeners,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Sessions => "sessions",
            Self::Tunnels => "tunnels",
            Self::Listeners => "listeners",
        }
    }
}

/// Lists what all gateways have.
pub(super) async fn show<S: Steered>(gateway: &S, what: What, wanted: Wanted) -> Answer<Response> {
    // What is wrong is said here, and not by each.
    let wanted = match what {
        What::Sessions => wanted
            .only_sessions()
            .map_err(|words| Failed::new(StatusCode::BAD_REQUEST, words))?,
        _ => wanted,
    };
    filter(wanted.clone())?;
    let wanted = Wanted { fleet: false, ..wanted };
    let order = |question: &str| Order::Show {
        question: question.to_owned(),
        what,
        wanted,
    };
    let answered = ask(fleet(gateway)?, order).await?;
    Ok(shown(&gathered(answered, what.as_str())))
}

/// Closes what matches on all gateways.
pub(super) async fn close<S: Steered>(
    gateway: &S,
    wanted: Wanted,
    reason: Option<String>,
    dry_run: bool,
    by: &Administrator,
) -> Answer<Response> {
    let order = |question: &str| Order::Close {
        question: question.to_owned(),
        wanted,
        reason,
        dry_run,
        by: by.clone(),
    };
    let answered = ask(fleet(gateway)?, order).await?;
    let mut gathered = gathered(answered, "answers");
    // As of one gateway: the ids, which are unique over all.
    for key in ["closed", "sessions"] {
        let of_each = gathered.get("answers").and_then(Value::as_array).into_iter().flatten();
        let ids: Vec<Value> = of_each
            .filter_map(|one| one[key].as_array().cloned())
            .flatten()
            .collect();
        if key == "closed" || !ids.is_empty() {
            set(&mut gathered, key, ids);
        }
    }
    if let Some(all) = gathered.as_object_mut() {
        all.remove("answers");
    }
    Ok(shown(&gathered))
}

/// Locks a user out on all gateways; here they are locked out already.
pub(super) async fn lock<S: Steered>(gateway: &S, lock: &Lock) -> Answer<()> {
    // A gateway that knows an older lock from its own file needs this one for a while after its end.
    let left = lock.until.map(|until| until.duration_since(Timestamp::now()));
    let lasts = left.map(|left| Duration::try_from(left).unwrap_or_default() + MARKED);
    tell(fleet(gateway)?, &lock.user, lasts, &Order::Lock(lock.clone())).await
}

/// Lets a user in again on all gateways; here the lock is lifted already.
pub(super) async fn unlock<S: Steered>(gateway: &S, user: &str, at: Timestamp, by: &Administrator) -> Answer<()> {
    let order = Order::Unlock {
        user: user.to_owned(),
        at,
        by: by.clone(),
    };
    tell(fleet(gateway)?, user, Some(MARKED), &order).await
}

/// Asks all gateways, this one too, to publish their events to a stream.
///
/// # Errors
/// If Redis does not answer.
pub(super) async fn ask_for_events(fleet: &Fleet, stream: Ulid, wanted: &Wanted) -> Result<(), Unavailable> {
    let order = Order::Follow {
        stream: stream.to_string(),
        wanted: wanted.clone(),
    };
    let order = serde_json::to_vec(&order).unwrap_or_default();
    fleet.orders.tell(&order, None).await
}

/// The fleet that this gateway belongs to.
pub(super) fn fleet<S: Steered>(gateway: &S) -> Answer<&Fleet> {
    let words = "this gateway shares nothing with others: set fleet.redis";
    gateway.fleet().ok_or_else(|| Failed::new(StatusCode::CONFLICT, words))
}

async fn tell(fleet: &Fleet, user: &str, lasts: Option<Duration>, order: &Order) -> Answer<()> {
    let order = serde_json::to_vec(order).unwrap_or_default();
    let keep = Keep {
        user,
        order: &order,
        lasts,
    };
    let told = fleet.orders.tell(&order, Some(keep)).await;
    told.map_err(|_| {
        let words = "it holds on this gateway, but the others could not be told: redis is not reachable; try again";
        Failed::new(StatusCode::SERVICE_UNAVAILABLE, words)
    })
}

async fn ask(fleet: &Fleet, order: impl FnOnce(&str) -> Order) -> Answer<Vec<Answered>> {
    let order = |question: &str| serde_json::to_vec(&order(question)).unwrap_or_default();
    fleet.orders.ask(order).await.map_err(|_| {
        let words = "the other gateways cannot be asked: redis is not reachable";
        Failed::new(StatusCode::SERVICE_UNAVAILABLE, words)
    })
}

/// What all answered, each entry with the name of its gateway, and who did not answer.
fn gathered(answered: Vec<Answered>, key: &str) -> Value {
    let (mut gateways, mut missing, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for Answered { gateway, answer } in answered {
        let answer = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer).ok());
        let Some(answer) = answer.filter(|answer| answer.get("error").is_none()) else {
            missing.push(gateway);
            continue;
        };
        let found = match answer {
            Value::Array(entries) => entries,
            one => vec![one],
        };
        for mut entry in found {
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("gateway".to_owned(), gateway.clone().into());
            }
            entries.push(entry);
        }
        gateways.push(gateway);
    }
    let mut gathered = json!({ "gateways": gateways, "missing": missing });
    set(&mut gathered, key, entries);
    gathered
}

/// Does here what a gateway told all.
pub(crate) async fn obey<S: Steered>(gateway: Arc<S>, heard: Heard) {
    let (at, order) = match heard {
        Heard::Order { at, order } => (Timestamp::from_millisecond(at).ok(), order),
        Heard::Kept(kept) => (None, kept),
    };
    let order = match serde_json::from_slice(&order) {
        Ok(order) => order,
        Err(error) => {
            tracing::warn!(%error, "an order of another gateway is not understood, and ignored");
            return;
        }
    };
    match order {
        Order::Lock(lock) => locked(&gateway, lock),
        Order::Unlock { user, at, by } => {
            // What an administrator here said is theirs to take back.
            let lifted = |lock: &Lock| lock.fleet && lock.since < at;
            if gateway.locks().of(&user).is_some_and(|lock| lifted(&lock)) {
                let kept = lift_here(&*gateway, &user, &by, true);
                gateway.tasks().spawn(kept);
            }
        }
        Order::Close {
            question,
            wanted,
            reason,
            dry_run,
            by,
        } => {
            let late = at.filter(|at| Timestamp::now().duration_since(*at).as_secs() > LATE);
            let closing = Closing {
                wanted,
                reason,
                dry_run,
                opened_by: late,
                everywhere: true,
            };
            let closed = close_here(&*gateway, closing, &by);
            if late.is_none() {
                reply(&gateway, question, closed.map(|closed| json!(closed)));
            }
        }
        // An old one is of a stream that has ended, or of one that still waits for this gateway.
        Order::Follow { stream, wanted } => {
            if let (Some(fleet), Ok(stream)) = (gateway.fleet(), stream.parse())
                && let Some(publishing) = publish::publish(fleet, gateway.events().live(), stream, &wanted)
            {
                gateway.tasks().spawn(publishing);
            }
        }
        // The administrator has stopped waiting for an old question.
        Order::Show { question, what, wanted } => {
            let late = at.is_none_or(|at| Timestamp::now().duration_since(at).as_secs() > LATE);
            if !late {
                let asked = Arc::clone(&gateway);
                gateway.tasks().spawn(async move {
                    let found = listed(&*asked, what, wanted).await;
                    reply(&asked, question, found);
                });
            }
        }
    }
}

/// A lock that is newer than the one here, if there is one.
fn locked<S: Steered>(gateway: &Arc<S>, lock: Lock) {
    let ours = gateway.locks().of(&lock.user);
    let is_over = lock.until.is_some_and(|until| until <= Timestamp::now());
    if is_over || ours.is_some_and(|ours| ours.since >= lock.since) {
        return;
    }
    let user = match named(lock.user) {
        Ok(user) => user,
        Err(failed) => return tracing::warn!(error = failed.words(), "an order of another gateway names no user"),
    };
    let lock = Lock {
        user,
        reason: printable(&lock.reason, MAX_REASON),
        admin: clipped(&lock.admin),
        fleet: true,
        ..lock
    };
    let by = Administrator {
        uid: lock.uid,
        name: lock.admin.clone(),
    };
    match lock_out(&**gateway, lock, &by, true) {
        Ok((_, kept)) => drop(gateway.tasks().spawn(kept)),
        Err(failed) => tracing::error!(
            error = failed.words(),
            "a user who is locked out everywhere cannot be locked out here"
        ),
    }
}

fn reply<S: Steered>(gateway: &Arc<S>, question: String, found: Answer<Value>) {
    let found = found.unwrap_or_else(|failed| json!({ "error": failed.words() }));
    let mut bytes = serde_json::to_vec(&found).unwrap_or_default();
    if bytes.len() > MOST_ANSWER {
        bytes = json!({ "error": "the answer is too large: name a user" })
            .to_string()
            .into_bytes();
    }
    let answers = Arc::clone(gateway);
    gateway.tasks().spawn(async move {
        if let Some(fleet) = answers.fleet() {
            fleet.orders.answer(&question, &bytes).await;
        }
    });
}

/// Seconds after which an administrator has stopped waiting. A close that arrives later ends only what was open when it was asked for.
const LATE: i64 = 10;
/// How long it is kept that a lock was lifted, or has ended: a gateway that was away for longer keeps what it knew.
const MARKED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of one gateway's answer.
const MOST_ANSWER: usize = 1 << 20;
