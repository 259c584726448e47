//! How long instances are kept ready for a policy.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refill::Refill;
use crate::config;
use crate::names::{Lookups, Resolver};
use crate::policy::load::{self, Loader};
use crate::policy::sandbox::{Facts, Meter, PREPARED, State};
use crate::policy::{Compiler, Vetted, Workshop};
use crate::request::{Action, ForwardRequest};

#[tokio::test]
async fn a_policy_that_is_not_asked_any_more_keeps_nothing() {
    let idle = Duration::from_millis(200);
    let workshop = Arc::new(Workshop::new(Compiler::in_process()));
    let mut loader = Loader::new(64 << 20, workshop, Meter::Off).unwrap();
    loader.refill = Refill::start_with(idle).unwrap();
    let loader = Arc::new(loader);
    let text = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nsettings = { rules = [] }\n";
    let plugin = config::parse(text, Path::new("test.toml"))
        .unwrap()
        .policy
        .plugins
        .remove(0);
    let facts = Arc::new(Facts {
        state: Arc::new(State::default()),
        counted_elsewhere: None,
        configured: Vec::new(),
        open_forwards: Arc::new(|_| 0),
        clock: crate::policy::Clock::Running,
        recorder: None,
    });
    let second = Duration::from_secs(1);
    let bytes = Vetted::read(&plugin, None).unwrap();
    let loaded = load::load(&loader, &facts, &plugin, bytes, second).await.unwrap();
    let request = ForwardRequest::dry("alice", Action::Connect, "db:1".parse().unwrap());
    let decided = loaded.decide(
        &loader.sandbox,
        &facts,
        &request,
        (Lookups::new(Resolver::silent()), None),
        second,
    );
    decided.await.0.unwrap();
    let pool = loaded.pool.as_ref().unwrap();
    let began = Instant::now();
    // The place of an instance is given back after it, by the thread that drops it.
    let wait_for = async |ready: usize| {
        let places = &loader.refill.places;
        while (pool.pooled().ready, places.available_permits()) != (ready, PREPARED - ready) {
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", pool.pooled());
            tokio::task::yield_now().await;
        }
    };
    wait_for(1).await;
    wait_for(0).await;
    assert!(began.elapsed() >= idle / 2);
}
