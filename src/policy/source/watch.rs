//! Watches the files of policies, and groups those that change together.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::config::{OnChange, Plugin, Policy, Signatures};
use crate::files::Mark;
use crate::signature;

/// Notices that a plugin's component, its signature or its settings file has changed and is complete.
///
/// The files are looked at ten times a second, through every link in their path: that sees replacement by rename, a link
/// that is moved (also one above the file, as Kubernetes does it), writing in place, and file systems that announce
/// nothing. A file that is still being written is left alone until two looks in a row agree.
///
/// Files that change at the same time belong together: one look covers all of them. While any watched file is still
/// changing, all wait for it, up to five seconds; after that the plugins whose own files are complete go ahead.
pub struct Watch {
    files: Vec<Watched>,
}

/// A file, and the plugins that are made of it.
struct Watched {
    path: PathBuf,
    plugins: BTreeSet<String>,
    reported: Option<Mark>,
    last: Option<Mark>,
    /// When it last changed.
    changed: Instant,
    /// When it first changed since it was reported.
    began: Option<Instant>,
}

impl Watch {
    /// Begins to watch the plugins that ask for it, as their files are now; their signatures only if those are demanded.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let mut files: Vec<Watched> = Vec::new();
        for plugin in policy.plugins.iter().filter(|plugin| plugin.watch != OnChange::Wait) {
            for path in files_of(plugin, policy.signatures.as_ref()) {
                match files.iter_mut().find(|watched| watched.path == path) {
                    Some(watched) => drop(watched.plugins.insert(plugin.name.clone())),
                    None => files.push(Watched::new(path, &plugin.name)),
                }
            }
        }
        Self { files }
    }

    /// Waits until files have changed and are complete, and returns the names of the plugins they belong to; waits for
    /// ever if no file is watched. Cancel-safe: what was seen before is kept.
    pub async fn changed(&mut self) -> BTreeSet<String> {
        if self.files.is_empty() {
            return pending().await;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let names = self.look(Instant::now(), Mark::of);
            if !names.is_empty() {
                return names;
            }
        }
    }

    /// Whether the files of these plugins are still as they were last reported.
    #[must_use]
    pub fn is_still(&self, plugins: &BTreeSet<String>) -> bool {
        let concerned = |watched: &&Watched| !watched.plugins.is_disjoint(plugins);
        let mut files = self.files.iter().filter(concerned);
        files.all(|watched| Mark::of(&watched.path) == watched.reported)
    }

    /// One look at all files. Each change is reported once.
    fn look(&mut self, now: Instant, mark: impl Fn(&Path) -> Option<Mark>) -> BTreeSet<String> {
        for watched in &mut self.files {
            watched.look(now, mark(&watched.path));
        }
        let unsettled = || self.files.iter().filter(|watched| !watched.is_settled(now));
        if unsettled().any(|watched| watched.holds_up_others(now)) {
            return BTreeSet::new();
        }
        let busy: BTreeSet<_> = unsettled().flat_map(|watched| watched.plugins.clone()).collect();
        let mut names = BTreeSet::new();
        for watched in &mut self.files {
            if watched.began.is_some() && watched.plugins.is_disjoint(&busy) {
                watched.reported = watched.last;
                watched.began = None;
                names.append(&mut watched.plugins.clone());
            }
        }
        names
    }
}

impl Watched {
    fn new(path: PathBuf, plugin: &str) -> Self {
        let mark = Mark::of(&path);
        Self {
            path,
            plugins: BTreeSet::from([plugin.to_owned()]),
            reported: mark,
            last: mark,
            changed: Instant::now(),
            began: None,
        }
    }

    fn look(&mut self, now: Instant, found: Option<Mark>) {
        if found != self.last {
            self.last = found;
            self.changed = now;
            self.began.get_or_insert(now);
        }
        if self.last == self.reported {
            self.began = None;
        }
    }

    /// A file that is gone may be about to be replaced, so its absence must last longer to count.
    fn is_settled(&self, now: Instant) -> bool {
        let patience = match self.last {
            Some(_) => SETTLED,
            None => GONE,
        };
        self.began.is_none() || now.duration_since(self.changed) >= patience
    }

    fn holds_up_others(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now.duration_since(began) < LONGEST_WAIT)
    }
}

/// Everything that a plugin is made of: its signature, if one is demanded, its component and its settings.
pub(super) fn files_of(plugin: &Plugin, signatures: Option<&Signatures>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(path) = plugin.component.file() {
        if signatures.is_some() {
            files.push(signature::beside(path));
        }
        files.push(path.to_owned());
    }
    files.extend(plugin.settings_file.clone());
    files
}

const LOOK: Duration = Duration::from_millis(100);
/// Two looks; a file that grows between them is still being written.
const SETTLED: Duration = Duration::from_millis(190);
const GONE: Duration = Duration::from_secs(1);
/// How long a change waits for other files that are still changing. A component that is copied over a slow line takes
/// longer, and then goes by itself.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
