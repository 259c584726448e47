//! `PermitOpen` and `PermitListen`, with what switches forwarding off: what may be connected to and listened on, line by line.

use super::idle::Idle;
use super::order::{self, Together, together};
use super::switches::{SOCKETS_ARE_OFF, TCP_IS_OFF, Way};
use super::{Maker, Rule, Switches};
use crate::import::note::Place;
use crate::import::sshd::{Directive, Permits, Scope, permits};
use crate::import::targets::{EVERY_HOST, EVERY_SOCKET, Targets, listened, opened};
use crate::import::who::Who;

/// What may be done in one direction, and the keywords that say so.
pub(super) struct Listing {
    pub(super) way: Way,
    pub(super) actions: &'static [&'static str],
    /// The keyword that lists targets, if there is one.
    pub(super) keyword: Option<&'static str>,
    /// What it is about at all: hosts, sockets or both.
    pub(super) kinds: Vec<Kind>,
    pub(super) tell_user: &'static str,
}

/// Hosts or sockets.
pub(super) struct Kind {
    /// The keyword that switches it off.
    switch: &'static str,
    every: &'static str,
    is_off: &'static str,
    /// The actions, apart where the time without traffic is not the same.
    parts: Vec<(&'static [&'static str], Option<u64>)>,
}

impl Kind {
    fn hosts(parts: Vec<(&'static [&'static str], Option<u64>)>) -> Self {
        Self {
            switch: "AllowTcpForwarding",
            every: EVERY_HOST,
            is_off: TCP_IS_OFF,
            parts,
        }
    }

    fn sockets(parts: Vec<(&'static [&'static str], Option<u64>)>) -> Self {
        Self {
            switch: "AllowStreamLocalForwarding",
            every: EVERY_SOCKET,
            is_off: SOCKETS_ARE_OFF,
            parts,
        }
    }
}

impl Maker<'_> {
    /// What may be connected to.
    pub(super) fn connections(&mut self, switches: &Switches, idle: &Idle) {
        let hosts = switches
            .local
            .then(|| Kind::hosts(vec![(CONNECT, idle.each(idle.connect))]));
        let sockets = switches
            .local_sockets
            .then(|| Kind::sockets(vec![(CONNECT, idle.each(idle.connect_socket))]));
        self.direction(&Listing {
            way: Way::Connect,
            actions: CONNECT,
            keyword: Some("PermitOpen"),
            kinds: hosts.into_iter().chain(sockets).collect(),
            tell_user: "this target is not one that you may connect to",
        });
    }

    /// What may be listened on. `PermitListen` does not concern sockets.
    pub(super) fn listeners(&mut self, switches: &Switches, idle: &Idle) {
        let parts = |seconds: Option<u64>| match idle.each(seconds) {
            None => vec![(LISTEN, None)],
            some => vec![(&["listen"][..], None), (&["accept"][..], some)],
        };
        let listing = |keyword, kind| Listing {
            way: Way::Listen,
            actions: LISTEN,
            keyword,
            kinds: vec![kind],
            tell_user: "you may not listen there",
        };
        if switches.remote {
            self.direction(&listing(Some("PermitListen"), Kind::hosts(parts(idle.forwarded))));
        }
        if switches.remote_sockets {
            self.direction(&listing(None, Kind::sockets(parts(idle.forwarded_socket))));
        }
    }

    /// All keywords in one list of rules; or, if rules cannot say that, first what is off and then what is listed.
    fn direction(&mut self, listing: &Listing) {
        if listing.kinds.is_empty() {
            return;
        }
        let switches = listing.kinds.iter().map(|kind| kind.switch);
        let keywords: Vec<_> = switches.clone().chain(listing.keyword).collect();
        let start = self.made.len();
        let are_off = |lines: &[Option<&Directive>]| {
            let mut on = lines.iter().map(|line| line.is_none_or(|line| listing.way.is_on(line)));
            !on.any(|on| on)
        };
        let order = order::Switches {
            number: listing.kinds.len(),
            are_off: &are_off,
        };
        match together(self.sshd, &self.around, &keywords, &order) {
            Some(all) => all.iter().for_each(|one| self.together(listing, one)),
            None => {
                switches.for_each(|switch| self.off(switch, listing.way));
                self.listing(listing);
            }
        }
        // What nothing permits is denied without a rule, unless a rule is to say why.
        while self.made.len() > start && self.made.last().is_some_and(|rule| !rule.allows && !rule.stricter) {
            self.made.pop();
        }
    }

    fn together(&mut self, listing: &Listing, one: &Together<'_>) {
        let (switches, listed) = one.lines.split_at(listing.kinds.len());
        let on: Vec<bool> = switches
            .iter()
            .map(|line| line.is_none_or(|line| listing.way.is_on(line)))
            .collect();
        let listed = listed.first().copied().flatten();
        let (permits, targets) = listed.map_or((Permits::Any, Targets::default()), |line| self.read(listing, line));
        let off = listing
            .kinds
            .iter()
            .zip(&on)
            .find(|(_, on)| !**on)
            .map(|(kind, _)| kind.is_off);
        let counting: Vec<&Directive> = match on.contains(&true) {
            true => listed.into_iter().chain(switches.iter().copied().flatten()).collect(),
            false => switches.iter().copied().flatten().collect(),
        };
        let said = match counting.first() {
            Some(first) => Said::of(first, &one.scopes, &counting),
            None => self.unsaid(listing),
        };
        self.allow(listing, &one.who, &said, (&permits, &targets, &on));
        if permits != Permits::Any || off.is_some() {
            let left_out = targets.left_out.iter().any(|one| one.permitted);
            self.rest(
                listing,
                &one.who,
                &said,
                (off.filter(|_| permits == Permits::Any), left_out),
            );
        }
    }

    /// Allows what is permitted.
    pub(super) fn allow(&mut self, listing: &Listing, who: &Who, said: &Said, what: (&Permits, &Targets, &[bool])) {
        let Some(who) = who.settled() else {
            return;
        };
        for (actions, targets, idle_seconds) in listing.split(what) {
            self.push(Rule {
                name: said.name.clone(),
                sources: said.sources.clone(),
                actions,
                who: who.clone(),
                targets,
                allows: true,
                reason: said.reason.clone(),
                tell_user: None,
                idle_seconds,
                stricter: false,
            });
        }
    }

    /// Denies everything else of these people.
    pub(super) fn rest(
        &mut self,
        listing: &Listing,
        who: &Who,
        said: &Said,
        (off, stricter): (Option<&'static str>, bool),
    ) {
        let Some(who) = who.settled() else {
            return;
        };
        self.push(Rule {
            name: said.name.clone(),
            sources: said.sources.clone(),
            actions: listing.actions,
            stricter: stricter || !who.exact,
            who,
            targets: listing.every(),
            allows: false,
            reason: said.reason.clone(),
            tell_user: Some(off.unwrap_or(listing.tell_user)),
            idle_seconds: None,
        });
    }

    /// What a line permits, with notes on what of it no rule permits.
    pub(super) fn read(&mut self, listing: &Listing, line: &Directive) -> (Permits, Targets) {
        let keyword = line.keyword.name;
        let permits = permits(keyword, &line.arguments).unwrap_or(Permits::Nothing);
        let targets = match listing.way {
            Way::Connect => opened(&permits),
            Way::Listen => listened(&permits, self.gateway_ports),
        };
        for left in &targets.left_out {
            let words = format!("`{}` is not in the rules: {}", left.entry, left.why);
            match left.permitted {
                true => self.notes.stricter(&line.place, keyword, words),
                false => self.notes.unsaid(&line.place, keyword, words),
            }
        }
        if let (Permits::Listed(entries), Way::Listen) = (&permits, listing.way) {
            for port in entries.iter().filter_map(|(_, port)| port.filter(|port| *port < 1024)) {
                let words =
                    format!("port {port} stays closed: set `floors.privileged-listen-ports` if root listened there");
                self.notes.stricter(&line.place, keyword, words);
            }
        }
        (permits, targets)
    }
}

