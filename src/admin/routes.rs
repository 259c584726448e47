//! The control socket's paths under `/v1`, and how it answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::close::{Close, close};
use super::filter::Wanted;
use super::lists::{self, Everywhere};
use super::openapi::{self, Documented, Failure, answers, shapes, text};
use super::peer::Administrator;
use super::time::Time;
use super::view::{Closed, Draining, Locked, LogLevel, SessionView, Status, TunnelView, Unlocked};
use super::{Reloaded, Steered, events, health, locks, log_level, monitoring, policies};
use crate::events::{Event, Subject};
use crate::request::printable;

/// Every path of the control socket; the peer was admitted.
pub(super) fn control<S: Steered>(gateway: Arc<S>) -> Router {
    documented()
        .served()
        .layer(Extension(events::places()))
        .with_state(gateway)
        .fallback(|| async { Failed::new(StatusCode::NOT_FOUND, "no such path: see the manual, docs/operating.md") })
        .method_not_allowed_fallback(|| async {
            Failed::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed for this path")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// The paths with what the document says of them.
fn documented<S: Steered>() -> Documented<Arc<S>> {
    use Failure::{BadRequest, Conflict, Internal, NotFound, Unavailable, Unprocessable};
    let found = |summary| {
        openapi::lists::<TunnelView>(summary)
            .queried_by::<Wanted>()
            .fails(&[BadRequest, Conflict, Unavailable])
    };
    Documented::new()
        .get(
            "/v1/status",
            lists::status::<S>,
            answers::<Status>("The state of the gateway.")
                .queried_by::<Everywhere>()
                .fails(&[BadRequest, Conflict, Unavailable]),
        )
        .get(
            "/v1/sessions",
            lists::sessions::<S>,
            openapi::lists::<SessionView>("Open sessions.")
                .queried_by::<Wanted>()
                .only(&["session", "user", "fleet"])
                .fails(&[BadRequest, Conflict, Unavailable]),
        )
        .get("/v1/tunnels", lists::tunnels::<S>, found("Open tunnels."))
        .get("/v1/listeners", lists::listeners::<S>, found("Open listeners."))
        .get(
            "/v1/events",
            events::events::<S>,
            text(
                "The lines of the audit log as they happen, as server-sent events. With `fleet`, those of all gateways, each with the \
                 name of its `gateway`.",
                "text/event-stream",
            )
            .queried_by::<Wanted>()
            .header(
                "Last-Event-ID",
                "The `id` of the last event that was read: what followed it comes first.",
            )
            .fails(&[BadRequest, Conflict, Unavailable]),
        )
        .post(
            "/v1/close",
            close::<S>,
            answers::<Closed>("Closes the tunnels and listeners that match; a session that alone is named ends.")
                .takes::<Close>()
                .fails(&[BadRequest, Conflict, Unprocessable, Unavailable]),
        )
        .get(
            "/v1/locks",
            locks::all::<S>,
            openapi::lists::<shapes::Lock>("Users who are locked out."),
        )
        .put(
            "/v1/locks/{user}",
            locks::put::<S>,
            answers::<Locked>("Locks a user out, and ends what the user has open.")
                .takes::<locks::Wish>()
                .fails(&[BadRequest, Conflict, Unprocessable, Internal, Unavailable]),
        )
        .delete(
            "/v1/locks/{user}",
            locks::lift::<S>,
            answers::<Unlocked>("Lifts a lock.").queried_by::<Everywhere>().fails(&[
                BadRequest,
                NotFound,
                Conflict,
                Internal,
                Unavailable,
            ]),
        )
        .get(
            "/v1/log-level",
            log_level::shown,
            answers::<LogLevel>("Which lines the log has."),
        )
        .put(
            "/v1/log-level",
            log_level::put::<S>,
            answers::<LogLevel>("Changes which lines the log has, until the gateway ends.")
                .takes::<log_level::Wish>()
                .fails(&[BadRequest, Conflict, Unprocessable]),
        )
        .post(
            "/v1/reload",
            reload::<S>,
            answers::<Reloaded>("Reads configuration, keys and policies again, as SIGHUP does.")
                .may_take::<Reload>()
                .fails(&[Unprocessable]),
        )
        .post(
            "/v1/drain",
            drain::<S>,
            answers::<Draining>("Begins to drain, as SIGTERM does.")
                .with(StatusCode::ACCEPTED)
                .takes::<Drain>()
                .fails(&[BadRequest, Unprocessable]),
        )
        .merge(policies::routes())
        .merge(health::routes())
        .merge(monitoring::metrics())
}

/// What everybody gets who was not admitted.
pub(super) fn refused() -> Router {
    Router::new().fallback(|| async {
        let words = "not permitted: root, the gateway's own user and members of admin.group may use this socket";
        Failed::new(StatusCode::FORBIDDEN, words)
    })
}

pub(super) fn too_slow() -> Response {
    Failed::new(StatusCode::REQUEST_TIMEOUT, "the request timed out").into_response()
}

pub(super) fn broken() -> Response {
    let words = "internal error: the gateway's log has it";
    Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
}

/// `{"error": "…"}`.
pub(super) struct Failed {
    status: StatusCode,
    words: String,
}

impl Failed {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
        }
    }

    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.words }))).into_response()
    }
}

