//! The files that say who may log in, looked at while sessions are open: key files, revoked keys, authorities.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Shared;
use crate::accounts::Accounts;
use crate::files::Mark;
use crate::forwarder::{Sessions, Visit};

impl Shared {
    /// Ends sessions whose users may no longer log in, within a second of the change of a file that says so, or of the end of
    /// a key's or certificate's validity.
    pub(super) async fn watch_keys(self: Arc<Self>) {
        let mut watch = KeyWatch::default();
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.closing.cancelled() => return,
            }
            let (accounts, sessions) = (
                Arc::clone(&self.desk().judge.current().accounts),
                self.desk().sessions.clone(),
            );
            // A file server that does not answer holds up this and nothing else.
            let looked = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let found = watch.look(&accounts, &sessions);
                (watch, found, began.elapsed())
            });
            let Ok((back, found, took)) = looked.await else {
                tracing::error!("a look at the key files failed; it is repeated from the beginning");
                watch = KeyWatch::default();
                continue;
            };
            watch = back;
            // However many files there are, looking at them takes a tenth of one processor at most.
            pause = LOOK.max(took * 10);
            if found.authorities {
                self.read_authorities();
            }
            if !found.visits.is_empty() {
                let desk = Arc::clone(self.desk());
                self.tasks().spawn(async move { desk.renew(found.visits).await });
            }
        }
    }

    fn read_authorities(&self) {
        match self.in_force.read_authorities(&self.desk().judge) {
            Ok(before) => {
                tracing::info!("the keys of certificate authorities were read again");
                self.follow(before);
            }
            Err(faults) => {
                let reason = faults.join("; ");
                tracing::error!(
                    reason,
                    "keys of certificate authorities cannot be used; those in force go on"
                );
            }
        }
    }
}

/// What a look found.
#[derive(Default)]
struct Found {
    /// Sessions to ask about.
    visits: Vec<Arc<Visit>>,
    /// Whether the files of authorities are to be read again.
    authorities: bool,
}

/// The files, as they were at the last look.
#[derive(Default)]
struct KeyWatch {
    accounts: Option<Arc<Accounts>>,
    /// [`Sessions::changes`] at the last look.
    changes: u64,
    files: HashMap<PathBuf, KeyFile>,
    /// The key files of each user who has a session.
    users: BTreeMap<String, Vec<PathBuf>>,
    /// Sessions that were open at the last look.
    known: HashSet<String>,
    /// When sessions that are in doubt were last asked about.
    doubted: Option<Instant>,
}

struct KeyFile {
    whose: Whose,
    mark: Option<Mark>,
    /// When it last changed, until that has been reported.
    changed: Option<Instant>,
}

/// Whom a file concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Users(BTreeSet<String>),
    Everyone,
    Authorities,
}

impl KeyWatch {
    fn look(&mut self, accounts: &Arc<Accounts>, sessions: &Sessions) -> Found {
        // In this order: a session that begins in between is found by the next look.
        let changes = sessions.changes();
        let visits = sessions.all();
        let mut found = Found {
            visits: self.follow(accounts, changes, &visits),
            authorities: false,
        };
        let changed = self.changed(Instant::now(), Mark::of);
        found.authorities = changed.contains(&Whose::Authorities);
        let everyone = changed.contains(&Whose::Everyone);
        let doubted = self.doubted.is_none_or(|last| last.elapsed() >= DOUBT);
        if doubted {
            self.doubted = Some(Instant::now());
        }
        let concerned = |visit: &Arc<Visit>| {
            let user = |whose: &Whose| matches!(whose, Whose::Users(users) if users.contains(&visit.user));
            let standing = &visit.standing;
            everyone
                || visit.revoked().is_none()
                    && (standing.rights().is_over() || doubted && standing.is_in_doubt() || changed.iter().any(user))
        };
        found.visits.extend(visits.into_iter().filter(concerned));
        found
    }

    /// Watches the files that matter now. Returns sessions that began so shortly after a change of their files that they may
    /// have been let in by what was there before.
    fn follow(&mut self, accounts: &Arc<Accounts>, changes: u64, visits: &[Arc<Visit>]) -> Vec<Arc<Visit>> {
        let same = self.accounts.as_ref().is_some_and(|known| Arc::ptr_eq(known, accounts));
        if same && changes == self.changes {
            return Vec::new();
        }
        if !same {
            self.users.clear();
            self.accounts = Some(Arc::clone(accounts));
        }
        self.changes = changes;
        let mut users = BTreeMap::new();
        let mut wanted: BTreeMap<PathBuf, Whose> = BTreeMap::new();
        for visit in visits {
            if users.contains_key(&visit.user) {
                continue;
            }
            // Where a user's files are may be a question to a directory service, so it is asked once.
            let files = self
                .users
                .remove(&visit.user)
                .unwrap_or_else(|| accounts.key_files_of(&visit.user));
            for path in &files {
                let whose = wanted
                    .entry(path.clone())
                    .or_insert_with(|| Whose::Users(BTreeSet::new()));
                if let Whose::Users(users) = whose {
                    users.insert(visit.user.clone());
                }
            }
            users.insert(visit.user.clone(), files);
        }
        for path in accounts.authority_files() {
            wanted.insert(path.clone(), Whose::Authorities);
        }
        if let Some(path) = accounts.revocation_file() {
            wanted.insert(path.to_owned(), Whose::Everyone);
        }
        self.users = users;
        self.files.retain(|path, _| wanted.contains_key(path));
        for (path, whose) in wanted {
            match self.files.get_mut(&path) {
                Some(file) => file.whose = whose,
                None => {
                    let mark = Mark::of(&path);
                    self.files.insert(
                        path,
                        KeyFile {
                            whose,
                            mark,
                            changed: None,
                        },
                    );
                }
            }
        }
        let new = visits.iter().filter(|visit| !self.known.contains(&visit.connection.id));
        let new: Vec<_> = new.filter(|visit| self.has_just_changed(visit)).cloned().collect();
        self.known = visits.iter().map(|visit| visit.connection.id.clone()).collect();
        new
    }

    fn has_just_changed(&self, visit: &Visit) -> bool {
        let given_at = visit.standing.rights().given_at().as_second();
        let own = self.users.get(&visit.user).into_iter().flatten();
        let own = own.filter_map(|path| self.files.get(path));
        let common = self.files.values().filter(|file| file.whose == Whose::Everyone);
        own.chain(common)
            .filter_map(|file| file.mark)
            .any(|mark| mark.changed.0.max(mark.modified.0) + COARSE >= given_at)
    }

    /// Whom the files concern that have changed and are complete.
    fn changed(&mut self, now: Instant, mark: impl Fn(&Path) -> Option<Mark>) -> Vec<Whose> {
        let mut changed = Vec::new();
        for (path, file) in &mut self.files {
            let found = mark(path);
            if found != file.mark {
                file.mark = found;
                file.changed = Some(now);
            }
            let patience = if found.is_some() { SETTLED } else { GONE };
            if file.changed.is_some_and(|since| now.duration_since(since) >= patience) {
                file.changed = None;
                changed.push(file.whose.clone());
            }
        }
        changed
    }
}

const LOOK: Duration = Duration::from_millis(100);
/// Two looks; a file that changes between them is still being written.
const SETTLED: Duration = Duration::from_millis(190);
/// A file that is gone may be about to be replaced.
const GONE: Duration = Duration::from_millis(400);
/// How often sessions are asked about for which a file could not be read.
const DOUBT: Duration = Duration::from_secs(5);
/// Seconds by which the clock of a file system may be behind ours.
const COARSE: i64 = 2;
