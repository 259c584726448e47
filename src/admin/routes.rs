//! The control socket's paths under `/v1`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::everywhere::What;
use super::filter::{Filter, Wanted};
use super::openapi::{Documented, Failure, answers, lists, shapes, text};
use super::peer::Administrator;
use super::time::Time;
use super::view::{Closed, Draining, Locked, LogLevel, SessionView, Status, TunnelView, Unlocked};
use super::{Reloaded, Steered, events, everywhere, health, locks, log_level, monitoring, policies};
use crate::events::{Event, Subject};
use crate::request::{Action, Cause, printable};
use crate::sessions::{Forward, SHORTEST, Session};

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
        lists::<TunnelView>(summary)
            .queried_by::<Wanted>()
            .fails(&[BadRequest, Conflict, Unavailable])
    };
    Documented::new()
        .get(
            "/v1/status",
            status::<S>,
            answers::<Status>("The state of the gateway.")
                .queried_by::<Everywhere>()
                .fails(&[BadRequest, Conflict, Unavailable]),
        )
        .get(
            "/v1/sessions",
            sessions::<S>,
            lists::<SessionView>("Open sessions.")
                .queried_by::<Wanted>()
                .only(&["session", "user", "fleet"])
                .fails(&[BadRequest, Conflict, Unavailable]),
        )
        .get("/v1/tunnels", tunnels::<S>, found("Open tunnels."))
        .get("/v1/listeners", listeners::<S>, found("Open listeners."))
        .get(
            "/v1/events",
            events::events::<S>,
            text(
                "The lines of the audit log as they happen, as server-sent events.",
                "text/event-stream",
            )
            .queried_by::<Wanted>()
            .header(
                "Last-Event-ID",
                "The `id` of the last event that was read: what followed it comes first.",
            )
            .fails(&[BadRequest, Conflict]),
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
            lists::<shapes::Lock>("Users who are locked out."),
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

async fn status<S: Steered>(
    State(gateway): State<Arc<S>>,
    asked: Result<Query<Everywhere>, QueryRejection>,
) -> Answer<Response> {
    let Query(Everywhere { fleet }) = asked?;
    if fleet {
        return everywhere::show(&*gateway, What::Status, Wanted::default()).await;
    }
    Ok(json(&gateway.status()))
}

/// Whether all gateways of the fleet are meant.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Everywhere {
    /// On all gateways of the fleet, and not only on this one.
    #[serde(default)]
    pub(super) fleet: bool,
}

async fn sessions<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Sessions).await
}

async fn tunnels<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Tunnels).await
}

async fn listeners<S: Steered>(
    State(gateway): State<Arc<S>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Response> {
    show(&*gateway, wanted, What::Listeners).await
}

async fn show<S: Steered>(gateway: &S, wanted: Result<Query<Wanted>, QueryRejection>, what: What) -> Answer<Response> {
    let Query(wanted) = wanted?;
    if wanted.fleet {
        return everywhere::show(gateway, what, wanted).await;
    }
    match what {
        What::Status => Ok(json(&gateway.status())),
        What::Sessions => Ok(json(&sessions_here(gateway, wanted)?)),
        What::Tunnels => Ok(json(&open_here(gateway, wanted, is_tunnel).await?)),
        What::Listeners => Ok(json(&open_here(gateway, wanted, is_listener).await?)),
    }
}

/// The same for whoever puts lists together.
pub(super) async fn listed<S: Steered>(gateway: &S, what: What, wanted: Wanted) -> Answer<Value> {
    Ok(match what {
        What::Status => serde_json::json!(gateway.status()),
        What::Sessions => serde_json::json!(sessions_here(gateway, wanted)?),
        What::Tunnels => serde_json::json!(open_here(gateway, wanted, is_tunnel).await?),
        What::Listeners => serde_json::json!(open_here(gateway, wanted, is_listener).await?),
    })
}

fn is_tunnel(action: Action) -> bool {
    !is_listener(action)
}

fn is_listener(action: Action) -> bool {
    action == Action::Listen
}

fn sessions_here<S: Steered>(gateway: &S, wanted: Wanted) -> Answer<Vec<SessionView>> {
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
    Ok(found.iter().map(|one| SessionView::new(one, open_of(one))).collect())
}

async fn open_here<S: Steered>(gateway: &S, wanted: Wanted, kind: fn(Action) -> bool) -> Answer<Vec<TunnelView>> {
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
    let shown = found.iter().zip(rate);
    Ok(shown.map(|(forward, rate)| TunnelView::new(forward, rate)).collect())
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

/// At least one of the filters must be there, and all of them must match.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CloseRequest)]
struct Close {
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

async fn close<S: Steered>(
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
    Ok(closed)
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
