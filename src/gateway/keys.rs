//! Watches the files that say who may log in, while sessions are open: key files, revoked keys, authorities.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Parts;
use super::blocking::away;
use crate::accounts::Accounts;
use crate::files::Mark;
use crate::sessions::{Session, Sessions};

impl Parts {
    /// Ends sessions whose users may no longer log in, within a second of the change of a file that says so, or of the end of
    /// a key's or certificate's validity.
    pub(super) async fn watch_keys(self: Arc<Self>) {
        let mut watch = KeyWatch::default();
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.ending.cancelled() => return,
            }
            let (accounts, sessions) = (Arc::clone(&self.judge.current().accounts), self.sessions.clone());
            if !accounts.read_files() && accounts.authority_files().is_empty() {
                self.renew(watch.look(&accounts, &sessions).open);
                continue;
            }
            // A file server that does not answer holds up this and nothing else.
            let looked = spawn_blocking(move || {
                let began = Instant::now();
                let found = watch.look(&accounts, &sessions);
                (watch, found, began.elapsed())
            });
            let Ok((back, found, took)) = looked.await else {
                tracing::error!("checking the key files failed; starting over");
                watch = KeyWatch::default();
                continue;
            };
            watch = back;
            // However many files there are, looking at them takes a tenth of one processor at most.
            pause = LOOK.max(took * 10);
            if found.authorities {
                self.read_authorities().await;
            }
            self.renew(found.open);
        }
    }

    fn renew(&self, open: Vec<Arc<Session>>) {
        if !open.is_empty() {
            let review = self.review();
            self.tasks.spawn(async move { review.renew(open).await });
        }
    }

    /// Reads the files of authorities again; once more where a reload came in between.
    async fn read_authorities(&self) {
        loop {
            let (was, at) = (self.in_force.ledger(), self.next_reading());
            let before = was.clone();
            let is = match away(move || before.with_authorities_again(at)).await {
                Ok(is) => is,
                Err(faults) => {
                    let reason = faults.join("; ");
                    tracing::error!(
                        reason,
                        "cannot use the certificate authority keys; the current ones stay in force"
                    );
                    return;
                }
            };
            if let Some(before) = self.in_force.put_authorities(&self.judge, &was, is) {
                tracing::debug!("reloaded the certificate authority keys");
                return self.follow(before);
            }
        }
    }
}

/// What a look found.
#[derive(Default)]
struct Found {
    /// Sessions to ask about.
    open: Vec<Arc<Session>>,
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
    /// When sessions were last looked at one by one.
    passed: Option<Instant>,
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
        let changed = self.changed(Instant::now(), Mark::of);
        let known = self.accounts.as_ref().is_some_and(|known| Arc::ptr_eq(known, accounts));
        let is_due = |last: Option<Instant>, pause| last.is_none_or(|last| last.elapsed() >= pause);
        if known && changed.is_empty() && !is_due(self.passed, PASS) {
            return Found::default();
        }
        self.passed = Some(Instant::now());
        let doubted = is_due(self.doubted, DOUBT);
        if doubted {
            self.doubted = self.passed;
        }
        // In this order: a session that begins in between is found by the next pass.
        let changes = sessions.changes();
        let open = sessions.all();
        let mut found = Found {
            open: self.follow(accounts, changes, &open),
            authorities: changed.contains(&Whose::Authorities),
        };
        let everyone = changed.contains(&Whose::Everyone);
        let concerned = |session: &Arc<Session>| {
            let user = |whose: &Whose| matches!(whose, Whose::Users(users) if users.contains(&session.user));
            let standing = &session.standing;
            session.stop.cause().is_none()
                && (everyone
                    || standing.rights().is_over()
                    || standing.is_to_be_judged()
                    || doubted && standing.is_in_doubt()
                    || changed.iter().any(user))
        };
        found.open.extend(open.into_iter().filter(concerned));
        found
    }

    /// Watches the files that matter now. Returns the sessions that are new: what let them in may have changed before it was
    /// watched, so they are asked about once more. Files of authorities are read once more for the same reason.
    fn follow(&mut self, accounts: &Arc<Accounts>, changes: u64, open: &[Arc<Session>]) -> Vec<Arc<Session>> {
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
        for session in open {
            if users.contains_key(&session.user) {
                continue;
            }
            // Where a user's files are may be a question to a directory service, so it is asked once.
            let files = self
                .users
                .remove(&session.user)
                .unwrap_or_else(|| accounts.key_files_of(&session.user));
            for path in &files {
                let whose = wanted
                    .entry(path.clone())
                    .or_insert_with(|| Whose::Users(BTreeSet::new()));
                if let Whose::Users(users) = whose {
                    users.insert(session.user.clone());
                }
            }
            users.insert(session.user.clone(), files);
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
                    let changed = (whose == Whose::Authorities).then(Instant::now);
                    self.files.insert(path, KeyFile { whose, mark, changed });
                }
            }
        }
        let is_new = |session: &&Arc<Session>| accounts.read_files() && !self.known.contains(&session.connection.id);
        let new = open.iter().filter(is_new).cloned().collect();
        self.known = open.iter().map(|session| session.connection.id.clone()).collect();
        new
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
/// How often sessions are looked at one by one, for what has expired and who is new.
const PASS: Duration = Duration::from_millis(500);
/// Two looks; a file that changes between them is still being written.
const SETTLED: Duration = Duration::from_millis(190);
/// A file that is gone may be about to be replaced.
const GONE: Duration = Duration::from_millis(400);
/// How often sessions are asked about for which a file could not be read.
const DOUBT: Duration = Duration::from_secs(5);
