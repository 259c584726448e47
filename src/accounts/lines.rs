//! The lines of `authorized_keys` of a user: those of the configuration, and those of files, which are read at each login.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::refused::NotIn;
use super::{MAX_FAULT, can_be_a_user};
use crate::auth::{KeyLine, Modes, PathError, ReadError, authorized_keys_path, parse_line, read_keys_of};
use crate::config::{self, Fault};
use crate::request::printable;

/// The lines of a user in the configuration; the faults name this file.
pub(super) fn configured(user: &config::User, file: &Path, faults: &mut Vec<Fault>) -> Vec<KeyLine> {
    let mut lines = Vec::new();
    for inline in &user.authorized_keys {
        match parse_line(&inline.text) {
            Ok(Some(line)) => {
                warn_of_entries(&line, &inline.key);
                lines.push(line);
            }
            Ok(None) => faults.push(inline.fault(file, "it is empty: expected a line as in an authorized_keys file")),
            Err(error) => faults.push(inline.fault(file, printable(&error.to_string(), MAX_FAULT))),
        }
    }
    lines
}

/// The key files of all users.
#[derive(Clone)]
pub(super) struct KeyFiles {
    patterns: Vec<String>,
    modes: Modes,
}

impl KeyFiles {
    pub(super) fn new(config: &config::Auth) -> Self {
        Self {
            patterns: config.authorized_keys.clone(),
            modes: match config.strict_modes {
                true => Modes::Checked,
                false => Modes::Unchecked,
            },
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Those of a user.
    pub(super) fn of(&self, user: &str) -> Vec<PathBuf> {
        let paths = self.patterns.iter().map(|pattern| authorized_keys_path(pattern, user));
        paths.filter_map(|path| path.ok().flatten()).collect()
    }

    /// Adds the lines of a user's files; tells whether a file could not be read, for whom its lines matter.
    pub(super) fn add_lines_of(&self, user: &str, lines: &mut Cow<'_, [KeyLine]>) -> Option<NotIn> {
        let mut unread = None;
        if can_be_a_user(user).is_err() {
            return None;
        }
        for pattern in &self.patterns {
            let path = match authorized_keys_path(pattern, user) {
                Ok(Some(path)) => path,
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(user, %error, "no key file");
                    if let PathError::Lookup(..) = &error {
                        unread = Some(NotIn::Unsure(error.to_string()));
                    }
                    continue;
                }
            };
            match read_keys_of(&path, user, self.modes) {
                Ok((found, faults)) => {
                    for (line, error) in faults {
                        let error = printable(&error.to_string(), MAX_FAULT);
                        tracing::warn!(path = %path.display(), line, error, "a line in a key file is ignored");
                    }
                    found.iter().for_each(|line| warn_of_entries(line, &path.display()));
                    lines.to_mut().extend(found);
                }
                Err(error) => {
                    tracing::warn!(%error, "a key file is ignored");
                    if let ReadError::Io { source, .. } = &error
                        && may_pass(source)
                    {
                        unread = Some(NotIn::Unsure(format!("{error}: {source}")));
                    }
                }
            }
        }
        unread
    }
}

/// Whether the file may be readable in a moment. What may not be read counts as not there: somebody has decided that.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let lasting = [IsADirectory, NotADirectory, NotFound, PermissionDenied];
    let is_loop = error.raw_os_error() == Some(Errno::ELOOP as i32);
    !is_loop && !lasting.contains(&error.kind())
}

/// Says which entries of a line permit nothing: they are meant to permit something.
fn warn_of_entries(line: &KeyLine, place: &dyn Display) {
    for entry in line.options.never_match() {
        let entry = printable(&entry, MAX_FAULT);
        tracing::warn!(%place, entry, "a key option can never match");
    }
}
