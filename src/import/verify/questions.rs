//! Whom and what a verification asks about: everyone and everything that is named, and their neighbours.

use std::net::IpAddr;

use super::Question;
use crate::import::clients::{ELSEWHERE, Reading};
use crate::import::people::{groups, named_users};
use crate::import::sshd::{Asked, Criterion, Patterns, Permits, Sshd, Visitor, permits};

/// Every user and group that is named, and others; each from every network that is named, and from elsewhere.
pub(super) fn visitors(question: &Question<'_>) -> Vec<Visitor> {
    let mut people: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |user: String, groups: Vec<String>| {
        if !people.contains(&(user.clone(), groups.clone())) {
            people.push((user, groups));
        }
    };
    for (user, groups) in question.people {
        add(
            user.clone(),
            groups.clone().unwrap_or_else(|| vec![OTHER_GROUP.to_owned()]),
        );
    }
    let all: Vec<_> = groups(question.sshd).iter().map(|pattern| example(pattern)).collect();
    for user in named_users(question.sshd)
        .iter()
        .map(|pattern| example(pattern))
        .chain([OTHER_USER.to_owned()])
    {
        add(user.clone(), vec![OTHER_GROUP.to_owned()]);
        for group in &all {
            add(user.clone(), vec![group.clone()]);
        }
    }
    for (number, one) in all.iter().enumerate() {
        for other in all.iter().skip(number + 1).filter(|other| *other != one) {
            add(OTHER_USER.to_owned(), vec![one.clone(), other.clone()]);
        }
    }
    add(OTHER_USER.to_owned(), Vec::new());
    add("root".to_owned(), vec!["root".to_owned()]);
    people.truncate(MOST_PEOPLE);
    let addresses = addresses(question.sshd);
    let from = |(user, groups): (String, Vec<String>)| {
        let visitor = move |address: &IpAddr| Visitor {
            user: user.clone(),
            groups: groups.clone(),
            address: *address,
        };
        addresses.iter().map(visitor).collect::<Vec<_>>()
    };
    people.into_iter().flat_map(from).collect()
}

/// An address of each network that is named, and one of none.
fn addresses(sshd: &Sshd) -> Vec<IpAddr> {
    let mut lists: Vec<Patterns> = Vec::new();
    for criterion in sshd.scopes.iter().flat_map(|scope| &scope.criteria) {
        if let Criterion::Address(patterns) | Criterion::Host(patterns) = criterion {
            lists.push(patterns.clone());
        }
    }
    for line in sshd.all("AllowUsers").chain(sshd.all("DenyUsers")) {
        lists.extend(
            line.arguments
                .iter()
                .filter_map(|one| Some(Patterns::list(one.rsplit_once('@')?.1))),
        );
    }
    let mut found = vec![ELSEWHERE];
    for patterns in lists {
        let every = Patterns {
            any: [patterns.any.as_slice(), &patterns.none].concat(),
            none: Vec::new(),
        };
        for text in every.any {
            let one = Patterns {
                any: vec![text],
                none: Vec::new(),
            };
            found.extend(Reading::of(&one, false).surely.samples());
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_ADDRESSES);
    found
}

/// Every target that is named, with another port and another host; sockets, and ports that need privileges.
pub(super) fn questions(sshd: &Sshd) -> Vec<Asked> {
    let mut found = vec![
        Asked::Connect("elsewhere.example".to_owned(), 9),
        Asked::Connect("127.0.0.1".to_owned(), 9),
        Asked::ConnectSocket("/run/elsewhere.sock".to_owned()),
        Asked::Listen("localhost".to_owned(), 9999),
        Asked::Listen("localhost".to_owned(), 0),
        Asked::Listen("localhost".to_owned(), 80),
        Asked::Listen(String::new(), 9999),
        Asked::Listen("127.0.0.1".to_owned(), 9999),
        Asked::ListenSocket("/run/elsewhere.sock".to_owned()),
    ];
    for (host, port) in entries(sshd, "PermitOpen") {
        match host.strip_prefix('/') {
            Some(_) => found.push(Asked::ConnectSocket(host.clone())),
            None => {
                let host = if host == "*" {
                    "elsewhere.example".to_owned()
                } else {
                    host.clone()
                };
                let port = port.unwrap_or(7);
                found.extend([port, port.wrapping_add(1).max(1)].map(|port| Asked::Connect(host.clone(), port)));
                found.push(Asked::Connect("elsewhere.example".to_owned(), port));
            }
        }
    }
    for (host, port) in entries(sshd, "PermitListen") {
        let port = port.unwrap_or(7777);
        for host in [example(&host), "localhost".to_owned(), String::new()] {
            found.extend([port, port.wrapping_add(1).max(1)].map(|port| Asked::Listen(host.clone(), port)));
        }
    }
    let mut unique: Vec<Asked> = Vec::new();
    for asked in found {
        if !unique.contains(&asked) {
            unique.push(asked);
        }
    }
    unique.truncate(MOST_TARGETS);
    unique
}

fn entries(sshd: &Sshd, keyword: &'static str) -> Vec<(String, Option<u16>)> {
    let lists = sshd
        .all(keyword)
        .filter_map(|line| permits(keyword, &line.arguments).ok());
    let entries = lists.flat_map(|list| match list {
        Permits::Listed(entries) => entries,
        Permits::Any | Permits::Nothing => Vec::new(),
    });
    entries.collect()
}

/// A text that a pattern matches.
fn example(pattern: &str) -> String {
    pattern.trim_start_matches('!').replace('*', "x").replace('?', "1")
}

const OTHER_USER: &str = "someone-else";
const OTHER_GROUP: &str = "some-other-group";

/// Bounds on questions: far more than an `sshd_config` names.
const MOST_PEOPLE: usize = 200;
const MOST_ADDRESSES: usize = 20;
const MOST_TARGETS: usize = 200;
