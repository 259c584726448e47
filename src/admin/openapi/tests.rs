//! The document beside the router, the repository and the types of other rooms.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use super::shapes;
use crate::admin::{
    Declined, DiffView, DifferencesView, Load, PluginView, Reloaded, Rollout, Status, Steered, Unready, routes,
};
use crate::events::Events;
use crate::fleet::Fleet;
use crate::history::History;
use crate::locks::{Lock, Locks};
use crate::policy::PolicyRef;
use crate::request::{AddressRule, AddressRules, Effect, Outbound, Terms};
use crate::sessions::Sessions;

#[tokio::test]
async fn every_route_is_in_the_document_with_its_methods_and_the_other_way_round() {
    let router = routes::control(Arc::new(Nothing));
    let document = document(&router).await;
    let documented = document["paths"].as_object().unwrap();
    assert_eq!(routed(&router), documented.keys().cloned().collect::<BTreeSet<_>>());

    let mut ids = BTreeSet::new();
    for (path, item) in documented {
        let path = path.replace(['{', '}'], "");
        let (status, allowed, words) = ask(&router, "PATCH", &path).await;
        let allowed: BTreeSet<_> = allowed
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_lowercase)
            .collect();
        let methods: BTreeSet<_> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            (status, allowed),
            (StatusCode::METHOD_NOT_ALLOWED, methods),
            "{path} {words}"
        );
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "twice: {id}");
        }
    }
}

/// `RENEW=1` writes the file instead of comparing it.
#[tokio::test]
async fn the_repository_has_the_document_that_is_served() {
    let served = ask(&routes::control(Arc::new(Nothing)), "GET", super::PATH).await.2;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == served,
        "docs/openapi.json is out of date: run `RENEW=1 cargo test --lib openapi`, and look at what has changed"
    );
}

#[test]
fn shapes_have_the_keys_of_the_types_that_they_describe() {
    let rule = || AddressRule {
        cidr: "10.0.0.0/8".parse().unwrap(),
        effect: Effect::Permit,
    };
    let terms = Terms {
        max_seconds: Some(1),
        idle_seconds: Some(1),
        max_bytes: Some(1),
        bytes_per_second: Some(1),
        address_rules: AddressRules::new(vec![rule()]),
        recheck_seconds: Some(1),
        reuse_seconds: Some(1),
        replace_socket: true,
        outbound: Outbound {
            proxy_protocol: Some("v2".parse().unwrap()),
            source_address: Some([127, 0, 0, 1].into()),
            mark: Some(1),
            dscp: Some("ef".parse().unwrap()),
            via: Some("proxy".parse().unwrap()),
        },
        tags: [("never".to_owned(), "shown".to_owned())].into(),
    };
    alike::<shapes::Terms>(&terms, &Terms::default());
    alike::<shapes::AddressRule>(&rule(), &rule());
    let effects = json!([Effect::Permit, Effect::Refuse]);
    assert_eq!(
        json!(<shapes::Effect as utoipa::PartialSchema>::schema())["enum"],
        effects
    );
    let policy = PolicyRef {
        name: String::new(),
        version: String::new(),
        sha256: String::new(),
        settings_sha256: String::new(),
    };
    alike::<shapes::PolicyRef>(&policy, &policy);
    let until_lifted = Lock {
        user: String::new(),
        reason: String::new(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
        uid: 0,
        admin: String::new(),
        fleet: false,
    };
    let for_a_while = Lock {
        fleet: true,
        until: Some(Timestamp::UNIX_EPOCH),
        ..until_lifted.clone()
    };
    alike::<shapes::Lock>(&for_a_while, &until_lifted);
}

/// The shape has every key that there can be, and needs those that are always there.
fn alike<T: ToSchema>(full: &impl Serialize, least: &impl Serialize) {
    let schema = json!(T::schema());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&schema["properties"]), keys(&json!(full)), "{schema}");
    let required = schema["required"].as_array().into_iter().flatten();
    let required: BTreeSet<_> = required.map(|key| key.as_str().unwrap().to_owned()).collect();
    assert_eq!(required, keys(&json!(least)), "{schema}");
}

/// The paths of a router, which it tells only for debugging; what axum itself adds is marked as private.
fn routed(router: &Router) -> BTreeSet<String> {
    let told = format!("{router:?}");
    let paths = told
        .split("RouteId(")
        .filter_map(|part| part.split_once("): \"/")?.1.split_once('"'));
    paths
        .map(|(path, _)| format!("/{path}"))
        // These two are axum's own, for what no route has.
        .filter(|path| path != "/" && !path.contains("__private"))
        .collect()
}

async fn document(router: &Router) -> Value {
    serde_json::from_str(&ask(router, "GET", super::PATH).await.2).unwrap()
}

/// Status, permitted methods and body.
async fn ask(router: &Router, method: &str, path: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path);
    let service = TowerToHyperService::new(router.clone());
    let answer = service.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let allowed = answer
        .headers()
        .get("allow")
        .map(|allowed| allowed.to_str().unwrap().to_owned());
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        allowed.unwrap_or_default(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

/// A gateway of which nothing is asked.
struct Nothing;

const NOTHING: &str = "nothing is asked of it";

impl Steered for Nothing {
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    fn fleet(&self) -> Option<&Fleet> {
        None
    }

    fn status(&self) -> Status {
        unreachable!("{NOTHING}")
    }
    fn unready(&self) -> Vec<Unready> {
        unreachable!("{NOTHING}")
    }
    fn metrics(&self) -> String {
        unreachable!("{NOTHING}")
    }
    fn history(&self) -> &History {
        unreachable!("{NOTHING}")
    }
    fn sessions(&self) -> &Sessions {
        unreachable!("{NOTHING}")
    }
    fn locks(&self) -> &Locks {
        unreachable!("{NOTHING}")
    }
    fn tasks(&self) -> &TaskTracker {
        unreachable!("{NOTHING}")
    }
    fn events(&self) -> &Events {
        unreachable!("{NOTHING}")
    }
    async fn reload(self: Arc<Self>) -> Result<Reloaded, String> {
        unreachable!("{NOTHING}")
    }
    async fn rehearse(self: Arc<Self>) -> Result<Reloaded, String> {
        unreachable!("{NOTHING}")
    }
    fn drain(&self, _: Option<Duration>) {
        unreachable!("{NOTHING}")
    }
}

impl Rollout for Nothing {
    fn plugins(&self) -> Vec<PluginView> {
        unreachable!("{NOTHING}")
    }
    async fn load(self: Arc<Self>, _: String, _: Load) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    async fn shadow(self: Arc<Self>, _: String, _: Load) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    fn end_shadow(&self, _: &str) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    async fn promote(self: Arc<Self>, _: String, _: Load) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    async fn confirm(self: Arc<Self>, _: String) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    async fn rollback(self: Arc<Self>, _: String, _: Option<u64>, _: Load) -> Result<(), Declined> {
        unreachable!("{NOTHING}")
    }
    fn differences(&self, _: &str) -> Result<DifferencesView, Declined> {
        unreachable!("{NOTHING}")
    }
    async fn diff(self: Arc<Self>, _: String, _: u64, _: u64) -> Result<DiffView, Declined> {
        unreachable!("{NOTHING}")
    }
}
