//! Rules that are never reached, because an earlier rule matches whenever they do.
//!
//! An earlier rule covers a later one when it is open to the same actions and endpoints, and each of its conditions follows
//! from a condition of the later one. What cannot be proven so is not reported: a rule that is reported is never reached.

use crate::condition::{Condition, EndpointPattern, TargetPattern, Text};
use crate::network::{self, Networks};
use crate::outcome::Outcome;
use crate::pattern::{Pattern, PatternList};
use crate::range::RangeSet;
use crate::rules::Rule;
use crate::time::Window;

/// Each rule that is never reached with the first rule that covers it, both counted from 0, in order. Of very many rules the
/// later ones are not all compared.
pub fn covered(rules: &[Rule]) -> Vec<(usize, usize)> {
    let mut pairs = MOST_PAIRS;
    let mut found = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        for (earlier, other) in rules.iter().enumerate().take(number) {
            let Some(left) = usize::checked_sub(pairs, 1) else {
                return found;
            };
            pairs = left;
            if covers(other, rule) {
                found.push((number, earlier));
                break;
            }
        }
    }
    found
}

fn covers(earlier: &Rule, later: &Rule) -> bool {
    let doubtful = matches!(later.outcome, Outcome::Deny(_)) && !matches!(earlier.outcome, Outcome::Deny(_));
    earlier.actions.covers(later.actions)
        && (earlier.kinds.tcp || !later.kinds.tcp)
        && (earlier.kinds.sockets || !later.kinds.sockets)
        && earlier
            .conditions
            .iter()
            .all(|condition| follows(condition, later, doubtful))
}

/// Whether the condition holds for every request that the rule matches. A denial matches in doubt, too: where `doubtful` is set,
/// that is not enough for the condition.
fn follows(condition: &Condition, rule: &Rule, doubtful: bool) -> bool {
    let own = |same: &dyn Fn(&Condition) -> bool| rule.conditions.iter().any(same);
    match condition {
        Condition::Text(Text::Host, list) => {
            own(&|other| matches!(other, Condition::Text(Text::Host, own) if list.covers(own)))
                || endpoints(rule).is_some_and(|all| all.iter().all(|(host, _)| covers_one(list, host)))
        }
        Condition::Text(Text::Socket, list) => {
            own(&|other| matches!(other, Condition::Text(Text::Socket, own) if list.covers(own)))
                || sockets(rule).is_some_and(|all| all.iter().all(|path| covers_one(list, path)))
        }
        Condition::Text(text @ (Text::Groups | Text::Principals), list) => {
            own(&|other| matches!(other, Condition::Text(own, same) if own == text && list.covers_sets(same)))
        }
        Condition::Text(text, list) => {
            own(&|other| matches!(other, Condition::Text(own, same) if own == text && list.covers(same)))
        }
        Condition::Ports(ports) => {
            own(&|other| matches!(other, Condition::Ports(own) if ports.covers(own)))
                || endpoints(rule).is_some_and(|all| all.iter().all(|(_, own)| ports.covers(own)))
        }
        Condition::Targets(targets) => targets_follow(targets, rule),
        Condition::Clients(networks) => own(&|other| matches!(other, Condition::Clients(own) if networks.covers(own))),
        Condition::Peers(networks) => {
            !doubtful && own(&|other| matches!(other, Condition::Peers(own) if networks.covers(own)))
        }
        Condition::Addresses(networks) => {
            !doubtful && own(&|other| matches!(other, Condition::Addresses(own) if networks.covers(own)))
                || are_addresses_in(networks, rule)
        }
        Condition::Starts(start) => own(&|other| matches!(other, Condition::Starts(own) if own >= start)),
        Condition::Expires(end) => own(&|other| matches!(other, Condition::Expires(own) if own <= end)),
        Condition::When(windows) => own(
            &|other| matches!(other, Condition::When(own) if own.iter().all(|narrow| windows.iter().any(|wide| wide.covers(narrow)))),
        ),
    }
}

/// The hosts and ports that a rule matches, where it lists them; nothing for one that also matches sockets.
fn endpoints(rule: &Rule) -> Option<Vec<(Pattern, RangeSet<u16>)>> {
    if rule.kinds.sockets {
        return None;
    }
    if let Some(targets) = targets(rule) {
        let all = targets.iter().filter(|target| !target.is_exception);
        let tcp = all.filter_map(|target| match &target.endpoint {
            EndpointPattern::Tcp(host, ports) => Some((host.clone(), ports.clone())),
            EndpointPattern::Socket(_) => None,
        });
        return Some(tcp.collect());
    }
    let ports = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Ports(ports) => Some(ports.clone()),
        _ => None,
    });
    let ports = ports.unwrap_or_else(|| RangeSet::new(vec![rule.ports], Vec::new()));
    let hosts = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Text(Text::Host, list) => Some(list),
        _ => None,
    });
    Some(match hosts {
        Some(hosts) => hosts.patterns().map(|host| (host, ports.clone())).collect(),
        None => vec![(Pattern::Any, ports)],
    })
}

