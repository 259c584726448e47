//! Asks one guest for one decision, in an instance that is created for it and dropped afterwards.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wasmtime::Store;

use super::loaded::Loaded;
use crate::names::Lookups;
use crate::policy::Failure;
use crate::policy::contract::newest::types as wit;
use crate::policy::contract::{Policy, convert};
use crate::policy::pool::Prepared;
use crate::policy::sandbox::{Facts, Guest, Inert, Phase, Sandbox, Turn, classify, configured, fill_up, store};
use crate::request::{ForwardRequest, Verdict};

impl Loaded {
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
        let pool = self.pool.as_ref().filter(|_| facts.recorder.is_none());
        let (mut store, ready) = match pool.and_then(|pool| pool.take()) {
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
        let asked = {
            let asked = pin!(self.ask(&mut store, ready, request));
            AssertUnwindSafe(asked).catch_unwind().await
        };
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
        match pool {
            Some(pool) => pool.used(store),
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
            None => Box::pin(configured(&self.pre, self.settings_for_each(), store)).await?,
        };
        let guest = store.data_mut();
        guest.enter(Phase::Decide);
        guest.names_refused = self.names_refused;
        if self.inert {
            let now = Duration::from_millis(u64::try_from(request.now.as_millisecond()).unwrap_or(0));
            guest.wasi.get_or_insert_with(Inert::new).begin(now, &request.id);
        }
        let request = convert::request(request);
        let called = {
            let called = pin!(policy.decide(&mut *store, request));
            called.await
        };
        called.map_err(|error| classify(&error, store.data()))
    }
}
