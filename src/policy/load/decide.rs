//! One question to one guest, in an instance that is made for it and dropped after it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wasmtime::component::ComponentExportIndex;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::names::Lookups;
use crate::policy::contract::convert;
use crate::policy::contract::newest::types as wit;
use crate::policy::contract::{Policy, PolicyPre};
use crate::policy::pool::{Prepared, Stock};
use crate::policy::sandbox::backtrace as place;
use crate::policy::sandbox::{Facts, Guest, Inert, Label, Meter, Phase, Sandbox, Turn};
use crate::policy::source::Lineage;
use crate::policy::{Failure, Installed, PolicyRef, Problem};
use crate::request::{ForwardRequest, Verdict};
use crate::signature::Signer;

/// A component that passed every check and can be asked.
pub(in crate::policy) struct Loaded {
    pub(in crate::policy) config: crate::config::Plugin,
    pub(in crate::policy) reference: PolicyRef,
    /// Who signed it, where that was demanded.
    pub(in crate::policy) signer: Option<Signer>,
    /// What it says of itself.
    pub(in crate::policy) lineage: Lineage,
    pub(in crate::policy) pre: PolicyPre,
    /// Where it exports `on-ended`, if it does.
    pub(in crate::policy) observer: Option<ComponentExportIndex>,
    /// Whether each instance must be configured; not where the component is a snapshot that was
    /// taken after `configure`.
    pub(in crate::policy) configures: bool,
    /// The settings it was configured with, as JSON.
    pub(in crate::policy) settings: String,
    pub(in crate::policy) rewrite: bool,
    /// See [`Guest::names_refused`].
    pub(in crate::policy) names_refused: bool,
    pub(in crate::policy) inert: bool,
    pub(in crate::policy) summary: String,
    pub(in crate::policy) schema: Option<String>,
    /// The names used in the log.
    pub(in crate::policy) label: (Arc<str>, Arc<str>),
    /// Instances that are made ahead, where making one takes long.
    pub(in crate::policy) stock: Option<Arc<Stock>>,
}

impl Loaded {
    pub(in crate::policy) fn installed(&self) -> Installed {
        Installed {
            policy: self.reference.clone(),
            signer: self.signer.clone(),
        }
    }

    /// Asks for a verdict. The names that were looked up come back with it, and the places of the decision, for the next policy.
    pub(in crate::policy) async fn decide(
        &self,
        sandbox: &Sandbox,
        facts: &Arc<Facts>,
        request: &ForwardRequest,
        (lookups, turn): (Lookups, Option<Turn>),
        deadline: Duration,
    ) -> (Result<Verdict, Failure>, Lookups, Option<Turn>) {
        let label = self.label_for(request.id.clone());
        // What is recorded is recorded from the start.
        let stock = self.stock.as_ref().filter(|_| facts.recorder.is_none());
        let (mut store, ready) = match stock.and_then(|stock| stock.take()) {
            Some(Prepared { mut store, policy, .. }) => {
                store.data_mut().begin(label, Arc::clone(facts), lookups, deadline);
                fill_up(&mut store, sandbox);
                (store, Some(policy))
            }
            None => {
                let (facts, phase) = (Arc::clone(facts), Phase::Configure);
                let guest = Guest::new(label, phase, facts, lookups, sandbox.memory, deadline);
                (store(sandbox, guest), None)
            }
        };
        store.data_mut().turn = turn;
        let asked = AssertUnwindSafe(self.ask(&mut store, ready, request))
            .catch_unwind()
            .await;
        let answer = asked.unwrap_or_else(|_| Err(Failure::Host("a panic in the host".to_owned())));
        if let Some(recorder) = &facts.recorder {
            // What a guest that was cut off has used was not added up.
            let fuel = store.get_fuel().ok().filter(|_| answer.is_ok());
            recorder.spent(fuel, store.data().ceiling.taken());
            if let Ok(given) = &answer {
                recorder.answered(given);
            }
        }
        let guest = store.data_mut();
        guest.say_printed();
        let (lookups, turn) = (guest.lookups.take(), guest.turn.take());
        let verdict = answer.and_then(|given| convert::verdict(given, request, self.rewrite));
        match stock {
            Some(stock) => stock.used(store),
            None => drop(store),
        }
        (verdict, lookups, turn)
    }

