//! How a process ended, in a sentence.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::{MAX_WORDS, Wrong};
use crate::request::printable;

/// Why a piece of work came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// What is wrong with the input, or how it exceeded a bound.
    Faulty(String),
    /// The input is sound, but this cannot be done with it.
    Unsuited(String),
    /// The process cannot be started, or does not work.
    Broken(String),
}

impl Failed {
    /// The sentence.
    #[must_use]
    pub(crate) fn words(self) -> String {
        let (Self::Faulty(words) | Self::Unsuited(words) | Self::Broken(words)) = self;
        words
    }

    pub(super) fn of(wrong: Wrong, doing: &str) -> Self {
        let words = printable(wrong.words(), MAX_WORDS);
        match wrong {
            Wrong::Faulty(_) => Self::Faulty(words),
            Wrong::Unsuited(_) => Self::Unsuited(words),
            Wrong::Panicked(_) => Self::Faulty(format!("{doing} failed with a panic: {words}")),
            Wrong::Broken(_) => Self::Broken(words),
        }
    }

    pub(super) fn took_longer(doing: &str, patience: Duration, of_processor: bool) -> Self {
        let seconds = patience.as_secs_f32();
        let kind = if of_processor { " of processor time" } else { "" };
        Self::Faulty(format!("{doing} took longer than {seconds} s{kind}"))
    }
}

/// What the process was held to.
pub(super) struct Bounds<'a> {
    pub(super) doing: &'a str,
    pub(super) patience: Duration,
    pub(super) memory: u64,
    pub(super) output: u64,
}

impl Bounds<'_> {
    pub(super) fn ending(&self, status: Option<ExitStatus>, words: &str) -> Failed {
        let doing = self.doing;
        let last = printable(words.trim().lines().last().unwrap_or_default(), 256);
        let Some(status) = status else {
            return Failed::Broken("the compiler did not exit".to_owned());
        };
        if let Some(wrong) = status.code().and_then(|code| Wrong::of(code, words)) {
            return Failed::of(wrong, doing);
        }
        match (status.signal(), status.code()) {
            (Some(SIGXCPU), _) => Failed::took_longer(doing, self.patience, true),
            (Some(SIGXFSZ), _) => Failed::Faulty(format!("{doing} produced more than {} MiB", self.output >> 20)),
            _ if words.contains("memory allocation of") => {
                Failed::Faulty(format!("{doing} took more than {} MiB of memory", self.memory >> 20))
            }
            _ if words.contains("has overflowed its stack") => {
                Failed::Faulty(format!("it is nested too deeply: {doing} overflowed the stack"))
            }
            (Some(signal), _) => Failed::Faulty(format!("the compiler was killed by signal {signal}: {last}")),
            (_, code) => Failed::Broken(format!("the compiler exited with code {}: {last}", code.unwrap_or(-1))),
        }
    }
}

const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_a_sentence() {
        let bounds = Bounds {
            doing: "compiling",
            patience: Duration::from_secs(60),
            memory: 1 << 30,
            output: 4 << 20,
        };
        let code = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let signal = |signal: i32| Some(ExitStatus::from_raw(signal));
        #[rustfmt::skip]
        let table = [
            (code(65),    "bad\x1b\nmore",                     Failed::Faulty("bad  more".into())),
            (code(65),    "mimalloc: warning\n\x1ewhy\n",         Failed::Faulty("why".into())),
            (code(69),    "no snapshot",                       Failed::Unsuited("no snapshot".into())),
            (code(70),    "no pipe",                           Failed::Broken("no pipe".into())),
            (code(101),   "oh (a.rs:1)",                       Failed::Faulty("compiling failed with a panic: oh (a.rs:1)".into())),
            (code(1),     "",                                  Failed::Broken("the compiler exited with code 1: ".into())),
            (signal(24),  "",                                  Failed::Faulty("compiling took longer than 60 s of processor time".into())),
            (signal(25),  "",                                  Failed::Faulty("compiling produced more than 4 MiB".into())),
            (signal(6),   "memory allocation of 9 bytes failed", Failed::Faulty("compiling took more than 1024 MiB of memory".into())),
            (signal(6),   "\nthread 'work' has overflowed its stack\nfatal", Failed::Faulty("it is nested too deeply: compiling overflowed the stack".into())),
            (signal(9),   "x\ny",                              Failed::Faulty("the compiler was killed by signal 9: y".into())),
            (None,        "",                                  Failed::Broken("the compiler did not exit".into())),
        ];
        for (status, words, expected) in table {
            assert_eq!(bounds.ending(status, words), expected, "{status:?} {words:?}");
        }
    }
}
