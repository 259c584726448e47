//! `/v1/policies`: the generations of each plugin, and what brings one in force or takes it back.

use std::collections::BTreeMap;
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
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::Steered;
use super::openapi::{Documented, Failure, answers, lists};
use super::peer::Administrator;
use super::routes::{Answer, Failed, announce, json as answer};
use super::time::Time;
use super::view::{shown, shown_or_none};

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

/// A plugin of `GET /v1/policies`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(crate) struct PluginView {
    /// The name under which it is configured.
    pub plugin: String,
    /// In the order in which they last served; the one in force is the last but a shadow.
    pub generations: Vec<GenerationView>,
    /// Until when the one in force must be confirmed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub confirm_by: Option<Timestamp>,
    /// What became of the last candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub gates: Option<GatesView>,
    /// What was rolled back and is not kept any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<QuarantinedView>,
}

/// One generation of a plugin, or its shadow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Generation)]
pub(crate) struct GenerationView {
    /// Its number; a shadow has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub generation: Option<u64>,
    /// `active`, `shadow`, `previous` or `quarantined`.
    pub state: &'static str,
    /// The version that the component states.
    pub version: String,
    /// SHA-256 of the component.
    pub sha256: String,
    /// SHA-256 of the settings.
    pub settings_sha256: String,
    /// Who signed it, where that was demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub signer: Option<String>,
    /// `start`, `file`, `reload`, `rollback` or an administrator's name.
    pub loaded_by: String,
    /// Since when it serves, or last served.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Until when it served.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub until: Option<Timestamp>,
    /// Since the gateway started.
    pub decisions: u64,
    /// Refusals among them.
    pub denials: u64,
    /// No answers among them.
    pub failures: u64,
    /// Why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// What was rolled back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quarantined)]
pub(crate) struct QuarantinedView {
    /// SHA-256 of the component, or `builtin:NAME`.
    pub component: String,
    /// SHA-256 of the settings.
    pub settings_sha256: String,
    /// Since when.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// What became of a candidate.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gates)]
pub(crate) struct GatesView {
    /// Who wanted it.
    pub by: String,
    /// When.
    #[serde(serialize_with = "shown")]
    pub time: Timestamp,
    /// SHA-256 of the component, or `builtin:NAME`; absent where it did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub component: Option<String>,
    /// SHA-256 of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub settings_sha256: Option<String>,
    /// In their order, as far as it came.
    pub gates: Vec<GateView>,
}

/// What came of one gate.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gate)]
pub(crate) struct GateView {
    /// Its name.
    pub gate: &'static str,
    /// `passed`, `refused`, `forced` or `waiting`.
    pub result: &'static str,
    /// In words.
    pub words: String,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub millis: Option<u64>,
}

/// What two chains decide otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Differences)]
pub(crate) struct DifferencesView {
    /// Decisions that were asked.
    pub asked: u64,
    /// Decisions that the shadow was not asked, because it was behind.
    pub skipped: u64,
    /// Those that differ.
    pub different: u64,
    /// Since when it is asked.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub since: Option<Timestamp>,
    /// By what changed and by which rules, the most frequent first.
    pub groups: Vec<GroupView>,
    /// By user, the most concerned first.
    pub users: Vec<UserView>,
    /// The first ones.
    pub examples: Vec<ExampleView>,
}

/// Differences of one kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub(crate) struct GroupView {
    /// Such as `allow → deny`.
    pub change: String,
    /// The rule that decided, or the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<String>,
    /// The rule that would decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<String>,
    /// How often.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

/// Differences of one user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    /// Whose.
    pub user: String,
    /// How often.
    pub count: u64,
    /// By what changed.
    pub changes: BTreeMap<String, u64>,
}

/// One difference.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Example)]
pub(crate) struct ExampleView {
    /// The `forward` of the audit log.
    pub forward: String,
    /// When it was decided.
    #[serde(serialize_with = "shown")]
    pub time: Timestamp,
    /// Who asked.
    pub user: String,
    /// What.
    pub asked: String,
    /// What was decided.
    pub before: String,
    /// What would be.
    pub after: String,
}

/// `GET /v1/policies/{plugin}/diff`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Diff)]
pub(crate) struct DiffView {
    /// The number of the one.
    pub from: u64,
    /// The number of the other.
    pub to: u64,
    /// Whether they are the same component.
    pub same_component: bool,
    /// What only the second imports.
    pub imports_added: Vec<String>,
    /// What only the first imports.
    pub imports_removed: Vec<String>,
    /// Settings that differ.
    pub settings: Vec<SettingView>,
    /// Of the last decisions.
    pub differences: DifferencesView,
}

/// A setting that differs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Setting)]
pub(crate) struct SettingView {
    /// A JSON pointer.
    pub at: String,
    /// In the first; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<Value>,
    /// In the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<Value>,
}

/// The body of what changes a plugin.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyChange)]
struct Wish {
    /// A component, as an absolute path or `builtin:rules`; absent: the one in force.
    #[schema(nullable = false)]
    component: Option<String>,
    /// The absolute path of a file with settings; absent: those in force.
    #[schema(value_type = Option<String>, nullable = false)]
    settings: Option<PathBuf>,
    /// It is taken back unless it is confirmed within this time.
    #[schema(nullable = false)]
    confirm_within: Option<Time>,
    /// Of a rollback: the generation to go back to; absent: the one before.
    #[schema(nullable = false)]
    to: Option<u64>,
    /// A gate that would refuse is passed.
    #[serde(default)]
    force: bool,
    /// Of a load: the gates are tried, and nothing changes.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
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
            changes("Sends a candidate through the gates, and puts it in force.").takes::<Wish>(),
        )
        .post(
            "/v1/policies/{plugin}/shadow",
            shadow::<S>,
            changes("Asks a candidate beside the policy in force; it decides nothing.").takes::<Wish>(),
        )
        .delete(
            "/v1/policies/{plugin}/shadow",
            end_shadow::<S>,
            answers::<PluginView>("Ends the shadow.").fails(&[NotFound, Conflict]),
        )
        .post(
            "/v1/policies/{plugin}/promote",
            promote::<S>,
            changes("Sends the shadow through the gates, and puts it in force.").may_take::<Wish>(),
        )
        .post(
            "/v1/policies/{plugin}/confirm",
            confirm::<S>,
            changes("Keeps what was put in force with a time to confirm.").may_take::<Wish>(),
        )
        .post(
            "/v1/policies/{plugin}/rollback",
            rollback::<S>,
            changes("Puts an earlier generation in force, and quarantines the present one.").may_take::<Wish>(),
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
    asked: Result<Json<Wish>, JsonRejection>,
) -> Answer<Response> {
    let Json(wish) = asked?;
    view(&*gateway, &plugin)?;
    if wish.component.is_none() && wish.settings.is_none() {
        let words = "nothing to load was named: expected `component`, `settings` or both";
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    let load = wish.load(&administrator)?;
    if !load.dry_run {
        announced(&*gateway, &administrator, "policy-load", &plugin, &load);
    }
    changed(&gateway, plugin, |gateway, plugin| gateway.load(plugin, load)).await
}

async fn shadow<S: Steered>(
    State(gateway): State<Arc<S>>,
    Extension(administrator): Extension<Administrator>,
    Path(plugin): Path<String>,
    asked: Result<Json<Wish>, JsonRejection>,
) -> Answer<Response> {
    let Json(wish) = asked?;
    view(&*gateway, &plugin)?;
    if wish.component.is_none() && wish.settings.is_none() {
        let words = "no candidate was named: expected `component`, `settings` or both";
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    let load = wish.load(&administrator)?;
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
    let load = wish(&body)?.load(&administrator)?;
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
    let load = wish(&body)?.load(&administrator)?;
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
    let wish = wish(&body)?;
    let to = wish.to;
    let load = wish.load(&administrator)?;
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

/// A body, where none is needed.
fn wish(body: &Bytes) -> Answer<Wish> {
    if body.trim_ascii().is_empty() {
        return Ok(Wish::default());
    }
    serde_json::from_slice(body).map_err(|error| Failed::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

impl Wish {
    fn load(self, administrator: &Administrator) -> Answer<Load> {
        let confirm_within = self.confirm_within.map(|time| time.within("confirm_within", LONGEST));
        let relative = [
            self.component.as_deref().map(std::path::Path::new),
            self.settings.as_deref(),
        ];
        let relative = relative.into_iter().flatten().find(|path| path.is_relative());
        if let Some(path) = relative.filter(|path| path.as_os_str() != "builtin:rules") {
            let words = format!("{}: expected an absolute path: the gateway reads it", path.display());
            return Err(Failed::new(StatusCode::BAD_REQUEST, words));
        }
        Ok(Load {
            component: self.component,
            settings: self.settings,
            confirm_within: confirm_within.transpose()?,
            force: self.force,
            dry_run: self.dry_run,
            by: administrator.name.clone(),
            reason: self.reason,
        })
    }
}

/// Settings that differ, by their place.
pub(crate) fn settings_that_differ(before: &Value, after: &Value) -> Vec<SettingView> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(at: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<SettingView>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                compare(format!("{at}/{escaped}"), one.get(key), other.get(key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                compare(format!("{at}/{index}"), one.get(index), other.get(index), found);
            }
        }
        (before, after) => found.push(SettingView {
            at,
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

/// As long as an administrator may want to look at a policy.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_by_their_places() {
        #[rustfmt::skip]
        let table = [
            // before                        after                          what differs
            (json!({}),                      json!({}),                     vec![]),
            (json!({"a": 1}),                json!({"a": 2}),               vec![("/a", Some(json!(1)), Some(json!(2)))]),
            (json!({"a": 1}),                json!({"b": 1}),               vec![("/a", Some(json!(1)), None), ("/b", None, Some(json!(1)))]),
            (json!({"a": [1, 2]}),           json!({"a": [1, 3, 4]}),       vec![("/a/1", Some(json!(2)), Some(json!(3))), ("/a/2", None, Some(json!(4)))]),
            (json!({"a/b": {"~": true}}),    json!({"a/b": {"~": false}}),  vec![("/a~1b/~0", Some(json!(true)), Some(json!(false)))]),
            (json!({"a": {}}),               json!({"a": []}),              vec![("/a", Some(json!({})), Some(json!([])))]),
        ];
        for (before, after, differs) in table {
            let found = settings_that_differ(&before, &after);
            let found: Vec<_> = found.into_iter().map(|one| (one.at, one.before, one.after)).collect();
            let differs: Vec<_> = differs
                .into_iter()
                .map(|(at, one, other)| (at.to_owned(), one, other))
                .collect();
            assert_eq!(found, differs);
        }
    }
}
