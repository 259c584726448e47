//! What a guest can reach: the interfaces of the world, each with a budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};

use super::calendar as zones;
use super::engine::TICK;
use super::recorder::Recorder;
use super::state::{Clock, State, StateError};
use super::turns::Turn;
use super::wasi::Inert;
use crate::names::{Lookups, NameError};
use crate::policy::contract::convert;
use crate::policy::contract::newest::calendar::{CalendarError, LocalTime};
use crate::policy::contract::newest::log::Level;
use crate::policy::contract::newest::names::LookupError;
use crate::policy::contract::newest::state::StateError as WitStateError;
use crate::policy::contract::newest::{calendar, log, names, state, types, view};
use crate::request::{Fact, Host, printable};

/// The store data of one guest instance.
pub(in crate::policy) struct Guest {
    pub(in crate::policy) ceiling: Ceiling,
    pub(in crate::policy) clock: GuestClock,
    pub(in crate::policy) table: ResourceTable,
    pub(in crate::policy) wasi: Option<Inert>,
    pub(in crate::policy) lookups: Lookups,
    /// The places of the decision; none where nothing is decided.
    pub(in crate::policy) turn: Option<Turn>,
    /// `names` is linked and answers that it is not granted.
    pub(in crate::policy) names_refused: bool,
    label: Label,
    phase: Phase,
    facts: Arc<Facts>,
    logged: Budget,
    asked: Budget,
    dated: Budget,
    /// Its last line of the level `error`.
    complaint: Option<String>,
}

/// Who speaks, for the log.
#[derive(Clone)]
pub(in crate::policy) struct Label {
    pub(in crate::policy) policy: Arc<str>,
    pub(in crate::policy) digest: Arc<str>,
    pub(in crate::policy) forward: String,
}

/// Answers how many tunnels and listeners a user has open.
pub type OpenForwards = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// What the host interfaces answer from.
pub(in crate::policy) struct Facts {
    pub(in crate::policy) state: Arc<State>,
    pub(in crate::policy) configured: Vec<(String, Fact)>,
    pub(in crate::policy) open_forwards: OpenForwards,
    /// Of `state`.
    pub(in crate::policy) clock: Clock,
    /// Set on the workbench only.
    pub(in crate::policy) recorder: Option<Arc<Recorder>>,
}

impl Facts {
    /// The same, but nothing that is remembered: for a decision that nobody asked for.
    pub(in crate::policy) fn without_state(&self) -> Self {
        Self {
            state: Arc::default(),
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            clock: self.clock.clone(),
            recorder: self.recorder.clone(),
        }
    }

