//! The conditions of a Match line: `match_cfg_line` in OpenSSH's `servconf.c`, `match_pattern_list` in `match.c`,
//! `addr_match_list` in `addrmatch.c`.

use std::net::IpAddr;

use crate::auth::matches;
use crate::request::loose_network;

/// Patterns, each of which may be an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patterns {
    /// One of these must match.
    pub(crate) any: Vec<String>,
    /// None of these may.
    pub(crate) none: Vec<String>,
}

/// One condition of a Match line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Criterion {
    /// `All`.
    All,
    /// `Invalid-User`, who can never forward anything.
    InvalidUser,
    /// `User`.
    User(Patterns),
    /// `Group`.
    Group(Patterns),
    /// `Host`: the client's name, or its address as text unless `UseDNS` is on.
    Host(Patterns),
    /// `Address`: the client's.
    Address(Patterns),
    /// `LocalPort`: the one that was connected to.
    LocalPort(u16),
    /// `LocalAddress`, `RDomain` and `Version`, which nothing here knows of a connection.
    Unknown(&'static str),
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Who logs in.
    pub(crate) user: String,
    /// Their groups.
    pub(crate) groups: Vec<String>,
    /// Where they come from.
    pub(crate) address: IpAddr,
}

/// What is known of the server, besides its Match blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `UseDNS`: clients have names.
    pub(crate) use_dns: bool,
    /// Every port that is listened on.
    pub(crate) ports: Vec<u16>,
}

impl Patterns {
    /// A list with commas, as in a Match line.
    pub(crate) fn list(text: &str) -> Self {
        let (none, any): (Vec<_>, Vec<_>) = text.split(',').partition(|one| one.starts_with('!'));
        Self {
            any: any.into_iter().map(str::to_owned).collect(),
            none: none.iter().map(|one| one.trim_start_matches('!').to_owned()).collect(),
        }
    }

    /// As `match_pattern_list`: an exception outweighs everything else, wherever it stands.
    pub(crate) fn admits(&self, text: &str) -> bool {
        let one_of = |list: &[String]| list.iter().any(|pattern| matches(pattern, text));
        !one_of(&self.none) && one_of(&self.any)
    }

    /// As `ga_match_pattern_list`: one group is enough, and one exception too many.
    pub(crate) fn admits_one_of(&self, texts: &[String]) -> bool {
        let one_of = |list: &[String]| {
            texts
                .iter()
                .any(|text| list.iter().any(|pattern| matches(pattern, text)))
        };
        !one_of(&self.none) && one_of(&self.any)
    }

    /// As `addr_match_list`: networks, or patterns on the address as text.
    pub(crate) fn admits_address(&self, address: IpAddr) -> bool {
        let text = address.to_string();
        let one = |pattern: &String| match loose_network(pattern) {
            Ok(network) => network.contains(&address),
            Err(_) => matches(&pattern.to_ascii_lowercase(), &text),
        };
        !self.none.iter().any(one) && self.any.iter().any(one)
    }
}

impl Criterion {
    /// Whether it holds; `None` if that cannot be known.
    pub(crate) fn holds(&self, visitor: &Visitor, around: &Surroundings) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::InvalidUser => Some(false),
            Self::User(patterns) => Some(patterns.admits(&visitor.user)),
            Self::Group(patterns) => Some(patterns.admits_one_of(&visitor.groups)),
            Self::Host(_) if around.use_dns => None,
            Self::Host(patterns) => Some(patterns.lowered().admits(&visitor.address.to_string())),
            Self::Address(patterns) => Some(patterns.admits_address(visitor.address)),
            Self::LocalPort(port) => around.local_port(*port),
            Self::Unknown(_) => None,
        }
    }
}

impl Patterns {
    /// `match_hostname` compares in lower case.
    fn lowered(&self) -> Self {
        let lower = |list: &[String]| list.iter().map(|one| one.to_ascii_lowercase()).collect();
        Self {
            any: lower(&self.any),
            none: lower(&self.none),
        }
    }
}

impl Surroundings {
    /// Whether clients connect to this port, if they all do or none of them does.
    pub(crate) fn local_port(&self, port: u16) -> Option<bool> {
        match (self.ports.contains(&port), self.ports.len()) {
            (false, _) => Some(false),
            (true, 1) => Some(true),
            (true, _) => None,
        }
    }
}

