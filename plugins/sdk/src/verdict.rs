//! How a verdict is made, and read in a test.

use crate::{AddressRule, Denial, Effect, Endpoint, Redirect, Terms, Value, Verdict};

/// Verdicts. Terms are set on the verdict that they belong to; on a denial they do nothing, since nothing is open that they
/// could hold for.
impl Verdict {
    /// Allows what is asked, on the gateway's own terms until others are set.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow
    }

    /// Refuses. The code is a stable name without spaces, for the audit log; the reason is for the audit log, too.
    pub fn deny(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Deny(Denial {
            code: code.into(),
            reason: reason.into(),
            tell_user: None,
        })
    }

    /// Connects or listens elsewhere: `host:port`, `[v6]:port` or `unix:/path`. The gateway's configuration must say
    /// `rewrite = true`. What is no endpoint becomes a denial with the code `bad-target`.
    pub fn rewrite(to: impl AsRef<str>, reason: impl Into<String>) -> Self {
        match to.as_ref().parse() {
            Ok(to) => Self::rewrite_to(to, reason),
            Err(error) => Self::deny("bad-target", error.to_string()),
        }
    }

    /// Connects or listens elsewhere.
    pub fn rewrite_to(to: Endpoint, reason: impl Into<String>) -> Self {
        Self::Rewrite(Redirect {
            to,
            reason: reason.into(),
            terms: None,
        })
    }

    /// What the user is shown of a denial; without it they are shown a general sentence.
    #[must_use]
    pub fn tell_user(mut self, sentence: impl Into<String>) -> Self {
        if let Self::Deny(denial) = &mut self {
            denial.tell_user = Some(sentence.into());
        }
        self
    }

    /// Closes the tunnel or listener after so many seconds.
    #[must_use]
    pub fn max_seconds(self, seconds: u32) -> Self {
        self.with(|terms| terms.max_seconds = Some(seconds))
    }

    /// Closes it after so many seconds without a byte.
    #[must_use]
    pub fn idle_seconds(self, seconds: u32) -> Self {
        self.with(|terms| terms.idle_seconds = Some(seconds))
    }

    /// Closes it after so many bytes, both directions together.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        self.with(|terms| terms.max_bytes = Some(bytes))
    }

    /// Slows each direction to a rate, which is not 0.
    #[must_use]
    pub fn bytes_per_second(self, bytes: u64) -> Self {
        self.with(|terms| terms.bytes_per_second = Some(bytes))
    }

    /// Asks again after so many seconds; a refusal then closes it.
    #[must_use]
    pub fn recheck_seconds(self, seconds: u32) -> Self {
        self.with(|terms| terms.recheck_seconds = Some(seconds))
    }

    /// Lets the gateway answer equal requests of the same connection from this verdict for so many seconds.
    #[must_use]
    pub fn reuse_seconds(self, seconds: u32) -> Self {
        self.with(|terms| terms.reuse_seconds = Some(seconds))
    }

    /// Permits the addresses of a network (`10.0.0.0/8`). Rules are judged in their order, by the first that matches; what
    /// none matches is permitted, so that a list of what is permitted ends with `refuse_addresses("0.0.0.0/0")` and
    /// `refuse_addresses("::/0")`.
    #[must_use]
    pub fn permit_addresses(self, network: impl Into<String>) -> Self {
        self.address_rule(network.into(), Effect::Permit)
    }

    /// Refuses the addresses of a network.
    #[must_use]
    pub fn refuse_addresses(self, network: impl Into<String>) -> Self {
        self.address_rule(network.into(), Effect::Refuse)
    }

    fn address_rule(self, cidr: String, effect: Effect) -> Self {
        self.with(|terms| terms.address_rules.push(AddressRule { cidr, effect }))
    }

    /// Is copied to the audit log.
    #[must_use]
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|terms| terms.tags.push((name.into(), value.into())))
    }

    /// Demands something that the gateway must understand, or it refuses the request.
    #[must_use]
    pub fn obligation(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|terms| terms.obligations.push((name.into(), value.into())))
    }

    /// Asks for something that the gateway may ignore.
    #[must_use]
    pub fn hint(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|terms| terms.hints.push((name.into(), value.into())))
    }

    fn with(self, set: impl FnOnce(&mut Terms)) -> Self {
        match self {
            Self::Allow => {
                let mut terms = Terms::default();
                set(&mut terms);
                Self::AllowWith(terms)
            }
            Self::AllowWith(mut terms) => {
                set(&mut terms);
                Self::AllowWith(terms)
            }
            Self::Rewrite(mut redirect) => {
                set(redirect.terms.get_or_insert_default());
                Self::Rewrite(redirect)
            }
            Self::Deny(denial) => Self::Deny(denial),
        }
    }

    /// Whether it allows, with terms or without.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow | Self::AllowWith(_))
    }

    /// Whether it refuses.
    #[must_use]
    pub fn is_deny(&self) -> bool {
        matches!(self, Self::Deny(_))
    }

    /// Whether it leads elsewhere.
    #[must_use]
    pub fn is_rewrite(&self) -> bool {
        matches!(self, Self::Rewrite(_))
    }

    /// The code of a denial.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Deny(denial) => Some(&denial.code),
            _ => None,
        }
    }

    /// Where a rewrite leads.
    #[must_use]
    pub fn target(&self) -> Option<&Endpoint> {
        match self {
            Self::Rewrite(redirect) => Some(&redirect.to),
            _ => None,
        }
    }

    /// The terms, where any were set.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        match self {
            Self::AllowWith(terms) => Some(terms),
            Self::Rewrite(redirect) => redirect.terms.as_ref(),
            _ => None,
        }
    }
}

/// The gateway's own terms.
impl Default for Terms {
    fn default() -> Self {
        Self {
            max_seconds: None,
            idle_seconds: None,
            max_bytes: None,
            bytes_per_second: None,
            address_rules: Vec::new(),
            recheck_seconds: None,
            reuse_seconds: None,
            tags: Vec::new(),
            obligations: Vec::new(),
            hints: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Terms, Value, Verdict};

    #[test]
    fn terms_belong_to_an_allow_and_to_a_rewrite() {
        let set = |verdict: Verdict| verdict.max_seconds(60).tag("rule", "x").hint("priority", 3);
        let expected = Terms {
            max_seconds: Some(60),
            tags: vec![("rule".into(), "x".into())],
            hints: vec![("priority".into(), Value::Number(3))],
            ..Terms::default()
        };
        assert_eq!(set(Verdict::allow()), Verdict::AllowWith(expected.clone()));
        assert_eq!(set(Verdict::rewrite("db:1", "moved")).terms(), Some(&expected));
        assert_eq!(set(Verdict::deny("no", "no")), Verdict::deny("no", "no"));
    }

    #[test]
    fn a_rewrite_to_nowhere_is_a_denial() {
        let verdict = Verdict::rewrite("db.internal", "moved");
        assert_eq!(verdict.code(), Some("bad-target"));
        assert_eq!(
            Verdict::rewrite("[2001:db8::1]:80", "moved")
                .target()
                .map(ToString::to_string),
            Some("[2001:db8::1]:80".to_owned())
        );
    }

    #[test]
    fn only_a_denial_tells_the_user() {
        assert_eq!(Verdict::allow().tell_user("words"), Verdict::allow());
        let Verdict::Deny(denial) = Verdict::deny("no", "because").tell_user("words") else {
            panic!("it denies");
        };
        assert_eq!(denial.tell_user.as_deref(), Some("words"));
    }
}
