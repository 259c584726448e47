//! What a gateway says of itself for the others to read, until it says something else or has been silent for a while.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::keys;
use super::link::{Link, Unavailable};
use super::scripts::{SAID, SAY};

/// What the gateways of a fleet say of themselves, each under its name.
pub(crate) struct Notices {
    link: Arc<Link>,
    gateway: String,
}

impl Notices {
    pub(super) fn new(link: Arc<Link>, gateway: String) -> Self {
        Self { link, gateway }
    }

    /// Says this of a plugin, in the place of what was said before. It is forgotten after `lasts`.
    ///
    /// # Errors
    /// If Redis does not answer; then it may have been said.
    pub(crate) async fn say(&self, plugin: &str, words: &[u8], lasts: Duration) -> Result<(), Unavailable> {
        let lasts = lasts.as_millis().to_string();
        let arguments = [words, lasts.as_bytes()];
        let key = [keys::notice(plugin, &self.gateway)];
        let said = self.link.run_within(PATIENCE, &SAY, &key, &arguments);
        said.await.map(|_| ())
    }

    /// What these gateways say of a plugin, in their order; none of one that is silent.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn said(&self, plugin: &str, gateways: &[String]) -> Result<Vec<Option<Vec<u8>>>, Unavailable> {
        const NOTHING: &[&str] = &[];
        let keys: Vec<_> = gateways.iter().map(|gateway| keys::notice(plugin, gateway)).collect();
        let said = self.link.run_within(PATIENCE, &SAID, &keys, NOTHING).await?;
        let Value::Array(said) = said else {
            return Err(Unavailable);
        };
        let mut said: Vec<_> = said.into_iter().map(words).collect();
        said.resize(gateways.len(), None);
        Ok(said)
    }
}

fn words(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(words) if words.len() <= MOST_BYTES => Some(words),
        _ => None,
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const MOST_BYTES: usize = 64 << 10;
