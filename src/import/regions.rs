//! For whom a keyword has a value that forbids something: the Match lines in their order, the first of which counts, as
//! conditions that need no order.

use super::sshd::{Directive, Scope, Sshd, Surroundings};
use super::who::Who;
use crate::auth::matches;
use crate::import::clients::Reading;
use crate::import::note::Place;
use crate::import::sshd::Patterns;

/// Those whom one line forbids something.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// Who: one of these.
    pub(crate) parts: Vec<Who>,
    /// The line that says so.
    pub(crate) place: Place,
    /// The line as it was typed.
    pub(crate) text: String,
    /// The Match line above it.
    pub(crate) scope: Option<String>,
    /// Why more are meant by it than the line names, if so.
    pub(crate) wider: Option<String>,
}

/// Where a value counts that `forbids`; `by_default` says whether no value forbids, too.
pub(crate) fn regions(
    sshd: &Sshd,
    around: &Surroundings,
    keyword: &'static str,
    by_default: bool,
    forbids: impl Fn(&Directive) -> bool,
) -> Vec<Region> {
    let mut found = Vec::new();
    let mut passing = Vec::new();
    let mut seen = Vec::new();
    for (scope, line) in sshd.scoped(keyword) {
        let (Some(who), false) = (Who::of(scope, around), seen.contains(&line.scope)) else {
            continue;
        };
        seen.push(line.scope);
        match (forbids(line), Who::is_exact(scope, around)) {
            (true, _) => found.push(region(line, Some(scope), without(who, &passing), around)),
            (false, true) => passing.push(who),
            // It may not hold, so what comes after it counts for all.
            (false, false) => {}
        }
    }
    let global = sshd.global(keyword);
    if global.map_or(by_default, &forbids) {
        let everyone = without(Who::everyone(), &passing);
        found.push(match global {
            Some(line) => region(line, None, everyone, around),
            None => Region {
                parts: everyone.0,
                place: sshd.default_place(),
                text: keyword.to_owned(),
                scope: None,
                wider: everyone.1,
            },
        });
    }
    found.retain(|region| region.parts.iter().any(|part| part.settled().is_some()));
    found
}

fn region(
    line: &Directive,
    scope: Option<&Scope>,
    (parts, wider): (Vec<Who>, Option<String>),
    around: &Surroundings,
) -> Region {
    Region {
        parts,
        place: line.place.clone(),
        text: line.text(),
        scope: scope.map(Scope::text),
        wider: scope.and_then(|scope| open(scope, around)).or(wider),
    }
}

/// Why it is not known whom a Match line names.
pub(crate) fn open(scope: &Scope, around: &Surroundings) -> Option<String> {
    if Who::is_exact(scope, around) {
        return None;
    }
    let what = scope
        .unknown(around)
        .unwrap_or("a pattern on addresses that is no network");
    Some(format!(
        "`Match {}` depends on {what}, which no rule can ask for",
        scope.words
    ))
}

/// Those of `who` that none of the others names, and why these may be more than that.
pub(crate) fn without(who: Who, others: &[Who]) -> (Vec<Who>, Option<String>) {
    let mut parts = vec![who];
    for other in others {
        let fewer: Vec<_> = parts
            .iter()
            .flat_map(|part| other.others().into_iter().map(|rest| part.and(&rest)))
            .filter(|part| part.settled().is_some())
            .collect();
        if fewer.len() > MOST_PARTS {
            return (parts, Some("its exceptions are too many for rules".to_owned()));
        }
        parts = fewer;
    }
    (parts, None)
}

/// Whom a list of `AllowUsers` does not name, as `match_user` compares.
pub(crate) fn unlisted(entries: &[&String], use_dns: bool) -> Vec<Who> {
    let entries: Vec<_> = entries.iter().filter_map(|entry| named(entry, use_dns)).collect();
    let plain: Vec<String> = entries
        .iter()
        .filter(|entry| entry.1.is_none())
        .map(|entry| entry.0.clone())
        .collect();
    let all: Vec<String> = entries.iter().map(|entry| entry.0.clone()).collect();
    let mut parts = vec![Who::users(Vec::new(), all.clone())];
    for (user, clients) in &entries {
        if clients.is_none() || plain.iter().any(|wide| matches(wide, user)) {
            continue;
        }
        let admitting = entries.iter().filter(|(wide, _)| matches(wide, user));
        let places = admitting
            .filter_map(|(_, clients)| clients.as_ref())
            .fold(None, |sum, one| match sum {
                None => Some(one.surely.clone()),
                Some(sum) => Some(one.surely.or(&sum)),
            });
        // Names with an entry of their own are judged by that.
        let own = all
            .iter()
            .filter(|one| *one != user && !matches(one, user) && matches(user, one));
        let own = plain.iter().filter(|one| *one != user).chain(own).cloned().collect();
        if let Some(places) = places {
            parts.push(Who::users(vec![user.clone()], own).and(&Who::clients(places.complement())));
        }
    }
    parts.retain(|part| part.settled().is_some());
    parts
}

/// Whom a list of `DenyUsers` names.
pub(crate) fn listed(entries: &[&String], use_dns: bool) -> Vec<Who> {
    let entries = entries.iter().filter_map(|entry| named(entry, use_dns));
    let (hosted, plain): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.1.is_some());
    let plain: Vec<_> = plain.into_iter().map(|entry| entry.0).collect();
    let mut parts: Vec<_> = (!plain.is_empty())
        .then(|| Who::users(plain, Vec::new()))
        .into_iter()
        .collect();
    for (user, clients) in hosted {
        let clients = clients.map_or_else(super::clients::Clients::all, |clients| clients.perhaps);
        parts.push(Who::users(vec![user], Vec::new()).and(&Who::clients(clients)));
    }
    parts.retain(|part| part.settled().is_some());
    parts
}

/// `USER` or `USER@HOST`; `None` for what no user is called: OpenSSH knows no exceptions here.
fn named(entry: &str, use_dns: bool) -> Option<(String, Option<Reading>)> {
    let (user, hosts) = match entry.rsplit_once('@') {
        Some((user, hosts)) => (user, Some(Reading::of(&Patterns::list(hosts), use_dns))),
        None => (entry, None),
    };
    (!user.is_empty() && !user.starts_with('!')).then(|| (user.to_owned(), hosts))
}

/// More rules than this for one line are not readable.
const MOST_PARTS: usize = 24;
