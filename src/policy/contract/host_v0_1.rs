//! The imports of track 0.1: the host answers as it does on the newest track.

use wasmtime::Result;

use super::generated::v0_1::portreeve::policy as old;
use super::newest as new;
use crate::policy::sandbox::Guest;

impl old::types::Host for Guest {}

impl old::log::Host for Guest {
    async fn write(&mut self, level: old::log::Level, message: String) -> Result<()> {
        let level = match level {
            old::log::Level::Debug => new::log::Level::Debug,
            old::log::Level::Info => new::log::Level::Info,
            old::log::Level::Warn => new::log::Level::Warn,
            old::log::Level::Error => new::log::Level::Error,
        };
        new::log::Host::write(self, level, message).await
    }
}

impl old::names::Host for Guest {
    async fn resolve(&mut self, host: String) -> Result<Result<Vec<String>, old::names::LookupError>> {
        let answer = new::names::Host::resolve(self, host).await?;
        Ok(answer.map_err(|error| match error {
            new::names::LookupError::NotGranted => old::names::LookupError::NotGranted,
            new::names::LookupError::NoSuchName => old::names::LookupError::NoSuchName,
            new::names::LookupError::TimedOut => old::names::LookupError::TimedOut,
            new::names::LookupError::OverBudget => old::names::LookupError::OverBudget,
            new::names::LookupError::Failed(words) => old::names::LookupError::Failed(words),
        }))
    }
}

impl old::state::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, old::state::StateError>> {
        let answer = new::state::Host::get(self, key).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_seconds: u32,
    ) -> Result<Result<(), old::state::StateError>> {
        let answer = new::state::Host::put(self, key, value, ttl_seconds).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn add(
        &mut self,
        key: String,
        delta: i64,
        window_seconds: u32,
    ) -> Result<Result<i64, old::state::StateError>> {
        let answer = new::state::Host::add(self, key, delta, window_seconds).await?;
        Ok(answer.map_err(Into::into))
    }
}

impl From<new::state::StateError> for old::state::StateError {
    fn from(error: new::state::StateError) -> Self {
        match error {
            new::state::StateError::NotGranted => Self::NotGranted,
            new::state::StateError::OverBudget => Self::OverBudget,
            new::state::StateError::TooLarge => Self::TooLarge,
            new::state::StateError::Unavailable => Self::Unavailable,
        }
    }
}

impl old::view::Host for Guest {
    async fn open_forwards(&mut self, user: String) -> Result<u32> {
        new::view::Host::open_forwards(self, user).await
    }

    async fn fact(&mut self, name: String) -> Result<Option<old::types::Value>> {
        let found = new::view::Host::fact(self, name).await?;
        Ok(found.map(Into::into))
    }
}
