//! How the gateway connects to a target: what a policy demands of it, or the configuration by default.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Fact;

/// How a target is connected to. What is absent follows `[outbound]` of the configuration, and there the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Outbound {
    /// Whether the target is sent a PROXY header first, and of which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The address of this machine to connect from. Addresses of the other family are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// The mark of the connection's packets, for firewalls and routing rules (`SO_MARK`); 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// The class of service of its packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<Dscp>,
    /// The proxy through which the target is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

impl Outbound {
    /// The names of the obligations, as policies and the configuration have them.
    pub const NAMES: [&str; 5] = ["proxy-protocol", "source-address", "mark", "dscp", "via"];

    /// True if nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes up an obligation of a policy: one of [`Outbound::NAMES`].
    ///
    /// # Errors
    /// What the value must be. An unknown name is not taken up either.
    pub fn oblige(&mut self, name: &str, value: &Fact) -> Result<(), String> {
        match (name, value) {
            ("proxy-protocol", Fact::Text(text)) => self.proxy_protocol = Some(text.parse()?),
            ("source-address", Fact::Text(text)) => self.source_address = Some(source_address(text)?),
            ("mark", Fact::Number(number)) => {
                let mark = u32::try_from(*number);
                self.mark = Some(mark.map_err(|_| format!("must be a number from 0 to {}", u32::MAX))?);
            }
            ("dscp", Fact::Text(text)) => self.dscp = Some(text.parse()?),
            ("dscp", Fact::Number(number)) => self.dscp = Some(Dscp::try_from(*number)?),
            ("via", Fact::Text(text)) => self.via = Some(text.parse()?),
            ("proxy-protocol", _) => return Err(ProxyProtocol::EXPECTED.to_owned()),
            ("source-address", _) => return Err(SOURCE_EXPECTED.to_owned()),
            ("mark", _) => return Err(format!("must be a number from 0 to {}", u32::MAX)),
            ("dscp", _) => return Err(Dscp::EXPECTED.to_owned()),
            ("via", _) => return Err(Via::EXPECTED.to_owned()),
            _ => return Err(format!("must be one of: {}", Self::NAMES.join(", "))),
        }
        Ok(())
    }

    /// The same, with what it leaves open as `default` has it.
    #[must_use]
    pub fn or(self, default: &Self) -> Self {
        Self {
            proxy_protocol: self.proxy_protocol.or(default.proxy_protocol),
            source_address: self.source_address.or(default.source_address),
            mark: self.mark.or(default.mark),
            dscp: self.dscp.or(default.dscp),
            via: self.via.or_else(|| default.via.clone()),
        }
    }

    /// An obligation that two policies set to different values, if there is one: both cannot be kept.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> Option<&'static str> {
        fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.zip(other).is_some_and(|(one, other)| one != other)
        }
        let differences = [
            differ(self.proxy_protocol.as_ref(), other.proxy_protocol.as_ref()),
            differ(self.source_address.as_ref(), other.source_address.as_ref()),
            differ(self.mark.as_ref(), other.mark.as_ref()),
            differ(self.dscp.as_ref(), other.dscp.as_ref()),
            differ(self.via.as_ref(), other.via.as_ref()),
        ];
        let mut named = Self::NAMES.into_iter().zip(differences);
        named.find_map(|(name, differs)| differs.then_some(name))
    }

    /// What of it a Unix socket cannot have, if anything: it has no address, no packets and no proxy.
    #[must_use]
    pub fn needs_network(&self) -> Option<&'static str> {
        let set = [
            ("source-address", self.source_address.is_some()),
            ("mark", self.mark.is_some()),
            ("dscp", self.dscp.is_some()),
            ("via", self.via.is_some()),
        ];
        set.into_iter().find_map(|(name, set)| set.then_some(name))
    }

    /// Whether a connection that was made with these fulfils `now`: all of it but the class of service, which only ranks
    /// packets and holds for new connections.
    #[must_use]
    pub fn still_fulfils(&self, now: &Self) -> bool {
        let place = |one: &Self| Self {
            dscp: None,
            proxy_protocol: one.proxy_protocol.filter(|version| *version != ProxyProtocol::None),
            mark: one.mark.filter(|mark| *mark != 0),
            via: one.via.clone().filter(|via| *via != Via::Direct),
            ..one.clone()
        };
        place(self) == place(now)
    }
}

