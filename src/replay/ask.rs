//! Replays every decision of the log with one policy or two, on all cores.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::decision::Decision;
use super::log::{Item, LogError, Logs, Seen};
use super::outcome::Outcome;
use super::recorded::Sessions;
use super::tally::Tally;
use crate::names::{Elsewhere, Lookups, Names, Resolver};
use crate::policy::{Failure, Generation, Opinion, SetClock};
use crate::request::{Action, Endpoint, ForwardRequest, Terms, Verdict, VerdictWord};

/// Whom to ask, and what they are told.
pub(super) struct Asker {
    pub(super) candidate: Arc<Generation>,
    /// Absent: what the log says is compared.
    pub(super) baseline: Option<Arc<Generation>>,
    pub(super) resolver: Resolver,
    /// What the log says of names elsewhere.
    pub(super) names: Arc<Names>,
    pub(super) elsewhere: Elsewhere,
    /// What is open, for policies that may view it.
    pub(super) open: Open,
    pub(super) clock: SetClock,
    pub(super) order: Order,
    /// Whether they are told that nobody acts on the verdict.
    pub(super) dry_run: bool,
}

/// How many tunnels and listeners each user has open at this point of the log.
pub(super) type Open = Arc<Mutex<HashMap<String, u32>>>;

/// In which order decisions are asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// In any: nothing that one decision leaves behind is seen by the next.
    Any,
    /// In that of the log, by one thread: a policy remembers, or sees what is open.
    Log,
}

/// Shows how far it is.
#[derive(Default)]
pub(crate) struct Progress {
    /// Of the logs, read.
    pub(crate) bytes: AtomicU64,
    /// Decisions, asked again.
    pub(crate) asked: AtomicU64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Failed(String),
}

impl Asker {
    /// Reads the log on this thread and asks on others.
    pub(super) fn run(
        self,
        logs: &Logs,
        sessions: Sessions,
        examples: usize,
        progress: &Progress,
    ) -> Result<(Tally, Seen), AskError> {
        let workers = match self.order {
            Order::Any => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Order::Log => 1,
        };
        let (sender, batches) = sync_channel(4 * workers);
        // Held by those who ask alone: where none is left, nothing is sent any more.
        let batches = Arc::new(Mutex::new(batches));
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers)
                .map(|_| {
                    let (asker, batches) = (&self, Arc::clone(&batches));
                    scope.spawn(move || asker.work(&batches, examples, progress))
                })
                .collect();
            drop(batches);
            let seen = self.feed(logs, sessions, &sender, progress);
            drop(sender);
            let mut tally = Tally::new(examples);
            for worker in workers {
                let done = worker
                    .join()
                    .unwrap_or_else(|_| Err("a replay thread failed".to_owned()));
                tally.add(done.map_err(AskError::Failed)?);
            }
            Ok((tally, seen?))
        })
    }

    fn feed(
        &self,
        logs: &Logs,
        sessions: Sessions,
        sender: &SyncSender<Vec<Item>>,
        progress: &Progress,
    ) -> Result<Seen, LogError> {
        let mut batch = Vec::with_capacity(BATCH);
        let seen = logs.read(&progress.bytes, sessions, |mut item| {
            if let Item::Ask(decision) = &mut item {
                Arc::make_mut(&mut decision.request).dry_run = self.dry_run;
            }
            if self.order == Order::Any && !matches!(item, Item::Ask(_)) {
                return true;
            }
            batch.push(item);
            batch.len() < BATCH
                || sender
                    .send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))
                    .is_ok()
        })?;
        let _ = sender.send(batch);
        Ok(seen)
    }

    fn work(
        &self,
        batches: &Mutex<Receiver<Vec<Item>>>,
        examples: usize,
        progress: &Progress,
    ) -> Result<Tally, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a thread: {error}"))?;
        let mut tally = Tally::new(examples);
        let mut began = None;
        loop {
            let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = next else { return Ok(tally) };
            let asked = batch.iter().filter(|item| matches!(item, Item::Ask(_))).count();
            runtime.block_on(async {
                for item in batch {
                    match item {
                        Item::Ask(decision) => self.compare(*decision, &mut began, &mut tally).await,
                        Item::Opened(user) => *self.counts().entry(user).or_default() += 1,
                        Item::Ended(user) => {
                            let mut counts = self.counts();
                            let left = counts.get(&user).map_or(0, |count| count.saturating_sub(1));
                            match left {
                                0 => drop(counts.remove(&user)),
                                left => drop(counts.insert(user, left)),
                            }
                        }
                    }
                }
            });
            progress.asked.fetch_add(asked as u64, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn compare(&self, decision: Decision, began: &mut Option<Timestamp>, tally: &mut Tally) {
        if self.order == Order::Log {
            let now = decision.request.now;
            let past = now.as_millisecond() - began.get_or_insert(now).as_millisecond();
            self.clock.set(u64::try_from(past).unwrap_or(0));
        }
        let before = match &self.baseline {
            Some(baseline) => self.ask(baseline, &decision).await,
            None => decision.recorded.clone(),
        };
        let after = self.ask(&self.candidate, &decision).await;
        tally.count(decision.number, &decision.request, before, after);
    }

    async fn ask(&self, policies: &Arc<Generation>, decision: &Decision) -> Outcome {
        let resolver = self
            .resolver
            .recorded(Arc::clone(&decision.names), Arc::clone(&self.names), self.elsewhere);
        let request = Arc::clone(&decision.request);
        let opinion = policies.decide(request, Lookups::new(resolver)).await;
        settle(opinion, &decision.request, &decision.names)
    }
}

/// What comes of an opinion: the address rules of an allow are judged on the addresses that the log has.
pub(super) fn settle(opinion: Opinion, request: &ForwardRequest, names: &Names) -> Outcome {
    outcome(opinion.counted(), request, names)
}

pub(super) fn outcome(verdict: Result<Verdict, Failure>, request: &ForwardRequest, names: &Names) -> Outcome {
    let (verdict, effective, terms) = match verdict {
        Ok(Verdict::Allow(terms)) => (VerdictWord::Allow, request.target.clone(), terms),
        Ok(Verdict::Rewrite(redirect)) => (VerdictWord::Rewrite, redirect.to, redirect.terms),
        Ok(Verdict::Deny(denial)) => return Outcome::Denied(denial.code),
        Err(failure) => return Outcome::Failed(failure.code().to_owned()),
    };
    if refuses_all(request, &effective, &terms, names) {
        return Outcome::Denied("address-rule".to_owned());
    }
    Outcome::Open {
        verdict,
        effective,
        terms: Some(terms),
    }
}

fn refuses_all(request: &ForwardRequest, effective: &Endpoint, terms: &Terms, names: &Names) -> bool {
    let Endpoint::Tcp { host, .. } = effective else {
        return false;
    };
    if request.action != Action::Connect || terms.address_rules.is_empty() {
        return false;
    }
    let addresses = match host {
        crate::request::Host::Address(address) => vec![*address],
        crate::request::Host::Name(name) => match names.get(name.as_str()) {
            Some(Ok(addresses)) => addresses.clone(),
            _ => return false,
        },
        crate::request::Host::Any => return false,
    };
    !addresses.iter().any(|address| terms.address_rules.permit(*address))
}

/// Decisions that a thread takes at once.
const BATCH: usize = 128;
