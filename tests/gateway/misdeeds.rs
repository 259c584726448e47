//! Everything that a policy may do wrong where it is asked.

use super::abi::V;
use super::guests::{Does, Guest, When, allows, allows_with, denies_with, rewrites};

/// What a policy may do wrong at a decision, and what the audit log calls that.
pub fn misdeeds() -> Vec<(Does, &'static str)> {
    let denial = |fields| Does::Answers(V::case("deny", V::Record(fields)));
    let obligations = |value| V::List(vec![V::Tuple(vec![V::text("shred"), value])]);
    let tags = (0..65).map(|_| V::Tuple(vec![V::text("a"), V::text("b")])).collect();
    let rule = V::Record(vec![("cidr", V::text("everything"))]);
    vec![
        (Does::Traps, "trap"),
        (Does::Spins, "deadline"),
        (Does::Floods, "deadline"),
        (Does::Hoards, "memory"),
        (Does::Recurses, "stack"),
        (Does::Answers(V::Tag(9)), "malformed-verdict"),
        (Does::PointsOutside, "malformed-verdict"),
        (denial(vec![("code", V::TextAt(0x7fff_0000, 100))]), "malformed-verdict"),
        (
            denial(vec![("code", V::TextAt(1024, 0x4000_0000))]),
            "malformed-verdict",
        ),
        (denial(vec![("code", V::Bytes(vec![0xff, 0xfe]))]), "malformed-verdict"),
        (denies_with("", "no code", "no"), "malformed-verdict"),
        (
            denies_with("two words", "a code with a space", "no"),
            "malformed-verdict",
        ),
        (
            allows_with(vec![("bytes-per-second", V::some(V::Number(0)))]),
            "malformed-verdict",
        ),
        (
            allows_with(vec![("address-rules", V::List(vec![rule]))]),
            "malformed-verdict",
        ),
        (denies_with("long", &"x".repeat(5000), "no"), "oversized-verdict"),
        (denies_with("long", "why", &"x".repeat(5000)), "oversized-verdict"),
        (denies_with("long", &"x".repeat(2 << 20), "no"), "oversized-verdict"),
        (allows_with(vec![("tags", V::List(tags))]), "oversized-verdict"),
        (
            allows_with(vec![("obligations", obligations(V::case("flag", V::Flag(true))))]),
            "unknown-obligation",
        ),
        (
            allows_with(vec![("obligations", obligations(V::case("number", V::Number(1))))]),
            "unknown-obligation",
        ),
        (rewrites("127.0.0.1:0"), "bad-target"),
        (rewrites("two words:80"), "bad-target"),
        (rewrites(":80"), "bad-target"),
        (rewrites("unix:relative/path"), "bad-target"),
        (rewrites("unix:/run/../etc/app.sock"), "bad-target"),
    ]
}

/// The first port at which a guest does one of its misdeeds; the next one does the next.
pub const FIRST: u16 = 5000;

/// A guest that does each misdeed at its own port, and allows the rest.
pub fn doing_all() -> Guest {
    let ports = FIRST..;
    let rules = ports.zip(misdeeds());
    rules.fold(Guest::that(allows()), |guest, (port, (does, _))| {
        guest.on(When::Port(port), does)
    })
}
