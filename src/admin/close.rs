//! `/v1/close`: ends what is open.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::filter::Wanted;
use super::lists::{filter, found};
use super::peer::Administrator;
use super::routes::{Answer, Failed, MAX_REASON, announce, json, said, set};
use super::view::Closed;
use super::{Steered, everywhere};
use crate::request::{Cause, printable};
use crate::sessions::end_all;

/// At least one of the filters must be there, and all of them must match.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CloseRequest)]
pub(super) struct Close {
    /// The id of a tunnel or listener.
    #[schema(nullable = false)]
    tunnel: Option<String>,
    /// The id of a session.
    #[schema(nullable = false)]
    session: Option<String>,
    /// The name of a user.
    #[schema(nullable = false)]
    user: Option<String>,
    /// A network, or a pattern with `*` for a host, a host and port, or a socket.
    #[schema(nullable = false)]
    target: Option<String>,
    /// The configured name of the policy that decided.
    #[schema(nullable = false)]
    plugin: Option<String>,
    /// Why; it must be there unless this is a dry run.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// The answer says what would be closed, and nothing is.
    #[serde(default)]
    dry_run: bool,
    /// On all gateways of the fleet.
    #[serde(default)]
    fleet: bool,
}

pub(super) async fn close<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    asked: Result<Json<Close>, JsonRejection>,
) -> Answer<Response> {
    let Json(asked) = asked?;
    let (reason, dry_run, fleet) = (asked.reason, asked.dry_run, asked.fleet);
    let wanted = Wanted {
        tunnel: asked.tunnel,
        session: asked.session,
        user: asked.user,
        target: asked.target,
        action: None,
        plugin: asked.plugin,
        fleet: false,
    };
    if filter(wanted.clone())?.is_empty() {
        let words = "nothing to close was named: expected at least one of tunnel, session, user, target and plugin";
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    let reason = if dry_run { reason } else { Some(said(reason)?) };
    if fleet {
        return everywhere::close(&*gateway, wanted, reason, dry_run, &administrator).await;
    }
    let closing = Closing {
        wanted,
        reason,
        dry_run,
        opened_by: None,
        everywhere: false,
    };
    Ok(json(&close_here(&*gateway, closing, &administrator)?))
}

/// What is to be closed on this gateway.
pub(super) struct Closing {
    pub(super) wanted: Wanted,
    /// There is one unless nothing is closed.
    pub(super) reason: Option<String>,
    pub(super) dry_run: bool,
    /// Only what was open then; all of it where that is now.
    pub(super) opened_by: Option<Timestamp>,
    /// All gateways were told.
    pub(super) everywhere: bool,
}

pub(super) fn close_here<S: Steered>(gateway: &S, asked: Closing, by: &Administrator) -> Answer<Closed> {
    let mut detail = serde_json::json!({
        "tunnel": asked.wanted.tunnel, "session": asked.wanted.session, "user": asked.wanted.user,
        "target": asked.wanted.target, "plugin": asked.wanted.plugin,
    });
    if asked.everywhere {
        set(&mut detail, "fleet", true);
    }
    let filter = filter(asked.wanted)?;
    let was_open = |since: Timestamp| asked.opened_by.is_none_or(|by| since <= by);
    let mut found = found(gateway, &filter);
    found.retain(|forward| was_open(forward.since));
    let mut ending = gateway.sessions().all();
    ending.retain(|one| filter.session_alone() == Some(one.connection.id.as_str()) && was_open(one.connection.since));
    let closed = Closed::new(&found, &ending);
    if asked.dry_run {
        return Ok(closed);
    }
    let reason = said(asked.reason)?;
    announce(gateway, by, "close", Some(&reason), detail);
    let reason = printable(&reason, MAX_REASON);
    let why = format!("an administrator closed it: {reason}");
    for forward in &found {
        gateway.events().followers().say_closed(&forward.request, &why);
    }
    let sentence = format!("an administrator ended the session: {reason}");
    end_all(&ending, &sentence, &found, Cause::Killed);
    Ok(closed)
}
