//! What a rule answers.

use std::borrow::Cow;

/// The decision on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Allowed, on these terms.
    Allow(&'a Terms),
    /// Refused.
    Deny(&'a Denial),
    /// Allowed, but to another endpoint.
    Rewrite {
        /// Where to instead.
        to: Target<'a>,
        /// For the audit log.
        reason: &'a str,
        /// On which terms.
        terms: &'a Terms,
    },
}

/// An endpoint that a rewrite leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A host and a port.
    Tcp(&'a str, u16),
    /// The path of a Unix-domain socket.
    Socket(&'a str),
}

/// A refusal; the fields are those of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Stable name of the rule or cause.
    pub code: Cow<'static, str>,
    /// For the audit log.
    pub reason: Cow<'static, str>,
    /// For the user.
    pub tell_user: Option<Cow<'static, str>>,
}

/// The terms of an allowed request; the fields are those of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Longest life, in seconds.
    pub max_seconds: Option<u32>,
    /// Longest silence, in seconds.
    pub idle_seconds: Option<u32>,
    /// Most bytes, both directions together.
    pub max_bytes: Option<u64>,
    /// Most bytes a second, each direction.
    pub bytes_per_second: Option<u64>,
    /// Networks that the gateway holds the resolved addresses against; true permits.
    pub address_rules: Vec<(String, bool)>,
    /// When to ask again, in seconds.
    pub recheck_seconds: Option<u32>,
    /// How long the answer may be used again, in seconds.
    pub reuse_seconds: Option<u32>,
    /// For the audit record.
    pub tags: Vec<(String, String)>,
    /// What the gateway must understand.
    pub obligations: Vec<(String, Value)>,
    /// What the gateway may ignore.
    pub hints: Vec<(String, Value)>,
}

/// A value of an obligation or a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// What a matching rule does.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Allow(Box<Terms>),
    Deny(Box<Denial>),
    Rewrite(Box<Rewrite>),
}

#[derive(Debug, Clone)]
pub(crate) struct Rewrite {
    pub to: Destination,
    pub reason: String,
    pub terms: Terms,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// What is absent stays as it was requested.
    Tcp(Option<Box<str>>, Option<u16>),
    Socket(Box<str>),
}
