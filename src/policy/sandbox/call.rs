//! Creates and calls a guest, with all limits of one decision, and describes its failures.

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::backtrace;
use super::engine::{Meter, Sandbox};
use super::guest::{Guest, Phase};
use crate::policy::contract::{Policy, PolicyPre};
use crate::policy::{Failure, Problem};

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
pub(in crate::policy) fn fill_up(store: &mut Store<Guest>, sandbox: &Sandbox) {
    store.set_hostcall_fuel(HOSTCALL_FUEL);
    if sandbox.meter == Meter::Fuel {
        store.set_fuel(u64::MAX).expect("an engine with a meter counts fuel");
    }
    store.set_epoch_deadline(2);
}

/// Makes an instance that can be asked.
pub(in crate::policy) async fn configured(
    pre: &PolicyPre<Guest>,
    settings: Option<&str>,
    store: &mut Store<Guest>,
) -> Result<Policy, Failure> {
    let made = pre.instantiate_async(&mut *store).await;
    let policy = made.map_err(|error| classify(&error, store.data()))?;
    if let Some(settings) = settings {
        configure(&policy, store, settings)
            .await?
            .map_err(|problems| Failure::Trap(format!("`configure` now rejects its settings: {problems:?}")))?;
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
    let place = backtrace::of(error);
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
        return Failure::Oversized("more than 1 MiB was passed between the gateway and the policy".to_owned());
    }
    Failure::Malformed(words)
}

/// Bytes and elements that one call may make the host copy (the subject of CVE-2026-27204).
const HOSTCALL_FUEL: usize = 1 << 20;
const MAX_PROBLEMS: usize = 200;
