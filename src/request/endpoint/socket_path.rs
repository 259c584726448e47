//! The path of a Unix socket in canonical form.

use std::fmt;

use super::EndpointError;

/// An absolute path without `.`, `..`, empty components or NUL, short enough for `sun_path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(String);

impl SocketPath {
    /// Reads the path of a Unix-domain socket.
    ///
    /// # Errors
    /// If it is not absolute, has an empty, `.` or `..` component, a control character, or is
    /// longer than the 107 bytes that `sun_path` holds.
    pub fn parse(path: &str) -> Result<Self, EndpointError> {
        let why = if !path.starts_with('/') {
            "it must be absolute"
        } else if path.len() > MAX_SUN_PATH {
            "it is longer than 107 bytes"
        } else if path.chars().any(char::is_control) {
            "it has a control character"
        } else if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            "it must not have empty, `.` or `..` components"
        } else {
            return Ok(Self(path.to_owned()));
        };
        Err(EndpointError::Path {
            path: path.to_owned(),
            why,
        })
    }

    /// The path as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// `sizeof(sun_path) - 1` on Linux, unix(7).
const MAX_SUN_PATH: usize = 107;
