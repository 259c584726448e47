//! A time in a request: seconds, or as in the configuration.

use std::time::Duration;

use axum::http::StatusCode;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::routes::{Answer, Failed};
use crate::config;

/// `90`, or `"1m30s"`.
pub(super) enum Time {
    Seconds(u64),
    Words(String),
}

impl Time {
    /// Up to `most`; `key` is what it was given for.
    pub(super) fn up_to(&self, key: &str, most: Duration) -> Answer<Duration> {
        match self {
            Self::Seconds(0) => Ok(Duration::ZERO),
            Self::Words(words) if words == "0" => Ok(Duration::ZERO),
            _ => self.within(key, most),
        }
    }

    /// From a second up to `most`; `key` is what it was given for.
    pub(super) fn within(&self, key: &str, most: Duration) -> Answer<Duration> {
        let wrong = |words: String| Failed::new(StatusCode::BAD_REQUEST, format!("{key}: {words}"));
        let time = match self {
            Self::Seconds(seconds) => Duration::from_secs(*seconds),
            Self::Words(words) => config::duration(words).map_err(|error| wrong(error.to_string()))?,
        };
        if time < Duration::from_secs(1) || time > most {
            let days = most.as_secs() / (24 * 60 * 60);
            return Err(wrong(format!("expected a time from 1s to {days}d, as in `5m`")));
        }
        Ok(time)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .description(Some("Seconds."));
        let words = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("As in the configuration: `90s`, `1m30s`, `1h`."));
        OneOfBuilder::new().item(seconds).item(words).into()
    }
}

impl ToSchema for Time {}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Time;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a number of seconds, or a time as in \"1h\"")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        Ok(Time::Seconds(seconds))
    }

    fn visit_str<E: Error>(self, words: &str) -> Result<Time, E> {
        Ok(Time::Words(words.to_owned()))
    }
}
