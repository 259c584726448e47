//! From where and until when a credential admits its holder: `from=`, `expiry-time=` and a certificate's
//! `source-address`.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::pattern;
use crate::request::{NetworkError, network};

/// The key is right, but not from here or not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("this key or certificate may not be used from {client}; it is limited to {allowed}")]
    Source { client: IpAddr, allowed: String },
    #[error("this key expired at {at}")]
    Expired { at: Timestamp },
}

/// The pattern list of `from=`: addresses, CIDR blocks and wildcards, each negated by a leading `!`.
///
/// Names are never looked up, which is what OpenSSH does too unless `UseDNS` is on: a pattern such as `*.example.com`
/// is accepted, but can only match the text of an address, and so matches nothing. Where that would let more in than
/// was meant, in a negated name, the list is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPatterns {
    text: String,
    patterns: Vec<(Sense, AddressPattern)>,
}

/// The address list of a certificate's critical option `source-address`: CIDR blocks and addresses only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAddresses {
    text: String,
    blocks: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Admit,
    Refuse,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AddressPattern {
    Block(IpNet),
    Wildcard(String),
}

impl AddressPatterns {
    /// The error says how to write it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let patterns = text.split(',').map(parse_pattern).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            patterns,
        })
    }

    /// Any negated match refuses, wherever it stands; otherwise one match is enough.
    pub fn admits(&self, client: IpAddr) -> Result<(), NotAdmitted> {
        let client = client.to_canonical();
        let text = client.to_string();
        let matching = |sense| {
            self.patterns
                .iter()
                .any(|(s, pattern)| *s == sense && pattern.matches(client, &text))
        };
        match !matching(Sense::Refuse) && matching(Sense::Admit) {
            true => Ok(()),
            false => Err(NotAdmitted::Source {
                client,
                allowed: self.text.clone(),
            }),
        }
    }
}

impl SourceAddresses {
    /// `None` when any part is malformed: OpenSSH then refuses the certificate.
    pub fn parse(text: &str) -> Option<Self> {
        let blocks = text
            .split(',')
            .map(|entry| block(entry).ok().flatten())
            .collect::<Option<_>>()?;
        Some(Self {
            text: text.to_owned(),
            blocks,
        })
    }

    pub fn admits(&self, client: IpAddr) -> Result<(), NotAdmitted> {
        let client = client.to_canonical();
        match self.blocks.iter().any(|block| block.contains(&client)) {
            true => Ok(()),
            false => Err(NotAdmitted::Source {
                client,
                allowed: self.text.clone(),
            }),
        }
    }
}

impl AddressPattern {
    fn matches(&self, client: IpAddr, text: &str) -> bool {
        match self {
            Self::Block(block) => block.contains(&client),
            Self::Wildcard(wildcard) => pattern::matches(wildcard, text),
        }
    }
}

fn parse_pattern(entry: &str) -> Result<(Sense, AddressPattern), &'static str> {
    let (sense, text) = match entry.strip_prefix('!') {
        Some(negated) => (Sense::Refuse, negated),
        None => (Sense::Admit, entry),
    };
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("separate addresses, CIDR blocks and patterns with commas, without spaces");
    }
    if let Some(block) = block(text)? {
        return Ok((sense, AddressPattern::Block(block)));
    }
    if sense == Sense::Refuse && names_a_host(text) {
        return Err(
            "names are not looked up, so a negated host name would have no effect; negate its addresses instead",
        );
    }
    let text = text.to_ascii_lowercase();
    if text.starts_with("::ffff:") && text.contains('.') {
        return Err("IPv4 addresses are compared as IPv4; write the pattern without `::ffff:`");
    }
    Ok((sense, AddressPattern::Wildcard(text)))
}

/// An address or a CIDR block without host bits; `None` for what is neither.
fn block(text: &str) -> Result<Option<IpNet>, &'static str> {
    if !text.contains('/') {
        return Ok(network(text).ok());
    }
    network(text).map(Some).map_err(|error| match error {
        NetworkError::Form(_) => "write a CIDR block as `10.0.0.0/8` or `2001:db8::/32`",
        NetworkError::Bits { .. } => {
            "the address has bits beyond its prefix length; write the first address of the block"
        }
    })
}

