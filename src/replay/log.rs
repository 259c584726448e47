//! Reads audit logs for a replay: one after the other, with the decisions in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::decision::{Decision, Skipped};
use super::recorded::{End, Kind, Line, Lines, Sessions};
use crate::files;
use crate::names::Names;

/// Some audit logs, as long as they were when they were opened: one that is still being written has an end, too.
pub(crate) struct Logs {
    files: Vec<(PathBuf, u64)>,
    broken: Broken,
}

/// What to do with a line in the middle that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Refuse,
    Skip,
}

/// What the log tells the one who asks again.
pub(crate) enum Item {
    Ask(Box<Decision>),
    /// A tunnel or listener of this user.
    Opened(String),
    Ended(String),
}

/// What was read.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) decisions: u64,
    pub(crate) again: u64,
    /// Asked without what a login tells a policy.
    pub(crate) incomplete: u64,
    pub(crate) skipped: BTreeMap<Skipped, u64>,
    pub(crate) broken: u64,
    /// Sentences about lines that were left out.
    pub(crate) warnings: Vec<String>,
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}:{line}: {problem}", path.display())]
    Broken { path: PathBuf, line: u64, problem: String },
}

impl LogError {
    /// The log, and the line if it is about one.
    pub(crate) fn place(&self) -> (&Path, Option<u64>) {
        match self {
            Self::Read { path, .. } => (path, None),
            Self::Broken { path, line, .. } => (path, Some(*line)),
        }
    }
}

impl Logs {
    pub(crate) fn open(paths: &[PathBuf], broken: Broken) -> Result<Self, LogError> {
        let sized = |path: &PathBuf| {
            // It is read twice, so it can be no pipe.
            let found = files::open(path).and_then(|file| Ok(file.metadata()?.len()));
            let error = |error| LogError::Read {
                path: path.clone(),
                error,
            };
            found.map(|length| (path.clone(), length)).map_err(error)
        };
        let files = paths.iter().map(sized).collect::<Result<_, _>>()?;
        Ok(Self { files, broken })
    }

    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// What the whole log says of names; of each the last answer. Broken lines are left to [`Logs::read`].
    pub(crate) fn names(&self) -> Result<Names, LogError> {
        let mut names = Names::new();
        let silent = AtomicU64::new(0);
        self.lines(&silent, &mut Seen::default(), Broken::Skip, |mut line, _| {
            if line.event == Kind::ForwardDecided && names.len() < MAX_NAMES {
                names.extend(line.names());
            }
            Ok(true)
        })?;
        Ok(names)
    }

    /// Reads on until the end, or until `take` answers false. `read` counts bytes.
    pub(crate) fn read(
        &self,
        read: &AtomicU64,
        mut sessions: Sessions,
        mut take: impl FnMut(Item) -> bool,
    ) -> Result<Seen, LogError> {
        let mut seen = Seen::default();
        let mut taking = Taking {
            decisions: 0,
            sessions: &mut sessions,
        };
        self.lines(read, &mut seen, self.broken, |line, seen| {
            match taking.item(line, seen)? {
                Some(item) => Ok(take(item)),
                None => Ok(true),
            }
        })?;
        Ok(seen)
    }

    fn lines(
        &self,
        read: &AtomicU64,
        seen: &mut Seen,
        broken: Broken,
        mut take: impl FnMut(Line, &mut Seen) -> Result<bool, String>,
    ) -> Result<(), LogError> {
        for (path, length) in &self.files {
            let failed = |error| LogError::Read {
                path: path.clone(),
                error,
            };
            let mut lines = Lines::of(File::open(path).map_err(failed)?, *length);
            while let Some(text) = lines.read().map_err(failed)? {
                read.fetch_add(text.length, Ordering::Relaxed);
                if text.is_blank() {
                    continue;
                }
                let problem = match text.line() {
                    Ok(line) => match take(line, seen) {
                        Ok(true) => continue,
                        Ok(false) => return Ok(()),
                        Err(problem) => problem,
                    },
                    Err(_) if text.end == End::Nowhere => {
                        seen.leave_out(path, text.number, "its last line is incomplete and was skipped");
                        continue;
                    }
                    Err(problem) => problem,
                };
                match broken {
                    Broken::Refuse => {
                        return Err(LogError::Broken {
                            path: path.clone(),
                            line: text.number,
                            problem,
                        });
                    }
                    Broken::Skip => seen.leave_out(path, text.number, &format!("skipped: {problem}")),
                }
            }
        }
        Ok(())
    }
}

impl Seen {
    fn leave_out(&mut self, path: &Path, line: u64, words: &str) {
        self.broken += 1;
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(format!("{}:{line}: {words}", path.display()));
        }
    }
}

struct Taking<'a> {
    decisions: u64,
    sessions: &'a mut Sessions,
}

impl Taking<'_> {
    fn item(&mut self, line: Line, seen: &mut Seen) -> Result<Option<Item>, String> {
        Ok(match line.event {
            Kind::AuthSucceeded | Kind::AuthRenewed | Kind::SessionClosed => {
                self.sessions.follow(line)?;
                None
            }
            Kind::ForwardDecided => return self.decision(line, seen),
            Kind::TunnelOpened | Kind::ListenerOpened => line.user.map(Item::Opened),
            Kind::TunnelClosed | Kind::ListenerClosed => line.user.map(Item::Ended),
            Kind::Other => None,
        })
    }

    fn decision(&mut self, line: Line, seen: &mut Seen) -> Result<Option<Item>, String> {
        if let Some(why) = Skipped::of(&line) {
            seen.decisions += 1;
            *seen.skipped.entry(why).or_default() += 1;
            return Ok(None);
        }
        let session = self.sessions.of(&line)?;
        let (again, complete) = (line.again.is_some(), session.complete);
        let decision = Decision::of(line, self.decisions, session)?;
        self.decisions += 1;
        seen.decisions += 1;
        seen.again += u64::from(again);
        seen.incomplete += u64::from(!complete);
        Ok(Some(Item::Ask(Box::new(decision))))
    }
}

const MAX_WARNINGS: usize = 20;
/// Further ones are not remembered.
const MAX_NAMES: usize = 1 << 18;
