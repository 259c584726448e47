//! Files of keys: whose they are, and what of their lines means something else here.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::note::{Kind, Notes, Place, Wrong};
use super::sshd::Sshd;
use crate::auth::{Cursor, LineError, Touch, parse_file, parse_line, starts_with_key_type};

/// A file of keys.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// Whose keys they are.
    pub(crate) user: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
    /// Whether `AuthorizedKeysFile` names it, so that it is read where it is.
    pub(crate) in_place: bool,
}

/// Whether a text is a file of keys, and not an `sshd_config`: some line is a key, or has a mistake but looks like one.
pub(crate) fn are_keys(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_key = |pair: &[&str]| matches!(pair, [kind, blob] if blob.starts_with("AAAA") && starts_with_key_type(Cursor::new(kind)));
        let looks = words.windows(2).any(is_key);
        !line.trim_start().starts_with('#') && (looks || matches!(parse_line(line), Ok(Some(_))))
    })
}

/// Whose a file is, by its path: as `AuthorizedKeysFile` says, or as `/home/NAME/.ssh/authorized_keys` and `keys/NAME`.
pub(crate) fn user_of(path: &Path, sshd: &Sshd) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let parts: Vec<&str> = path.components().filter_map(text).collect();
    let patterns = sshd.all("AuthorizedKeysFile").flat_map(|line| &line.arguments);
    let by_pattern = patterns
        .filter(|pattern| pattern.contains("%u"))
        .find_map(|pattern| fits(pattern, &parts));
    by_pattern.or_else(|| by_habit(&parts))
}

fn text(component: Component<'_>) -> Option<&str> {
    match component {
        Component::Normal(text) => text.to_str(),
        _ => None,
    }
}

/// The part of a path that `%u` stands for, if the path ends as the pattern does.
fn fits(pattern: &str, parts: &[&str]) -> Option<String> {
    let wanted: Vec<_> = pattern
        .trim_start_matches("%h/")
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let start = parts.len().checked_sub(wanted.len())?;
    let mut user = None;
    for (wanted, found) in wanted.iter().zip(parts.get(start..)?) {
        match wanted.split_once("%u") {
            None if wanted == found => {}
            Some((before, after)) => {
                let name = found.strip_prefix(before)?.strip_suffix(after)?;
                user = Some(name.to_owned()).filter(|name| !name.is_empty());
            }
            None => return None,
        }
    }
    user
}

fn by_habit(parts: &[&str]) -> Option<String> {
    match parts {
        [.., home, ".ssh", "authorized_keys" | "authorized_keys2"] => Some((*home).to_owned()),
        [.., "keys" | "authorized_keys" | "authorized_keys.d", name] => Some((*name).to_owned()),
        _ => None,
    }
}

/// Whether `AuthorizedKeysFile` means this file when this user logs in.
pub(crate) fn is_in_place(path: &Path, user: &str, patterns: &[String]) -> bool {
    let Ok(path) = std::path::absolute(path) else {
        return false;
    };
    let named = patterns
        .iter()
        .filter_map(|pattern| crate::auth::authorized_keys_path(pattern, user).ok().flatten());
    named.into_iter().any(|named| named == path)
}

/// What of the lines of a file means less here than to `sshd`.
///
/// # Errors
/// If the file has no key that could be used.
pub(crate) fn examine(file: &KeyFile, notes: &mut Notes) -> Result<(), Wrong> {
    let at = |line| Place {
        file: Arc::from(file.path.as_path()),
        line,
    };
    let (keys, void) = parse_file(&file.text);
    for (line, error) in &void {
        notes.stricter(
            &at(*line),
            option_of(error),
            format!("the line permits nothing: {error}"),
        );
    }
    if keys.is_empty() && void.is_empty() {
        return Err(Wrong {
            place: at(0),
            words: "no line of it is a key".to_owned(),
        });
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let Ok(Some(key)) = parse_line(line) else {
            continue;
        };
        for option in option_names(line) {
            if let Some(why) = UNUSED.iter().find(|(name, _)| *name == option).map(|(_, why)| *why) {
                notes.add(Kind::NoMeaningHere, &at(number), &option, why);
            }
        }
        if key.key.algorithm().starts_with("sk-") && key.options.touch != Touch::NotRequired {
            let words =
                "a FIDO key is accepted only with `no-touch-required` before it: that it was touched cannot be checked";
            notes.stricter(&at(number), key.key.algorithm(), words);
        }
        for words in key.options.never_match() {
            notes.unsaid(&at(number), "permitopen", words);
        }
    }
    Ok(())
}

