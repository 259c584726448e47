//! Names of keys on Redis: all begin with `portreeve:`, and whatever a key is about is in braces, which is the hash tag of a
//! cluster. So the keys of one script are in one slot.

/// The keys of a namespace of state: its entries, and when each ends.
pub(super) fn state(space: &str) -> [String; 2] {
    let space = encoded(space);
    [
        format!("portreeve:state:{{{space}}}:entries"),
        format!("portreeve:state:{{{space}}}:ends"),
    ]
}

/// What is open of this user, by gateway.
pub(super) fn open(user: &str) -> String {
    format!("portreeve:open:{{{}}}", encoded(user))
}

/// What this gateway says of a plugin.
pub(super) fn notice(plugin: &str, gateway: &str) -> String {
    format!("portreeve:notice:{{{}}}:{}", encoded(plugin), encoded(gateway))
}

/// The gateways with the ends of their leases, and which list of them holds.
pub(super) const GATEWAYS: [&str; 2] = ["portreeve:{gateways}", "portreeve:{gateways}:list"];

/// Everything but letters, digits, `.`, `_` and `-` as in a URL, so that no two names become one and none has a brace. An empty
/// name is `%`: an empty pair of braces would be no hash tag.
fn encoded(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_become_one_and_none_breaks_out_of_its_braces() {
        let names = [
            "", "%", "a", "A", "a}", "{a}", "a:ends", "a}:ends", "%7D", "ä", "a b", "a\0",
        ];
        let mut keys: Vec<_> = names.iter().flat_map(|name| state(name)).collect();
        for key in &keys {
            assert_eq!(key.matches(['{', '}']).count(), 2, "{key}");
            assert!(!key.contains("{}"), "{key}");
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 2 * names.len());
    }
}
