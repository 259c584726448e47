//! The authorities that every user trusts: `auth.trusted-user-ca-keys`.

use std::path::{Path, PathBuf};

use crate::auth::{KeyLine, parse_file};
use crate::files::{self, MOST_TEXT};

/// Reads all these files.
///
/// # Errors
/// Each file that cannot be used.
pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<KeyLine>, Vec<String>> {
    let (mut authorities, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(found) => authorities.extend(found),
            Err(words) => faults.push(words),
        }
    }
    match faults.is_empty() {
        true => Ok(authorities),
        false => Err(faults),
    }
}

/// Reads public keys, one a line. Options before a key apply to every login with a certificate of that authority, as they
/// would before a `cert-authority` line of a user.
///
/// # Errors
/// A file that cannot be read, has no key, or has a line that is void or would mean more than it says.
fn read(path: &Path) -> Result<Vec<KeyLine>, String> {
    let text = files::read_text(path, MOST_TEXT).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text).map_err(|(line, words)| match line {
        Some(line) => format!("{}:{line}: {words}", path.display()),
        None => format!("{}: {words}", path.display()),
    })
}

fn parse(text: &str) -> Result<Vec<KeyLine>, (Option<usize>, String)> {
    // One line at a time, so that a fault has its number.
    let mut authorities = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let (lines, faults) = parse_file(line);
        if let Some((_, error)) = faults.first() {
            return Err((Some(number), error.to_string()));
        }
        for mut line in lines {
            if !line.options.principals.is_empty() {
                return Err((Some(number), PRINCIPALS.to_owned()));
            }
            line.options.cert_authority = true;
            authorities.push(line);
        }
    }
    match authorities.is_empty() {
        true => Err((None, "it contains no key".to_owned())),
        false => Ok(authorities),
    }
}

const PRINCIPALS: &str = "`principals` here would let its holders log in as every user; put the line in the users' key files or `authorized-keys`";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

    #[test]
    fn options_before_an_authority_are_kept() {
        #[rustfmt::skip]
        let table = [
            // options                                 forwards   limited to an address   expires
            ("",                                       true,      false,                  false),
            ("cert-authority ",                        true,      false,                  false),
            ("restrict ",                              false,     false,                  false),
            ("no-port-forwarding ",                    false,     false,                  false),
            ("restrict,port-forwarding ",              true,      false,                  false),
            ("from=\"10.0.0.0/8\" ",                   true,      true,                   false),
            ("cert-authority,from=\"10.0.0.0/8\" ",    true,      true,                   false),
            ("expiry-time=\"20300101\" ",              true,      false,                  true),
            ("permitopen=\"web:80\" ",                 false,     false,                  false),
            ("no-touch-required,verify-required ",     true,      false,                  false),
            ("no-pty,command=\"true\" ",               true,      false,                  false),
        ];
        for (options, forwards, limited, expires) in table {
            let lines = parse(&format!("# ours\n\n{options}{KEY} ca\n")).expect(options);
            let [line] = lines.as_slice() else {
                panic!("{options}: {lines:?}")
            };
            assert!(line.options.cert_authority, "{options}");
            assert_eq!(
                line.options.limits().connect_tcp("db", 5432).is_ok(),
                forwards,
                "{options}"
            );
            assert_eq!(line.options.from.is_some(), limited, "{options}");
            assert_eq!(line.options.expires.is_some(), expires, "{options}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_meant_fails_the_file() {
        #[rustfmt::skip]
        let table = [
            (String::new(),                                         None,      "no key"),
            ("# only a comment\n".to_owned(),                       None,      "no key"),
            (format!("{KEY} one\nnonsense {KEY} two\n"),            Some(2),   "unknown option `nonsense`"),
            (format!("cert-authority,principals=\"ops\" {KEY}"),    Some(1),   "as every user"),
            (format!("{KEY}\nprincipals=\"ops\" {KEY}"),            Some(2),   "add `cert-authority`"),
            (format!("from=\"10.0.0.1/8\" {KEY}"),                  Some(1),   "bits beyond"),
            (format!("from= {KEY}"),                                Some(1),   "in double quotes"),
            (format!("expiry-time=\"soon\" {KEY}"),                 Some(1),   "YYYYMMDD"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),    Some(1),   "is a certificate"),
        ];
        for (text, line, named) in table {
            let (found, words) = parse(&text).expect_err(&text);
            assert_eq!(found, line, "{text}");
            assert!(words.contains(named), "{text}: {words}");
        }
    }
}
