//! `[auth]` and `[[user]]`: who may log in, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use std::time::Duration;

use toml::de::DeValue;

use super::value::{Value, integer};
use super::walk::Table;

/// `[auth]`: who may log in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Patterns for authorized-keys files: `%u` is the user, `%h` the home folder, `%%` a percent sign, and there are no other
    /// escapes. Relative ones start at the folder of the configuration. Default: none, so that
    /// no one can log in with a file that the configuration does not name.
    pub authorized_keys: Vec<String>,
    /// Public keys of authorities whose user certificates are accepted. Default: none.
    pub trusted_user_ca_keys: Vec<PathBuf>,
    /// Keys and certificates that are no longer accepted: an OpenSSH KRL or a list of keys. Default: none.
    pub revoked_keys: Option<PathBuf>,
    /// Whether owners and modes of authorized-keys files, and of the folders above them, are looked at: OpenSSH's
    /// `StrictModes`. Off, who can write there decides who logs in. Default true.
    pub strict_modes: bool,
    /// How long a client may take to log in, 1s to 1h; the connection is then closed. Default 30s.
    pub login_grace: Duration,
    /// Failed attempts before the connection is closed, 1 to 100. Default 6.
    pub max_attempts: u32,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            authorized_keys: Vec::new(),
            trusted_user_ca_keys: Vec::new(),
            revoked_keys: None,
            strict_modes: true,
            login_grace: Duration::from_secs(30),
            max_attempts: 6,
        }
    }
}

impl Auth {
    /// Patterns that are still relative, since the configuration was named by a relative path, start at the folder that the
    /// process is in, as that path does.
    pub(super) fn start_at(&mut self, folder: &Path) {
        let relative = |pattern: &&mut String| !pattern.starts_with('/') && !pattern.starts_with("%h");
        for pattern in self.authorized_keys.iter_mut().filter(relative) {
            if let Some(folder) = folder.to_str() {
                *pattern = format!("{}/{pattern}", folder.trim_end_matches('/').replace('%', "%%"));
            }
        }
    }
}

pub(super) fn auth(table: &mut Table<'_>) -> Auth {
    let default = Auth::default();
    Auth {
        authorized_keys: table.or("authorized-keys", default.authorized_keys, |value| value.list(pattern)),
        trusted_user_ca_keys: table.or("trusted-user-ca-keys", default.trusted_user_ca_keys, |value| {
            value.list(|item| item.path())
        }),
        revoked_keys: table.read("revoked-keys", |value| value.path()),
        strict_modes: table.or("strict-modes", default.strict_modes, |value| value.flag()),
        login_grace: table.or("login-grace", default.login_grace, |value| {
            value.duration(Duration::from_secs(1)..=Duration::from_secs(3600))
        }),
        max_attempts: table.or("max-attempts", default.max_attempts, |value| value.number(1..=100)),
    }
}

/// A pattern for the path of an authorized-keys file, relative ones from the folder of the configuration.
fn pattern(value: &Value<'_>) -> Option<String> {
    let pattern = value.word()?;
    let mut rest = pattern;
    while let Some((_, escape)) = rest.split_once('%') {
        let Some(after) = escape.strip_prefix(['u', 'h', '%']) else {
            let found: String = escape.chars().take(1).collect();
            return value.fault(format_args!(
                "unknown escape `%{found}`: expected %u (user), %h (home folder) or %% (percent sign)"
            ));
        };
        rest = after;
    }
    if pattern.starts_with("%h") {
        return Some(pattern.to_owned());
    }
    let path = value.path()?;
    // It is absolute, or the configuration was named without a folder.
    if path.to_str() == Some(pattern) {
        return Some(pattern.to_owned());
    }
    let Some(folder) = value.document().folder().to_str() else {
        return value.fault("must begin with `/` or `%h`: the path of this file's folder is not UTF-8");
    };
    Some(format!("{}/{pattern}", folder.trim_end_matches('/').replace('%', "%%")))
}

