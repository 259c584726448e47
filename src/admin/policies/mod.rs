//! `/v1/policies`: the generations of each plugin, and what brings one in force or takes it back.

mod bodies;
mod view;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::Steered;
use super::openapi::{Documented, Failure, answers, lists};
use super::peer::Administrator;
use super::routes::{Answer, Failed, announce, json as answer};

use bodies::{ConfirmBody, LoadBody, PromoteBody, RollbackBody, ShadowBody, or_default};

pub(crate) use view::{
    DiffView, DifferencesView, ExampleView, GateView, GatesView, GenerationView, GroupView, PluginView,
    QuarantinedView, UserView, settings_that_differ,
};

/// What can be asked of the policies of a running gateway.
pub(crate) trait Rollout: Send + Sync + 'static {
    /// What `GET /v1/policies` answers.
    fn plugins(&self) -> Vec<PluginView>;
    /// A candidate through the gates, and then in force unless that is only tried.
    fn load(self: Arc<Self>, plugin: String, load: Load) -> impl Future<Output = Result<(), Declined>> + Send;
    /// A candidate that is asked beside what is in force.
    fn shadow(self: Arc<Self>, plugin: String, load: Load) -> impl Future<Output = Result<(), Declined>> + Send;
    /// It is asked no more.
    fn end_shadow(&self, plugin: &str) -> Result<(), Declined>;
    /// The shadow through the gates, and then in force.
    fn promote(self: Arc<Self>, plugin: String, load: Load) -> impl Future<Output = Result<(), Declined>> + Send;
    /// What is in force stays.
    fn confirm(self: Arc<Self>, plugin: String) -> impl Future<Output = Result<(), Declined>> + Send;
    /// An earlier generation in force: the one before where no number is given.
    fn rollback(
        self: Arc<Self>,
        plugin: String,
        to: Option<u64>,
        load: Load,
    ) -> impl Future<Output = Result<(), Declined>> + Send;
    /// What the shadow would have decided otherwise.
    fn differences(&self, plugin: &str) -> Result<DifferencesView, Declined>;
    /// In what two generations differ.
    fn diff(
        self: Arc<Self>,
        plugin: String,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<DiffView, Declined>> + Send;
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Declined {
    /// There is no such thing.
    Unknown(String),
    /// Not as things are.
    Conflict(String),
    /// A gate refused it.
    Refused(String),
}

impl Declined {
    /// The sentence.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Unknown(words) | Self::Conflict(words) | Self::Refused(words) => words,
        }
    }
}

impl From<Declined> for Failed {
    fn from(declined: Declined) -> Self {
        let status = match declined {
            Declined::Unknown(_) => StatusCode::NOT_FOUND,
            Declined::Conflict(_) => StatusCode::CONFLICT,
            Declined::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, declined.words())
    }
}

/// What is to be loaded, and how.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The component, `builtin:NAME` or a path; absent: the one in force.
    pub component: Option<String>,
    /// A file of settings; absent: those in force.
    pub settings: Option<PathBuf>,
    /// It is taken back unless it is confirmed within this time.
    pub confirm_within: Option<Duration>,
    /// A gate that would refuse is passed.
    pub force: bool,
    /// The gates are tried, and nothing is changed.
    pub dry_run: bool,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// Every path below `/v1/policies`.
pub(super) fn routes<S: Steered>() -> Documented<Arc<S>> {
    use Failure::{BadRequest, Conflict, Internal, NotFound, Unprocessable};
    const CHANGE: &[Failure] = &[BadRequest, NotFound, Conflict, Unprocessable, Internal];
    let changes = |summary| answers::<PluginView>(summary).fails(CHANGE);
    Documented::new()
        .get(
            "/v1/policies",
            all::<S>,
            lists::<PluginView>("The generations of every plugin."),
        )
        .get(
            "/v1/policies/{plugin}",
            one::<S>,
            answers::<PluginView>("The generations of a plugin.").fails(&[NotFound]),
        )
        .post(
            "/v1/policies/{plugin}/load",
            load::<S>,
            changes("Sends a candidate through the gates, and puts it in force.").takes::<LoadBody>(),
        )
        .post(
            "/v1/policies/{plugin}/shadow",
            shadow::<S>,
            changes("Asks a candidate beside the policy in force; it decides nothing.").takes::<ShadowBody>(),
        )
        .delete(
            "/v1/policies/{plugin}/shadow",
            end_shadow::<S>,
            answers::<PluginView>("Ends the shadow.").fails(&[NotFound, Conflict]),
        )
        .post(
            "/v1/policies/{plugin}/promote",
            promote::<S>,
            changes("Sends the shadow through the gates, and puts it in force.").may_take::<PromoteBody>(),
        )
        .post(
            "/v1/policies/{plugin}/confirm",
            confirm::<S>,
            changes("Keeps what was put in force with a time to confirm.").may_take::<ConfirmBody>(),
        )
        .post(
            "/v1/policies/{plugin}/rollback",
            rollback::<S>,
            changes("Puts an earlier generation in force, and quarantines the present one.").may_take::<RollbackBody>(),
        )
        .get(
            "/v1/policies/{plugin}/differences",
            differences::<S>,
            answers::<DifferencesView>("What the shadow would have decided otherwise.").fails(&[NotFound, Conflict]),
        )
        .get(
            "/v1/policies/{plugin}/diff",
            diff::<S>,
            answers::<DiffView>("In what two generations differ.")
                .queried_by::<Two>()
                .fails(&[BadRequest, NotFound, Unprocessable]),
        )
}