/// Could this wildcard only ever have meant a host name?
fn names_a_host(wildcard: &str) -> bool {
    let spells_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '*' | '?');
    let letters_without_colon = wildcard.contains(|c: char| c.is_ascii_alphabetic()) && !wildcard.contains(':');
    !wildcard.contains(['*', '?'])
        || !wildcard.chars().all(spells_address)
        || (letters_without_colon && wildcard.contains('.'))
}

/// Why a text is no moment at which a key could expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiryError {
    Format,
    NoSuchDate,
    BeforeTheEpoch,
}

impl ExpiryError {
    /// How to write it.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            Self::Format => "write a date as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC",
            Self::NoSuchDate => "no such date or time; write it as YYYYMMDD[HHMM[SS]]",
            Self::BeforeTheEpoch => "write a date after 1970; to stop a key, remove its line",
        }
    }
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`; UTC when `Z` or `UTC` follows, otherwise in `local`.
///
/// The last days of the year 9999 are beyond what a [`Timestamp`] can hold; they become its last moment.
pub(crate) fn parse_expiry(text: &str, local: TimeZone) -> Result<Timestamp, ExpiryError> {
    let upper = text.to_ascii_uppercase();
    let (digits, zone) = match upper.strip_suffix("UTC").or_else(|| upper.strip_suffix('Z')) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (upper.as_str(), local),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ExpiryError::Format);
    }
    let date = civil(digits).ok_or(ExpiryError::NoSuchDate)?;
    let at = match date.to_zoned(zone).map(|at: Zoned| at.timestamp()) {
        Ok(at) => at,
        Err(_) if date.year() == DateTime::MAX.year() => Timestamp::MAX,
        Err(_) => return Err(ExpiryError::NoSuchDate),
    };
    match at > Timestamp::UNIX_EPOCH {
        true => Ok(at),
        false => Err(ExpiryError::BeforeTheEpoch),
    }
}

fn civil(digits: &str) -> Option<DateTime> {
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |field| field.parse::<i8>().ok());
    let year = digits.get(..4)?.parse().ok()?;
    let (month, day) = (field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_admits_as_openssh_match_host_and_ip_does() {
        #[rustfmt::skip]
        let table = [
            // from                          client                 admitted
            ("10.0.0.0/8",                   "10.1.2.3",            true),
            ("10.0.0.0/8",                   "::ffff:10.1.2.3",     true),
            ("::ffff:10.0.0.0/104",          "10.1.2.3",            true),
            ("*,!::ffff:10.0.0.0/104",       "10.1.2.3",            false),
            ("*,!::ffff:10.1.2.3",           "10.1.2.3",            false),
            ("10.0.0.0/8",                   "11.1.2.3",            false),
            ("10.0.0.0/8",                   "::1",                 false),
            ("10.1.2.3",                     "10.1.2.3",            true),
            ("10.1.*",                       "10.1.2.3",            true),
            ("10.1.2.?",                     "10.1.2.3",            true),
            ("10.1.2.?",                     "10.1.2.33",           false),
            ("2001:db8::/32",                "2001:db8::1",         true),
            ("2001:DB8::1",                  "2001:db8::1",         true),
            ("2001:DB8:*",                   "2001:db8::1",         true),
            ("*",                            "192.0.2.1",           true),
            ("*,!192.0.2.0/24",              "192.0.2.1",           false),
            ("!192.0.2.0/24,*",              "192.0.2.1",           false),
            ("!192.0.2.0/24,*",              "192.0.3.1",           true),
            ("!192.0.2.*,192.0.2.1",         "192.0.2.1",           false),
            ("!192.0.2.1",                   "192.0.2.2",           false),
            ("*.example.com",                "192.0.2.1",           false),
            ("localhost",                    "127.0.0.1",           false),
            ("localhost,127.0.0.1",          "127.0.0.1",           true),
            ("0.0.0.0/0",                    "127.0.0.1",           true),
            ("0.0.0.0/0",                    "::1",                 false),
        ];
        for (from, client, admitted) in table {
            let patterns = AddressPatterns::parse(from).expect(from);
            assert_eq!(
                patterns.admits(client.parse().expect(client)).is_ok(),
                admitted,
                "{from} for {client}"
            );
        }
    }

    #[test]
    fn a_from_list_that_cannot_be_enforced_is_refused() {
        #[rustfmt::skip]
        let refused = [
            "", ",", "10.0.0.1,", "!", "10.0.0.1, 10.0.0.2", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x",
            "name/24", "*,!::ffff:10.*", "*,!evil.example.com", "*,!*.de", "*,!evil",
        ];
        for from in refused {
            assert!(AddressPatterns::parse(from).is_err(), "{from:?}");
        }
        for from in ["*,!10.*", "*,!fe80:*", "*,!*:beef"] {
            assert!(AddressPatterns::parse(from).is_ok(), "{from:?}");
        }
    }

    #[test]
    fn a_source_address_is_blocks_only() {
        for refused in ["", "*", "!10.0.0.0/8", "10.0.0.1/8", "host", "10.0.0.0/8,"] {
            assert_eq!(SourceAddresses::parse(refused), None, "{refused:?}");
        }
        let blocks = SourceAddresses::parse("10.0.0.0/8,::1,::ffff:192.0.2.0/120").expect("three blocks");
        for (client, admitted) in [
            ("192.0.2.9", true),
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(
                blocks.admits(client.parse().expect(client)).is_ok(),
                admitted,
                "{client}"
            );
        }
    }

    #[test]
    fn an_expiry_time_is_local_unless_it_says_utc() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a known zone");
        #[rustfmt::skip]
        let table = [
            ("20300102",           Ok("2030-01-01T23:00:00Z")),
            ("20300102Z",          Ok("2030-01-02T00:00:00Z")),
            ("20300102utc",        Ok("2030-01-02T00:00:00Z")),
            ("203007021530",       Ok("2030-07-02T13:30:00Z")),
            ("20300702153045Z",    Ok("2030-07-02T15:30:45Z")),
            ("20300702153045z",    Ok("2030-07-02T15:30:45Z")),
            // The hour that happens twice ends the first time.
            ("203010270230",       Ok("2030-10-27T00:30:00Z")),
            ("",                   Err(ExpiryError::Format)),
            ("Z",                  Err(ExpiryError::Format)),
            ("2030",               Err(ExpiryError::Format)),
            ("2030010215",         Err(ExpiryError::Format)),
            ("2030-01-2",          Err(ExpiryError::Format)),
            ("+2030102",           Err(ExpiryError::Format)),
            ("20300102 Z",         Err(ExpiryError::Format)),
            ("100000101",          Err(ExpiryError::Format)),
            ("20301302",           Err(ExpiryError::NoSuchDate)),
            ("20300230",           Err(ExpiryError::NoSuchDate)),
            ("203001022460",       Err(ExpiryError::NoSuchDate)),
            ("00000000",           Err(ExpiryError::NoSuchDate)),
            ("19700101Z",          Err(ExpiryError::BeforeTheEpoch)),
            ("19690101Z",          Err(ExpiryError::BeforeTheEpoch)),
            ("00010101",           Err(ExpiryError::BeforeTheEpoch)),
            ("20380120Z",          Ok("2038-01-20T00:00:00Z")),
            ("30000101Z",          Ok("3000-01-01T00:00:00Z")),
            ("99990101Z",          Ok("9999-01-01T00:00:00Z")),
            ("99991230Z",          Ok("9999-12-30T00:00:00Z")),
            // Beyond what a timestamp can hold.
            ("99991231",           Ok("9999-12-30T22:00:00.999999999Z")),
            ("99991231Z",          Ok("9999-12-30T22:00:00.999999999Z")),
            ("99991231235959Z",    Ok("9999-12-30T22:00:00.999999999Z")),
        ];
        for (text, expected) in table {
            let expected = expected.map(|at| at.parse::<Timestamp>().expect(at));
            assert_eq!(parse_expiry(text, berlin.clone()), expected, "{text:?}");
        }
    }
}
