//! Keys as bytes: their one encoding and their fingerprints.

use super::*;
use crate::auth::keygen::{Keygen, blob};
use crate::auth::line::{LineError, parse_line};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn wire(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| string(field)).collect()
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let keygen = Keygen::new();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 5] = [
        (&["ed25519"],            "ssh-ed25519"),
        (&["ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
        (&["ecdsa", "-b", "384"], "ecdsa-sha2-nistp384"),
        (&["ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
        (&["rsa", "-b", "2048"],  "ssh-rsa"),
    ];
    for (kind, algorithm) in table {
        let key = blob(&keygen.key(algorithm, kind));
        assert_eq!(key.algorithm(), algorithm);
        let listed = keygen.output(&["-l", "-f", &format!("{algorithm}.pub")]).stdout;
        let listed = String::from_utf8_lossy(&listed);
        assert!(
            listed.contains(&format!(" {} ", key.fingerprint())),
            "{listed} has no {}",
            key.fingerprint()
        );
        assert_eq!(sha256_fingerprint(&key.fingerprint()), Some(key.sha256()));
        assert_eq!(KeyBlob::from_bytes(key.as_bytes()), Ok(key));
    }
}

#[test]
fn rsa_keys_below_2048_bits_are_void() {
    let keygen = Keygen::new();
    let line = keygen.key("short", &["rsa", "-b", "2047"]);
    assert!(
        matches!(
            parse_line(&line),
            Err(LineError::Key {
                problem: KeyError::ShortRsa(2047),
                ..
            })
        ),
        "{line}"
    );
}

#[test]
fn a_security_key_has_an_application() {
    let point = [&[4][..], &[7; 64]].concat();
    let ed25519 = wire(&[b"sk-ssh-ed25519@openssh.com", &[7; 32], b"ssh:"]);
    let ecdsa = wire(&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", &point, b"ssh:"]);
    for bytes in [ed25519, ecdsa] {
        assert!(KeyBlob::from_bytes(&bytes).is_ok());
        let without = bytes.get(..bytes.len() - 8).expect("longer than that");
        assert_eq!(KeyBlob::from_bytes(without), Err(KeyError::Truncated(Truncated)));
    }
}

#[test]
fn a_blob_that_is_not_the_one_encoding_of_a_key_is_refused() {
    let modulus = [&[0][..], &[0xff; 256]].concat();
    assert!(KeyBlob::from_bytes(&wire(&[b"ssh-rsa", &[1, 0, 1], &modulus])).is_ok());
    #[rustfmt::skip]
    let table = [
        (wire(&[]),                                                              KeyError::Truncated(Truncated)),
        (wire(&[b"ssh-ed25519"]),                                                KeyError::Truncated(Truncated)),
        (wire(&[b"ssh-ed25519", &[7; 31]]),                                      KeyError::Malformed("Ed25519 point")),
        (wire(&[b"ssh-ed25519", &[7; 32], b"x"]),                                KeyError::TrailingBytes(5)),
        (wire(&[b"ssh-dss", &[7; 32]]),                                          KeyError::Dsa),
        (wire(&[b"ssh-ed448", &[7; 57]]),                                        KeyError::UnknownAlgorithm("ssh-ed448".into())),
        (wire(&[b"ssh-ed25519-cert-v01@openssh.com"]),                           KeyError::Certificate("ssh-ed25519-cert-v01@openssh.com".into())),
        (wire(&[b"ecdsa-sha2-nistp256", b"nistp384", &[4; 65]]),                 KeyError::Malformed("curve name")),
        (wire(&[b"ecdsa-sha2-nistp256", b"nistp256", &[2; 33]]),                 KeyError::Malformed("curve point")),
        (wire(&[b"ecdsa-sha2-nistp256", b"nistp256", &[4; 97]]),                 KeyError::Malformed("curve point")),
        (wire(&[b"ssh-rsa", &[0, 1, 0, 1], &modulus]),                           KeyError::Malformed("RSA exponent")),
        (wire(&[b"ssh-rsa", &[1], &modulus]),                                    KeyError::Malformed("RSA exponent or modulus")),
        (wire(&[b"ssh-rsa", &[1, 0, 1], &[0xff; 256]]),                          KeyError::Malformed("RSA modulus")),
        (wire(&[b"ssh-rsa", &[1, 0, 1], &[&[0][..], &modulus].concat()]),        KeyError::Malformed("RSA modulus")),
        (wire(&[b"ssh-rsa", &[1, 0, 1], &[0x7f; 256]]),                          KeyError::ShortRsa(2047)),
        (wire(&[b"ssh-rsa", &[1, 0, 1], &[0x7f; 2049]]),                         KeyError::LongRsa(16391)),
    ];
    for (bytes, error) in table {
        assert_eq!(KeyBlob::from_bytes(&bytes), Err(error), "{bytes:?}");
    }
}