impl From<QueryRejection> for Failed {
    fn from(rejected: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, rejected.body_text())
    }
}

impl From<JsonRejection> for Failed {
    fn from(rejected: JsonRejection) -> Self {
        let status = match rejected.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, rejected.body_text())
    }
}

pub(super) type Answer<T> = Result<T, Failed>;

pub(super) fn json(value: &impl Serialize) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (headers, Json(value)).into_response()
}

/// Sets a key of an object.
pub(super) fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value.into());
    }
}

/// A reason that must be given.
pub(super) fn said(reason: Option<String>) -> Answer<String> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    reason.ok_or_else(|| Failed::new(StatusCode::BAD_REQUEST, "reason is missing: say why"))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DrainRequest)]
struct Drain {
    /// Instead of `limits.drain-timeout`.
    #[schema(nullable = false)]
    timeout: Option<Time>,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

async fn drain<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    asked: Result<Json<Drain>, JsonRejection>,
) -> Answer<Response> {
    let Json(Drain { timeout, reason }) = asked?;
    let timeout = timeout.map(|time| time.up_to("timeout", LONGEST_DRAIN)).transpose()?;
    let detail = serde_json::json!({ "timeout": timeout.map(|timeout| timeout.as_secs()) });
    announce(&*gateway, &administrator, "drain", reason.as_deref(), detail);
    gateway.drain(timeout);
    Ok((StatusCode::ACCEPTED, Json(Draining { draining: true })).into_response())
}

/// What is not known is refused: a dry run that is none would change what it was to show.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReloadRequest)]
struct Reload {
    /// The answer says what would change, and nothing does.
    #[serde(default)]
    dry_run: bool,
}

async fn reload<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Answer<Response> {
    let asked = match body.trim_ascii() {
        b"" => Some(Reload::default()),
        body => serde_json::from_slice::<Reload>(body).ok(),
    };
    let Some(Reload { dry_run }) = asked.filter(|_| query.is_none()) else {
        let words = "reload has one option, in the body: send no query, and no body, `{}` or `{\"dry_run\": true}`";
        return Err(Failed::new(StatusCode::UNPROCESSABLE_ENTITY, words));
    };
    let reloaded = if dry_run {
        gateway.rehearse().await
    } else {
        announce(&*gateway, &administrator, "reload", None, serde_json::Value::Null);
        gateway.reload().await
    };
    match reloaded {
        Ok(reloaded) => Ok(json(&reloaded)),
        Err(reason) => Err(Failed::new(StatusCode::UNPROCESSABLE_ENTITY, reason)),
    }
}

/// What is unknown is absent.
fn without_nulls(mut detail: serde_json::Value) -> serde_json::Value {
    if let Some(detail) = detail.as_object_mut() {
        detail.retain(|_, value| !value.is_null());
    }
    detail
}

/// Announces a change before it is made. It is made even if the audit log cannot be written: all that can be asked for here takes
/// something away or is what a signal does, and an administrator must be able to do that on a full disk, too. The line waits.
pub(super) fn announce<S: Steered>(
    gateway: &S,
    administrator: &Administrator,
    action: &'static str,
    reason: Option<&str>,
    detail: serde_json::Value,
) {
    let event = Event::AdminAction {
        action,
        uid: administrator.uid,
        admin: administrator.name.clone(),
        reason: reason.map(|reason| printable(reason, MAX_REASON)),
        detail: without_nulls(detail),
    };
    gateway.events().emit(&Subject::default(), &event);
}

const LONGEST_DRAIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_BODY: usize = 64 << 10;
pub(super) const MAX_REASON: usize = 1024;