async fn all<S: Steered>(State(gateway): State<Arc<S>>) -> Response {
    answer(&gateway.plugins())
}

async fn one<S: Steered>(State(gateway): State<Arc<S>>, Path(plugin): Path<String>) -> Answer<Response> {
    Ok(answer(&view(&*gateway, &plugin)?))
}

fn view<S: Steered>(gateway: &S, plugin: &str) -> Answer<PluginView> {
    let mut plugins = gateway.plugins();
    match plugins.iter().position(|one| one.plugin == plugin) {
        Some(place) => Ok(plugins.swap_remove(place)),
        None => {
            let names: Vec<_> = plugins.iter().map(|one| one.plugin.as_str()).collect();
            let words = format!("no plugin is called `{plugin}`: there are {}", names.join(", "));
            Err(Failed::new(StatusCode::NOT_FOUND, words))
        }
    }
}

async fn load<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    asked: Result<Json<LoadBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = asked?;
    view(&*gateway, &plugin)?;
    let load = body.load(&administrator)?;
    if !load.dry_run {
        announced(&*gateway, &administrator, "policy-load", &plugin, &load);
    }
    changed(&gateway, plugin, |gateway, plugin| gateway.load(plugin, load)).await
}

async fn shadow<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    asked: Result<Json<ShadowBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = asked?;
    view(&*gateway, &plugin)?;
    let load = body.load(&administrator)?;
    announced(&*gateway, &administrator, "policy-shadow", &plugin, &load);
    changed(&gateway, plugin, |gateway, plugin| gateway.shadow(plugin, load)).await
}

async fn end_shadow<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
) -> Answer<Response> {
    view(&*gateway, &plugin)?;
    announced(
        &*gateway,
        &administrator,
        "policy-shadow-end",
        &plugin,
        &Load::default(),
    );
    gateway.end_shadow(&plugin)?;
    Ok(answer(&view(&*gateway, &plugin)?))
}

async fn promote<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    body: Bytes,
) -> Answer<Response> {
    let load = or_default::<PromoteBody>(&body)?.load(&administrator)?;
    view(&*gateway, &plugin)?;
    announced(&*gateway, &administrator, "policy-promote", &plugin, &load);
    changed(&gateway, plugin, |gateway, plugin| gateway.promote(plugin, load)).await
}

async fn confirm<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    body: Bytes,
) -> Answer<Response> {
    let load = or_default::<ConfirmBody>(&body)?.load(&administrator);
    view(&*gateway, &plugin)?;
    announced(&*gateway, &administrator, "policy-confirm", &plugin, &load);
    changed(&gateway, plugin, |gateway, plugin| gateway.confirm(plugin)).await
}

async fn rollback<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    body: Bytes,
) -> Answer<Response> {
    let (to, load) = or_default::<RollbackBody>(&body)?.load(&administrator);
    view(&*gateway, &plugin)?;
    announced(&*gateway, &administrator, "policy-rollback", &plugin, &load);
    changed(&gateway, plugin, |gateway, plugin| gateway.rollback(plugin, to, load)).await
}

async fn differences<S: Steered>(State(gateway): State<Arc<S>>, Path(plugin): Path<String>) -> Answer<Response> {
    view(&*gateway, &plugin)?;
    Ok(answer(&gateway.differences(&plugin)?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Two {
    /// The number of the one.
    from: u64,
    /// The number of the other.
    to: u64,
}

async fn diff<S: Steered>(
    State(gateway): State<Arc<S>>,
    Path(plugin): Path<String>,
    two: Result<Query<Two>, QueryRejection>,
) -> Answer<Response> {
    let Query(Two { from, to }) = two?;
    view(&*gateway, &plugin)?;
    Ok(answer(&gateway.diff(plugin, from, to).await?))
}

/// Does it in a task of its own, so that it goes on if the administrator does not wait, and answers what is so then.
async fn changed<S: Steered, F>(
    gateway: &Arc<S>,
    plugin: String,
    change: impl FnOnce(Arc<S>, String) -> F,
) -> Answer<Response>
where
    F: Future<Output = Result<(), Declined>> + Send + 'static,
{
    let changing = change(Arc::clone(gateway), plugin.clone());
    gateway.tasks().spawn(changing).await.map_err(|error| {
        let words = format!("internal error: {error}");
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    })??;
    Ok(answer(&view(&**gateway, &plugin)?))
}

fn announced<S: Steered>(gateway: &S, administrator: &Administrator, action: &'static str, plugin: &str, load: &Load) {
    let mut detail = json!({ "plugin": plugin });
    let mut add = |key: &str, value: Value| {
        if let Some(detail) = detail
            .as_object_mut()
            .filter(|_| !value.is_null() && value != json!(false))
        {
            detail.insert(key.to_owned(), value);
        }
    };
    add("component", json!(load.component));
    add("settings", json!(load.settings));
    add(
        "confirm_within",
        json!(load.confirm_within.map(|within| within.as_secs())),
    );
    add("force", json!(load.force));
    announce(gateway, administrator, action, load.reason.as_deref(), detail);
}
