//! Instances that are made ahead: each is used once, and there are never many.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use portreeve::config;
use portreeve::names::{Lookups, Resolver};
use portreeve::policy::{Failure, Generation, Policies, Pooled, Workshop};
use portreeve::request::{Action, ForwardRequest, Verdict};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::guests::{Does, Guest, SCATTERED, When, allows, denies};
use crate::harness::{compiler, eventually};

/// Policies without a gateway around them.
struct Asked {
    runtime: Runtime,
    policies: Policies,
    generation: Arc<Generation>,
    config: config::Policy,
    folder: TempDir,
}

impl Asked {
    /// A chain of as many plugins as there are lines to configure them.
    fn new(guest: &Guest, deadline: &str, plugins: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("policy.wasm"), guest.build()).unwrap();
        let mut text = format!("[policy]\ndeadline = {deadline:?}\n");
        for (index, lines) in plugins.iter().enumerate() {
            text.push_str(&format!(
                "[[policy.plugin]]\nname = \"p{index}\"\ncomponent = \"policy.wasm\"\n{lines}\n"
            ));
        }
        let file: &Path = &folder.path().join("portreeve.toml");
        let config = config::parse(&text, file).unwrap().policy;
        let runtime = Runtime::new().unwrap();
        let workshop = Workshop::keeping(compiler(), &folder.path().join("policies"), file).unwrap();
        let loaded = runtime.block_on(Policies::load_in(workshop, &config, Arc::new(|_| 0)));
        let (policies, generation) = loaded.map_err(|errors| errors[0].1.to_string()).unwrap();
        Self {
            generation,
            runtime,
            policies,
            config,
            folder,
        }
    }

    fn ask(&self) -> Verdict {
        self.ask_of(&self.generation)
    }

    fn ask_of(&self, generation: &Arc<Generation>) -> Verdict {
        let request = Arc::new(ForwardRequest::dry("alice", Action::Connect, "db:1".parse().unwrap()));
        let lookups = Lookups::new(Resolver::silent());
        self.runtime
            .block_on(generation.decide(request, lookups))
            .verdict
            .unwrap()
    }

    fn ask_to_listen(&self) -> Result<Verdict, Failure> {
        let request = Arc::new(ForwardRequest::dry("alice", Action::Listen, "db:1".parse().unwrap()));
        let opinion = self.generation.decide(request, Lookups::new(Resolver::silent()));
        self.runtime.block_on(opinion).verdict
    }

    fn pooled(&self) -> Pooled {
        self.generation.pooled()[0]
    }

    /// Waits until an instance is ready, and long enough for decisions to be rare: then it is used.
    fn ready(&self) -> Pooled {
        let since = Instant::now();
        eventually("an instance that is ready", || {
            Some(self.pooled()).filter(|kept| kept.ready > 0 && since.elapsed() > Duration::from_millis(2))
        })
    }
}

#[test]
fn a_prepared_instance_is_used_once() {
    let counting = Guest::that(Does::CountsToOne);
    // As a snapshot, and where each instance is configured.
    for wasi in ["refuse", "inert"] {
        let asked = Asked::new(&counting, "1s", &[&format!("wasi = {wasi:?}")]);
        assert_eq!(
            asked.pooled().ready,
            0,
            "nothing is kept for a policy that nobody asked"
        );
        asked.ask();
        for round in 0..50 {
            asked.ready();
            let verdict = asked.ask();
            assert!(
                matches!(verdict, Verdict::Allow(_)),
                "{wasi}, round {round}: {verdict:?}"
            );
        }
        assert!(asked.pooled().taken >= 45, "{:?}", asked.pooled());
        // In a crowd as well, whether there is a prepared one or not.
        for round in 0..500 {
            let verdict = asked.ask();
            assert!(
                matches!(verdict, Verdict::Allow(_)),
                "{wasi}, round {round}: {verdict:?}"
            );
        }
    }
}

