//! `/v1/locks`: who is locked out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use super::lists::Everywhere;
use super::peer::Administrator;
use super::routes::{Answer, Failed, MAX_REASON, announce, json, said, set};
use super::time::Time;
use super::view::{Closed, Locked, Unlocked};
use super::{Steered, everywhere};
use crate::locks::{Lock, Locks, LocksError};
use crate::request::{Cause, is_unseen, printable};
use crate::sessions::{end_all, lock_sentence};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LockRequest)]
pub(super) struct Wish {
    /// Why: the user reads it. It must be there.
    #[schema(value_type = String)]
    reason: Option<String>,
    /// How long: seconds, or as in the configuration; without it until it is lifted.
    #[serde(rename = "for")]
    #[schema(nullable = false)]
    time: Option<Time>,
    /// On all gateways of the fleet.
    #[serde(default)]
    fleet: bool,
}

fn until(time: &Time, now: Timestamp) -> Answer<Timestamp> {
    let wrong = |words: String| Failed::new(StatusCode::BAD_REQUEST, format!("for: {words}"));
    let time = time.within("for", LONGEST)?;
    let time = SignedDuration::try_from(time).map_err(|error| wrong(error.to_string()))?;
    now.checked_add(time).map_err(|error| wrong(error.to_string()))
}

pub(super) async fn all<S: Steered>(State(gateway): State<Arc<S>>) -> Response {
    let locks: Vec<Lock> = gateway.locks().all().iter().map(|lock| (**lock).clone()).collect();
    json(&locks)
}

/// Locks a user out, and ends what they have open. The lock is there first, so that nothing begins in between.
pub(super) async fn put<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(user): Path<String>,
    asked: Result<Json<Wish>, JsonRejection>,
) -> Answer<Response> {
    let Json(Wish { reason, time, fleet }) = asked?;
    let reason = printable(&said(reason)?, MAX_REASON);
    let user = named(user)?;
    let since = later_than(gateway.locks().of(&user).filter(|_| fleet).as_deref());
    let until = time.map(|time| until(&time, since)).transpose()?;
    if fleet {
        everywhere::fleet(&*gateway)?;
    }
    let lock = Lock {
        user,
        reason,
        since,
        until,
        uid: administrator.uid,
        admin: administrator.name.clone(),
        fleet,
    };
    let (closed, kept) = lock_out(&*gateway, lock.clone(), &administrator, fleet)?;
    // Kept here first: the others may be out of reach.
    let kept = kept.await;
    if fleet {
        everywhere::lock(&*gateway, &lock).await?;
    }
    kept?.map_err(|error| {
        let words = format!(
            "{} is locked until this gateway ends, because the lock cannot be kept: {error}",
            lock.user
        );
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    })?;
    Ok(json(&Locked { lock, closed }))
}

/// Now, or a moment after that lock if the clock of another gateway is ahead: of what all are told, the later counts.
fn later_than(lock: Option<&Lock>) -> Timestamp {
    let after = lock.and_then(|lock| lock.since.checked_add(SignedDuration::from_millis(1)).ok());
    after.map_or_else(Timestamp::now, |after| after.max(Timestamp::now()))
}

/// Locks a user out here. It does so without a pause, so it is complete even if the administrator disconnects. What is returned keeps the
/// lock over a restart.
pub(super) fn lock_out<S: Steered>(
    gateway: &S,
    lock: Lock,
    by: &Administrator,
    everywhere: bool,
) -> Answer<(Closed, impl Future<Output = Answer<Result<(), LocksError>>> + use<S>)> {
    let Lock { user, reason, .. } = lock.clone();
    let mut detail = serde_json::json!({ "user": user, "until": lock.until.map(|until| format!("{until:.6}")) });
    if everywhere {
        set(&mut detail, "fleet", true);
    }
    announce(gateway, by, "lock", Some(&reason), detail);
    let held = gateway.locks().hold(lock);
    held.map_err(|error| Failed::new(StatusCode::CONFLICT, error.to_string()))?;
    let mut ending = gateway.sessions().all();
    ending.retain(|session| session.user == user);
    let open = gateway.sessions().forwards_of(&user);
    end_all(&ending, &lock_sentence(&reason), &open, Cause::Killed);
    Ok((Closed::new(&open, &ending), keep(gateway.locks().clone(), user)))
}

pub(super) async fn lift<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(user): Path<String>,
    asked: Result<Query<Everywhere>, QueryRejection>,
) -> Answer<Response> {
    let Query(Everywhere { fleet }) = asked?;
    if fleet {
        everywhere::fleet(&*gateway)?;
    } else if gateway.locks().of(&user).is_none() {
        let words = format!("{} is not locked", printable(&user, MAX_USER));
        return Err(Failed::new(StatusCode::NOT_FOUND, words));
    }
    let at = later_than(gateway.locks().of(&user).as_deref());
    let kept = lift_here(&*gateway, &user, &administrator, fleet).await;
    if fleet {
        everywhere::unlock(&*gateway, &user, at, &administrator).await?;
    }
    kept?.map_err(|error| {
        let words = format!("{user} is unlocked until this gateway ends, because that cannot be kept: {error}");
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    })?;
    Ok(json(&Unlocked { unlocked: user }))
}

/// Lets a user in again here. What is returned keeps that over a restart.
pub(super) fn lift_here<S: Steered>(
    gateway: &S,
    user: &str,
    by: &Administrator,
    everywhere: bool,
) -> impl Future<Output = Answer<Result<(), LocksError>>> + use<S> {
    let mut detail = serde_json::json!({ "user": user });
    if everywhere {
        set(&mut detail, "fleet", true);
    }
    announce(gateway, by, "unlock", None, detail);
    gateway.locks().lift(user);
    keep(gateway.locks().clone(), user.to_owned())
}

/// Writes it aside; that goes on if the administrator is gone.
async fn keep(locks: Locks, user: String) -> Answer<Result<(), LocksError>> {
    let kept = tokio::task::spawn_blocking(move || locks.keep(&user)).await;
    kept.map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

pub(super) fn named(user: String) -> Answer<String> {
    if user.is_empty() || user.len() > MAX_USER || user.contains(is_unseen) {
        let words = format!("expected the name of a user, of 1 to {MAX_USER} bytes without control characters");
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    Ok(user)
}

/// As long as a user name can be to log in.
const MAX_USER: usize = 255;
/// Ten years.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