/// What rules say of the lines that they come from.
pub(super) struct Said {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) sources: Vec<String>,
    pub(super) reason: String,
}

impl Said {
    pub(super) fn of(first: &Directive, scopes: &[&Scope], lines: &[&Directive]) -> Self {
        let mut sorted = lines.to_vec();
        sorted.sort_by_key(|line| &line.place);
        let placed: Vec<_> = sorted.iter().map(|line| placed(line)).collect();
        Self {
            place: first.place.clone(),
            name: named(first),
            reason: placed.join("; "),
            sources: scopes.iter().map(|scope| scope.text()).chain(placed).collect(),
        }
    }
}

impl Listing {
    pub(super) fn name(&self) -> &'static str {
        match (self.way, self.keyword) {
            (Way::Connect, _) => "permit-open",
            (Way::Listen, Some(_)) => "permit-listen",
            (Way::Listen, None) => "listen-on-sockets",
        }
    }

    pub(super) fn default_name(&self) -> String {
        format!("{}-default", self.name())
    }

    pub(super) fn every(&self) -> Vec<String> {
        self.kinds.iter().map(|kind| kind.every.to_owned()).collect()
    }

    /// Whether a target is of a kind that is on.
    pub(super) fn covers(&self, target: &str) -> bool {
        let kind = if target.starts_with("unix:") {
            EVERY_SOCKET
        } else {
            EVERY_HOST
        };
        self.kinds.iter().any(|one| one.every == kind)
    }

    /// What is permitted, apart where the time without traffic is not the same.
    fn split(&self, (permits, targets, on): (&Permits, &Targets, &[bool])) -> Vec<Part> {
        let mut found: Vec<Part> = Vec::new();
        for (kind, _) in self.kinds.iter().zip(on).filter(|(_, on)| **on) {
            let sockets = kind.every == EVERY_SOCKET;
            let listed: Vec<_> = match permits {
                Permits::Any => vec![kind.every.to_owned()],
                Permits::Nothing => Vec::new(),
                Permits::Listed(_) => {
                    let fitting = targets.listed.iter().filter(|one| one.starts_with("unix:") == sockets);
                    fitting.cloned().collect()
                }
            };
            for (actions, idle) in &kind.parts {
                match found.iter_mut().find(|part| part.0 == *actions && part.2 == *idle) {
                    Some(part) => part.1.extend(listed.clone()),
                    None => found.push((*actions, listed.clone(), *idle)),
                }
            }
        }
        found.retain(|part| !part.1.is_empty());
        found
    }
}

/// Actions, targets and the time without traffic of one rule.
type Part = (&'static [&'static str], Vec<String>, Option<u64>);

fn placed(line: &Directive) -> String {
    format!("{}: {}", line.place, line.text())
}

/// A keyword as the name of a rule, with the number of its line.
fn named(line: &Directive) -> String {
    let mut name = String::new();
    for one in line.keyword.name.chars() {
        if one.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(one.to_ascii_lowercase());
    }
    format!("{name}-{}", line.place.line)
}

const CONNECT: &[&str] = &["connect"];
const LISTEN: &[&str] = &["listen", "accept"];
