//! Which codes of refusals may be shown to readers who may not know who does what.

use crate::events::Subject;
use crate::request::Requested;

/// The code as it is shown, or `other`. A policy writes its codes freely: one is shown if it is one word and does not name the
/// user, the client's address or what was asked for.
pub(super) fn shown<'a>(code: &'a str, subject: &Subject, requested: &Requested) -> &'a str {
    let asked = match requested {
        Requested::Tcp { host, .. } => host,
        Requested::Socket(path) => path,
    };
    let client = subject.client.map(|client| client.ip().to_string());
    let mut names = [subject.user.as_ref(), client.as_ref(), Some(asked)]
        .into_iter()
        .flatten();
    if is_word(code) && !names.any(|name| is_named(name, code)) {
        code
    } else {
        OTHER
    }
}

/// Without dots and colons, so that it is no address and no name of a host with a domain.
fn is_word(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    code.len() <= LONGEST && code.starts_with(|first: char| first.is_ascii_alphabetic()) && code.bytes().all(plain)
}

/// Whether a code has a name in it, in any spelling: `no-10-0-0-1` names `10.0.0.1`. A short name must be a word of the code.
fn is_named(name: &str, code: &str) -> bool {
    let (name, whole) = (bare(name), bare(code));
    match name.len() {
        0 => false,
        1 | 2 => code.split(['-', '_']).any(|word| bare(word) == name),
        _ => whole.contains(&name),
    }
}

fn bare(text: &str) -> String {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|character| character.to_ascii_lowercase()).collect()
}

/// What is not shown by itself.
pub(super) const OTHER: &str = "other";
const LONGEST: usize = 40;