/// `[[user]]`: one person, described in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name: unique, without slash or control characters, and not `.` or `..`, for it may become part of a path.
    pub name: String,
    /// What the policy is told about the user's groups, none twice. Default: none.
    pub groups: Vec<String>,
    /// Lines as in an authorized-keys file, options included. Default: none.
    pub authorized_keys: Vec<InlineKey>,
    /// An Argon2 hash in PHC form. Default: none, and no login by password.
    pub password_hash: Option<Secret>,
    /// Facts for the policy, in the order of the file. Default: none.
    pub claims: Vec<(String, Claim)>,
}

/// One authorized-keys line in the configuration, with its place, to report a fault of the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineKey {
    /// The line, not yet read as a key.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// As in `user[0].authorized-keys[1]`.
    pub key: String,
}

impl InlineKey {
    /// A fault at this line.
    #[must_use]
    pub fn fault(&self, file: &Path, message: impl fmt::Display) -> Fault {
        Fault {
            file: file.to_owned(),
            line: self.line,
            column: self.column,
            key: self.key.clone(),
            message: message.to_string(),
        }
    }
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one who checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A fact in one of the shapes a policy can be told.
pub use crate::request::Fact as Claim;

pub(super) fn users(value: &Value<'_>) -> Option<Vec<User>> {
    let mut names = BTreeMap::new();
    value.tables(|table| user(table, &mut names))
}

fn user(table: &mut Table<'_>, names: &mut BTreeMap<String, usize>) -> Option<User> {
    let name = table.required("name", "the name to log in with", |value| user_name(value, names));
    let groups = table.read("groups", groups);
    let authorized_keys = table.read("authorized-keys", |value| value.list(inline_key));
    let password_hash = table.read("password-hash", password_hash);
    let claims = table.read("claims", claims);
    Some(User {
        name: name?,
        groups: groups.unwrap_or_default(),
        authorized_keys: authorized_keys.unwrap_or_default(),
        password_hash,
        claims: claims.unwrap_or_default(),
    })
}

fn user_name(value: &Value<'_>, names: &mut BTreeMap<String, usize>) -> Option<String> {
    let name = value.word()?;
    if name.contains('/') || name == "." || name == ".." {
        return value.wrong("a name that can be part of a path");
    }
    if name.len() > 255 {
        return value.wrong("a name of at most 255 bytes");
    }
    value.unique(name, names)?;
    Some(name.to_owned())
}

pub(crate) fn groups(value: &Value<'_>) -> Option<Vec<String>> {
    let mut seen = BTreeMap::new();
    value.list(|item| {
        let group = item.word()?;
        item.unique(group, &mut seen)?;
        Some(group.to_owned())
    })
}

fn inline_key(value: &Value<'_>) -> Option<InlineKey> {
    let text = value.word()?.trim().to_owned();
    let (line, column) = value.place();
    Some(InlineKey {
        text,
        line,
        column,
        key: value.key().to_owned(),
    })
}

/// Says nothing of what was found: a password may stand where its hash should.
fn password_hash(value: &Value<'_>) -> Option<Secret> {
    match value.toml().as_str() {
        Some(hash) if hash.starts_with("$argon2") => Some(Secret(hash.to_owned())),
        _ => value.fault("must be an Argon2 hash in quotes that begins with `$argon2`"),
    }
}

/// A table of facts, the names being the user's own.
pub(crate) fn claims(value: &Value<'_>) -> Option<Vec<(String, Claim)>> {
    value.table(|table| {
        table
            .all()
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), claim(value)?)))
            .collect()
    })
}

fn claim(value: &Value<'_>) -> Option<Claim> {
    match value.toml() {
        DeValue::String(text) => Some(Claim::Text(text.to_string())),
        DeValue::Array(_) => value.list(|item| item.text().map(str::to_owned)).map(Claim::Texts),
        DeValue::Integer(number) => match integer(number) {
            Some(number) => Some(Claim::Number(number)),
            None => value.wrong("a number that fits in 64 bits"),
        },
        DeValue::Boolean(flag) => Some(Claim::Flag(*flag)),
        _ => value.wrong("text, an array of texts, a whole number, or true or false"),
    }
}
