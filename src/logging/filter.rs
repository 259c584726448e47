//! Which lines are logged: the words of an operator, and the filter that they mean.

use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// A filter as an operator writes it: a level, or levels of parts of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(String);

/// What is wrong with a filter.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is no log level: expected one of off, error, warn, info, debug, trace, or a list such as `info,portreeve::gateway=debug`"
)]
pub(crate) struct WrongFilter(String);

impl FromStr for Filter {
    type Err = WrongFilter;

    /// Stricter than the library, which takes any word for a part of the program, so that a misspelt level shows everything.
    fn from_str(text: &str) -> Result<Self, WrongFilter> {
        let mut parts = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (target, level) = part
                .rsplit_once('=')
                .map_or((None, part), |(target, level)| (Some(target), level));
            let level = level.to_ascii_lowercase();
            if !LEVELS.contains(&level.as_str()) || target.is_some_and(|target| !is_target(target)) {
                return Err(WrongFilter(crate::request::printable(part, MOST_SHOWN)));
            }
            parts.push(target.map_or_else(|| level.clone(), |target| format!("{target}={level}")));
        }
        Ok(Self(parts.join(",")))
    }
}

impl Filter {
    /// One that this program, or a variable of its environment, has.
    pub(super) fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same words again.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The SSH library's own lines tell nothing that is of use here; whoever wants them says so.
    pub(super) fn meant(&self) -> EnvFilter {
        match self.0.contains("russh") {
            true => EnvFilter::new(&self.0),
            false => EnvFilter::new(format!("{},russh=off", self.0)),
        }
    }
}

fn is_target(text: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || "_:-".contains(character);
    !text.is_empty() && text.chars().all(fits)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const MOST_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_a_misspelt_one_is_named() {
        let read = |text: &str| text.parse::<Filter>().map(|filter| filter.0).map_err(|wrong| wrong.0);
        #[rustfmt::skip]
        let table = [
            ("debug",                         Ok("debug")),
            ("WARN",                          Ok("warn")),
            (" info , policy=off",            Ok("info,policy=off")),
            ("info,portreeve::gateway=TRACE", Ok("info,portreeve::gateway=trace")),
            ("inof",                          Err("inof")),
            ("info,gateway=loud",             Err("gateway=loud")),
            ("info,=debug",                   Err("=debug")),
            ("info,[span]=debug",             Err("[span]=debug")),
            ("info,",                         Err("")),
            ("",                              Err("")),
        ];
        for (text, expected) in table {
            assert_eq!(
                read(text),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text:?}"
            );
        }
    }
}
