//! Faults of a configuration, and where they are.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Everything that is wrong with one configuration file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// The configuration file that was read.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// At least one fault. One found in a settings file stands where that file is named.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file it is in: the configuration, or a settings file named there.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// Counted from 1; 0 when the file as a whole is at fault, as when it cannot be read.
    pub line: usize,
    /// In characters, counted from 1; 0 when the file as a whole is at fault.
    pub column: usize,
    /// The key from the top of the file, as in `policy.plugin[0].component`; empty for a syntax error.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl Fault {
    /// A fault of the file as a whole.
    pub(super) fn whole_file(file: &Path, message: impl fmt::Display) -> Self {
        Self::of_key(file, "", message)
    }

    /// A fault of what a key means, which is found after the file was read: its place in the file is not known.
    pub(crate) fn of_key(file: &Path, key: &str, message: impl fmt::Display) -> Self {
        Fault {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: key.to_owned(),
            message: message.to_string(),
        }
    }
}

/// `FILE:LINE:COLUMN: key.path: message`, without the parts that do not apply.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// One line a fault, without a last line feed.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A path need not be UTF-8, JSON must.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
