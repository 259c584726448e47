//! What administrators say to all gateways, and what they ask them.
//!
//! Orders are entries of a stream, which each gateway reads after the last one that it has read: one that was away hears all that
//! it missed, in order. What must hold for longer, who is locked out, is also kept in a hash, which a gateway reads whenever it
//! connects: so a new gateway knows it, too. It goes when no gateway needs it any more. Answers go to a list of their own, which ends
//! by itself.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Value;
use tokio::time::{Instant, sleep};
use ulid::Ulid;

use super::counts::Counts;
use super::link::{Condition, Link, Unavailable};
use super::scripts::{ANSWER, ANSWERS, HEAR, KEPT, TELL};
use crate::request::printable;

/// The orders of one fleet.
pub struct Orders {
    link: Arc<Link>,
    counts: Arc<Counts>,
    /// The last entry of the stream that was read.
    last: Mutex<Option<String>>,
}

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// An order, and when it was given, in milliseconds of Unix time by the clock of Redis.
    Order {
        /// When.
        at: i64,
        /// What.
        order: Vec<u8>,
    },
    /// What is kept for good of some user.
    Kept(Vec<u8>),
}

/// Does what is heard. It must not take long: the next order waits for it.
pub type Hears = Arc<dyn Fn(Heard) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is kept of a user for gateways that come later.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// The user.
    pub user: &'a str,
    /// What they hear.
    pub order: &'a [u8],
    /// How long; none is for good.
    pub lasts: Option<Duration>,
}

/// What one gateway answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Its name.
    pub(crate) gateway: String,
    /// None where it did not answer in time.
    pub(crate) answer: Option<Vec<u8>>,
}

impl Orders {
    pub(super) fn new(link: Arc<Link>, counts: Arc<Counts>) -> Self {
        Self {
            link,
            counts,
            last: Mutex::default(),
        }
    }

    /// Tells all gateways, this one too. `kept` is what holds of a user from now on for those that come later, and for how long.
    ///
    /// # Errors
    /// If Redis does not answer; then it may have been told.
    pub async fn tell(&self, order: &[u8], kept: Option<Keep<'_>>) -> Result<(), Unavailable> {
        let (user, kept, lasts) = kept.map_or(("", &b""[..], None), |keep| (keep.user, keep.order, keep.lasts));
        let lasts = lasts.map(|lasts| lasts.as_millis().to_string()).unwrap_or_default();
        let arguments = [order, user.as_bytes(), kept, lasts.as_bytes()];
        let told = self
            .link
            .run_within(PATIENCE, &TELL, &[STREAM, LOCKS, ENDS], &arguments);
        told.await.map(|_| ())
    }

