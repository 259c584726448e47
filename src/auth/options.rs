//! The options in front of a key, read in OpenSSH's order: from left to right, later flags override earlier ones.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::admission::{AddressPatterns, NotAdmitted, parse_expiry};
use super::limits::{ForwardLimits, Forwarding};
use super::line::LineError;
use super::permit::{BadPermit, PermitListen, PermitOpen};

/// What one line of `authorized_keys` attaches to its key.
///
/// Options about what this server never does (`command`, `environment`, `tunnel`, ptys, agents, X11, rc files) are
/// accepted and leave no trace.
#[derive(Clone, Debug)]
pub struct KeyOptions {
    /// `from=`: see [`AddressPatterns`] for what a host name in it means here.
    pub from: Option<AddressPatterns>,
    /// `expiry-time=`, the earliest if there are several.
    pub expires: Option<Timestamp>,
    /// What `restrict`, `port-forwarding` and `no-port-forwarding` come to.
    pub port_forwarding: bool,
    /// `permitopen=`; empty: no limit.
    pub permit_open: Vec<PermitOpen>,
    /// `permitlisten=`; empty: no limit.
    pub permit_listen: Vec<PermitListen>,
    /// This key signs certificates, and is itself no way in.
    pub cert_authority: bool,
    /// `principals=`; empty: the option is absent and a certificate must name the user.
    pub principals: Vec<String>,
    /// `no-touch-required` and `touch-required`: concerns FIDO keys only, as in OpenSSH.
    pub touch: Touch,
    /// `verify-required`: a FIDO key must have asked for a PIN or the like. Concerns FIDO keys only, as in OpenSSH.
    pub verify_required: bool,
}

/// What a line says about the touch of a FIDO key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing, so a touch is required.
    #[default]
    Unsaid,
    /// `touch-required`.
    Required,
    /// `no-touch-required`.
    NotRequired,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            from: None,
            expires: None,
            port_forwarding: true,
            permit_open: Vec::new(),
            permit_listen: Vec::new(),
            cert_authority: false,
            principals: Vec::new(),
            touch: Touch::Unsaid,
            verify_required: false,
        }
    }
}

impl KeyOptions {
    /// May the key be used from this address at this moment?
    pub fn admits(&self, client: IpAddr, now: Timestamp) -> Result<(), NotAdmitted> {
        match self.expires {
            Some(at) if at < now => return Err(NotAdmitted::Expired { at }),
            _ => {}
        }
        self.from.as_ref().map_or(Ok(()), |from| from.admits(client))
    }

    /// May a certificate with these principals, signed by this authority, log in as `user`? A certificate without
    /// principals matches no user.
    pub fn admits_principal(&self, user: &str, principals: &[impl AsRef<str>]) -> bool {
        principals
            .iter()
            .map(AsRef::as_ref)
            .any(|principal| match self.principals.is_empty() {
                true => principal == user,
                false => self.principals.iter().any(|accepted| accepted == principal),
            })
    }

    /// Entries that no request can ever be, each with the reason. They permit nothing, so the line holds.
    pub fn never_match(&self) -> Vec<String> {
        let open = self.permit_open.iter().filter_map(|entry| {
            let why = entry.never_matches()?;
            Some(format!("permitopen=\"{entry}\" permits nothing: {why}"))
        });
        let listen = self.permit_listen.iter().filter_map(|entry| {
            let why = entry.never_matches()?;
            Some(format!("permitlisten=\"{entry}\" permits nothing: {why}"))
        });
        open.chain(listen).collect()
    }

    pub fn limits(&self) -> ForwardLimits {
        let forwarding = match self.port_forwarding {
            true => Forwarding::Permitted,
            false => Forwarding::Refused,
        };
        ForwardLimits::new(forwarding, &self.permit_open, &self.permit_listen)
    }

    /// Reads options up to the first white space outside quotes, and leaves `cursor` there.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, LineError> {
        let mut reading = Reading::default();
        loop {
            reading.option(cursor)?;
            match cursor.rest.strip_prefix(',') {
                Some(rest) => cursor.rest = rest,
                None => return reading.finish(),
            }
        }
    }
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    line: &'a str,
    pub(crate) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { line, rest: line }
    }

    /// Counted in characters, from 1.
    pub(crate) fn column(&self) -> usize {
        let all = self.line.chars().count();
        all.saturating_sub(self.rest.chars().count()) + 1
    }

    pub(crate) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANKS);
    }

    /// Everything up to one of `ends`.
    pub(crate) fn word(&mut self, ends: &[char]) -> &'a str {
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value in double quotes; `\"` stands for a quote, any other backslash for itself.
    pub(crate) fn quoted(&mut self, option: &str) -> Result<String, LineError> {
        let column = self.column();
        let unquoted = || LineError::NotQuoted {
            option: option.to_owned(),
            column,
        };
        let mut rest = self.rest.strip_prefix('"').ok_or_else(unquoted)?;
        let mut value = String::new();
        loop {
            let end = rest.find('"').ok_or_else(|| LineError::UnclosedQuote {
                option: option.to_owned(),
                column,
            })?;
            let (text, from_quote) = rest.split_at(end);
            rest = from_quote.strip_prefix('"').unwrap_or_default();
            match text.strip_suffix('\\') {
                Some(text) => value.extend([text, "\""]),
                None => {
                    value.push_str(text);
                    self.rest = rest;
                    return Ok(value);
                }
            }
        }
    }
}