/// The paths that a rule matches, where it lists them; nothing for one that also matches TCP.
fn sockets(rule: &Rule) -> Option<Vec<Pattern>> {
    if rule.kinds.tcp {
        return None;
    }
    let all = targets(rule)?.iter().filter(|target| !target.is_exception);
    let paths = all.filter_map(|target| match &target.endpoint {
        EndpointPattern::Socket(path) => Some(path.clone()),
        EndpointPattern::Tcp(..) => None,
    });
    Some(paths.collect())
}

fn targets(rule: &Rule) -> Option<&[TargetPattern]> {
    rule.conditions.iter().find_map(|condition| match condition {
        Condition::Targets(targets) => Some(&**targets),
        _ => None,
    })
}

/// Whether each endpoint of the rule is one of the targets. Exceptions are too many cases for what they are worth.
fn targets_follow(listed: &[TargetPattern], rule: &Rule) -> bool {
    if listed.iter().any(|target| target.is_exception) {
        return false;
    }
    let tcp = |host: &Pattern, ports: &RangeSet<u16>| {
        listed.iter().any(|target| {
            matches!(&target.endpoint, EndpointPattern::Tcp(wide, all) if wide.covers(host) && all.covers(ports))
        })
    };
    let socket = |path: &Pattern| {
        listed
            .iter()
            .any(|target| matches!(&target.endpoint, EndpointPattern::Socket(wide) if wide.covers(path)))
    };
    if let Some(own) = targets(rule) {
        return own
            .iter()
            .filter(|target| !target.is_exception)
            .all(|target| match &target.endpoint {
                EndpointPattern::Tcp(host, ports) => tcp(host, ports),
                EndpointPattern::Socket(path) => socket(path),
            });
    }
    if let Some(paths) = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Text(Text::Socket, list) => Some(list),
        _ => None,
    }) {
        return paths.patterns().all(|path| socket(&path));
    }
    endpoints(rule).is_some_and(|all| all.iter().all(|(host, ports)| tcp(host, ports)))
}

fn covers_one(list: &PatternList, pattern: &Pattern) -> bool {
    list.covers(&PatternList::new(vec![pattern.clone()], Vec::new()))
}

/// Whether every host that the rule matches is an address in these networks.
fn are_addresses_in(networks: &Networks, rule: &Rule) -> bool {
    let inside = |host: &Pattern| {
        let Pattern::Exact(host) = host else { return false };
        network::address(host).is_some_and(|address| !address.is_unspecified() && networks.contains(address))
    };
    endpoints(rule).is_some_and(|all| !all.is_empty() && all.iter().all(|(host, _)| inside(host)))
}

impl Window {
    /// Whether this window is open whenever the other one is.
    fn covers(&self, other: &Self) -> bool {
        let whole_day = self.from == 0 && self.to == 1440;
        let plain = self.from < self.to && other.from < other.to;
        let hours = whole_day && plain
            || plain && self.from <= other.from && other.to <= self.to
            || (self.from, self.to) == (other.from, other.to);
        hours && self.days.covers(other.days) && self.zone == other.zone
    }
}

