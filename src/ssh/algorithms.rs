//! The offered algorithms, and the report if a client has none of them.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Error, Preferred, cipher, compression, kex, mac};

use crate::config::Preset;
use crate::events::Event;
use crate::request::printable;

/// The algorithms of a preset, the preferred ones first.
pub(super) fn preferred(preset: Preset) -> Preferred {
    match preset {
        Preset::Modern => MODERN,
        Preset::Compatible => Preferred {
            kex: Cow::Borrowed(COMPATIBLE_KEX),
            cipher: Cow::Borrowed(COMPATIBLE_CIPHERS),
            ..MODERN
        },
    }
}

/// The event of a negotiation that failed, if it was that.
pub(super) fn unnegotiated(error: &Error) -> Option<Event> {
    let Error::NoCommonAlgo { kind, ours, theirs } = error else {
        return None;
    };
    let kind = match kind {
        AlgorithmKind::Kex => "kex",
        AlgorithmKind::Key => "host-key",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Mac => "mac",
        AlgorithmKind::Compression => "compression",
    };
    let [ours, theirs] = [ours, theirs].map(|names| shortened(names));
    Some(Event::NegotiationFailed {
        kind,
        ours,
        theirs,
        repeated: None,
    })
}

/// What a client says of itself, within bounds.
fn shortened(names: &[String]) -> Vec<String> {
    let shortened = names.iter().take(MOST_NAMES);
    shortened.map(|name| printable(name, LONGEST_NAME)).collect()
}

/// More than clients offer of what no other has.
const MOST_NAMES: usize = 32;
/// RFC 4251, section 6: the names of algorithms are no longer.
const LONGEST_NAME: usize = 64;

/// Authenticated encryption, no SHA-1, no CBC.
const MODERN: Preferred = Preferred {
    kex: Cow::Borrowed(&[
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::EXTENSION_SUPPORT_AS_SERVER,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
    ]),
    key: Cow::Borrowed(&[
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ]),
    host_key_certificates: Cow::Borrowed(&[]),
    cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305]),
    mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
    compression: Cow::Borrowed(&[compression::NONE]),
};

/// And, after these, what is still sound.
const COMPATIBLE_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
const COMPATIBLE_CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: AlgorithmKind, theirs: Vec<String>) -> serde_json::Value {
        let ours = vec!["curve25519-sha256".to_owned()];
        let event = unnegotiated(&Error::NoCommonAlgo { kind, ours, theirs });
        serde_json::to_value(event.unwrap()).unwrap()
    }

    #[test]
    fn a_failed_negotiation_says_what_both_sides_offer() {
        let line = failed(AlgorithmKind::Kex, vec!["diffie-hellman-group1-sha1".to_owned()]);
        let expected = serde_json::json!({
            "event": "negotiation-failed",
            "kind": "kex",
            "ours": ["curve25519-sha256"],
            "theirs": ["diffie-hellman-group1-sha1"],
        });
        assert_eq!(line, expected);
        assert!(unnegotiated(&Error::Disconnect).is_none());
    }

    #[test]
    fn what_the_client_says_there_is_bounded_and_harmless() {
        let line = failed(AlgorithmKind::Cipher, vec!["\u{1b}]52;c;\u{7}\nx".repeat(100); 10_000]);
        let theirs = line["theirs"].as_array().unwrap();
        assert_eq!(theirs.len(), MOST_NAMES);
        for name in theirs {
            let name = name.as_str().unwrap();
            assert!(name.chars().count() <= LONGEST_NAME + 1, "{name}");
            assert!(!name.contains(char::is_control), "{name}");
        }
    }

    #[test]
    fn what_is_offered_is_what_the_documents_list() {
        let text = include_str!("../../docs/clients.md");
        for preset in [Preset::Modern, Preset::Compatible] {
            let offered = preferred(preset);
            let names = (offered.kex.iter().map(AsRef::as_ref))
                .chain(offered.cipher.iter().map(AsRef::as_ref))
                .chain(offered.mac.iter().map(AsRef::as_ref))
                .filter(|name: &&str| !name.starts_with("ext-info") && !name.starts_with("kex-strict"));
            for name in names {
                assert!(text.contains(&format!("`{name}`")), "{name}");
            }
        }
    }
}