#[test]
fn what_decisions_touch_is_in_memory_before_the_next() {
    let guest = Guest::that(allows())
        .configuring(Does::Scatters)
        .on(When::Listen, Does::Scatters);
    // A decision runs in the thread that waits for it.
    let faults = |asked: &Asked| {
        let before = getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults();
        let verdict = asked.ask_to_listen();
        assert!(matches!(verdict, Ok(Verdict::Allow(_))), "{verdict:?}");
        getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults() - before
    };
    // The memory of the trial may serve the first decision as well, and then it faults no more: another policy may fare otherwise.
    let asked = eventually("a first decision with page faults", || {
        let asked = Asked::new(&guest, "1s", &[""]);
        (faults(&asked) > i64::from(SCATTERED / 2)).then_some(asked)
    });
    eventually("a decision without page faults", || {
        asked.ready();
        (faults(&asked) < i64::from(SCATTERED / 10)).then_some(())
    });
}

#[test]
fn the_deadline_of_a_prepared_instance_begins_with_its_decision() {
    // It computes for some epochs, at each of which its deadline is looked at.
    let guest = Guest::that(allows()).on(When::Listen, Does::Tarries(10_000));
    let asked = Asked::new(&guest, "50ms", &[""]);
    asked.ask();
    asked.ready();
    let since = Instant::now();
    eventually("an instance that is far older than its deadline", || {
        (since.elapsed() > Duration::from_millis(300)).then_some(())
    });
    let verdict = asked.ask_to_listen();
    assert!(matches!(verdict, Ok(Verdict::Allow(_))), "{verdict:?}");
    assert_eq!(asked.pooled().taken, 1);
}

#[test]
fn a_prepared_instance_that_spins_is_stopped_in_time() {
    let guest = Guest::that(allows()).on(When::Listen, Does::Spins);
    let asked = Asked::new(&guest, "20ms", &[""]);
    asked.ask();
    asked.ready();
    assert_eq!(asked.ask_to_listen().unwrap_err().code(), "deadline");
    assert_eq!(asked.pooled().taken, 1);
    assert!(matches!(asked.ask(), Verdict::Allow(_)));
}

#[test]
fn a_swap_drops_what_was_prepared_for_the_old_policy() {
    let mut asked = Asked::new(&Guest::that(allows()), "1s", &[""]);
    asked.ask();
    asked.ready();
    let old = Arc::clone(&asked.generation);
    let next = Guest::that(denies("the new policy says no")).build();
    std::fs::write(asked.folder.path().join("policy.wasm"), next).unwrap();
    asked.generation = asked
        .runtime
        .block_on(asked.policies.prepare(&old, &asked.config))
        .map_err(|errors| errors[0].1.to_string())
        .unwrap()
        .generation;
    old.give_way_to(&asked.generation);
    eventually("the old instances gone", || (old.pooled()[0].ready == 0).then_some(()));
    assert!(matches!(asked.ask(), Verdict::Deny(_)));
    // A decision that began with the old generation ends with it, and leaves nothing behind.
    assert!(matches!(asked.ask_of(&old), Verdict::Allow(_)));
    asked.ready();
    assert_eq!(old.pooled()[0].ready, 0);
}

#[test]
fn few_instances_are_kept_however_many_decisions_there_are() {
    for plugins in [1, 4] {
        few_instances_are_kept_of(plugins);
    }
}

fn few_instances_are_kept_of(plugins: usize) {
    // Slow to make, so that decisions find none and more are wanted.
    let slow = Guest::that(allows()).configuring(Does::Tarries(1_000));
    let asked = Asked::new(&slow, "1s", &vec!["wasi = \"inert\""; plugins]);
    let most = |kept: &[Pooled]| {
        assert!(kept.iter().all(|one| one.ready <= 16), "{kept:?}");
        let all: usize = kept.iter().map(|one| one.ready).sum();
        assert!(all <= 32, "{kept:?}");
        all
    };
    for _ in 0..10 {
        let generation = Arc::clone(&asked.generation);
        let decisions = (0..40).map(|_| {
            let request = ForwardRequest::dry("alice", Action::Connect, "db:1".parse().unwrap());
            let generation = Arc::clone(&generation);
            async move {
                generation
                    .decide(Arc::new(request), Lookups::new(Resolver::silent()))
                    .await
            }
        });
        let decisions: Vec<_> = decisions.map(|one| asked.runtime.spawn(one)).collect();
        for decision in decisions {
            assert!(asked.runtime.block_on(decision).unwrap().verdict.is_ok());
        }
        most(&asked.generation.pooled());
    }
    eventually("several of each", || {
        let kept = asked.generation.pooled();
        (most(&kept) > 8).then_some(())
    });
}
