//! `portreeve hash-password`: the line for `password-hash` in a configuration.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use argon2::password_hash::SaltString;
use argon2::{Argon2, PasswordHasher};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::say::{FAILED, INVALID, fail, print};

/// Reads a password, from the terminal twice and without showing it, or the first line of a pipe; prints its hash.
pub(crate) fn run() -> u8 {
    let password = match read() {
        Ok(password) => password,
        Err(Unread::Wrong(words)) => return fail(INVALID, words),
        Err(Unread::System(error)) => return fail(FAILED, &format!("cannot read the password: {error}")),
    };
    match hash(&password) {
        Ok(hash) => print(&format!("{hash}\n")),
        Err(error) => fail(FAILED, &error),
    }
}

/// The hash as `password-hash` takes it: Argon2id, with the parameters that OWASP recommends.
fn hash(password: &str) -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("cannot make a random salt: {error}"))?;
    let salt = SaltString::encode_b64(&bytes).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

enum Unread {
    Wrong(&'static str),
    System(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn read() -> Result<String, Unread> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock());
    }
    let password = asked("Password: ")?;
    if asked("Repeat the password: ")? != password {
        return Err(Unread::Wrong("the passwords do not match: nothing was hashed"));
    }
    Ok(password)
}

/// Asks on the terminal, which shows nothing of the answer.
fn asked(prompt: &str) -> Result<String, Unread> {
    let stdin = io::stdin();
    write!(io::stderr(), "{prompt}")?;
    let shown = tcgetattr(&stdin).map_err(io::Error::from)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).map_err(io::Error::from)?;
    let answer = line(&mut stdin.lock());
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &shown).map_err(io::Error::from)?;
    writeln!(io::stderr())?;
    answer
}

fn line(from: &mut impl BufRead) -> Result<String, Unread> {
    let mut text = String::new();
    from.take(LONGEST + 2).read_line(&mut text)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.len() as u64 {
        0 => Err(Unread::Wrong("the password is empty: type one, or pipe one line")),
        length if length > LONGEST => Err(Unread::Wrong("the password is longer than 1024 bytes")),
        _ => Ok(password.to_owned()),
    }
}

const LONGEST: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::{Unread, hash, line};
    use argon2::{Argon2, PasswordHash, PasswordVerifier};

    #[test]
    fn a_password_is_one_line() {
        #[rustfmt::skip]
        let table = [
            ("correct horse\n",         Some("correct horse")),
            ("correct horse\r\nmore\n", Some("correct horse")),
            ("  spaces count ",         Some("  spaces count ")),
            ("ключ\n",                  Some("ключ")),
            ("\n",                      None),
            ("",                        None),
        ];
        for (text, expected) in table {
            let read = line(&mut text.as_bytes()).ok();
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        let long = line(&mut "x".repeat(5000).as_bytes());
        assert!(matches!(long, Err(Unread::Wrong(words)) if words.contains("1024")));
    }

    #[test]
    fn a_hash_is_salted_and_verifies() {
        let (one, other) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        let parsed = PasswordHash::new(&one).unwrap();
        assert!(Argon2::default().verify_password(b"secret", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"Secret", &parsed).is_err());
    }
}
