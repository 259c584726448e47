//! The files that an `Include` names: `glob(3)`, sorted, as OpenSSH's `servconf.c` calls it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where OpenSSH looks for relative names (`SSHDIR`).
const SSH_DIRECTORY: &str = "/etc/ssh";

/// The files that a pattern names, sorted.
///
/// A relative pattern, or one below `/etc/ssh`, is first tried beside the imported file, so that a copy of the folder is read
/// as a whole; then where OpenSSH looks.
pub(super) fn files(pattern: &str, folder: &Path) -> Vec<PathBuf> {
    let pattern = Path::new(pattern);
    let below = match pattern.is_absolute() {
        true => pattern.strip_prefix(SSH_DIRECTORY).ok(),
        false => Some(pattern),
    };
    let beside = below.map(|below| glob(&folder.join(below))).unwrap_or_default();
    match beside.is_empty() {
        true => glob(&Path::new(SSH_DIRECTORY).join(pattern)),
        false => beside,
    }
}

/// Every existing path that matches, component by component.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        found = match text.contains(['*', '?', '[']) {
            false => found.into_iter().map(|path| path.join(component)).collect(),
            true => found.iter().flat_map(|folder| entries(folder, &text)).collect(),
        };
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // A dot at the start must be matched by a dot.
    let visible = names.filter(|name| !name.starts_with('.') || pattern.starts_with('.'));
    let matching = visible.filter(|name| matches(pattern.as_bytes(), name.as_bytes()));
    matching.map(|name| folder.join(name)).collect()
}

/// `*`, `?`, `[a-z]`, `[!a-z]` and a backslash before a character that stands for itself.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => matches(rest, text) || matches!(text, [_, after @ ..] if matches(pattern, after)),
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([b'[', rest @ ..], [first, after @ ..]) => match class(rest, *first) {
            Some((inside, rest)) => inside && matches(rest, after),
            None => *first == b'[' && matches(rest, after),
        },
        ([b'\\', wanted, rest @ ..] | [wanted, rest @ ..], [first, after @ ..]) => {
            wanted == first && matches(rest, after)
        }
        _ => false,
    }
}

/// Whether a byte is in a class, and what follows the class; `None` for a bracket that is not closed.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut inside = false;
    let mut first = true;
    loop {
        rest = match rest {
            [b']', after @ ..] if !first => return Some((inside != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                inside |= (*low..=*high).contains(&byte);
                after
            }
            [one, after @ ..] => {
                inside |= *one == byte;
                after
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_glob_3_matches() {
        #[rustfmt::skip]
        let table = [
            ("*.conf",      "10-a.conf",  true),
            ("*.conf",      "a.conf.bak", false),
            ("[0-4]*",      "3x",         true),
            ("[0-4]*",      "5x",         false),
            ("[!0-4]*",     "5x",         true),
            ("[]a]",        "]",          true),
            ("a?c",         "abc",        true),
            ("a[",          "a[",         true),
            ("\\*",         "*",          true),
            ("\\*",         "a",          false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
