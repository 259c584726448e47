//! The imports of track 0.1: the host returns the same as on the newest track.

use std::marker::PhantomData;

use wasmtime::Result;
use wasmtime::component::HasData;

use crate::policy::contract::generated::v0_1::portreeve::policy as old;
use crate::policy::contract::newest as new;

/// A guest of track 0.1, seen as one of the newest.
pub(in crate::policy::contract) struct Translated<'a, G>(pub(in crate::policy::contract) &'a mut G);

/// Tells the linker that the imports of track 0.1 are [`Translated`].
pub(in crate::policy::contract) struct Translation<G>(PhantomData<fn() -> G>);

impl<G: 'static> HasData for Translation<G> {
    type Data<'a> = Translated<'a, G>;
}

impl<G: new::log::Host + Send> old::log::Host for Translated<'_, G> {
    async fn write(&mut self, level: old::log::Level, message: String) -> Result<()> {
        let level = match level {
            old::log::Level::Debug => new::log::Level::Debug,
            old::log::Level::Info => new::log::Level::Info,
            old::log::Level::Warn => new::log::Level::Warn,
            old::log::Level::Error => new::log::Level::Error,
        };
        new::log::Host::write(self.0, level, message).await
    }
}

impl<G: new::names::Host + Send> old::names::Host for Translated<'_, G> {
    async fn resolve(&mut self, host: String) -> Result<Result<Vec<String>, old::names::LookupError>> {
        let answer = new::names::Host::resolve(self.0, host).await?;
        Ok(answer.map_err(|error| match error {
            new::names::LookupError::NotGranted => old::names::LookupError::NotGranted,
            new::names::LookupError::NoSuchName => old::names::LookupError::NoSuchName,
            new::names::LookupError::TimedOut => old::names::LookupError::TimedOut,
            new::names::LookupError::OverBudget => old::names::LookupError::OverBudget,
            new::names::LookupError::Failed(words) => old::names::LookupError::Failed(words),
        }))
    }
}

impl<G: new::state::Host + Send> old::state::Host for Translated<'_, G> {
    async fn get(&mut self, key: String) -> Result<Result<Option<Vec<u8>>, old::state::StateError>> {
        let answer = new::state::Host::get(self.0, key).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_seconds: u32,
    ) -> Result<Result<(), old::state::StateError>> {
        let answer = new::state::Host::put(self.0, key, value, ttl_seconds).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn add(
        &mut self,
        key: String,
        delta: i64,
        window_seconds: u32,
    ) -> Result<Result<i64, old::state::StateError>> {
        let answer = new::state::Host::add(self.0, key, delta, window_seconds).await?;
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

impl<G: new::view::Host + Send> old::view::Host for Translated<'_, G> {
    async fn open_forwards(&mut self, user: String) -> Result<u32> {
        new::view::Host::open_forwards(self.0, user).await
    }

    async fn fact(&mut self, name: String) -> Result<Option<old::types::Value>> {
        let found = new::view::Host::fact(self.0, name).await?;
        Ok(found.map(Into::into))
    }
}
