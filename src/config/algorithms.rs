//! `[algorithms]`: which ciphers and key exchanges are offered.

use super::walk::Table;

/// `[algorithms]`: what a client may negotiate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// How far the gateway meets older clients. Default `modern`.
    pub preset: Preset,
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// `modern`: authenticated encryption, and keys exchanged over Curve25519, also together with ML-KEM.
    #[default]
    Modern,
    /// `compatible`: also AES in counter mode with encrypt-then-MAC, and ECDH over the NIST curves.
    Compatible,
}

pub(super) fn algorithms(table: &mut Table<'_>) -> Algorithms {
    let default = Algorithms::default();
    Algorithms {
        preset: table.or("preset", default.preset, |value| {
            value.one_of(&[("modern", Preset::Modern), ("compatible", Preset::Compatible)])
        }),
    }
}
