//! Conditions of one rule that no request can meet together.

use super::reader::{Object, Reader};
use crate::condition::{Condition, EndpointPattern, TargetPattern, Text};
use crate::network::{self, Networks};
use crate::pattern::{Pattern, PatternList};
use crate::range::RangeSet;
use crate::request::Action;
use crate::rules::Actions;

/// Reports the conditions that contradict each other.
pub fn check(object: &Object, conditions: &[Condition], actions: Actions, is_denial: bool, reader: &mut Reader) {
    let ports = conditions.iter().find_map(|condition| match condition {
        Condition::Ports(ports) => Some(ports),
        _ => None,
    });
    let targets = conditions.iter().find_map(|condition| match condition {
        Condition::Targets(targets) => Some(&**targets),
        _ => None,
    });
    let hosts = text(conditions, Text::Host);
    let sockets = text(conditions, Text::Socket);
    let addresses = conditions.iter().find_map(|condition| match condition {
        Condition::Addresses(networks) => Some(networks),
        _ => None,
    });

    if let Some(targets) = targets {
        if included(targets).all(|pattern| is_exception(targets, pattern)) {
            reader.fault(&object.at("targets"), "the exceptions leave nothing to match");
        } else if !included(targets).any(|pattern| fits(pattern, hosts, ports, sockets)) {
            let others = [
                ("hosts", hosts.is_some()),
                ("ports", ports.is_some()),
                ("sockets", sockets.is_some()),
            ];
            let others: Vec<&str> = others.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect();
            let message = format!(
                "no target here fits {} too, so the rule matches nothing, keep one of them or write two rules",
                super::reader::join(&others, "and")
            );
            reader.fault(&object.at("targets"), message);
        }
    }
    if let (Some(hosts), Some(networks)) = (hosts, addresses)
        && all_outside(hosts, networks)
    {
        let message = "none of the addresses in `hosts` lies in here, so the rule matches nothing, keep one of them";
        reader.fault(&object.at("addresses"), message);
    }
    if !actions.contains(Action::Listen) {
        let zero = "port 0 means any free port, so it needs `listen` among the `actions`";
        if ports.is_some_and(|ports| ports.hull() == Some((0, 0))) {
            reader.fault(&object.at("ports"), zero);
        }
        if targets.is_some_and(|targets| included(targets).all(|pattern| is_port_zero(&pattern.endpoint))) {
            reader.fault(&object.at("targets"), zero);
        }
    }
    if object.has("peers") && sockets.is_some() && !is_denial {
        let message = "a peer that connects to a socket has no address, so the rule matches nothing, leave `peers` or `sockets` out";
        reader.fault(&object.at("peers"), message);
    }
}

fn text(conditions: &[Condition], wanted: Text) -> Option<&PatternList> {
    conditions.iter().find_map(|condition| match condition {
        Condition::Text(text, list) if *text == wanted => Some(list),
        _ => None,
    })
}

fn included(targets: &[TargetPattern]) -> impl Iterator<Item = &TargetPattern> {
    targets.iter().filter(|pattern| !pattern.is_exception)
}

fn is_exception(targets: &[TargetPattern], pattern: &TargetPattern) -> bool {
    targets.iter().any(|other| {
        other.is_exception
            && match (&other.endpoint, &pattern.endpoint) {
                (EndpointPattern::Tcp(wide, all), EndpointPattern::Tcp(host, ports)) => {
                    wide.covers(host) && all.covers(ports)
                }
                (EndpointPattern::Socket(wide), EndpointPattern::Socket(path)) => wide.covers(path),
                _ => false,
            }
    })
}

/// Whether a target may meet the other conditions on the target. Kinds that do not fit are reported elsewhere.
fn fits(
    pattern: &TargetPattern,
    hosts: Option<&PatternList>,
    ports: Option<&RangeSet<u16>>,
    sockets: Option<&PatternList>,
) -> bool {
    let meets = |list: Option<&PatternList>, pattern: &Pattern| {
        list.is_none_or(|list| list.patterns().any(|other| other.may_meet(pattern)))
    };
    match &pattern.endpoint {
        EndpointPattern::Tcp(host, own) => {
            sockets.is_some() || (meets(hosts, host) && ports.is_none_or(|ports| ports.meets(own)))
        }
        EndpointPattern::Socket(path) => hosts.is_some() || ports.is_some() || meets(sockets, path),
    }
}

fn is_port_zero(endpoint: &EndpointPattern) -> bool {
    matches!(endpoint, EndpointPattern::Tcp(_, ports) if ports.hull() == Some((0, 0)))
}

/// Whether the hosts are addresses, each outside of the networks.
fn all_outside(hosts: &PatternList, networks: &Networks) -> bool {
    hosts.wild().is_empty()
        && hosts.exact().iter().all(|host| {
            network::address(host).is_some_and(|address| !address.is_unspecified() && !networks.contains(address))
        })
}
