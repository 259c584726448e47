//! `/v1/locks`: who is locked out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Steered;
use super::peer::Administrator;
use super::routes::{Answer, Failed, MAX_REASON, announce, json, said};
use super::time::Time;
use super::view::{Closed, Locked, Unlocked};
use crate::locks::{Lock, Locks, LocksError};
use crate::request::{Cause, is_unseen, printable};
use crate::sessions::lock_sentence;

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
    let Json(Wish { reason, time }) = asked?;
    let reason = printable(&said(reason)?, MAX_REASON);
    let user = named(user)?;
    let since = Timestamp::now();
    let until = time.map(|time| until(&time, since)).transpose()?;
    let lock = Lock {
        user: user.clone(),
        reason: reason.clone(),
        since,
        until,
        uid: administrator.uid,
        admin: administrator.name.clone(),
    };
    let detail = serde_json::json!({ "user": user, "until": until.map(|until| format!("{until:.6}")) });
    announce(&*gateway, &administrator, "lock", Some(&reason), detail);
    // All of it without a pause: an administrator who goes away now leaves nobody in.
    let held = gateway.locks().hold(lock.clone());
    held.map_err(|error| Failed::new(StatusCode::CONFLICT, error.to_string()))?;
    let mut ending = gateway.sessions().all();
    ending.retain(|session| session.user == user);
    let open = gateway.sessions().forwards_of(&user);
    for session in &ending {
        session.end(Cause::Killed, lock_sentence(&reason));
    }
    for forward in &open {
        forward.stop.end(Cause::Killed);
    }
    keep(gateway.locks(), &user).await?.map_err(|error| {
        let words = format!("{user} is locked until this gateway ends, because the lock cannot be kept: {error}");
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    })?;
    let closed = Closed::new(&open, &ending);
    Ok(json(&Locked { lock, closed }))
}

pub(super) async fn lift<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(user): Path<String>,
) -> Answer<Response> {
    if gateway.locks().of(&user).is_none() {
        let words = format!("{} is not locked", printable(&user, MAX_USER));
        return Err(Failed::new(StatusCode::NOT_FOUND, words));
    }
    announce(
        &*gateway,
        &administrator,
        "unlock",
        None,
        serde_json::json!({ "user": user }),
    );
    gateway.locks().lift(&user);
    keep(gateway.locks(), &user).await?.map_err(|error| {
        let words = format!("{user} is unlocked until this gateway ends, because that cannot be kept: {error}");
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    })?;
    Ok(json(&Unlocked { unlocked: user }))
}

/// Writes it aside; that goes on if the administrator is gone.
async fn keep(locks: &Locks, user: &str) -> Answer<Result<(), LocksError>> {
    let (locks, user) = (locks.clone(), user.to_owned());
    let kept = tokio::task::spawn_blocking(move || locks.keep(&user)).await;
    kept.map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn named(user: String) -> Answer<String> {
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
