//! Key files on disk: finds a user's files, and checks that they can be trusted.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Uid, User};

use super::line::{FileLines, parse_file};
use crate::files::read_capped;

/// Why a path pattern and a user name do not make a path.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error("the user name `{0}` cannot be part of a path")]
    UserName(String),
    #[error(
        "unknown escape `%{0}` in `{1}`; expected %u (user), %h (home directory), %U (user id) or %% (percent sign)"
    )]
    Token(String, String),
    #[error("the home directory of `{0}` is not an absolute path")]
    Home(String),
    #[error("cannot look up user `{0}`")]
    Lookup(String, #[source] Errno),
}

/// Why a key file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is larger than {LARGEST} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{} is writable by its group or by everyone (mode {mode:04o}); run `chmod go-w {}`, or see `auth.strict-modes`", path.display(), path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("{} belongs to {owner}; it must belong to root or {expected}, run `chown {expected} {}`", path.display(), path.display())]
    Owner {
        path: PathBuf,
        owner: String,
        expected: String,
    },
}

/// Whether owners and modes of key files and of the folders above them are looked at: OpenSSH's `StrictModes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modes {
    #[default]
    Checked,
    /// Who can write to a key file, or to a folder above it, decides who logs in.
    Unchecked,
}

/// Fills in `%u`, `%h`, `%U` and `%%`; a relative path is below the user's home, as in OpenSSH. `None` when the path
/// needs an account of this machine and the user has none.
pub fn authorized_keys_path(pattern: &str, user: &str) -> Result<Option<PathBuf>, PathError> {
    if user.is_empty() || user == "." || user == ".." || user.contains(['/', '\0']) {
        return Err(PathError::UserName(user.escape_debug().take(64).collect()));
    }
    let tokens = pattern.replace("%%", "");
    let needs_account = !pattern.starts_with('/') || tokens.contains("%h") || tokens.contains("%U");
    let account = match needs_account {
        true => User::from_name(user).map_err(|errno| PathError::Lookup(user.to_owned(), errno))?,
        false => None,
    };
    match (&account, needs_account) {
        (None, true) => expand(pattern, user, None).map(|_| None),
        (Some(account), _) if !account.dir.is_absolute() => Err(PathError::Home(user.to_owned())),
        (account, _) => expand(pattern, user, account.as_ref()).map(Some),
    }
}

/// Reads a key file that belongs to no user: it and the directories above it must belong to root, to this server's
/// own user, or all to one other person.
pub fn read_keys(path: &Path) -> Result<FileLines, ReadError> {
    read(path, &mut Trust::OnePerson(None), Modes::Checked)
}

/// Reads the key file of `user`: it and the directories above it must belong to root, to this server's own user or to
/// that user, which is OpenSSH's rule; unless `modes` are not checked.
pub fn read_keys_of(path: &Path, user: &str, modes: Modes) -> Result<FileLines, ReadError> {
    let unknown = |errno: Errno| ReadError::Io {
        path: path.to_owned(),
        source: errno.into(),
    };
    let account = match modes {
        Modes::Checked => User::from_name(user).map_err(unknown)?.map(Box::new),
        Modes::Unchecked => None,
    };
    read(path, &mut Trust::Account(account), modes)
}

/// Whose files are believed besides root's and our own.
enum Trust {
    OnePerson(Option<Uid>),
    Account(Option<Box<User>>),
}

/// A missing file has no keys. Like OpenSSH's `StrictModes`, except that a sticky directory such as `/tmp` may be
/// writable by all, since nobody can replace another's files in it.
fn read(path: &Path, trust: &mut Trust, modes: Modes) -> Result<FileLines, ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    // Without O_NONBLOCK a FIFO in this place would hold us up for ever.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        // A user name can make the path too long: then there is no such file either.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => {
            return Ok((Vec::new(), Vec::new()));
        }
        other => other.map_err(failed)?,
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    if modes == Modes::Checked {
        check_file(&file, path, trust)?;
    }
    let bytes = read_capped(file, LARGEST)
        .map_err(failed)?
        .ok_or_else(|| ReadError::TooLarge(path.to_owned()))?;
    // What is not UTF-8 is replaced: harmless in a comment, and void in an option.
    Ok(parse_file(&String::from_utf8_lossy(&bytes)))
}

/// Looks at the open file, so that it cannot be exchanged meanwhile, then at each directory above its real path, up
/// to the home directory of whom it belongs to or to the root.
fn check_file(file: &File, path: &Path, trust: &mut Trust) -> Result<(), ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = file.metadata().map_err(failed)?;
    let real = path.canonicalize().map_err(failed)?;
    check_one(&real, &metadata, trust)?;
    let home = trust.home();
    for directory in real.ancestors().skip(1) {
        check_one(directory, &directory.metadata().map_err(failed)?, trust)?;
        if home.as_deref() == Some(directory) {
            break;
        }
    }
    Ok(())
}

fn check_one(path: &Path, metadata: &Metadata, trust: &mut Trust) -> Result<(), ReadError> {
    let mode = metadata.mode() & 0o7777;
    let sticky = metadata.is_dir() && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky {
        return Err(ReadError::Writable {
            path: path.to_owned(),
            mode,
        });
    }
    trust.check(path, Uid::from_raw(metadata.uid()))
}

impl Trust {
    fn check(&mut self, path: &Path, owner: Uid) -> Result<(), ReadError> {
        if owner.is_root() || owner == Uid::effective() {
            return Ok(());
        }
        let expected = match self {
            Self::OnePerson(None) => {
                *self = Self::OnePerson(Some(owner));
                return Ok(());
            }
            Self::OnePerson(Some(person)) if *person == owner => return Ok(()),
            Self::Account(Some(account)) if account.uid == owner => return Ok(()),
            Self::OnePerson(Some(person)) => name_of(*person),
            Self::Account(Some(account)) => account.name.clone(),
            Self::Account(None) => name_of(Uid::effective()),
        };
        Err(ReadError::Owner {
            path: path.to_owned(),
            owner: name_of(owner),
            expected,
        })
    }

    /// The real path at which the way up may end.
    fn home(&self) -> Option<PathBuf> {
        let directory = match self {
            Self::Account(account) => account.as_ref()?.dir.clone(),
            Self::OnePerson(person) => User::from_uid(person.unwrap_or_else(Uid::effective)).ok()??.dir,
        };
        directory.canonicalize().ok()
    }
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Without an account only the pattern is checked; what comes back is then not a path to use.
fn expand(pattern: &str, user: &str, account: Option<&User>) -> Result<PathBuf, PathError> {
    let home = account.map(|account| account.dir.clone()).unwrap_or_default();
    let mut path = OsString::new();
    let mut pieces = pattern.split('%');
    path.push(pieces.next().unwrap_or_default());
    while let Some(piece) = pieces.next() {
        let mut rest = piece.chars();
        match rest.next() {
            Some('u') => path.push(user),
            Some('h') => path.push(&home),
            Some('U') => path.push(account.map(|account| account.uid.to_string()).unwrap_or_default()),
            // "%%" splits into an empty piece and the text behind it.
            None if pieces.clone().next().is_some() => {
                path.push("%");
                path.push(pieces.next().unwrap_or_default());
                continue;
            }
            token => {
                return Err(PathError::Token(
                    token.map(String::from).unwrap_or_default(),
                    pattern.to_owned(),
                ));
            }
        }
        path.push(rest.as_str());
    }
    Ok(home.join(path))
}

const LARGEST: u64 = 1 << 20;

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
