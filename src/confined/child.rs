//! The process that is started for a piece of work: it bounds itself, reads all of its input, does the work on a thread with
//! a stack of known size, and says in its exit code what came of it.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Order, limits};
use crate::vital;

/// Why a piece of work gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The input is faulty.
    Faulty(String),
    /// The input is sound, but this cannot be done with it.
    Unsuited(String),
    /// A tool panicked over it.
    Panicked(String),
    /// This program failed.
    Broken(String),
}

impl Wrong {
    /// For `map_err` of what a tool says of its input.
    pub fn faulty(error: impl Display) -> Self {
        Self::Faulty(format!("{error:#}"))
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Faulty(_) => FAULTY,
            Self::Unsuited(_) => UNSUITED,
            Self::Panicked(_) => PANICKED,
            Self::Broken(_) => BROKEN,
        }
    }

    /// What an exit code and the last words say.
    pub(super) fn of(code: i32, words: &str) -> Option<Self> {
        let words = words.rsplit_once(LAST_WORDS).map_or(words, |(_, last)| last);
        let words = words.trim().to_owned();
        let make = match u8::try_from(code).ok()? {
            FAULTY => Self::Faulty,
            UNSUITED => Self::Unsuited,
            PANICKED => Self::Panicked,
            BROKEN => Self::Broken,
            _ => return None,
        };
        Some(make(words))
    }

    pub(super) fn words(&self) -> &str {
        let (Self::Faulty(words) | Self::Unsuited(words) | Self::Panicked(words) | Self::Broken(words)) = self;
        words
    }
}

/// The work of the process that [`super::Confinement`] starts.
#[must_use]
pub(crate) fn serve(order: &Order, work: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Wrong> + Send + 'static) -> u8 {
    panic::set_hook(Box::new(remember));
    let done = limits::set(order).and_then(|()| {
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input).map_err(broken)?;
        let made = on_a_thread(input, work).map_err(whereabouts)?;
        io::stdout().lock().write_all(&made).map_err(broken)
    });
    match done {
        Ok(()) => 0,
        Err(wrong) => {
            let _ = writeln!(io::stderr(), "{LAST_WORDS}{}", wrong.words());
            wrong.code()
        }
    }
}

/// Does the work where its stack is known to be large.
pub(super) fn on_a_thread(
    input: Vec<u8>,
    work: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Wrong> + Send + 'static,
) -> Result<Vec<u8>, Wrong> {
    let thread = thread::Builder::new().name("work".to_owned()).stack_size(STACK);
    let thread = thread.spawn(move || work(input)).map_err(broken)?;
    thread
        .join()
        .unwrap_or_else(|panic| Err(Wrong::Panicked(vital::words(&*panic))))
}

fn broken(error: io::Error) -> Wrong {
    Wrong::Broken(error.to_string())
}

/// Where this process panicked first.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

fn remember(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(|place| {
        let file = place
            .file()
            .rsplit_once("/registry/src/")
            .map_or(place.file(), |(_, file)| file);
        let file = file
            .split_once('/')
            .filter(|_| place.file().len() != file.len())
            .map_or(file, |(_, file)| file);
        format!("{file}:{}", place.line())
    });
    let mut kept = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        *kept = place;
    }
}

/// A panic with its place.
fn whereabouts(wrong: Wrong) -> Wrong {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (wrong, place) {
        (Wrong::Panicked(words), Some(place)) => Wrong::Panicked(format!("{words} ({place})")),
        (wrong, _) => wrong,
    }
}

/// Stands before the reason, after whatever libraries wrote to the standard error.
pub(super) const LAST_WORDS: char = '\x1e';
/// Twice what the main thread of a program usually has.
const STACK: usize = 16 << 20;
/// As in sysexits.h: the data were wrong, what was asked for cannot be had, and the program is wrong.
const FAULTY: u8 = 65;
const UNSUITED: u8 = 69;
const BROKEN: u8 = 70;
/// As Rust has it.
const PANICKED: u8 = 101;
