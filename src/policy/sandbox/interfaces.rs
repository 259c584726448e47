//! Implements the interfaces of the world for guests, each with a budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use wasmtime::Result;

use super::calendar as zones;
use super::facts::Facts;
use super::guest::{Guest, Phase};
use super::recorder::Recorder;
use super::state::StateError;
use crate::names::NameError;
use crate::policy::contract::convert;
use crate::policy::contract::newest::calendar::{CalendarError, LocalTime};
use crate::policy::contract::newest::log::Level;
use crate::policy::contract::newest::names::LookupError;
use crate::policy::contract::newest::state::StateError as WitStateError;
use crate::policy::contract::newest::{calendar, log, names, state, types, view};
use crate::request::Host;

impl types::Host for Guest {}

impl log::Host for Guest {
    async fn write(&mut self, level: Level, message: String) -> Result<()> {
        self.say(level, &message);
        Ok(())
    }
}

impl calendar::Host for Guest {
    /// Also from `configure`, which can so refuse a zone that does not exist.
    async fn local(&mut self, unix_ms: u64, zone: String) -> Result<Result<LocalTime, CalendarError>> {
        let answer = if self.dated.take() {
            zones::local(unix_ms, &zone)
        } else {
            Err(CalendarError::OverBudget)
        };
        self.note(|recorder| recorder.told_time(unix_ms, &zone, &answer));
        Ok(answer)
    }
}

impl names::Host for Guest {
    async fn resolve(&mut self, host: String) -> Result<Result<Vec<String>, LookupError>> {
        let answer = self.look_up(&host).await;
        self.note(|recorder| recorder.resolved(&host, &answer));
        Ok(answer)
    }
}

impl Guest {
    async fn look_up(&mut self, host: &str) -> Result<Vec<String>, LookupError> {
        if self.phase == Phase::Configure || self.names_refused {
            return Err(LookupError::NotGranted);
        }
        let host = Host::parse(host).map_err(|_| LookupError::NoSuchName)?;
        let began = Instant::now();
        let answer = match &mut self.turn {
            Some(turn) => turn.aside(self.lookups.resolve(&host)).await,
            None => self.lookups.resolve(&host).await,
        };
        self.clock.waited += began.elapsed();
        answer
            .map(|addresses| addresses.iter().map(ToString::to_string).collect())
            .map_err(|error| match error {
                NameError::NoSuchName => LookupError::NoSuchName,
                NameError::TimedOut => LookupError::TimedOut,
                NameError::OverBudget => LookupError::OverBudget,
                NameError::Failed(words) => LookupError::Failed(words),
            })
    }

    fn note(&self, tell: impl FnOnce(&Recorder)) {
        if let Some(recorder) = &self.facts.recorder {
            tell(recorder);
        }
    }
}

impl state::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, WitStateError>> {
        let asked = self.facts.recorder.as_ref().map(|_| key.clone());
        let answer = self.remember(|facts, policy| facts.state.get(policy, key, facts.now()));
        let answer = answer.await;
        if let Some(key) = asked {
            self.note(|recorder| recorder.got(&key, &answer));
        }
        Ok(answer)
    }

    async fn put(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> Result<Result<(), WitStateError>> {
        let ttl = Duration::from_secs(u64::from(ttl_seconds));
        let call = self.facts.recorder.as_ref().map(|_| (key.clone(), value.len()));
        let answer = self.remember(|facts, policy| facts.state.put(policy, key, value, ttl, facts.now()));
        let answer = answer.await;
        if let Some((key, bytes)) = call {
            self.note(|recorder| recorder.stored(&key, bytes, ttl_seconds, &answer));
        }
        Ok(answer)
    }

    async fn add(&mut self, key: String, delta: i64, window_seconds: u32) -> Result<Result<i64, WitStateError>> {
        let window = Duration::from_secs(u64::from(window_seconds));
        let call = self.facts.recorder.as_ref().map(|_| key.clone());
        let answer = self.remember(|facts, policy| facts.state.add(policy, key, delta, window, facts.now()));
        let answer = answer.await;
        if let Some(key) = call {
            self.note(|recorder| recorder.added(&key, delta, window_seconds, &answer));
        }
        Ok(answer)
    }
}

impl Guest {
    /// Makes one call of `state`.
    async fn remember<T>(
        &mut self,
        call: impl for<'a> FnOnce(&'a Facts, &'a str) -> BoxFuture<'a, Result<T, StateError>>,
    ) -> Result<T, WitStateError> {
        self.may_ask()?;
        let (facts, policy) = (Arc::clone(&self.facts), Arc::clone(&self.label.policy));
        let asked = call(&facts, &policy);
        let answer = match facts.state.is_elsewhere() {
            true => self.wait(asked).await.unwrap_or(Err(StateError::Unavailable)),
            false => asked.await,
        };
        Ok(answer?)
    }

    /// Waits for another machine. Others compute meanwhile, and the wait is not the guest's time. All such calls of one decision
    /// together may wait for as long as it may compute; there is no answer to those after that.
    async fn wait<F: Future>(&mut self, call: F) -> Option<F::Output> {
        let left = self.patience_elsewhere;
        if left.is_zero() {
            return None;
        }
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        let asked = async {
            let answer = timeout(left, call).await;
            waited = began.elapsed();
            answer.ok()
        };
        let answer = match &mut self.turn {
            Some(turn) => turn.aside(asked).await,
            None => asked.await,
        };
        self.patience_elsewhere = left.saturating_sub(waited);
        self.clock.waited += began.elapsed();
        answer
    }

    fn may_ask(&mut self) -> Result<(), WitStateError> {
        if self.phase == Phase::Configure {
            Err(WitStateError::NotGranted)
        } else if self.asked.take() {
            Ok(())
        } else {
            Err(WitStateError::OverBudget)
        }
    }

    fn may_view(&self) -> Result<()> {
        if self.phase == Phase::Configure {
            wasmtime::bail!("only `log` and `calendar` may be called from `configure`");
        }
        Ok(())
    }
}

impl From<StateError> for WitStateError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::OverBudget => Self::OverBudget,
            StateError::TooLarge => Self::TooLarge,
            StateError::Unavailable => Self::Unavailable,
        }
    }
}

impl view::Host for Guest {
    async fn open_forwards(&mut self, user: String) -> Result<u32> {
        self.may_view()?;
        let everywhere = match self.facts.counted_elsewhere.clone() {
            Some(counts) => self.wait(counts.open_forwards(&user)).await,
            None => None,
        };
        let count = everywhere.unwrap_or_else(|| (self.facts.open_forwards)(&user));
        self.note(|recorder| recorder.counted(&user, count));
        Ok(count)
    }

    async fn fact(&mut self, name: String) -> Result<Option<view::Value>> {
        self.may_view()?;
        let facts = &self.facts.configured;
        let found = facts.iter().find(|(key, _)| *key == name).map(|(_, fact)| fact);
        self.note(|recorder| recorder.viewed(&name, found));
        Ok(found.map(convert::fact))
    }
}
