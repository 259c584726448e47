//! How the canaries of a fleet are with a policy, and what follows for the gateways that come after them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::Identity;
use crate::request::printable;

/// What a canary says of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// What decides there.
    pub(crate) serves: Option<Serves>,
    /// What does not, although it was wanted.
    pub(crate) refused: Vec<NotThere>,
}

/// What decides on a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Serves {
    /// Component and settings.
    pub(crate) identity: Identity,
    /// For how long, in this process.
    pub(crate) seconds: u64,
    /// Whether a burn-in or a confirmation may still take it back.
    pub(crate) may_go_back: bool,
    /// What it decided since the start.
    pub(crate) decisions: u64,
    /// How many of these failed.
    pub(crate) failures: u64,
}

/// What a canary took back, or a gate stopped there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotThere {
    /// Component and settings.
    pub(crate) identity: Identity,
    /// Why.
    pub(crate) reason: String,
}

/// What is to become of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The canaries are well with it, in words.
    Follow(String),
    /// It is not known yet.
    Wait(String),
    /// One of them was not.
    Stop(String),
}

impl Account {
    /// What was said, if it can be understood.
    pub(crate) fn read(said: &[u8]) -> Option<Self> {
        serde_json::from_slice(said).ok()
    }
}

impl Ruling {
    /// By what each canary says: nothing where it is silent. Each must have served it for `wait`.
    pub(crate) fn on(wanted: &Identity, wait: Duration, canaries: &[(String, Option<Account>)]) -> Self {
        let (mut well, mut waits) = (Vec::new(), Vec::new());
        for (name, account) in canaries {
            let Some(account) = account else {
                waits.push(format!("nothing is heard of {name}"));
                continue;
            };
            match account.serves.as_ref().filter(|serves| serves.identity == *wanted) {
                Some(serves) if serves.may_go_back => {
                    waits.push(format!("{name} serves it and may still take it back"));
                }
                Some(serves) if serves.seconds < wait.as_secs() => {
                    waits.push(format!(
                        "{name} has served it for {} s of {} s",
                        serves.seconds,
                        wait.as_secs()
                    ));
                }
                Some(serves) => well.push(format!(
                    "{name} has served it for {} s, {} of {} decisions failed",
                    serves.seconds, serves.failures, serves.decisions
                )),
                None => match account.refused.iter().find(|one| one.identity == *wanted) {
                    Some(one) => return Self::Stop(format!("not on {name}: {}", printable(&one.reason, MOST_WORDS))),
                    None => waits.push(format!("{name} does not serve it")),
                },
            }
        }
        match waits.is_empty() {
            true => Self::Follow(well.join("; ")),
            false => Self::Wait(waits.join("; ")),
        }
    }

    /// Of several candidates that change together: what the strictest ruling says.
    pub(crate) fn of_all(rulings: impl IntoIterator<Item = Self>) -> Self {
        let (mut well, mut waits) = (Vec::new(), Vec::new());
        for ruling in rulings {
            match ruling {
                Self::Follow(words) => well.push(words),
                Self::Wait(words) => waits.push(words),
                Self::Stop(_) => return ruling,
            }
        }
        match waits.is_empty() {
            true => Self::Follow(well.join("; ")),
            false => Self::Wait(waits.join("; ")),
        }
    }
}

/// Bytes of a reason that another gateway gives.
const MOST_WORDS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(component: &str) -> Identity {
        Identity {
            component: component.to_owned(),
            settings_sha256: "s".to_owned(),
        }
    }

    fn serves(component: &str, seconds: u64, may_go_back: bool) -> Option<Account> {
        let serves = Serves {
            identity: identity(component),
            seconds,
            may_go_back,
            decisions: 7,
            failures: 1,
        };
        Some(Account {
            serves: Some(serves),
            refused: Vec::new(),
        })
    }

    fn refused(serving: &str, component: &str) -> Option<Account> {
        let mut account = serves(serving, 1000, false)?;
        account.refused.push(NotThere {
            identity: identity(component),
            reason: "it failed".to_owned(),
        });
        Some(account)
    }

    #[test]
    fn a_candidate_follows_only_where_every_canary_is_well_with_it() {
        #[rustfmt::skip]
        let table = [
            // what gw-1 and gw-2 say                                     what becomes of `new` after 600 s
            (serves("new", 600, false), serves("new", 900, false),        "follow: gw-1 has served it for 600 s, 1 of 7 decisions failed; gw-2 has served it for 900 s, 1 of 7 decisions failed"),
            (serves("new", 599, false), serves("new", 900, false),        "wait: gw-1 has served it for 599 s of 600 s"),
            (serves("new", 900, false), serves("new", 900, true),         "wait: gw-2 serves it and may still take it back"),
            (serves("old", 900, false), serves("new", 900, false),        "wait: gw-1 does not serve it"),
            (None,                      serves("new", 900, false),        "wait: nothing is heard of gw-1"),
            (Some(Account::default()),  None,                             "wait: gw-1 does not serve it; nothing is heard of gw-2"),
            (refused("old", "new"),     serves("new", 900, false),        "stop: not on gw-1: it failed"),
            (serves("new", 1, true),    refused("old", "new"),            "stop: not on gw-2: it failed"),
            (refused("old", "other"),   serves("new", 900, false),        "wait: gw-1 does not serve it"),
            // An administrator put it in force by name after it was taken back.
            (refused("new", "new"),     serves("new", 900, false),        "follow: gw-1 has served it for 1000 s, 1 of 7 decisions failed; gw-2 has served it for 900 s, 1 of 7 decisions failed"),
        ];
        for (one, two, expected) in table {
            let canaries = [("gw-1".to_owned(), one.clone()), ("gw-2".to_owned(), two.clone())];
            let ruling = Ruling::on(&identity("new"), Duration::from_secs(600), &canaries);
            assert_eq!(shown(ruling), expected, "{one:?} {two:?}");
        }
    }

    #[test]
    fn other_settings_are_another_candidate() {
        let other = Identity {
            settings_sha256: "other".to_owned(),
            ..identity("new")
        };
        let canaries = [("gw-1".to_owned(), serves("new", 900, false))];
        let ruling = Ruling::on(&other, Duration::from_secs(600), &canaries);
        assert_eq!(shown(ruling), "wait: gw-1 does not serve it");
    }

    #[test]
    fn what_changes_together_follows_together() {
        let (follow, wait, stop) = (
            || Ruling::Follow("f".to_owned()),
            || Ruling::Wait("w".to_owned()),
            || Ruling::Stop("s".to_owned()),
        );
        #[rustfmt::skip]
        let table = [
            (vec![follow(), follow()],         "follow: f; f"),
            (vec![follow(), wait()],           "wait: w"),
            (vec![wait(), wait()],             "wait: w; w"),
            (vec![wait(), stop(), follow()],   "stop: s"),
        ];
        for (rulings, expected) in table {
            assert_eq!(shown(Ruling::of_all(rulings.clone())), expected, "{rulings:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        for said in ["", "{}", "[]", "{\"serves\":null}", "{\"serves\":7,\"refused\":[]}"] {
            assert_eq!(Account::read(said.as_bytes()), None, "{said}");
        }
        let account = refused("old", "new").unwrap();
        let written = serde_json::to_vec(&account).unwrap();
        assert_eq!(Account::read(&written), Some(account));
    }

    fn shown(ruling: Ruling) -> String {
        match ruling {
            Ruling::Follow(words) => format!("follow: {words}"),
            Ruling::Wait(words) => format!("wait: {words}"),
            Ruling::Stop(words) => format!("stop: {words}"),
        }
    }
}
