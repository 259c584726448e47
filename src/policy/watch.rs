use std::collections::HashMap;
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::{Policy, Source};
use crate::signature;

/// Notices that a plugin's component, its signature or its settings file has changed and is complete.
///
/// The files are looked at ten times a second, through every link in their path: that sees
/// replacement by rename, a link that is moved (also one above the file, as Kubernetes does it),
/// writing in place, and file systems that announce nothing. A change counts when two looks in a
/// row agree, so a file that is still being written is left alone.
pub struct Watch {
    seen: HashMap<PathBuf, Seen>,
    files: Vec<(String, PathBuf)>,
}

struct Seen {
    settled: Option<Mark>,
    last: Option<Mark>,
    changed: Instant,
}

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    /// Begins to watch the plugins that ask for it, as their files are now; their signatures only where those are demanded.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let mut files = Vec::new();
        for plugin in policy.plugins.iter().filter(|plugin| plugin.watch) {
            if let Source::File(path) = &plugin.component {
                if policy.signatures.is_some() {
                    files.push((plugin.name.clone(), signature::beside(path)));
                }
                files.push((plugin.name.clone(), path.clone()));
            }
            if let Some(path) = &plugin.settings_file {
                files.push((plugin.name.clone(), path.clone()));
            }
        }
        let seen = files.iter().map(|(_, path)| (path.clone(), Seen::at(path))).collect();
        Self { seen, files }
    }

    /// Waits until a file has changed and answers the names of the plugins it belongs to; for ever where there is none.
    /// Cancel-safe: what was seen before is kept.
    pub async fn changed(&mut self) -> Vec<String> {
        if self.files.is_empty() {
            return pending().await;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let changed: Vec<_> = self
                .seen
                .iter_mut()
                .filter_map(|(path, seen)| seen.look(path).then(|| path.clone()))
                .collect();
            let mut names = Vec::new();
            for (name, path) in &self.files {
                if changed.contains(path) && !names.contains(name) {
                    names.push(name.clone());
                }
            }
            if !names.is_empty() {
                return names;
            }
        }
    }
}

impl Seen {
    fn at(path: &Path) -> Self {
        let mark = mark(path);
        Self {
            settled: mark,
            last: mark,
            changed: Instant::now(),
        }
    }

    /// True once for each change that has settled.
    fn look(&mut self, path: &Path) -> bool {
        let now = mark(path);
        if now != self.last {
            self.last = now;
            self.changed = Instant::now();
            return false;
        }
        if now == self.settled || now.is_none() || self.changed.elapsed() < SETTLED {
            return false;
        }
        self.settled = now;
        true
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let found = std::fs::metadata(path).ok()?;
    Some(Mark {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

const LOOK: Duration = Duration::from_millis(100);
/// Two looks; a file that grows between them is still being written.
const SETTLED: Duration = Duration::from_millis(190);