    async fn ask(
        &self,
        store: &mut Store<Guest>,
        ready: Option<Policy>,
        request: &ForwardRequest,
    ) -> Result<wit::Verdict, Failure> {
        let policy = match ready {
            Some(policy) => policy,
            None => configured(&self.pre, self.settings_for_each(), store).await?,
        };
        let guest = store.data_mut();
        guest.enter(Phase::Decide);
        guest.names_refused = self.names_refused;
        if self.inert {
            let now = Duration::from_millis(u64::try_from(request.now.as_millisecond()).unwrap_or(0));
            guest.wasi.get_or_insert_with(Inert::new).begin(now, &request.id);
        }
        let request = convert::request(request);
        let called = policy.decide(&mut *store, request).await;
        called.map_err(|error| classify(&error, store.data()))
    }

    /// What each instance is configured with, where it is not a snapshot.
    pub(in crate::policy) fn settings_for_each(&self) -> Option<&str> {
        self.configures.then_some(self.settings.as_str())
    }

    pub(in crate::policy) fn label_for(&self, forward: String) -> Label {
        let (policy, digest) = self.label.clone();
        Label {
            policy,
            digest,
            forward,
        }
    }
}

/// A store with every bound of one decision.
pub(in crate::policy) fn store(sandbox: &Sandbox, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(&sandbox.engine, guest);
    store.limiter(|guest| &mut guest.ceiling);
    fill_up(&mut store, sandbox);
    store.epoch_deadline_callback(|mut store| {
        Ok(if store.data_mut().clock.is_overdue() {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Yield(1)
        })
    });
    store
}

/// What a guest may use up, whole again. Its first turn lasts a whole epoch and what is left of the one before.
fn fill_up(store: &mut Store<Guest>, sandbox: &Sandbox) {
    store.set_hostcall_fuel(HOSTCALL_FUEL);
    if sandbox.meter == Meter::Fuel {
        store.set_fuel(u64::MAX).expect("an engine with a meter counts fuel");
    }
    store.set_epoch_deadline(2);
}

/// Makes an instance that can be asked.
pub(in crate::policy) async fn configured(
    pre: &PolicyPre,
    settings: Option<&str>,
    store: &mut Store<Guest>,
) -> Result<Policy, Failure> {
    let made = pre.instantiate_async(&mut *store).await;
    let policy = made.map_err(|error| classify(&error, store.data()))?;
    if let Some(settings) = settings {
        configure(&policy, store, settings)
            .await?
            .map_err(|problems| Failure::Trap(format!("`configure` now refuses its settings: {problems:?}")))?;
    }
    Ok(policy)
}

/// Calls `configure`; the inner error is the component's own list of faults.
pub(in crate::policy) async fn configure(
    policy: &Policy,
    store: &mut Store<Guest>,
    settings: &str,
) -> Result<Result<(), Vec<Problem>>, Failure> {
    store.data_mut().enter(Phase::Configure);
    let called = policy.configure(&mut *store, settings).await;
    let answer = called.map_err(|error| classify(&error, store.data()))?;
    Ok(answer.map_err(|problems| {
        problems
            .into_iter()
            .take(MAX_PROBLEMS)
            .map(|problem| Problem {
                at: crate::request::printable(&problem.at, 256),
                message: crate::request::printable(&problem.message, 1024),
            })
            .collect()
    }))
}

/// Tells apart what went wrong in a guest: with where it was, and with what it said last.
pub(in crate::policy) fn classify(error: &wasmtime::Error, guest: &Guest) -> Failure {
    let place = place::of(error);
    if guest.clock.overdue {
        return Failure::Overdue(place);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::QueueFull;
    }
    let words = format!("{:#}", error.root_cause());
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::StackOverflow => Failure::Stack(place),
            Trap::Interrupt => Failure::Overdue(place),
            _ if guest.ceiling.reached => Failure::Memory(words + &place),
            _ => Failure::Trap(words + &place + &guest.last_words()),
        };
    }
    if guest.ceiling.reached {
        return Failure::Memory(words + &place);
    }
    if words.contains("fuel allocated for hostcalls") {
        return Failure::Oversized("more than 1 MiB crossed the border".to_owned());
    }
    Failure::Malformed(words)
}

/// Bytes and elements that one call may make the host copy (the subject of CVE-2026-27204).
pub(in crate::policy) const HOSTCALL_FUEL: usize = 1 << 20;
const MAX_PROBLEMS: usize = 200;