    /// Tells all gateways and waits for what each answers under the name that `order` is given.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn ask(&self, order: impl FnOnce(&str) -> Vec<u8>) -> Result<Vec<Answered>, Unavailable> {
        let question = Ulid::new().to_string();
        let gateways = self.counts.look().await?;
        self.tell(&order(&question), None).await?;
        let began = Instant::now();
        let mut answers = Vec::new();
        let mut seen = HashSet::new();
        loop {
            sleep(SOON).await;
            let from = answers.len().to_string();
            let arguments = [from.as_bytes()];
            let key = [list(&question)];
            let more = self.link.run_within(PATIENCE, &ANSWERS, &key, &arguments);
            if let Value::Array(more) = more.await? {
                answers.extend(more.into_iter().map(|value| match value {
                    Value::BulkString(bytes) => bytes,
                    _ => Vec::new(),
                }));
            }
            for answer in &answers {
                seen.extend(parts(answer).map(|(gateway, _)| gateway.to_owned()));
            }
            let all = gateways.iter().all(|gateway| seen.contains(gateway));
            if all || began.elapsed() > ANSWERING || answers.len() > MOST_GATEWAYS {
                break;
            }
        }
        let mut answered: Vec<_> = answers
            .iter()
            .filter_map(|answer| parts(answer))
            .map(|(gateway, answer)| Answered {
                gateway: name(gateway),
                answer: Some(answer.to_vec()),
            })
            .collect();
        let silent = gateways.into_iter().filter(|gateway| !seen.contains(gateway));
        answered.extend(silent.map(|gateway| Answered {
            gateway: name(&gateway),
            answer: None,
        }));
        answered.sort_by(|one, other| one.gateway.cmp(&other.gateway));
        Ok(answered)
    }

    /// Answers a question.
    pub(crate) async fn answer(&self, question: &str, answer: &[u8]) {
        let mut bytes = self.counts.gateway().as_bytes().to_vec();
        bytes.push(b' ');
        bytes.extend_from_slice(answer);
        let key = [list(question)];
        // Who asks waits no longer than for the others.
        let _ = self.link.run_within(PATIENCE, &ANSWER, &key, &[bytes]).await;
    }

    /// Hears what is told, for ever.
    pub(crate) async fn hear(&self, hears: &Hears) {
        let mut conditions = self.link.conditions();
        let mut synced = 0;
        loop {
            let condition = conditions.borrow_and_update().clone();
            let Condition::Connected(number) = condition else {
                if conditions.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let heard = async {
                if synced != number {
                    self.sync(hears).await?;
                    synced = number;
                }
                self.catch_up(hears).await
            };
            let _ = heard.await;
            sleep(EACH).await;
        }
    }

    /// Reads what is kept, and from where the stream goes on, if that is not known.
    async fn sync(&self, hears: &Hears) -> Result<(), Unavailable> {
        let kept = self.link.run_within(PATIENCE, &KEPT, &[STREAM, LOCKS], NOTHING);
        let mut values = bytes(kept.await?).into_iter();
        let last = values.next().and_then(|last| String::from_utf8(last).ok());
        while let (Some(_), Some(kept)) = (values.next(), values.next()) {
            hears(Heard::Kept(kept)).await;
        }
        let mut known = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failover the stream may be shorter, and its numbers lower, by the other clock.
        let goes_on = known
            .as_deref()
            .is_some_and(|known| place(known) <= place(last.as_deref().unwrap_or_default()));
        if !goes_on {
            *known = last;
        }
        Ok(())
    }

    async fn catch_up(&self, hears: &Hears) -> Result<(), Unavailable> {
        loop {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let last = last.unwrap_or_else(|| "0-0".to_owned());
            let after = [last];
            let told = self.link.run_within(PATIENCE, &HEAR, &[STREAM], &after);
            let entries = bytes(told.await?);
            let full = entries.len() >= 2 * AT_ONCE;
            let mut entries = entries.into_iter();
            while let (Some(id), Some(order)) = (entries.next(), entries.next()) {
                let Ok(id) = String::from_utf8(id) else { continue };
                let at = id.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or(0);
                // It is read once, whatever comes of it.
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                hears(Heard::Order { at, order }).await;
            }
            if !full {
                return Ok(());
            }
        }
    }
}

/// The place of an entry in a stream: its milliseconds and its number in them.
fn place(id: &str) -> (u64, u64) {
    let (millis, number) = id.split_once('-').unwrap_or((id, "0"));
    (millis.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

fn list(question: &str) -> String {
    format!("portreeve:{{orders}}:answers:{question}")
}

/// Which gateway answered, and what.
fn parts(answer: &[u8]) -> Option<(&str, &[u8])> {
    let space = answer.iter().position(|byte| *byte == b' ')?;
    let (gateway, answer) = answer.split_at_checked(space)?;
    Some((std::str::from_utf8(gateway).ok()?, answer.get(1..)?))
}

/// The name that a gateway is configured with.
pub(crate) fn name(gateway: &str) -> String {
    let name = gateway.rsplit_once('/').map_or(gateway, |(name, _)| name);
    printable(name, 64)
}

/// What is no text is empty.
fn bytes(value: Value) -> Vec<Vec<u8>> {
    let Value::Array(values) = value else {
        return Vec::new();
    };
    let bytes = values.into_iter().map(|value| match value {
        Value::BulkString(bytes) if bytes.len() <= MOST_BYTES => bytes,
        _ => Vec::new(),
    });
    bytes.collect()
}

const STREAM: &str = "portreeve:{orders}";
const LOCKS: &str = "portreeve:{orders}:locks";
/// When those end that end.
const ENDS: &str = "portreeve:{orders}:ends";
const NOTHING: &[&str] = &[];
/// Between two looks for orders: what is told takes effect within this time.
const EACH: Duration = Duration::from_millis(100);
/// Between two looks for answers.
const SOON: Duration = Duration::from_millis(30);
/// How long gateways may take to answer.
const ANSWERING: Duration = Duration::from_secs(2);
/// One call: what administrators do may take longer than a policy's call.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Orders of one call, as the script says.
const AT_ONCE: usize = 100;
const MOST_GATEWAYS: usize = 10_000;
pub(super) const MOST_BYTES: usize = 1 << 20;
