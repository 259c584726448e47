//! `[algorithms]`: the preset that is nearest to the lists of an `sshd_config`.

use super::Page;
use crate::auth::matches;
use crate::import::note::Notes;
use crate::import::sshd::{Directive, Sshd};

/// A list of algorithms, and what a preset offers of its kind.
struct Kind {
    keyword: &'static str,
    /// With every preset.
    modern: &'static [&'static str],
    /// With `compatible` alone.
    compatible: &'static [&'static str],
}

pub(super) fn algorithms(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    page.section("algorithms");
    KINDS
        .iter()
        .filter_map(|kind| sshd.global(kind.keyword))
        .for_each(|line| page.source(line));
    let all = |kind: &Kind| kind.compatible.iter().all(|name| has(sshd.global(kind.keyword), name));
    let compatible = KINDS.iter().all(all);
    for kind in &KINDS {
        let Some(line) = sshd.global(kind.keyword) else {
            continue;
        };
        let offered = kind.modern.iter().chain(kind.compatible.iter().filter(|_| compatible));
        let more: Vec<_> = offered.filter(|name| !has(Some(line), name)).copied().collect();
        if !more.is_empty() {
            let words = format!("there are two presets, no lists: also offered are {}", more.join(", "));
            notes.unsaid(&line.place, kind.keyword, words);
        }
        let known = |name: &str| kind.modern.contains(&name) || (compatible && kind.compatible.contains(&name));
        let fewer: Vec<_> = line
            .first()
            .split(',')
            .filter(|_| is_plain(line))
            .filter(|name| !known(name))
            .collect();
        if !fewer.is_empty() {
            let words = format!(
                "not offered: {}; clients that have nothing else cannot connect",
                fewer.join(", ")
            );
            notes.stricter(&line.place, kind.keyword, words);
        }
    }
    page.comment(
        "modern, or compatible, which adds AES in counter mode and ECDH on NIST curves, as sshd has them by default",
    );
    page.key("preset", if compatible { "\"compatible\"" } else { "\"modern\"" });
}

fn is_plain(line: &Directive) -> bool {
    !line.first().starts_with(['+', '-', '^'])
}

/// Whether a list has an algorithm; sshd's default has all that portreeve offers.
fn has(line: Option<&Directive>, name: &str) -> bool {
    let Some(line) = line else {
        return true;
    };
    match line.first().strip_prefix('-') {
        Some(without) => !without.split(',').any(|pattern| matches(pattern, name)),
        None => !is_plain(line) || line.first().split(',').any(|one| one == name),
    }
}

const KINDS: [Kind; 3] = [
    Kind {
        keyword: "KexAlgorithms",
        modern: &[
            "mlkem768x25519-sha256",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
        ],
        compatible: &["ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"],
    },
    Kind {
        keyword: "Ciphers",
        modern: &[
            "aes256-gcm@openssh.com",
            "aes128-gcm@openssh.com",
            "chacha20-poly1305@openssh.com",
        ],
        compatible: &["aes256-ctr", "aes192-ctr", "aes128-ctr"],
    },
    Kind {
        keyword: "MACs",
        modern: &[],
        compatible: &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"],
    },
];