/// The conditions of a Match line.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(arguments: &[String]) -> Result<Vec<Criterion>, String> {
    let mut found = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value.to_owned())),
            None => (word.to_ascii_lowercase(), None),
        };
        match name.as_str() {
            "all" if arguments.len() > 1 => return Err("`All` cannot be combined with other conditions".to_owned()),
            "all" => found.push(Criterion::All),
            "invalid-user" => found.push(Criterion::InvalidUser),
            _ => {
                let value = inline
                    .or_else(|| words.next().cloned())
                    .filter(|value| !value.is_empty());
                found.push(criterion(word, &name, value.as_deref())?);
            }
        }
    }
    match found.is_empty() {
        true => Err("a Match line needs a condition".to_owned()),
        false => Ok(found),
    }
}

fn criterion(typed: &str, name: &str, value: Option<&str>) -> Result<Criterion, String> {
    let known = [
        "user",
        "group",
        "host",
        "address",
        "localaddress",
        "localport",
        "rdomain",
        "version",
    ];
    if !known.contains(&name) {
        return Err(format!(
            "unknown condition `{typed}`: expected one of All, Invalid-User, User, Group, Host, Address, LocalAddress, LocalPort, RDomain, Version"
        ));
    }
    let value = value.ok_or_else(|| format!("the condition `{typed}` needs a value"))?;
    Ok(match name {
        "user" => Criterion::User(Patterns::list(value)),
        "group" => Criterion::Group(Patterns::list(value)),
        "host" => Criterion::Host(Patterns::list(value)),
        "address" => Criterion::Address(addresses(value)?),
        "localport" => {
            let port = value.parse().ok().filter(|port| *port != 0);
            Criterion::LocalPort(port.ok_or_else(|| format!("`{value}` is no port"))?)
        }
        "localaddress" => addresses(value).map(|_| Criterion::Unknown("LocalAddress"))?,
        "rdomain" => Criterion::Unknown("RDomain"),
        _ => Criterion::Unknown("Version"),
    })
}

/// A list of addresses; `addr_match_list` takes no network with address bits behind its prefix, and nothing empty.
pub(crate) fn addresses(text: &str) -> Result<Patterns, String> {
    for one in text.split(',') {
        let bare = one.strip_prefix('!').unwrap_or(one);
        if bare.is_empty() {
            return Err(format!("`{text}` has an empty address"));
        }
        if bare.contains('/') && crate::request::network(bare).is_err() {
            return Err(format!(
                "`{bare}` is no network: its prefix length is wrong, or the address has bits behind it"
            ));
        }
    }
    Ok(Patterns::list(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(user: &str, groups: &[&str], address: &str) -> Visitor {
        Visitor {
            user: user.to_owned(),
            groups: groups.iter().map(|one| (*one).to_owned()).collect(),
            address: address.parse().expect(address),
        }
    }

    #[test]
    fn a_match_line_holds_as_openssh_says() {
        let around = Surroundings {
            use_dns: false,
            ports: vec![22, 2200],
        };
        let visitor = visitor("alice", &["dba", "staff"], "10.1.2.3");
        #[rustfmt::skip]
        let table = [
            ("All",                               Some(true)),
            ("user alice",                        Some(true)),
            ("User=alice",                        Some(true)),
            ("User al*,!alice",                   Some(false)),
            ("User !alice,*",                     Some(false)),
            ("User !bob",                         Some(false)),
            ("User !bob,*",                       Some(true)),
            ("User ALICE",                        Some(false)),
            ("Group dba",                         Some(true)),
            ("Group dba,!staff",                  Some(false)),
            ("Group ops,st*",                     Some(true)),
            ("Address 10.0.0.0/8",                Some(true)),
            ("Address 10.0.0.0/8,!10.1.0.0/16",   Some(false)),
            ("Address 10.1.2.?",                  Some(true)),
            ("Address 192.168.0.0/16",            Some(false)),
            ("Host 10.*",                         Some(true)),
            ("Host *.example.com",                Some(false)),
            ("LocalPort 22",                      None),
            ("LocalPort 23",                      Some(false)),
            ("LocalAddress 10.0.0.1",             None),
            ("RDomain *",                         None),
            ("Invalid-User",                      Some(false)),
        ];
        for (line, expected) in table {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let criteria = parse(&words).expect(line);
            let found = criteria
                .iter()
                .map(|one| one.holds(&visitor, &around))
                .collect::<Vec<_>>();
            assert_eq!(found, [expected], "{line}");
        }
    }

    #[test]
    fn a_match_line_that_openssh_refuses_is_an_error() {
        for line in [
            "Colour red",
            "User",
            "All User bob",
            "Address 10.0.0.1/8",
            "Address 10.0.0.0/8,,",
            "LocalPort x",
            "LocalPort 0",
        ] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert!(parse(&words).is_err(), "{line}");
        }
    }
}
