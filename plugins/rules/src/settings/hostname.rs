//! Which patterns of host names can never match, because no canonical host looks like that.

/// Why no host that the gateway asks about matches this pattern, with a way to write it right; `None` where one can. The
/// pattern is in lower case and without the dot at its end.
///
/// The gateway hands over names in lower case, ASCII and without a dot at the end, of labels of 1 to 63 bytes, and addresses in
/// their one canonical form. What ends in a number is an address to every resolver, and never a name.
pub fn never_matches(pattern: &str) -> Option<String> {
    if let Some(rest) = pattern.strip_prefix('.') {
        return Some(format!(
            "no name begins with a dot, write `*.{rest}` for every name below `{rest}`"
        ));
    }
    if pattern.ends_with('.') || pattern.contains("..") {
        return Some("it has two dots in a row, write one".into());
    }
    if pattern.bytes().filter(|byte| *byte != b'*').count() > LONGEST_NAME {
        return Some(format!("a name has at most {LONGEST_NAME} bytes"));
    }
    if let Some(label) = pattern
        .split(['.', '*'])
        .find(|label| !label.contains('?') && label.len() > LONGEST_LABEL)
    {
        return Some(format!(
            "a part between dots has at most {LONGEST_LABEL} bytes, and `{label}` has {}",
            label.len()
        ));
    }
    if let Some(label) = pattern.split('.').find(|label| is_no_idna(label)) {
        return Some(format!(
            "`{label}` is no encoded name, write what the browser shows after it has opened the page"
        ));
    }
    let last = pattern.rsplit('.').next().unwrap_or_default();
    if !is_number(last) || may_be_ipv4(pattern, last) {
        return None;
    }
    Some(if is_hexadecimal(last) {
        "it is read as an IPv4 address, write the address as four decimal numbers".into()
    } else {
        format!(
            "what ends in the number `{last}` is read as an IPv4 address, and it is none: write a name or an address"
        )
    })
}

/// A label that claims to be encoded and holds nothing that needs it, which the gateway refuses as a host.
fn is_no_idna(label: &str) -> bool {
    label
        .strip_prefix("xn--")
        .is_some_and(|encoded| !encoded.contains(['*', '?']) && (encoded.is_empty() || encoded.ends_with('-')))
}

/// The test of the URL standard for "ends in a number". A wildcard may stand for something else.
fn is_number(label: &str) -> bool {
    is_hexadecimal(label) || (!label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_hexadecimal(label: &str) -> bool {
    label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a pattern that ends in a number can match four numbers as an address is printed.
fn may_be_ipv4(pattern: &str, last: &str) -> bool {
    let parts: Vec<&str> = pattern.split('.').collect();
    let has_star = pattern.contains('*');
    let is_byte = |part: &str| part.parse::<u8>().is_ok_and(|byte| byte.to_string() == part);
    let fits = |part: &&str| match part.contains(['*', '?']) {
        true => part
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'*' || byte == b'?'),
        false => is_byte(part),
    };
    // A wildcard may stand for a dot and all between two of them, so there may be fewer parts than four.
    is_byte(last) && parts.iter().all(fits) && parts.len() <= 4 && (has_star || pattern.contains('?'))
}

/// RFC 1035 section 2.3.4, without the root.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_no_host_looks_like_is_found() {
        let long = "a".repeat(64);
        let table = [
            (".internal", Some("write `*.internal`")),
            (".*", Some("begins with a dot")),
            ("db..internal", Some("two dots")),
            ("*..internal", Some("two dots")),
            ("db.", Some("two dots")),
            ("web.1", Some("ends in the number `1`")),
            ("*.256", Some("ends in the number `256`")),
            ("*.05", Some("ends in the number `05`")),
            ("db*.5", Some("ends in the number `5`")),
            ("1.2.3.4.*.5", Some("ends in the number")),
            ("0x7f000001", Some("four decimal numbers")),
            ("127.0x1", Some("four decimal numbers")),
            ("0x", Some("four decimal numbers")),
            ("xn--", Some("no encoded name")),
            ("a.xn--abc-.b", Some("no encoded name")),
            (long.as_str(), Some("at most 63 bytes")),
            ("db", None),
            ("*", None),
            ("*.internal", None),
            ("*internal", None),
            ("db?.internal", None),
            ("_sip._tcp.db", None),
            ("10.0.*", None),
            ("10.*.5", None),
            ("*.5", None),
            ("1?.0.0.5", None),
            ("300.0.0.*", None),
            ("db-1", None),
            ("1db", None),
            ("xn--bcher-kva.example", None),
            ("0x7g", None),
        ];
        for (pattern, expected) in table {
            let found = never_matches(pattern);
            match expected {
                Some(words) => assert!(
                    found.as_ref().is_some_and(|found| found.contains(words)),
                    "{pattern}: {found:?}"
                ),
                None => assert_eq!(found, None, "{pattern}"),
            }
        }
        assert!(never_matches(&["ab"; 90].join(".")).is_some_and(|found| found.contains("253")));
    }
}
