//! Asks the result, as the gateway would, and compares with what `sshd` would do.
//!
//! What `sshd` would do is said by [`Sshd::permits`], which is made in another way than the rules, and its values by `sshd -T`
//! where that is installed. No socket is opened: names are not looked up, because nothing that is imported depends on addresses.

mod ask;
mod questions;
mod server;

use std::path::Path;

use serde::Serialize;

use self::ask::Gateway;
use super::people::People;
use super::sshd::{Asked, Sshd, Surroundings, Visitor, World};

/// What is compared.
pub(super) struct Question<'a> {
    /// What was imported.
    pub(super) sshd: &'a Sshd,
    /// Users with their groups.
    pub(super) people: &'a People,
    /// Rules that deny more than `sshd` did, as notes say.
    pub(super) stricter: Vec<String>,
    /// Whether whoever has no group may forward nothing.
    pub(super) uses_groups: bool,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verified {
    /// How many questions the result was asked.
    asked: usize,
    /// How many of them it denied, where `sshd` permits and a note says so.
    stricter: usize,
    /// For how many connections `sshd -T` said the same; absent if it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    sshd: Option<usize>,
    /// Why `sshd -T` could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    sshd_not_asked: Option<String>,
    /// What is not the same.
    pub(super) differences: Vec<Difference>,
}

/// A question with two answers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Who and what.
    question: String,
    /// What the `sshd_config` says.
    expected: String,
    /// What the other side says.
    found: String,
}

/// Compares.
///
/// # Errors
/// If the result cannot be loaded.
pub(super) async fn verify(file: &Path, question: &Question<'_>) -> Result<Verified, String> {
    let gateway = Gateway::load(file).await?;
    let around = question.sshd.surroundings();
    let mut verified = Verified::default();
    let visitors = questions::visitors(question);
    for visitor in &visitors {
        for asked in questions::questions(question.sshd) {
            let answer = gateway.answer(visitor, &asked).await?;
            let same = gateway.same(&asked, question.sshd);
            question.compare((visitor, &around), (&asked, &same), &answer, &mut verified);
        }
    }
    server::compare(question.sshd, &visitors, &mut verified);
    Ok(verified)
}

impl Question<'_> {
    /// Holds an answer against what `sshd` would do with one of the ways to ask for the same.
    fn compare(
        &self,
        (visitor, around): (&Visitor, &Surroundings),
        (asked, same): (&Asked, &[Asked]),
        answer: &ask::Answer,
        verified: &mut Verified,
    ) {
        verified.asked += 1;
        let permits = |world| {
            same.iter()
                .any(|asked| self.sshd.permits(asked, (visitor, around, world)))
        };
        // Where a condition cannot be known, what is permitted has to be permitted in both cases.
        let (met, unmet) = (permits(World::Met), permits(World::Unmet));
        match (answer.allowed, met && unmet) {
            (true, true) => {}
            (true, false) => verified.differs(visitor, asked, "denied", "allowed"),
            (false, _) if !met && !unmet => {}
            (false, false) => verified.stricter += 1,
            (false, true) if self.is_said(answer, visitor) => verified.stricter += 1,
            (false, true) => verified.differs(visitor, asked, "allowed", &format!("denied ({})", answer.code)),
        }
    }

    /// Whether it is said that this is denied.
    fn is_said(&self, answer: &ask::Answer, visitor: &Visitor) -> bool {
        answer.by_floor || self.stricter.contains(&answer.code) || (self.uses_groups && visitor.groups.is_empty())
    }
}

impl Verified {
    fn differs(&mut self, visitor: &Visitor, asked: &Asked, expected: &str, found: &str) {
        self.differences.push(Difference {
            question: format!("{}: {}", named(visitor), endpoint(asked)),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "verified: {} questions, {} differences",
            self.asked,
            self.differences.len()
        );
        if self.stricter > 0 {
            text.push_str(&format!("; {} denied that sshd permits, as said above", self.stricter));
        }
        text.push('\n');
        match (&self.sshd, &self.sshd_not_asked) {
            (Some(number), _) => text.push_str(&format!("sshd -T says the same for {number} connections\n")),
            (None, Some(why)) => text.push_str(&format!("sshd -T was not asked: {}\n", crate::say::plain(why))),
            (None, None) => {}
        }
        for difference in &self.differences {
            let Difference {
                question,
                expected,
                found,
            } = difference;
            text.push_str(&format!(
                "  {}: expected {}, found {}\n",
                crate::say::plain(question),
                crate::say::plain(expected),
                crate::say::plain(found)
            ));
        }
        text
    }
}

fn named(visitor: &Visitor) -> String {
    let groups = if visitor.groups.is_empty() {
        "no groups".to_owned()
    } else {
        visitor.groups.join(",")
    };
    format!("{} ({groups}) from {}", visitor.user, visitor.address)
}

fn endpoint(asked: &Asked) -> String {
    let tcp = |host: &str, port| {
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    };
    match asked {
        Asked::Connect(host, port) => format!("connect {}", tcp(host, port)),
        Asked::ConnectSocket(path) => format!("connect unix:{path}"),
        Asked::Listen(host, port) => format!("listen {}", tcp(host, port)),
        Asked::ListenSocket(path) => format!("listen unix:{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_was_changed_is_a_difference() {
        let text = "Match User alice\nPermitOpen db:1\nMatch LocalAddress 10.0.0.1\nAllowTcpForwarding no\n";
        let sshd = Sshd::read(Path::new("sshd_config"), text.to_owned()).expect("read");
        let question = Question {
            sshd: &sshd,
            people: &People::new(),
            stricter: vec!["said".to_owned()],
            uses_groups: false,
        };
        let alice = Visitor {
            user: "alice".to_owned(),
            groups: vec!["staff".to_owned()],
            address: super::super::clients::ELSEWHERE,
        };
        #[rustfmt::skip]
        let table = [
            // asked for                                 allowed  by       differences  stricter
            (Asked::Connect("db".to_owned(), 1),         false,   "rule",  0,           1),
            (Asked::Connect("db".to_owned(), 1),         true,    "",      1,           0),
            (Asked::Connect("db".to_owned(), 2),         true,    "",      1,           0),
            (Asked::Connect("db".to_owned(), 2),         false,   "rule",  0,           0),
            (Asked::ListenSocket("/a".to_owned()),       true,    "",      0,           0),
            (Asked::ListenSocket("/a".to_owned()),       false,   "rule",  1,           0),
            (Asked::ListenSocket("/a".to_owned()),       false,   "said",  0,           1),
        ];
        for (asked, allowed, code, differences, stricter) in table {
            let answer = ask::Answer {
                allowed,
                code: code.to_owned(),
                by_floor: false,
            };
            let mut verified = Verified::default();
            let same = [asked.clone()];
            question.compare((&alice, &sshd.surroundings()), (&asked, &same), &answer, &mut verified);
            let found = (verified.differences.len(), verified.stricter);
            assert_eq!(found, (differences, stricter), "{asked:?} {allowed} {code}");
        }
    }
}
