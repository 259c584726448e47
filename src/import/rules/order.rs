//! Several keywords at once, in the order in which their lines count.
//!
//! Each keyword has a list of Match lines, of which the first that holds counts. Of two such lists, the first pair that holds as
//! a whole, in the order of the pairs, is the pair of the firsts: so the lists together are one list again, and the first rule
//! that matches is the right one.

use crate::import::sshd::{Criterion, Directive, Scope, Sshd, Surroundings};
use crate::import::who::Who;

/// A Match line with the line of a keyword below it; no scope: outside of all; no line: the default.
type Link<'a> = (Option<&'a Scope>, Option<&'a Directive>);

/// One line of each keyword, and for whom all of them count, if nothing before did.
pub(super) struct Together<'a> {
    /// Whom the Match lines name.
    pub(super) who: Who,
    /// The Match lines, none twice.
    pub(super) scopes: Vec<&'a Scope>,
    /// The line of each keyword, in the order of the keywords.
    pub(super) lines: Vec<Option<&'a Directive>>,
}

/// Keywords that come before the last one, and whether nothing is left to say if these lines of them count.
pub(super) struct Switches<'f> {
    /// How many.
    pub(super) number: usize,
    /// Whether these lines switch everything off.
    pub(super) are_off: &'f dyn Fn(&[Option<&Directive>]) -> bool,
}

/// The keywords together, switches first; `None` if rules cannot say that: then each has rules of its own.
pub(super) fn together<'a>(
    sshd: &'a Sshd,
    around: &Surroundings,
    keywords: &[&'static str],
    switches: &Switches<'_>,
) -> Option<Vec<Together<'a>>> {
    let chains: Vec<_> = keywords
        .iter()
        .map(|keyword| chain(sshd, around, keyword))
        .collect::<Option<_>>()?;
    let size = chains
        .iter()
        .try_fold(1_usize, |size, chain| size.checked_mul(chain.len()))?;
    if size > MOST {
        return None;
    }
    let mut found: Vec<Together<'a>> = Vec::new();
    for number in 0..size {
        let Some(choice) = choice(&chains, number, switches) else {
            continue;
        };
        let who = choice
            .scopes
            .iter()
            .filter_map(|scope| Who::of(scope, around))
            .fold(Who::everyone(), |sum, one| sum.and(&one));
        let Some(settled) = who.settled() else {
            continue;
        };
        if found.iter().any(|earlier| implies(&choice.scopes, &earlier.scopes)) {
            continue;
        }
        if !settled.exact {
            return None;
        }
        found.push(Together { who, ..choice });
    }
    Some(found)
}

/// The lines of a keyword that may count; `None` if that depends on something that rules cannot ask for.
fn chain<'a>(sshd: &'a Sshd, around: &Surroundings, keyword: &'static str) -> Option<Vec<Link<'a>>> {
    let mut links: Vec<Link<'a>> = Vec::new();
    for (scope, line) in sshd.scoped(keyword) {
        let again = links
            .iter()
            .any(|(_, other)| other.is_some_and(|other| other.scope == line.scope));
        if Who::of(scope, around).is_none() || again {
            continue;
        }
        if !Who::is_exact(scope, around) {
            return None;
        }
        links.push((Some(scope), Some(line)));
    }
    links.push((None, sshd.global(keyword)));
    Some(links)
}

/// The choice with this number, the last keyword changing fastest; `None` if another line of some keyword counts before.
fn choice<'a>(chains: &[Vec<Link<'a>>], number: usize, switches: &Switches<'_>) -> Option<Together<'a>> {
    let mut rest = number;
    let mut places = Vec::new();
    for chain in chains.iter().rev() {
        places.push(rest % chain.len());
        rest /= chain.len();
    }
    places.reverse();
    let mut links: Vec<Link<'a>> = chains
        .iter()
        .zip(&places)
        .filter_map(|(chain, place)| chain.get(*place).copied())
        .collect();
    let lines: Vec<_> = links.iter().take(switches.number).map(|(_, line)| *line).collect();
    let mut considered = chains.len();
    if (switches.are_off)(&lines) {
        // What is listed does not count then, so it is said once and for all.
        considered = switches.number;
        if places.iter().skip(considered).any(|place| *place > 0) {
            return None;
        }
        links.iter_mut().skip(considered).for_each(|link| *link = (None, None));
    }
    let mut scopes: Vec<&Scope> = Vec::new();
    for scope in links.iter().filter_map(|(scope, _)| *scope) {
        if !scopes.iter().any(|other| std::ptr::eq(*other, scope)) {
            scopes.push(scope);
        }
    }
    let earlier = chains
        .iter()
        .zip(&places)
        .take(considered)
        .flat_map(|(chain, place)| chain.iter().take(*place));
    let counts_before = |(scope, _): &Link<'a>| scope.is_some_and(|scope| implies(&scopes, &[scope]));
    if earlier.into_iter().any(counts_before) {
        return None;
    }
    Some(Together {
        who: Who::everyone(),
        lines: links.into_iter().map(|(_, line)| line).collect(),
        scopes,
    })
}

/// Whether the first Match lines can hold only if the others do.
fn implies(scopes: &[&Scope], others: &[&Scope]) -> bool {
    let given: Vec<&Criterion> = scopes.iter().flat_map(|scope| &scope.criteria).collect();
    let mut wanted = others.iter().flat_map(|scope| &scope.criteria);
    wanted.all(|one| *one == Criterion::All || given.contains(&one))
}

/// More pairs than this take too long to compare.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn pairs(text: &str) -> Option<Vec<String>> {
        let sshd = Sshd::read(Path::new("sshd_config"), text.to_owned()).expect("read");
        let off = |lines: &[Option<&Directive>]| lines.iter().flatten().any(|line| line.first() == "no");
        let switches = Switches {
            number: 1,
            are_off: &off,
        };
        let found = together(
            &sshd,
            &sshd.surroundings(),
            &["AllowTcpForwarding", "PermitOpen"],
            &switches,
        )?;
        let number = |line: &Option<&Directive>| line.map_or(0, |line| line.place.line).to_string();
        Some(
            found
                .iter()
                .map(|one| one.lines.iter().map(number).collect::<Vec<_>>().join("+"))
                .collect(),
        )
    }

    #[test]
    fn lines_of_one_match_block_stay_together() {
        let text = "AllowTcpForwarding no\nMatch Group a\nAllowTcpForwarding yes\nPermitOpen x:1\nMatch User u\n\
                    AllowTcpForwarding local\nPermitOpen y:1\n";
        assert_eq!(pairs(text).expect("said"), ["3+4", "6+7", "1+0"]);
        let text = "AllowTcpForwarding yes\nMatch Group a\nAllowTcpForwarding no\nMatch Group b\nPermitOpen x:1\n";
        assert_eq!(pairs(text).expect("said"), ["3+0", "1+5", "1+0"]);
    }

    #[test]
    fn lines_of_two_match_blocks_count_in_their_order() {
        let text =
            "Match User u\nAllowTcpForwarding yes\nMatch Group a\nPermitOpen x:1\nMatch All\nAllowTcpForwarding no\n";
        assert_eq!(pairs(text).expect("said"), ["2+4", "2+0", "6+0"]);
    }

    #[test]
    fn two_groups_at_once_are_left_to_other_rules() {
        let text = "AllowTcpForwarding no\nMatch Group a\nAllowTcpForwarding yes\nMatch Group b\nPermitOpen x:1\n";
        assert_eq!(pairs(text), None);
        let text = "Match LocalAddress 10.0.0.1\nPermitOpen x:1\n";
        assert_eq!(pairs(text), None);
    }
}