/// Comparing as many takes a few milliseconds of the time that `configure` has.
const MOST_PAIRS: usize = 250_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn found(rules: &str) -> Vec<(usize, usize)> {
        let settings: toml::Value = toml::from_str(rules).unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        covered(
            &settings::read(&json)
                .unwrap_or_else(|faults| panic!("{rules}: {faults:?}"))
                .0,
        )
    }

    #[test]
    fn rule_that_an_earlier_one_always_covers_is_found() {
        // The conditions of an earlier rule, of a later one, and whether that is never reached.
        #[rustfmt::skip]
        let table = [
            ("",                                            "hosts = 'db'",                                      true),
            ("hosts = '*'",                                 "hosts = 'db'",                                      true),
            ("hosts = '*'",                                 "users = 'alice'",                                   false), // sockets
            ("hosts = '*.internal'",                        "hosts = ['a.internal', '*.db.internal']",           true),
            ("hosts = '*.internal'",                        "hosts = ['a.internal', 'web']",                     false),
            ("hosts = ['*.internal', '!db.internal']",      "hosts = 'a.internal'",                              true),
            ("hosts = ['*.internal', '!db.internal']",      "hosts = 'db.internal'",                             false),
            ("hosts = ['*.internal', '!db.internal']",      "hosts = '*.internal'",                              false),
            ("hosts = ['*', '!db']",                        "hosts = ['*', '!d*']",                              true),
            ("ports = '1-100'",                             "ports = [22, 80]",                                  true),
            ("ports = '1-100'",                             "ports = [22, 8080]",                                false),
            ("ports = [22, 80]",                            "ports = '22-80'",                                   false),
            ("ports = 22",                                  "hosts = 'db'\nports = 22",                          true),
            ("hosts = 'db'\nports = 22",                    "ports = 22",                                        false),
            ("ports = 22",                                  "targets = 'db:22'",                                 true),
            ("hosts = 'd*'",                                "targets = ['db:22', 'dx:*']",                       true),
            ("hosts = 'd*'",                                "targets = ['db:22', 'unix:/x']",                    false),
            ("targets = 'db:*'",                            "hosts = 'db'\nports = 22",                          true),
            ("targets = ['db:22', 'web:80']",               "targets = 'web:80'",                                true),
            ("targets = ['db:22', '!db:23']",               "targets = 'db:22'",                                 false), // not compared
            ("targets = 'unix:/run/**'",                    "sockets = '/run/a'",                                true),
            ("sockets = '/run/**'",                         "targets = 'unix:/run/a/*'",                         true),
            ("sockets = '/run/*'",                          "sockets = '/run/a/b'",                              false),
            ("users = 'alice'",                             "users = ['alice', 'bob']",                          false),
            ("users = ['alice', 'bob']",                    "users = 'alice'",                                   true),
            ("groups = 'dba'",                              "groups = ['dba']\nusers = 'x'",                     true),
            ("groups = ['dba', '!guest']",                  "groups = 'dba'",                                    false),
            ("groups = ['dba', '!guest']",                  "groups = ['dba', '!guest', '!x']",                  true),
            ("groups = '*'",                                "users = 'alice'",                                   false),
            ("users = '*'",                                 "users = 'alice'",                                   true),
            ("actions = 'connect'",                         "hosts = 'db'",                                      false),
            ("actions = ['connect', 'listen']",             "actions = 'connect'",                               true),
            ("clients = '10.0.0.0/8'",                      "clients = '10.1.0.0/16'",                           true),
            ("clients = '10.1.0.0/16'",                     "clients = '10.0.0.0/8'",                            false),
            ("addresses = '10.0.0.0/8'",                    "addresses = '::ffff:10.1.0.0/112'",                 true),
            ("addresses = '10.0.0.0/8'",                    "hosts = '10.0.0.5'",                                true),
            ("addresses = '10.0.0.0/8'",                    "hosts = 'db'",                                      false),
            ("expires = '2030-01-01'",                      "expires = '2029-01-01'",                            true),
            ("expires = '2029-01-01'",                      "hosts = 'db'",                                      false),
            ("starts = '2029-01-01'",                       "starts = '2030-01-01'",                             true),
            ("when = { days = 'mon-fri' }",                 "when = { days = 'tue', from = '08:00', to = '09:00' }", true),
            ("when = { from = '22:00', to = '06:00' }",     "when = { from = '23:00', to = '24:00' }",           false), // not compared
            ("when = { days = 'mon', zone = '+01:00' }",    "when = { days = 'mon' }",                           false),
            ("methods = '*'",                               "methods = 'password'",                              true),
        ];
        for (earlier, later, expected) in table {
            for (one, other) in [("allow", "allow"), ("deny", "allow"), ("deny", "deny")] {
                let rules =
                    format!("[[rules]]\noutcome = '{one}'\n{earlier}\n[[rules]]\noutcome = '{other}'\n{later}\n");
                let expected: &[_] = if expected { &[(1, 0)] } else { &[] };
                assert_eq!(found(&rules), expected, "{rules}");
            }
        }
    }

    #[test]
    fn a_denial_that_matches_in_doubt_is_not_covered_by_an_allow_that_does_not() {
        let rules = |one: &str, other: &str| {
            format!(
                "[[rules]]\noutcome = '{one}'\naddresses = '10.0.0.0/8'\n[[rules]]\noutcome = '{other}'\naddresses = '10.0.0.0/8'\n"
            )
        };
        assert_eq!(found(&rules("allow", "deny")), []);
        assert_eq!(found(&rules("deny", "allow")), [(1, 0)]);
        assert_eq!(found(&rules("allow", "allow")), [(1, 0)]);
    }

    #[test]
    fn a_rewrite_that_keeps_the_host_does_not_cover_sockets_or_accepts() {
        let rules = "[[rules]]\noutcome = 'rewrite'\nto = ':1'\n[[rules]]\noutcome = 'allow'\nusers = 'a'\n";
        assert_eq!(found(rules), []);
        let rules = "[[rules]]\noutcome = 'rewrite'\nto = ':1'\n[[rules]]\noutcome = 'allow'\nactions = 'connect'\nhosts = 'a'\n";
        assert_eq!(found(rules), [(1, 0)]);
    }

    #[test]
    fn very_many_rules_are_compared_in_bounded_time() {
        let rule = |number: usize| format!("[[rules]]\noutcome = 'deny'\nhosts = 'h{number}'\n");
        let rules: String = (0..3000).map(rule).collect();
        assert_eq!(found(&rules), []);
    }
}
