//! Whom a rule is about, as conditions that a rule can have: users, groups, addresses of clients, ways to log in.
//!
//! A rule has one list of each, with exceptions. What follows from several Match lines is brought into that form here, or
//! [`Who::settled`] says that it cannot be.

use super::clients::{Clients, Reading};
use super::sshd::{Criterion, Patterns, Scope, Surroundings};
use crate::auth::matches;

/// Whom a rule is about: all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    users: Names,
    groups: Names,
    clients: Clients,
    /// Ways to log in; empty: any.
    methods: Vec<&'static str>,
}

/// Lists of which each must have a match, and patterns that may not match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    any: Vec<Vec<String>>,
    none: Vec<String>,
}

/// The conditions as a rule has them; an empty list is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// `users`.
    pub(crate) users: Vec<String>,
    /// `groups`.
    pub(crate) groups: Vec<String>,
    /// `clients`.
    pub(crate) clients: Vec<String>,
    /// `methods`.
    pub(crate) methods: Vec<String>,
    /// Whether they say exactly what was meant; otherwise more are meant by them.
    pub(crate) exact: bool,
}

impl Who {
    /// Everyone.
    pub(crate) fn everyone() -> Self {
        Self {
            users: Names::default(),
            groups: Names::default(),
            clients: Clients::all(),
            methods: Vec::new(),
        }
    }

    /// Whom a Match line names at most; `None` for nobody. What cannot be known is taken to hold.
    pub(crate) fn of(scope: &Scope, around: &Surroundings) -> Option<Self> {
        if scope.never(around) {
            return None;
        }
        let all = scope
            .criteria
            .iter()
            .fold(Self::everyone(), |who, one| who.and(&Self::of_criterion(one, around)));
        (!all.clients.is_empty()).then_some(all)
    }

    /// Whether [`Who::of`] says exactly whom a Match line names.
    pub(crate) fn is_exact(scope: &Scope, around: &Surroundings) -> bool {
        let exact = |criterion: &Criterion| match criterion {
            Criterion::Address(patterns) => Reading::of(patterns, false).is_exact(),
            Criterion::Host(patterns) => Reading::of(&patterns.without_networks(), around.use_dns).is_exact(),
            _ => true,
        };
        scope.unknown(around).is_none() && scope.criteria.iter().all(exact)
    }

    fn of_criterion(criterion: &Criterion, around: &Surroundings) -> Self {
        let mut who = Self::everyone();
        match criterion {
            Criterion::User(patterns) => who.users = Names::of(patterns),
            Criterion::Group(patterns) => who.groups = Names::of(patterns),
            Criterion::Address(patterns) => who.clients = Reading::of(patterns, false).perhaps,
            Criterion::Host(patterns) => {
                who.clients = Reading::of(&patterns.without_networks(), around.use_dns).perhaps
            }
            Criterion::All | Criterion::InvalidUser | Criterion::LocalPort(_) | Criterion::Unknown(_) => {}
        }
        who
    }

    /// Those whose name matches one of these.
    pub(crate) fn users(any: Vec<String>, none: Vec<String>) -> Self {
        let any = if any.is_empty() { Vec::new() } else { vec![any] };
        Self {
            users: Names { any, none },
            ..Self::everyone()
        }
    }

    /// Those who have one of these groups and none of those.
    pub(crate) fn groups(any: Vec<String>, none: Vec<String>) -> Self {
        let any = if any.is_empty() { Vec::new() } else { vec![any] };
        Self {
            groups: Names { any, none },
            ..Self::everyone()
        }
    }

    /// Those who come from there.
    pub(crate) fn clients(clients: Clients) -> Self {
        Self {
            clients,
            ..Self::everyone()
        }
    }

    /// Those who log in in one of these ways.
    pub(crate) fn methods(methods: &[&'static str]) -> Self {
        Self {
            methods: methods.to_vec(),
            ..Self::everyone()
        }
    }

    /// Those that both name. `methods` are those of the one that has any.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            users: self.users.and(&other.users),
            groups: self.groups.and(&other.groups),
            clients: self.clients.and(&other.clients),
            methods: if self.methods.is_empty() {
                other.methods.clone()
            } else {
                self.methods.clone()
            },
        }
    }

    /// Everyone else, as parts that may overlap.
    pub(crate) fn others(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        for list in &self.users.any {
            parts.push(Self::users(Vec::new(), list.clone()));
        }
        if !self.users.none.is_empty() {
            parts.push(Self::users(self.users.none.clone(), Vec::new()));
        }
        for list in &self.groups.any {
            parts.push(Self::groups(Vec::new(), list.clone()));
        }
        if !self.groups.none.is_empty() {
            parts.push(Self::groups(self.groups.none.clone(), Vec::new()));
        }
        if !self.clients.is_all() {
            parts.push(Self::clients(self.clients.complement()));
        }
        parts
    }

    /// As a rule has it; `None` if it is nobody.
    pub(crate) fn settled(&self) -> Option<Settled> {
        let users = self.users.one_of_one()?;
        let groups = self.groups.one_of_many()?;
        if self.clients.is_empty() {
            return None;
        }
        Some(Settled {
            exact: users.1 && groups.1,
            users: users.0,
            groups: groups.0,
            clients: if self.clients.is_all() {
                Vec::new()
            } else {
                self.clients.written()
            },
            methods: self.methods.iter().map(|one| (*one).to_owned()).collect(),
        })
    }
}

impl Names {
    fn of(patterns: &Patterns) -> Self {
        Self {
            any: vec![patterns.any.clone()],
            none: patterns.none.clone(),
        }
    }

