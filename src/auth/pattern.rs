//! OpenSSH's patterns: `*` is any run of bytes, `?` is any one byte, everything else is itself.

pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    // Where to resume when the bytes after the last star do not fit: behind that star, one byte further on.
    let mut retry = None;
    loop {
        match (pattern, text) {
            ([b'*', after @ ..], _) => {
                retry = Some((after, text));
                pattern = after;
            }
            ([], []) => return true,
            ([p, pattern_rest @ ..], [t, text_rest @ ..]) if *p == b'?' || p == t => {
                (pattern, text) = (pattern_rest, text_rest);
            }
            _ => {
                let Some((after, [_, later @ ..])) = retry else {
                    return false;
                };
                retry = Some((after, later));
                (pattern, text) = (after, later);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_openssh_match_pattern_does() {
        #[rustfmt::skip]
        let table = [
            // pattern       text           matches
            ("",            "",             true),
            ("",            "a",            false),
            ("*",           "",             true),
            ("*",           "anything",     true),
            ("?",           "",             false),
            ("?",           "a",            true),
            ("a*c",         "abbbc",        true),
            ("a*c",         "abcb",         false),
            ("*ab",         "aab",          true),
            ("**b*",        "ab",           true),
            ("10.1.*.7",    "10.1.200.7",   true),
            ("10.1.?.7",    "10.1.20.7",    false),
            ("localhost",   "localhost",    true),
            ("local*t?",    "localhost",    false),
            ("a*a*a*a*b",   "aaaaaaaaaaaa", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }
}
