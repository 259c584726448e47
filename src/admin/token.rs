//! The bearer token of the monitoring listener (RFC 6750, section 2.1).

use std::path::Path;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::files;

/// A token, as a digest: what is compared takes the same time whatever was sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// Reads the first line of a file that only its owner and its group can read.
    ///
    /// # Errors
    /// A sentence that names the file and the fix.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let token = files::read_secret(path)?;
        if token.len() < LEAST {
            return Err(format!(
                "{}: the token has fewer than {LEAST} characters",
                path.display()
            ));
        }
        Ok(Self::of(&token))
    }

    fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether a request carries it.
    pub(super) fn is_carried(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent = value.and_then(|value| value.split_once(' '));
        sent.is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && Self::of(token.trim()) == *self)
    }
}

/// Short tokens can be guessed.
const LEAST: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_file_is_private_and_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |content: &str, mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path).err()
        };
        assert_eq!(read("0123456789abcdef\n", 0o600), None);
        assert_eq!(read("0123456789abcdef\n", 0o640), None);
        assert!(read("0123456789abcdef\n", 0o644).unwrap().contains("has mode 0644"));
        assert!(read("short\n", 0o600).unwrap().contains("fewer than 16"));
        fs::remove_file(&path).unwrap();
        assert!(Token::read(&path).err().unwrap().contains("cannot be read"));
    }

    #[test]
    fn only_a_bearer_of_the_token_is_one() {
        let token = Token::of("0123456789abcdef");
        #[rustfmt::skip]
        let table = [
            ("Bearer 0123456789abcdef", true),   ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),  ("Bearer", false),
            ("Basic 0123456789abcdef", false),   ("0123456789abcdef", false),
        ];
        for (value, carried) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token.is_carried(&headers), carried, "{value}");
        }
        assert!(!token.is_carried(&HeaderMap::new()));
    }
}
