//! The interface `state` on Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use redis::Value;

use super::keys;
use super::link::{Link, Unavailable};
use super::scripts::{ADD, GET, PUT};
use crate::policy::{MAX_BYTES, MAX_ENTRIES, MAX_KEY, MAX_VALUE, Remembers, StateError};

/// The state of policies that all gateways of a fleet share. It goes by the clock of Redis.
pub struct SharedState {
    link: Arc<Link>,
}

impl SharedState {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }
}

impl Remembers for SharedState {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: String,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        Box::pin(async move {
            if key.len() > MAX_KEY {
                return Ok(None);
            }
            let field = format!("v{key}");
            match self.link.run(&GET, &keys::state(space), &[field]).await? {
                Value::Nil => Ok(None),
                Value::BulkString(bytes) if bytes.len() <= MAX_VALUE => Ok(Some(bytes)),
                _ => Err(self.link.odd("state.get").into()),
            }
        })
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: String,
        bytes: Vec<u8>,
        ttl: Duration,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            if key.len() > MAX_KEY || bytes.len() > MAX_VALUE {
                return Err(StateError::TooLarge);
            }
            let field = format!("v{key}");
            let arguments = arguments(&field, bytes, ttl);
            match self.link.run(&PUT, &keys::state(space), &arguments).await? {
                Value::Int(1) => Ok(()),
                Value::Int(0) => Err(StateError::OverBudget),
                _ => Err(self.link.odd("state.put").into()),
            }
        })
    }

    fn add<'a>(
        &'a self,
        space: &'a str,
        key: String,
        delta: i64,
        window: Duration,
        _: Instant,
    ) -> BoxFuture<'a, Result<i64, StateError>> {
        Box::pin(async move {
            if key.len() > MAX_KEY {
                return Err(StateError::TooLarge);
            }
            let field = format!("c{key}");
            let arguments = arguments(&field, delta.to_string().into_bytes(), window);
            let added = self.link.run(&ADD, &keys::state(space), &arguments).await?;
            if added == Value::Int(0) {
                return Err(StateError::OverBudget);
            }
            let Value::BulkString(text) = added else {
                return Err(self.link.odd("state.add").into());
            };
            let sum = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            sum.ok_or_else(|| self.link.odd("state.add").into())
        })
    }

    fn is_elsewhere(&self) -> bool {
        true
    }
}

fn arguments(field: &str, value: Vec<u8>, lasts: Duration) -> [Vec<u8>; 5] {
    [
        field.as_bytes().to_vec(),
        value,
        lasts.as_millis().to_string().into_bytes(),
        MAX_ENTRIES.to_string().into_bytes(),
        MAX_BYTES.to_string().into_bytes(),
    ]
}

impl From<Unavailable> for StateError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}
