//! Reading audit logs, line by line and in their order. Nothing is held but the sessions that are open, and a few that have
//! just ended.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::super::wrong::Wrong;
use super::record::{Decision, Kind, Line, Session, Skipped};
use crate::files;
use crate::names::Names;

/// Some audit logs, as long as they were when they were opened: one that is still being written has an end, too.
pub(super) struct Logs {
    files: Vec<(PathBuf, u64)>,
    broken: Broken,
}

/// What to do with a line in the middle that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Refuse,
    Skip,
}

/// What the log tells whoever asks again.
pub(super) enum Item {
    Ask(Box<Decision>),
    /// A tunnel or listener of this user.
    Opened(String),
    Ended(String),
}

/// What was read.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) decisions: u64,
    pub(super) again: u64,
    /// Asked without what a login tells a policy.
    pub(super) incomplete: u64,
    pub(super) skipped: BTreeMap<Skipped, u64>,
    pub(super) broken: u64,
    /// Sentences about lines that were left out.
    pub(super) warnings: Vec<String>,
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}:{line}: {problem}; `--skip-broken` leaves such lines out", path.display())]
    Broken { path: PathBuf, line: u64, problem: String },
}

impl LogError {
    /// With its place.
    pub(super) fn wrong(&self) -> Wrong {
        let (path, line) = match self {
            Self::Read { path, .. } => (path, None),
            Self::Broken { path, line, .. } => (path, usize::try_from(*line).ok()),
        };
        Wrong {
            words: self.to_string(),
            file: Some(path.clone()),
            line,
        }
    }
}

impl Logs {
    pub(super) fn open(paths: &[PathBuf], broken: Broken) -> Result<Self, LogError> {
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
    pub(super) fn length(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// What the whole log says of names; of each the last answer. Broken lines are left to [`Logs::read`].
    pub(super) fn names(&self) -> Result<Names, LogError> {
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
    pub(super) fn read(
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
            let mut reader = BufReader::with_capacity(BUFFER, File::open(path).map_err(failed)?.take(*length));
            let mut bytes = Vec::new();
            for number in 1.. {
                bytes.clear();
                let taken = (&mut reader)
                    .take(MAX_LINE)
                    .read_until(b'\n', &mut bytes)
                    .map_err(failed)?;
                if taken == 0 {
                    break;
                }
                read.fetch_add(taken as u64, Ordering::Relaxed);
                let whole = bytes.last() == Some(&b'\n');
                if bytes.trim_ascii().is_empty() {
                    continue;
                }
                let problem = match parse(&bytes) {
                    Ok(line) => match take(line, seen) {
                        Ok(true) => continue,
                        Ok(false) => return Ok(()),
                        Err(problem) => problem,
                    },
                    // It was cut while it was written, or is being written.
                    Err(_) if !whole && taken as u64 != MAX_LINE => {
                        seen.leave_out(path, number, "its last line is not whole, and was left out");
                        continue;
                    }
                    Err(problem) => problem,
                };
                match broken {
                    Broken::Refuse => {
                        return Err(LogError::Broken {
                            path: path.clone(),
                            line: number,
                            problem,
                        });
                    }
                    Broken::Skip => seen.leave_out(path, number, &format!("left out: {problem}")),
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

/// A line, or what is wrong with it.
fn parse(bytes: &[u8]) -> Result<Line, String> {
    #[derive(Deserialize)]
    struct Version {
        v: Option<u64>,
    }
    let wrong_version = |version: Version| match version.v {
        Some(1) => None,
        Some(v) => Some(format!(
            "it has version {v} of the audit log; this program reads version 1"
        )),
        None => Some("it is no line of an audit log: it has no `v`".to_owned()),
    };
    match serde_json::from_slice::<Line>(bytes) {
        Ok(line) if line.v == 1 => Ok(line),
        Ok(Line { v, .. }) => Err(wrong_version(Version { v: Some(v) }).unwrap_or_default()),
        Err(error) => {
            let version = serde_json::from_slice::<Version>(bytes).ok().and_then(wrong_version);
            Err(version.unwrap_or_else(|| format!("it is no line of an audit log: {error}")))
        }
    }
}

/// Who is logged in, as the log tells it.
pub(super) struct Sessions {
    open: HashMap<String, Session>,
    entered: VecDeque<String>,
    /// A decision can be recorded shortly after the end of its session.
    ended: VecDeque<String>,
    /// Completes what the log does not say.
    complete: Box<dyn Fn(&mut Session) + Send>,
}

impl Sessions {
    /// None yet; `complete` is shown each session whose login is not in the log as a whole.
    pub(super) fn new(complete: impl Fn(&mut Session) + Send + 'static) -> Self {
        Self {
            open: HashMap::new(),
            entered: VecDeque::new(),
            ended: VecDeque::new(),
            complete: Box::new(complete),
        }
    }

    fn enter(&mut self, id: String, mut session: Session) -> &Session {
        if !session.complete {
            (self.complete)(&mut session);
        }
        // Sessions of which no log has the end make room when many others have come after them.
        self.entered.push_back(id.clone());
        if self.entered.len() > MAX_SESSIONS
            && let Some(oldest) = self.entered.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.entry(id).insert_entry(session).into_mut()
    }

    fn leave(&mut self, id: String) {
        self.ended.push_back(id);
        if self.ended.len() > MAX_ENDED
            && let Some(id) = self.ended.pop_front()
        {
            self.open.remove(&id);
        }
    }
}

struct Taking<'a> {
    decisions: u64,
    sessions: &'a mut Sessions,
}

impl Taking<'_> {
    fn item(&mut self, mut line: Line, seen: &mut Seen) -> Result<Option<Item>, String> {
        match line.event {
            Kind::AuthSucceeded => {
                let (id, session) = line
                    .login()
                    .ok_or("a login without session, user, client, method or time")?;
                self.sessions.enter(id, session);
            }
            Kind::SessionClosed => {
                if let Some(id) = line.session {
                    self.sessions.leave(id);
                }
            }
            Kind::ForwardDecided => return self.decision(line, seen),
            Kind::TunnelOpened | Kind::ListenerOpened => return Ok(line.user.map(Item::Opened)),
            Kind::TunnelClosed | Kind::ListenerClosed => return Ok(line.user.map(Item::Ended)),
            Kind::Other => {}
        }
        Ok(None)
    }

    fn decision(&mut self, line: Line, seen: &mut Seen) -> Result<Option<Item>, String> {
        if let Some(why) = line.skipped() {
            seen.decisions += 1;
            *seen.skipped.entry(why).or_default() += 1;
            return Ok(None);
        }
        let id = line.session.clone().ok_or("a decision without `session`")?;
        let session = match self.sessions.open.get(&id) {
            Some(session) => session.clone(),
            None => {
                let stranger = line.stranger().ok_or("a decision without user, client or time")?;
                self.sessions.enter(id, stranger).clone()
            }
        };
        let (again, complete) = (line.is_again(), session.complete);
        let decision = line.decision(self.decisions, session)?;
        self.decisions += 1;
        seen.decisions += 1;
        seen.again += u64::from(again);
        seen.incomplete += u64::from(!complete);
        Ok(Some(Item::Ask(Box::new(decision))))
    }
}

const BUFFER: usize = 1 << 20;
/// The gateway writes none that is nearly as long.
const MAX_LINE: u64 = 16 << 20;
const MAX_WARNINGS: usize = 20;
/// Further ones are not remembered.
const MAX_NAMES: usize = 1 << 18;
const MAX_SESSIONS: usize = 1 << 18;
const MAX_ENDED: usize = 4096;