/// The options read so far, and what only matters until the last has been read.
#[derive(Default)]
struct Reading {
    options: KeyOptions,
    command: Option<usize>,
    principals: Option<usize>,
}

impl Reading {
    fn option(&mut self, cursor: &mut Cursor<'_>) -> Result<(), LineError> {
        let column = cursor.column();
        let written = cursor.word(&[',', '=', ' ', '\t']);
        match cursor.rest.strip_prefix('=') {
            None => self.flag(written, column),
            Some(rest) => {
                cursor.rest = rest;
                let value_column = cursor.column();
                self.valued(written, column, cursor)?;
                match cursor.rest.chars().next() {
                    None | Some(',' | ' ' | '\t') => Ok(()),
                    Some(_) => Err(LineError::NotQuoted {
                        option: shortened(written),
                        column: value_column,
                    }),
                }
            }
        }
    }

    fn flag(&mut self, written: &str, column: usize) -> Result<(), LineError> {
        let name = written.to_ascii_lowercase();
        match name.as_str() {
            "restrict" | "no-port-forwarding" => self.options.port_forwarding = false,
            "port-forwarding" => self.options.port_forwarding = true,
            "cert-authority" => self.options.cert_authority = true,
            "verify-required" => self.options.verify_required = true,
            "no-verify-required" => self.options.verify_required = false,
            "touch-required" => self.options.touch = Touch::Required,
            "no-touch-required" => self.options.touch = Touch::NotRequired,
            _ if HARMLESS_FLAGS.contains(&name.strip_prefix("no-").unwrap_or(&name)) => {}
            _ if VALUED.contains(&name.as_str()) => {
                return Err(LineError::NotQuoted { option: name, column });
            }
            "" => return Err(LineError::EmptyOption { column }),
            _ => {
                return Err(LineError::UnknownOption {
                    option: shortened(written),
                    column,
                });
            }
        }
        Ok(())
    }

    fn valued(&mut self, written: &str, column: usize, cursor: &mut Cursor<'_>) -> Result<(), LineError> {
        let name = written.to_ascii_lowercase();
        let name = name.as_str();
        if !VALUED.contains(&name) {
            return Err(LineError::UnknownOption {
                option: format!("{}=", shortened(written)),
                column,
            });
        }
        let value = cursor.quoted(name)?;
        let bad = |mend: &str| LineError::BadValue {
            option: name.to_owned(),
            value: shortened(&value),
            column,
            mend: mend.to_owned(),
        };
        let once = |already: bool| match already {
            true => Err(LineError::RepeatedOption {
                option: name.to_owned(),
                column,
            }),
            false => Ok(()),
        };
        if value.contains(char::REPLACEMENT_CHARACTER) || value.contains('\0') {
            return Err(bad("write it as plain UTF-8 text"));
        }
        match name {
            "from" => {
                once(self.options.from.is_some())?;
                self.options.from = Some(AddressPatterns::parse(&value).map_err(bad)?);
            }
            "expiry-time" => {
                let at = parse_expiry(&value, TimeZone::system()).map_err(|error| bad(error.fix()))?;
                self.options.expires = Some(self.options.expires.map_or(at, |earlier| earlier.min(at)));
            }
            "permitopen" => push(&mut self.options.permit_open, PermitOpen::parse(&value)).map_err(|e| bad(e.0))?,
            "permitlisten" => {
                push(&mut self.options.permit_listen, PermitListen::parse(&value)).map_err(|e| bad(e.0))?
            }
            "principals" => {
                once(self.principals.replace(column).is_some())?;
                self.options.principals = value.split(',').map(str::to_owned).collect();
                if self.options.principals.iter().any(String::is_empty) {
                    return Err(bad("name at least one principal, with nothing empty between commas"));
                }
            }
            "command" => once(self.command.replace(column).is_some())?,
            "environment" if !is_assignment(&value) => return Err(bad("write NAME=value")),
            "tunnel" if !is_tunnel(&value) => return Err(bad("write a device number or `any`")),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<KeyOptions, LineError> {
        match self.principals {
            Some(column) if !self.options.cert_authority => Err(LineError::PrincipalsWithoutAuthority { column }),
            _ => Ok(self.options),
        }
    }
}

fn push<T>(list: &mut Vec<T>, entry: Result<T, BadPermit>) -> Result<(), BadPermit> {
    if list.len() >= MOST_PERMITS {
        return Err(BadPermit("a key may have at most 4096 of these"));
    }
    list.push(entry?);
    Ok(())
}

fn is_assignment(value: &str) -> bool {
    value.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn is_tunnel(value: &str) -> bool {
    value.eq_ignore_ascii_case("any") || value.parse::<u32>().is_ok()
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

pub(crate) const BLANKS: &[char] = &[' ', '\t'];

/// Flags about what this server never does; each also exists with `no-` in front.
const HARMLESS_FLAGS: [&str; 4] = ["agent-forwarding", "pty", "user-rc", "x11-forwarding"];

const VALUED: [&str; 8] = [
    "command",
    "environment",
    "expiry-time",
    "from",
    "permitlisten",
    "permitopen",
    "principals",
    "tunnel",
];

/// OpenSSH's `SSH_AUTHOPT_PERMIT_MAX`.
const MOST_PERMITS: usize = 4096;