/// An address to connect from.
///
/// # Errors
/// If it is none that a connection can be made from.
pub fn source_address(text: &str) -> Result<IpAddr, String> {
    let address: Option<IpAddr> = text.parse().ok();
    let usable = |address: &IpAddr| !(address.is_unspecified() || address.is_multicast());
    let address = address.map(|address| address.to_canonical()).filter(usable);
    address.ok_or_else(|| SOURCE_EXPECTED.to_owned())
}

const SOURCE_EXPECTED: &str = "must be an IP address of this machine, as in \"10.0.0.5\"";

/// Whether a target is sent a PROXY header, and of which version (HAProxy's `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// No header, whatever the default is.
    None,
    /// A line of text.
    V1,
    /// Binary, with the user, the session and the policy.
    V2,
}

impl ProxyProtocol {
    const EXPECTED: &str = "must be one of \"v1\", \"v2\", \"none\"";
}

impl FromStr for ProxyProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(Self::EXPECTED.to_owned()),
        }
    }
}

/// The proxy through which a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// None, whatever the default is.
    Direct,
    /// The one of this name under `[[via]]`.
    Proxy(String),
}

impl Via {
    /// No proxy may have this name.
    pub const DIRECT: &str = "direct";
    const EXPECTED: &str = "must be the name of a proxy under [[via]], or \"direct\"";
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match text {
            Self::DIRECT => Ok(Self::Direct),
            name if !name.is_empty() && name.len() <= MOST_NAME && name.bytes().all(plain) => {
                Ok(Self::Proxy(name.to_owned()))
            }
            _ => Err(Self::EXPECTED.to_owned()),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => out.write_str(Self::DIRECT),
            Self::Proxy(name) => out.write_str(name),
        }
    }
}

impl Serialize for Via {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Via {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A differentiated-services code point, 0 to 63 (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    const EXPECTED: &str = "must be a number from 0 to 63 or a name such as \"ef\", \"cs1\" or \"af41\"";

    /// The octet of the IP header that has it in its upper six bits.
    #[must_use]
    pub fn octet(self) -> u8 {
        self.0 << 2
    }

    fn name(self) -> Option<&'static str> {
        let mut named = NAMED.iter();
        named.find_map(|(name, code)| (*code == self.0).then_some(*name))
    }
}

impl TryFrom<i64> for Dscp {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let code = u8::try_from(number).ok().filter(|code| *code < 64);
        code.map(Self).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl FromStr for Dscp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut named = NAMED.iter();
        let code = named.find_map(|(name, code)| name.eq_ignore_ascii_case(text).then_some(*code));
        code.map(Self).ok_or_else(|| Self::EXPECTED.to_owned())
    }
}

