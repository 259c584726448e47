//! The control socket's paths under `/v1`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::filter::{Filter, Wanted};
use super::peer::Administrator;
use super::time::Time;
use super::view::{Closed, SessionView, TunnelView};
use super::{Steered, events, health, locks, log_level, monitoring, policies};
use crate::events::{Event, Subject};
use crate::request::{Action, Cause, printable};
use crate::sessions::{Forward, SHORTEST, Session};

/// Every path of the control socket; the peer was admitted.
pub(super) fn control<S: Steered>(gateway: Arc<S>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<S>))
        .route("/v1/sessions", get(sessions::<S>))
        .route("/v1/tunnels", get(tunnels::<S>))
        .route("/v1/listeners", get(listeners::<S>))
        .route("/v1/events", get(events::events::<S>))
        .route("/v1/close", post(close::<S>))
        .route("/v1/locks", get(locks::all::<S>))
        .route("/v1/locks/{user}", put(locks::put::<S>).delete(locks::lift::<S>))
        .route("/v1/log-level", get(log_level::shown).put(log_level::put::<S>))
        .route("/v1/reload", post(reload::<S>))
        .route("/v1/drain", post(drain::<S>))
        .merge(policies::routes())
        .layer(Extension(events::places()))
        .with_state(Arc::clone(&gateway))
        .merge(health::routes(Arc::clone(&gateway)))
        .merge(monitoring::metrics(gateway))
        .fallback(|| async { Failed::new(StatusCode::NOT_FOUND, "no such path: see the manual, docs/operating.md") })
        .method_not_allowed_fallback(|| async {
            Failed::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed for this path")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
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

async fn status<S: Steered>(State(gateway): State<Arc<S>>) -> Response {
    json(&gateway.status())
}

async fn sessions<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    let Query(wanted) = wanted?;
    let wanted = wanted
        .only_sessions()
        .map_err(|words| Failed::new(StatusCode::BAD_REQUEST, words))?;
    let Wanted { session, user, .. } = wanted;
    let mut open = HashMap::<String, Vec<Arc<Forward>>>::new();
    for forward in gateway.sessions().forwards() {
        let session = forward.request.connection.id.clone();
        open.entry(session).or_default().push(forward);
    }
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let mut found = gateway.sessions().all();
    found.retain(|one| is(&session, &one.connection.id) && is(&user, &one.user));
    found.sort_by(|one, other| one.connection.id.cmp(&other.connection.id));
    let open_of = |one: &Session| open.get(&one.connection.id).map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<_> = found.iter().map(|one| SessionView::new(one, open_of(one))).collect();
    Ok(json(&shown))
}

async fn tunnels<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, |action| action != Action::Listen).await
}

async fn listeners<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, |action| action == Action::Listen).await
}

async fn show<S: Steered>(
    gateway: &S,
    wanted: Result<Query<Wanted>, QueryRejection>,
    kind: impl Fn(Action) -> bool,
) -> Answer<Response> {
    let Query(wanted) = wanted?;
    let filter = filter(wanted)?;
    let mut found = found(gateway, &filter);
    found.retain(|forward| kind(forward.request.action));
    let rates = |found: &[Arc<Forward>]| -> Vec<_> {
        let now = Instant::now();
        found.iter().map(|forward| forward.rate(now)).collect()
    };
    let mut rate = rates(&found);
    if rate.contains(&None) {
        // Nobody has looked lately.
        tokio::time::sleep(SHORTEST).await;
        rate = rates(&found);
    }
    let shown: Vec<_> = found
        .iter()
        .zip(rate)
        .map(|(forward, rate)| TunnelView::new(forward, rate))
        .collect();
    Ok(json(&shown))
}

pub(super) fn filter(wanted: Wanted) -> Answer<Filter> {
    Filter::new(wanted).map_err(|words| Failed::new(StatusCode::BAD_REQUEST, words))
}

/// In the order in which they were opened.
fn found<S: Steered>(gateway: &S, filter: &Filter) -> Vec<Arc<Forward>> {
    let mut found = gateway.sessions().forwards();
    found.retain(|forward| filter.matches(forward));
    found.sort_by(|one, other| one.request.id.cmp(&other.request.id));
    found
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    tunnel: Option<String>,
    session: Option<String>,
    user: Option<String>,
    target: Option<String>,
    plugin: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

async fn close<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    asked: Result<Json<Close>, JsonRejection>,
) -> Answer<Response> {
    let Json(asked) = asked?;
    let detail = serde_json::json!({
        "tunnel": asked.tunnel, "session": asked.session, "user": asked.user, "target": asked.target,
        "plugin": asked.plugin,
    });
    let (reason, dry_run) = (asked.reason, asked.dry_run);
    let filter = filter(Wanted {
        tunnel: asked.tunnel,
        session: asked.session,
        user: asked.user,
        target: asked.target,
        action: None,
        plugin: asked.plugin,
    })?;
    if filter.is_empty() {
        let words = "nothing to close was named: expected at least one of tunnel, session, user, target and plugin";
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    let found = found(&*gateway, &filter);
    let mut ending = gateway.sessions().all();
    ending.retain(|one| filter.session_alone() == Some(one.connection.id.as_str()));
    let closed = Closed::new(&found, &ending);
    if dry_run {
        return Ok(json(&closed));
    }
    let reason = said(reason)?;
    announce(&*gateway, &administrator, "close", Some(&reason), detail);
    for session in &ending {
        session.end(
            Cause::Killed,
            format!("an administrator ended the session: {}", printable(&reason, MAX_REASON)),
        );
    }
    let why = format!("an administrator closed it: {}", printable(&reason, MAX_REASON));
    for forward in &found {
        gateway.events().followers().say_closed(&forward.request, &why);
        forward.stop.end(Cause::Killed);
    }
    Ok(json(&closed))
}

/// A reason that must be given.
pub(super) fn said(reason: Option<String>) -> Answer<String> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    reason.ok_or_else(|| Failed::new(StatusCode::BAD_REQUEST, "reason is missing: say why"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    timeout: Option<Time>,
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
    Ok((StatusCode::ACCEPTED, Json(serde_json::json!({ "draining": true }))).into_response())
}

/// What is not known is refused: a dry run that is none would change what it was to show.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
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
        detail,
    };
    gateway.events().emit(&Subject::default(), &event);
}

const LONGEST_DRAIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_BODY: usize = 64 << 10;
pub(super) const MAX_REASON: usize = 1024;
