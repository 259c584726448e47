//! The rules that permit what an `sshd_config` permits.
//!
//! First rules that deny: logins that `sshd` would refuse, and what `AllowTcpForwarding` and its like switch off, each for those
//! whom the first Match line that counts names. Then what may be connected to and listened on, line by line in the order in
//! which the lines count. Nothing else is permitted.
//!
//! Invariant: where a rule cannot say exactly what a line says, it forbids more, and a note says so.

mod alone;
mod chain;
mod idle;
mod login;
mod order;
mod switches;

use super::note::{Notes, Place};
use super::regions::Region;
use super::sshd::{Criterion, Sshd, Surroundings};
use super::who::Settled;
use crate::config::GatewayPorts;

pub(crate) use switches::Switches;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Unique.
    pub(crate) name: String,
    /// The lines that it comes from.
    pub(crate) sources: Vec<String>,
    /// Empty: every action.
    pub(crate) actions: &'static [&'static str],
    /// Whom it is about.
    pub(crate) who: Settled,
    /// Empty: every target.
    pub(crate) targets: Vec<String>,
    /// Whether it allows; otherwise it denies.
    pub(crate) allows: bool,
    /// For the audit log.
    pub(crate) reason: String,
    /// For the user who is denied.
    pub(crate) tell_user: Option<&'static str>,
    /// `terms.idle-seconds`.
    pub(crate) idle_seconds: Option<u64>,
    /// Whether it denies what `sshd` permitted, as a note says.
    pub(crate) stricter: bool,
}

/// All that decides.
#[derive(Debug)]
pub(crate) struct Ruleset {
    /// In their order.
    pub(crate) rules: Vec<Rule>,
    /// `[forwarding]`.
    pub(crate) switches: Switches,
    /// Whether groups count: then everyone who may forward needs one.
    pub(crate) uses_groups: bool,
    /// Time without traffic after which every tunnel ends, if it is one time for all.
    pub(crate) idle_seconds: Option<u64>,
}

/// Makes the rules.
pub(crate) fn rules(sshd: &Sshd, notes: &mut Notes) -> Ruleset {
    let around = sshd.surroundings();
    let switches = Switches::of(sshd, &around, notes);
    let mut maker = Maker {
        sshd,
        around,
        notes,
        uses_groups: uses_groups(sshd),
        gateway_ports: switches.gateway_ports,
        made: Vec::new(),
    };
    let idle = idle::Idle::of(sshd, maker.notes);
    maker.logins();
    maker.switched_off(&switches);
    maker.connections(&switches, &idle);
    maker.listeners(&switches, &idle);
    Ruleset {
        uses_groups: maker.uses_groups,
        idle_seconds: idle.of_all(),
        rules: maker.made,
        switches,
    }
}

struct Maker<'a> {
    sshd: &'a Sshd,
    around: Surroundings,
    notes: &'a mut Notes,
    uses_groups: bool,
    gateway_ports: GatewayPorts,
    made: Vec<Rule>,
}

/// What a rule that denies has besides whom it is about.
#[derive(Clone, Default)]
struct Denial {
    name: &'static str,
    actions: &'static [&'static str],
    targets: Vec<String>,
    tell_user: &'static str,
    /// Whether it is stricter than the line, as a note says already.
    stricter: bool,
}

impl Maker<'_> {
    /// Denies something in a region.
    fn deny(&mut self, region: &Region, denial: &Denial) {
        let mut wider = region.wider.clone();
        for part in &region.parts {
            let Some(who) = part.settled() else {
                continue;
            };
            if !who.exact {
                wider.get_or_insert_with(|| "a rule can ask for one group only, not for two at once".to_owned());
            }
            let stricter = denial.stricter || wider.is_some();
            self.push(Rule {
                name: format!("{}-{}", denial.name, region.place.line),
                sources: sources(&region.place, region.scope.as_deref(), &region.text),
                actions: denial.actions,
                who,
                targets: denial.targets.clone(),
                allows: false,
                reason: format!("{}: {}", region.place, region.text),
                tell_user: Some(denial.tell_user),
                idle_seconds: None,
                stricter,
            });
        }
        if let Some(why) = wider {
            let keyword = region.text.split(' ').next().unwrap_or_default();
            self.notes
                .stricter(&region.place, keyword, format!("denied for more than it names: {why}"));
        }
    }

    /// Adds a rule under a name of its own, unless an earlier one always matches before it.
    fn push(&mut self, mut rule: Rule) {
        if rule.allows && self.uses_groups && rule.who.groups.is_empty() {
            // Whose groups are unknown is nobody's member, and nobody's exception.
            rule.who.groups = vec!["*".to_owned()];
        }
        if self.made.iter().any(|earlier| earlier.covers(&rule)) {
            return;
        }
        let base = rule.name.clone();
        let mut number = 1;
        while self.made.iter().any(|one| one.name == rule.name) {
            number += 1;
            rule.name = format!("{base}-{number}");
        }
        self.made.push(rule);
    }
}

impl Rule {
    /// Whether it surely matches whenever the other does.
    fn covers(&self, other: &Self) -> bool {
        let actions = self.actions.is_empty()
            || (!other.actions.is_empty() && other.actions.iter().all(|one| self.actions.contains(one)));
        let targets = self.targets.is_empty()
            || (!other.targets.is_empty() && other.targets.iter().all(|one| self.targets.contains(one)));
        let plain = !self.targets.iter().any(|one| one.starts_with('!'));
        let wide = |mine: &[String], theirs: &[String]| mine.is_empty() || mine == theirs;
        let (mine, theirs) = (&self.who, &other.who);
        let who = wide(&mine.users, &theirs.users)
            && (wide(&mine.groups, &theirs.groups) || (mine.groups == ["*"] && !theirs.groups.is_empty()))
            && wide(&mine.clients, &theirs.clients)
            && wide(&mine.methods, &theirs.methods);
        actions && targets && (plain || self.targets == other.targets) && who
    }
}

/// The lines that a rule comes from, for a comment.
fn sources(place: &Place, scope: Option<&str>, text: &str) -> Vec<String> {
    let line = format!("{place}: {text}");
    scope.map(str::to_owned).into_iter().chain([line]).collect()
}

fn uses_groups(sshd: &Sshd) -> bool {
    let matched = sshd.scopes.iter().flat_map(|scope| &scope.criteria);
    let lists = sshd.all("AllowGroups").chain(sshd.all("DenyGroups"));
    matched.filter(|one| matches!(one, Criterion::Group(_))).count() + lists.count() > 0
}

impl Ruleset {
    /// The names of the rules that are stricter than what they come from.
    pub(crate) fn stricter(&self) -> Vec<String> {
        self.rules
            .iter()
            .filter(|rule| rule.stricter)
            .map(|rule| rule.name.clone())
            .collect()
    }
}