impl Serialize for Dscp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u8(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Dscp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Fact::deserialize(deserializer)? {
            Fact::Text(text) => text.parse(),
            Fact::Number(number) => Self::try_from(number),
            Fact::Texts(_) | Fact::Flag(_) => Err(Self::EXPECTED.to_owned()),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// RFC 2474 and 2597, 3246 (`ef`), 5865 (`va`), 8622 (`le`).
#[rustfmt::skip]
const NAMED: [(&str, u8); 23] = [
    ("cs0", 0), ("cs1", 8), ("cs2", 16), ("cs3", 24), ("cs4", 32), ("cs5", 40), ("cs6", 48), ("cs7", 56),
    ("af11", 10), ("af12", 12), ("af13", 14), ("af21", 18), ("af22", 20), ("af23", 22),
    ("af31", 26), ("af32", 28), ("af33", 30), ("af41", 34), ("af42", 36), ("af43", 38),
    ("ef", 46), ("va", 44), ("le", 1),
];
/// Of a proxy's name, in bytes.
const MOST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Fact {
        Fact::Text(text.to_owned())
    }

    #[test]
    fn an_obligation_is_taken_up_if_its_value_is_one_of_its_kind() {
        #[rustfmt::skip]
        let table = [
            ("proxy-protocol", text("v1"),            Some(r#"{"proxy-protocol":"v1"}"#)),
            ("proxy-protocol", text("none"),          Some(r#"{"proxy-protocol":"none"}"#)),
            ("proxy-protocol", text("V2"),            None),
            ("proxy-protocol", Fact::Number(2),       None),
            ("source-address", text("10.0.0.5"),      Some(r#"{"source-address":"10.0.0.5"}"#)),
            ("source-address", text("::ffff:10.0.0.5"), Some(r#"{"source-address":"10.0.0.5"}"#)),
            ("source-address", text("0.0.0.0"),       None),
            ("source-address", text("224.0.0.1"),     None),
            ("source-address", text("gw.internal"),   None),
            ("source-address", Fact::Flag(true),      None),
            ("mark",           Fact::Number(7),       Some(r#"{"mark":7}"#)),
            ("mark",           Fact::Number(0xffff_ffff), Some(r#"{"mark":4294967295}"#)),
            ("mark",           Fact::Number(-1),      None),
            ("mark",           Fact::Number(1 << 32), None),
            ("mark",           text("7"),             None),
            ("dscp",           text("EF"),            Some(r#"{"dscp":"ef"}"#)),
            ("dscp",           Fact::Number(34),      Some(r#"{"dscp":"af41"}"#)),
            ("dscp",           Fact::Number(63),      Some(r#"{"dscp":63}"#)),
            ("dscp",           Fact::Number(64),      None),
            ("dscp",           text("af44"),          None),
            ("via",            text("office"),        Some(r#"{"via":"office"}"#)),
            ("via",            text("direct"),        Some(r#"{"via":"direct"}"#)),
            ("via",            text(""),              None),
            ("via",            text("a b"),           None),
            ("via",            Fact::Texts(vec![]),   None),
            ("tarry",          text("a"),             None),
        ];
        for (name, value, expected) in table {
            let mut outbound = Outbound::default();
            let taken = outbound.oblige(name, &value);
            assert_eq!(taken.is_ok(), expected.is_some(), "{name} {value:?}: {taken:?}");
            let json = serde_json::to_string(&outbound).unwrap();
            assert_eq!(json, expected.unwrap_or("{}"), "{name} {value:?}");
            assert_eq!(serde_json::from_str::<Outbound>(&json).unwrap(), outbound);
        }
    }

    fn of(json: &str) -> Outbound {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_obligation_wins_over_a_default_and_two_policies_must_agree() {
        let default = of(r#"{"via":"office","mark":7}"#);
        let asked = of(r#"{"via":"direct","dscp":"ef"}"#);
        assert_eq!(
            asked.clone().or(&default),
            of(r#"{"via":"direct","dscp":"ef","mark":7}"#)
        );
        assert_eq!(asked.contradicts(&default), Some("via"));
        assert_eq!(asked.contradicts(&of(r#"{"dscp":"ef","mark":1}"#)), None);
    }

    #[test]
    fn what_cannot_be_made_true_of_an_open_connection_ends_it() {
        #[rustfmt::skip]
        let table = [
            (r#"{}"#,                          r#"{"via":"office"}"#,             false),
            (r#"{"via":"office"}"#,            r#"{"via":"other"}"#,              false),
            (r#"{"via":"direct"}"#,            r#"{}"#,                           true),
            (r#"{}"#,                          r#"{"source-address":"10.0.0.5"}"#, false),
            (r#"{"mark":7}"#,                  r#"{"mark":8}"#,                   false),
            (r#"{"mark":0}"#,                  r#"{}"#,                           true),
            (r#"{}"#,                          r#"{"proxy-protocol":"v2"}"#,      false),
            (r#"{}"#,                          r#"{"proxy-protocol":"none"}"#,    true),
            (r#"{"dscp":"ef"}"#,               r#"{"dscp":"cs1"}"#,               true),
        ];
        for (open, now, fulfils) in table {
            assert_eq!(of(open).still_fulfils(&of(now)), fulfils, "{open} {now}");
        }
    }
}