fn option_of(error: &LineError) -> &str {
    match error {
        LineError::UnknownOption { option, .. }
        | LineError::NotQuoted { option, .. }
        | LineError::UnclosedQuote { option, .. }
        | LineError::RepeatedOption { option, .. }
        | LineError::BadValue { option, .. } => option,
        LineError::PrincipalsWithoutAuthority { .. } => "principals",
        LineError::EmptyOption { .. }
        | LineError::NoKey { .. }
        | LineError::Key { .. }
        | LineError::TypeMismatch { .. } => "key",
    }
}

/// The names of the options before a key, in lower case.
fn option_names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let (mut quoted, mut value, mut escaped) = (false, false, false);
    for one in line.trim_start().chars() {
        match one {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => break,
            ',' if !quoted => {
                names.push(std::mem::take(&mut name).to_ascii_lowercase());
                value = false;
            }
            '=' if !quoted => value = true,
            _ if !value => name.push(one),
            _ => {}
        }
        escaped = one == '\\' && !escaped;
    }
    names.push(name.to_ascii_lowercase());
    names
}

/// Options of keys about what portreeve never does.
const UNUSED: [(&str, &str); 10] = [
    ("agent-forwarding", "agents are never forwarded"),
    (
        "command",
        "no command is ever run: the key still forwards, as it does with sshd",
    ),
    ("environment", "there is no shell to set variables for"),
    ("no-agent-forwarding", "agents are never forwarded"),
    ("no-pty", "there is no terminal to give"),
    ("no-user-rc", "there is no shell"),
    ("no-x11-forwarding", "X11 is never forwarded"),
    ("pty", "there is no terminal to give"),
    ("tunnel", "tun devices are never forwarded"),
    ("x11-forwarding", "X11 is never forwarded"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_a_file_is_in_its_path() {
        let text = "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys.d/%u.pub\n";
        let sshd = Sshd::read(Path::new("sshd_config"), text.to_owned()).expect("read");
        for (path, user) in [
            ("/home/alice/.ssh/authorized_keys", Some("alice")),
            ("/root/.ssh/authorized_keys2", Some("root")),
            ("/backup/home/alice/.ssh/authorized_keys", Some("alice")),
            ("/etc/ssh/keys.d/bob.pub", Some("bob")),
            ("/copy/keys.d/bob.pub", None),
            ("/copy/ssh/keys.d/bob.pub", None),
            ("/copy/etc/ssh/keys.d/bob.pub", Some("bob")),
            ("/tmp/keys/carol", Some("carol")),
            ("/tmp/authorized_keys", None),
            ("/tmp/alice", None),
        ] {
            assert_eq!(user_of(Path::new(path), &sshd).as_deref(), user, "{path}");
        }
    }

    #[test]
    fn options_are_found_by_name() {
        for (line, names) in [
            (
                "restrict,command=\"a,b \\\" c\",PTY ssh-ed25519 AAAA",
                vec!["restrict", "command", "pty"],
            ),
            ("from=\"10.0.0.0/8,*.x\" ssh-ed25519 AAAA", vec!["from"]),
            ("ssh-ed25519 AAAA", vec!["ssh-ed25519"]),
        ] {
            assert_eq!(option_names(line), names, "{line}");
        }
    }

    #[test]
    fn keys_are_told_from_a_configuration() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
        assert!(are_keys(&format!("# alice\n{key} alice\n")));
        assert!(are_keys(&format!("nonsense {key}\n")));
        assert!(!are_keys("Port 22\nPermitOpen AAAA:22\n"));
        assert!(!are_keys(&format!("Port 22\n# {key}\n")));
    }
}