    fn and(&self, other: &Self) -> Self {
        let mut any = self.any.clone();
        any.extend(other.any.iter().filter(|list| !self.any.contains(list)).cloned());
        let mut none = self.none.clone();
        none.extend(other.none.iter().filter(|one| !self.none.contains(one)).cloned());
        Self { any, none }
    }

    /// One list for something that a user has one of, and whether it is exact; `None` if nothing can match.
    fn one_of_one(&self) -> Option<(Vec<String>, bool)> {
        let is_wild = |pattern: &String| pattern.contains(['*', '?']);
        let literal = self.any.iter().find(|list| !list.iter().any(is_wild));
        let (mut list, exact) = match (literal, self.any.as_slice()) {
            (Some(list), _) => {
                let fits = |name: &&String| self.any.iter().all(|list| list.iter().any(|one| matches(one, name)));
                (list.iter().filter(fits).cloned().collect(), true)
            }
            (None, []) => (vec!["*".to_owned()], true),
            (None, [list]) => (list.clone(), true),
            (None, [first, ..]) => (
                first.clone(),
                self.any.iter().all(|list| list.contains(&"*".to_owned())),
            ),
        };
        // A pattern takes in what it matches as a text, wildcards included.
        list.retain(|one| !self.none.iter().any(|none| matches(none, one)));
        match list.is_empty() {
            true => None,
            false => Some((self.written(list), exact)),
        }
    }

    /// The same for something that a user has several of: two lists are two conditions, of which a rule can have one.
    fn one_of_many(&self) -> Option<(Vec<String>, bool)> {
        // Whoever has a group that is an exception is out, whatever else they have.
        let open = |list: &Vec<String>| -> Vec<String> {
            let fits = |one: &&String| !self.none.iter().any(|none| matches(none, one));
            list.iter().filter(fits).cloned().collect()
        };
        let lists: Vec<_> = self.any.iter().map(open).collect();
        if lists.iter().any(Vec::is_empty) || self.none.iter().any(|none| none == "*") {
            return None;
        }
        let narrow = lists.iter().find(|list| {
            let within = |other: &Vec<String>| list.iter().all(|one| other.iter().any(|wide| matches(wide, one)));
            lists.iter().all(within)
        });
        Some(match (narrow.or(lists.first()), narrow.is_some() || lists.is_empty()) {
            (Some(list), exact) => (self.written(list.clone()), exact),
            (None, exact) => (self.written(vec!["*".to_owned()]), exact),
        })
    }

    /// No condition if every name is meant.
    fn written(&self, list: Vec<String>) -> Vec<String> {
        if list == ["*"] && self.none.is_empty() {
            return Vec::new();
        }
        list.into_iter()
            .chain(self.none.iter().map(|one| format!("!{one}")))
            .collect()
    }
}

impl Patterns {
    /// `match_hostname` knows no networks: they are texts that no client has as its name.
    fn without_networks(&self) -> Self {
        let keep = |list: &[String]| list.iter().filter(|one| !one.contains('/')).cloned().collect();
        Self {
            any: keep(&self.any),
            none: keep(&self.none),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn conditions_of_two_lines_become_those_of_one_rule() {
        #[rustfmt::skip]
        let table = [
            // users of one        of the other      together                exact
            (("alice bob", ""),    ("*", "bob"),     Some(("alice !bob",     true))),
            (("alice", ""),        ("bob", ""),      None),
            (("alice", ""),        ("*", "al*"),     None),
            (("a* b*", ""),        ("alice", "carol"), Some(("alice !carol", true))),
            (("a*", ""),           ("*b", ""),       Some(("a*",             false))),
            (("", "alice"),        ("", "bob"),      Some(("* !alice !bob",  true))),
        ];
        for ((any, none), (other_any, other_none), expected) in table {
            let one = Who::users(list(any), list(none));
            let both = one.and(&Who::users(list(other_any), list(other_none)));
            let found = both.settled().map(|settled| (settled.users.join(" "), settled.exact));
            let expected = expected.map(|(users, exact)| (users.to_owned(), exact));
            assert_eq!(found, expected, "{any} !{none} and {other_any} !{other_none}");
        }
    }

    #[test]
    fn two_groups_at_once_are_more_than_a_rule_can_say() {
        let both = |one: &str, other: &str| {
            let who = Who::groups(list(one), Vec::new()).and(&Who::groups(list(other), list("x")));
            let settled = who.settled().expect("nobody");
            (settled.groups.join(" "), settled.exact)
        };
        assert_eq!(both("dba", "ops"), ("dba !x".to_owned(), false));
        assert_eq!(both("dba", "d* ops"), ("dba !x".to_owned(), true));
        assert_eq!(both("*", "ops"), ("ops !x".to_owned(), true));
        assert_eq!(Who::groups(list("a b"), list("*")).settled(), None);
        assert_eq!(Who::groups(list("a"), list("a")).settled(), None);
    }

    #[test]
    fn the_others_are_all_who_miss_one_condition() {
        let who = Who::users(list("alice"), Vec::new()).and(&Who::groups(list("dba"), list("x")));
        let others: Vec<_> = who.others().iter().filter_map(Who::settled).collect();
        let said: Vec<_> = others
            .iter()
            .map(|one| (one.users.join(" "), one.groups.join(" ")))
            .collect();
        let pair = |users: &str, groups: &str| (users.to_owned(), groups.to_owned());
        assert_eq!(said, [pair("* !alice", ""), pair("", "* !dba"), pair("", "x")]);
    }
}
