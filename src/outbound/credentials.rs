//! The name and the password that a proxy wants, from a file that others cannot read.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::files;

/// A user and a password. Neither is printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// Reads `user:password` from the first line of a file that only its owner and its group can read.
    ///
    /// # Errors
    /// A sentence that names the file and the fix.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = files::read_private(path, MOST)?;
        let line = text.lines().next().unwrap_or_default();
        Self::parse(line).map_err(|words| format!("{}: {words}", path.display()))
    }

    pub(super) fn parse(line: &str) -> Result<Self, &'static str> {
        let Some((user, password)) = line.split_once(':') else {
            return Err("write `user:password` in its first line");
        };
        // RFC 1929: one octet says how long each is, and neither is empty.
        let fits = |text: &str| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        if !fits(user) || !fits(password) {
            return Err("the user and the password must have 1 to 255 bytes each, without control characters");
        }
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// As `Basic` has them (RFC 7617).
    pub(super) fn basic(&self) -> String {
        BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password))
    }
}

const MOST: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The file's text and mode, and the credentials or a part of the error.
    type Row<'a> = (&'a str, u32, Result<(&'a str, &'a str), &'a str>);

    #[test]
    fn credentials_are_one_line_of_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let long = format!("a:{}", "b".repeat(256));
        #[rustfmt::skip]
        let table: [Row<'_>; 8] = [
            ("alice:s:cret\n", 0o600, Ok(("alice", "s:cret"))),
            ("alice:secret",   0o640, Ok(("alice", "secret"))),
            ("alice:secret",   0o644, Err("has mode 0644: chmod it to 0600 or 0640")),
            ("alice:secret",   0o660, Err("has mode 0660")),
            ("secret\n",       0o600, Err("write `user:password`")),
            (":secret\n",      0o600, Err("1 to 255 bytes")),
            (&long,            0o600, Err("1 to 255 bytes")),
            ("",               0o600, Err("write `user:password`")),
        ];
        for (text, mode, expected) in table {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (Credentials::read(&path), expected) {
                (Ok(read), Ok((user, password))) => assert_eq!((&*read.user, &*read.password), (user, password)),
                (Err(words), Err(expected)) => assert!(words.contains(expected), "{words}"),
                (Ok(_), Err(expected)) => panic!("read, and not: {expected}"),
                (Err(words), Ok(_)) => panic!("{words}"),
            }
        }
    }
}