    /// The same for an instance that nobody looks at.
    pub(in crate::policy) fn unrecorded(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            clock: self.clock.clone(),
            recorder: None,
        }
    }

    /// The clock of `state`.
    fn now(&self) -> Instant {
        self.recorder
            .as_ref()
            .map_or_else(|| self.clock.now(), |recorder| recorder.now())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Phase {
    /// Only `log` and `calendar` may be called.
    Configure,
    Decide,
}

struct Budget(u32);

impl Budget {
    fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

impl Guest {
    pub(in crate::policy) fn new(
        label: Label,
        phase: Phase,
        facts: Arc<Facts>,
        lookups: Lookups,
        memory: u64,
        deadline: Duration,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            ceiling: Ceiling::new(memory),
            clock: GuestClock::new(deadline),
            table,
            wasi: None,
            lookups,
            turn: None,
            names_refused: false,
            label,
            phase,
            facts,
            logged: Budget(MAX_LINES),
            asked: Budget(MAX_STATE_CALLS),
            dated: Budget(MAX_DATES),
            complaint: None,
        }
    }

    /// A line of the guest; past the budget it is dropped, and said once.
    pub(in crate::policy) fn say(&mut self, level: Level, message: &str) {
        let last = self.logged.0 == 1;
        if !self.logged.take() {
            return;
        }
        let message = if last {
            "further lines of this decision are dropped".to_owned()
        } else {
            printable(message, MAX_LINE)
        };
        if level == Level::Error {
            self.complaint = Some(message.clone());
        }
        if let Some(recorder) = &self.facts.recorder {
            return recorder.line(level, message);
        }
        let Label {
            policy,
            digest,
            forward,
        } = &self.label;
        let digest = digest.get(..12).unwrap_or_default();
        match level {
            Level::Debug => tracing::debug!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Info => tracing::info!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Warn => tracing::warn!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Error => tracing::error!(target: "policy", %policy, digest, forward, "{message}"),
        }
    }

    /// What it said last of what went wrong, for the one who reads of its trap; empty if it said nothing.
    pub(in crate::policy) fn last_words(&self) -> String {
        let complaint = self.complaint.as_ref();
        complaint.map_or_else(String::new, |words| format!("; its last line in the log: {words}"))
    }

    /// What it printed, as lines of its log.
    pub(in crate::policy) fn say_printed(&mut self) {
        if let Some(wasi) = self.wasi.take() {
            for line in String::from_utf8_lossy(&wasi.printed()).lines() {
                self.say(Level::Info, line);
            }
        }
    }

    pub(in crate::policy) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// From here on it is the guest of one decision: all that it may use up is whole again.
    pub(in crate::policy) fn begin(&mut self, label: Label, facts: Arc<Facts>, lookups: Lookups, deadline: Duration) {
        self.clock = GuestClock::new(deadline);
        self.logged = Budget(MAX_LINES);
        self.asked = Budget(MAX_STATE_CALLS);
        self.dated = Budget(MAX_DATES);
        self.complaint = None;
        self.label = label;
        self.facts = facts;
        self.lookups = lookups;
    }
}

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
        let answer = self
            .may_ask()
            .map(|()| self.facts.state.get(&self.label.policy, &key, self.facts.now()));
        self.note(|recorder| recorder.got(&key, &answer));
        Ok(answer)
    }

    async fn put(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> Result<Result<(), WitStateError>> {
        let ttl = Duration::from_secs(u64::from(ttl_seconds));
        let call = self.facts.recorder.as_ref().map(|_| (key.clone(), value.len()));
        let answer = self.may_ask().and_then(|()| {
            let Facts { state, .. } = &*self.facts;
            Ok(state.put(&self.label.policy, key, value, ttl, self.facts.now())?)
        });
        if let Some((key, bytes)) = call {
            self.note(|recorder| recorder.stored(&key, bytes, ttl_seconds, &answer));
        }
        Ok(answer)
    }

    async fn add(&mut self, key: String, delta: i64, window_seconds: u32) -> Result<Result<i64, WitStateError>> {
        let window = Duration::from_secs(u64::from(window_seconds));
        let call = self.facts.recorder.as_ref().map(|_| key.clone());
        let answer = self.may_ask().and_then(|()| {
            let Facts { state, .. } = &*self.facts;
            Ok(state.add(&self.label.policy, key, delta, window, self.facts.now())?)
        });
        if let Some(key) = call {
            self.note(|recorder| recorder.added(&key, delta, window_seconds, &answer));
        }
        Ok(answer)
    }
}

impl Guest {
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
        }
    }
}

impl view::Host for Guest {
    async fn open_forwards(&mut self, user: String) -> Result<u32> {
        self.may_view()?;
        let count = (self.facts.open_forwards)(&user);
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

/// Counts every byte of every memory and table of an instance.
pub(in crate::policy) struct Ceiling {
    bytes: u64,
    left: u64,
    /// The guest asked for more than it may have.
    pub(in crate::policy) reached: bool,
}

impl Ceiling {
    fn new(bytes: u64) -> Self {
        Self {
            bytes,
            left: bytes,
            reached: false,
        }
    }

    /// The most that the instance has held: nothing is ever given back.
    pub(in crate::policy) fn taken(&self) -> u64 {
        self.bytes - self.left
    }

    fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => self.left = left,
            None => self.reached = true,
        }
        !self.reached
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.take(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let elements = desired.saturating_sub(current);
        Ok(self.take(elements.saturating_mul(size_of::<usize>())))
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        16
    }
}

/// The time of a guest: what it computed, without what it waited for the host.
///
/// Guests that compute for long take turns, so wall time alone would punish one for its neighbours:
/// the turns are counted, each as long as an epoch, and wall time is only the outer bound.
pub(in crate::policy) struct GuestClock {
    began: Instant,
    waited: Duration,
    turns: u32,
    deadline: Duration,
    /// The deadline has passed.
    pub(in crate::policy) overdue: bool,
}

impl GuestClock {
    fn new(deadline: Duration) -> Self {
        Self {
            began: Instant::now(),
            waited: Duration::ZERO,
            turns: 0,
            deadline,
            overdue: false,
        }
    }

    /// Called at every epoch while the guest runs.
    pub(in crate::policy) fn is_overdue(&mut self) -> bool {
        self.turns += 1;
        let wall = self.began.elapsed().saturating_sub(self.waited);
        self.overdue = TICK * self.turns > self.deadline || wall >= self.deadline * 4;
        self.overdue
    }
}

const MAX_LINES: u32 = 64;
const MAX_LINE: usize = 1024;
const MAX_STATE_CALLS: u32 = 64;
const MAX_DATES: u32 = 256;
const MAX_RESOURCES: usize = 256;
