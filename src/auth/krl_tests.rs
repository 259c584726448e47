//! Revocation lists as `ssh-keygen -k` makes them, whole and broken.

use super::*;
use crate::auth::keygen::Keygen;

/// A list with these sections.
fn krl(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let header = [&1u32.to_be_bytes()[..], &[0; 24], &string(b""), &string(b"a comment")].concat();
    [header, join(sections)].concat()
}

/// A section about the certificates of any authority.
fn certificate(parts: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    (CERTIFICATES, [string(b""), string(b""), join(parts)].concat())
}

fn join(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    sections
        .iter()
        .flat_map(|(kind, data)| [vec![*kind], string(data)].concat())
        .collect()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn numbers(serials: &[u64]) -> Vec<u8> {
    serials.iter().flat_map(|serial| serial.to_be_bytes()).collect()
}

fn bitmap(offset: u64, bits: &[u8]) -> Vec<u8> {
    [numbers(&[offset]), string(bits)].concat()
}

fn extension(name: &[u8], critical: u8) -> Vec<u8> {
    [string(name), vec![critical], string(b"contents")].concat()
}

#[test]
fn serial_numbers_are_revoked_by_list_range_and_bitmap() {
    let ca = Keygen::new().ed25519("ca");
    let list = krl(&[certificate(&[
        (SERIAL_LIST, numbers(&[0, 3, 9])),
        (SERIAL_RANGE, numbers(&[20, 29])),
        (SERIAL_RANGE, numbers(&[u64::MAX, u64::MAX])),
        // 0x0181: bits 0, 7 and 8.
        (SERIAL_BITMAP, bitmap(100, &[0x01, 0x81])),
        (CERTIFICATE_EXTENSION, extension(b"optional@example.com", 0)),
    ])]);
    let revoked = parse(&list).expect("a valid list");
    #[rustfmt::skip]
    let table = [
        (0, false), (3, true), (4, false), (9, true), (19, false), (20, true), (29, true), (30, false),
        (99, false), (100, true), (101, false), (106, false), (107, true), (108, true), (109, false), (115, false),
        (u64::MAX, true), (u64::MAX - 1, false),
    ];
    for (serial, expected) in table {
        assert_eq!(revoked.certificate(&ca, serial, "id", &ca), expected, "serial {serial}");
    }
}

#[test]
fn a_list_not_understood_to_its_last_byte_is_an_error() {
    let critical = KrlError::CriticalExtension("x@example.com".into());
    #[rustfmt::skip]
    let table = [
        (vec![],                                                                   KrlError::Truncated(Truncated)),
        (2u32.to_be_bytes().to_vec(),                                              KrlError::Version(2)),
        ([krl(&[]), vec![1]].concat(),                                             KrlError::Truncated(Truncated)),
        (krl(&[(9, vec![])]),                                                      KrlError::Section(9)),
        (krl(&[(SIGNATURE, vec![])]),                                              KrlError::Signed),
        (krl(&[(EXTENSION, extension(b"x@example.com", 1))]),                      critical.clone()),
        (krl(&[(EXTENSION, extension(b"x@example.com", 2))]),                      critical.clone()),
        (krl(&[(EXTENSION, [extension(b"x", 0), vec![0]].concat())]),              KrlError::TrailingBytes(EXTENSION)),
        (krl(&[(FINGERPRINT_SHA1, string(&[7; 32]))]),                             KrlError::Fingerprint),
        (krl(&[(FINGERPRINT_SHA256, string(&[7; 20]))]),                           KrlError::Fingerprint),
        (krl(&[(EXPLICIT_KEY, string(&string(b"ssh-ed25519")))]),                  KrlError::Key(KeyError::Truncated(Truncated))),
        (krl(&[certificate(&[(0x24, vec![])])]),                                   KrlError::CertificateSection(0x24)),
        (krl(&[certificate(&[(CERTIFICATE_EXTENSION, extension(b"x@example.com", 1))])]), critical),
        (krl(&[certificate(&[(SERIAL_LIST, vec![0; 9])])]),                        KrlError::Truncated(Truncated)),
        (krl(&[certificate(&[(SERIAL_RANGE, numbers(&[2, 1]))])]),                 KrlError::Serials),
        (krl(&[certificate(&[(SERIAL_RANGE, numbers(&[1, 2, 3]))])]),              KrlError::TrailingBytes(SERIAL_RANGE)),
        (krl(&[certificate(&[(SERIAL_BITMAP, bitmap(1, &[0x80]))])]),              KrlError::Serials),
        (krl(&[certificate(&[(SERIAL_BITMAP, bitmap(u64::MAX, &[2]))])]),          KrlError::Serials),
        (krl(&[certificate(&[(SERIAL_BITMAP, bitmap(1, &[1; LARGEST_BITMAP + 1]))])]), KrlError::Serials),
    ];
    for (bytes, error) in table {
        assert_eq!(parse(&bytes).expect_err(&error.to_string()), error);
    }
}

#[test]
fn what_is_optional_or_about_keys_never_accepted_is_skipped() {
    let dsa = string(&string(b"ssh-dss"));
    let future = string(&string(b"ssh-of-the-future"));
    let about_dsa = (
        CERTIFICATES,
        [dsa.clone(), string(b""), join(&[(SERIAL_LIST, numbers(&[1]))])].concat(),
    );
    let list = krl(&[
        (EXTENSION, extension(b"x@example.com", 0)),
        (EXPLICIT_KEY, [dsa, future].concat()),
        about_dsa,
        certificate(&[(SERIAL_BITMAP, bitmap(u64::MAX, &[1]))]),
    ]);
    let ca = Keygen::new().ed25519("ca");
    let revoked = parse(&list).expect("a valid list");
    assert!(!revoked.key(&ca) && !revoked.certificate(&ca, 1, "id", &ca));
    assert!(revoked.certificate(&ca, u64::MAX, "id", &ca));
}

#[test]
fn every_cut_of_a_list_is_an_error_or_ends_between_sections() {
    let list = krl(&[
        certificate(&[(SERIAL_LIST, numbers(&[1])), (KEY_ID, string(b"id"))]),
        (FINGERPRINT_SHA1, string(&[7; 20])),
    ]);
    let whole = (0..list.len())
        .filter(|&end| list.get(..end).is_some_and(|cut| parse(cut).is_ok()))
        .count();
    assert_eq!(whole, 2, "only the bare header and the first section alone are lists");
}
