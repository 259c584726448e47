//! The gateway's side of `/v1/policies`.

use std::sync::Arc;

use super::Parts;
use super::rollout::{Way, Wish, no_shadow};
use crate::admin::{
    Declined, DiffView, DifferencesView, ExampleView, GateView, GatesView, GenerationView, GroupView, Load, PluginView,
    QuarantinedView, Rollout, UserView, settings_that_differ,
};
use crate::policy::{Counted, Entry, Generation, Known, Quarantined};
use crate::replay::Tally;
use crate::rollout::{Report, Row, Shadow};

impl Rollout for Parts {
    fn plugins(&self) -> Vec<PluginView> {
        let current = self.judge.current();
        let names = current.generation.policies().map(|policy| policy.name.clone());
        names.map(|name| self.view(&name)).collect()
    }

    async fn load(self: Arc<Self>, plugin: String, load: Load) -> Result<(), Declined> {
        let (force, dry_run) = (load.force, load.dry_run);
        let (wish, way) = sorted(load);
        Parts::load(&self, &plugin, wish, force, dry_run, way).await
    }

    async fn shadow(self: Arc<Self>, plugin: String, load: Load) -> Result<(), Declined> {
        let (wish, way) = sorted(load);
        Parts::shadow(&self, &plugin, wish, &way.by).await
    }

    fn end_shadow(&self, plugin: &str) -> Result<(), Declined> {
        self.rollouts
            .shadows
            .end(plugin)
            .map(|_| ())
            .ok_or_else(|| no_shadow(plugin))
    }

    async fn promote(self: Arc<Self>, plugin: String, load: Load) -> Result<(), Declined> {
        let force = load.force;
        let (_, way) = sorted(load);
        Parts::promote(&self, &plugin, force, way).await
    }

    async fn confirm(self: Arc<Self>, plugin: String) -> Result<(), Declined> {
        Parts::confirm(&self, &plugin).await
    }

    async fn rollback(self: Arc<Self>, plugin: String, to: Option<u64>, load: Load) -> Result<(), Declined> {
        let (_, way) = sorted(load);
        self.go_back(&plugin, to, way).await
    }

    fn differences(&self, plugin: &str) -> Result<DifferencesView, Declined> {
        let shadow = self.rollouts.shadows.of(plugin).ok_or_else(|| no_shadow(plugin))?;
        let found = shadow.findings();
        Ok(DifferencesView {
            skipped: found.skipped,
            since: Some(shadow.since),
            ..differences(&found.tally)
        })
    }

    async fn diff(self: Arc<Self>, plugin: String, from: u64, to: u64) -> Result<DiffView, Declined> {
        let (one, other) = (self.kept(&plugin, from).await?, self.kept(&plugin, to).await?);
        let asked = Parts::differences(&self, &one, &other).await;
        let (tally, _) = asked.map_err(Declined::Conflict)?;
        let but = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(|import| !others.contains(import)).cloned().collect()
        };
        let (before, after) = (one.imports_of(&plugin), other.imports_of(&plugin));
        let settings = |chain: &Generation| {
            let text = chain.settings_of(&plugin).unwrap_or("{}");
            serde_json::from_str(text).unwrap_or_default()
        };
        Ok(DiffView {
            from,
            to,
            same_component: one.sha256_of(&plugin) == other.sha256_of(&plugin),
            imports_added: but(after, before),
            imports_removed: but(before, after),
            settings: settings_that_differ(&settings(&one), &settings(&other)),
            differences: differences(&tally),
        })
    }
}

impl Parts {
    fn view(&self, plugin: &str) -> PluginView {
        let known = self.judge.policies().known(plugin);
        let shadow = self.rollouts.shadows.of(plugin);
        let mut generations = known.as_ref().map(generations).unwrap_or_default();
        generations.extend(shadow.as_deref().map(shadow_view));
        let gone = |one: &&Quarantined| {
            let known = known.iter().flat_map(|known| &known.entries);
            !known.into_iter().any(|(entry, _)| entry.identity == one.identity)
        };
        let quarantined = known.iter().flat_map(|known| &known.quarantined).filter(gone);
        PluginView {
            plugin: plugin.to_owned(),
            quarantined: quarantined.map(quarantined_view).collect(),
            generations,
            confirm_by: known.as_ref().and_then(|known| known.confirm_by),
            gates: self.rollouts.report(plugin).map(report_view),
        }
    }

    /// A generation of this plugin in the chain in force, loaded and not put in force.
    async fn kept(&self, plugin: &str, generation: u64) -> Result<Arc<Generation>, Declined> {
        let current = Arc::clone(&self.judge.current().generation);
        let policies = self.judge.policies();
        if policies.known(plugin).is_some_and(|known| known.active == generation) {
            return Ok(current);
        }
        let entry = policies.earlier(plugin, Some(generation)).map_err(Declined::Unknown)?;
        self.loaded_again(plugin, entry).await
    }
}

/// What is wanted, and how.
fn sorted(load: Load) -> (Wish, Way) {
    let wish = Wish {
        component: load.component,
        settings: load.settings,
    };
    let way = Way {
        by: load.by,
        reason: load.reason,
        confirm_within: load.confirm_within,
    };
    (wish, way)
}

fn generations(known: &Known) -> Vec<GenerationView> {
    let view = |(entry, counted): &(Entry, Counted)| {
        let quarantined = known.quarantined.iter().find(|one| one.identity == entry.identity);
        GenerationView {
            generation: Some(entry.generation),
            state: match quarantined {
                _ if entry.generation == known.active => "active",
                Some(_) => "quarantined",
                None => "previous",
            },
            version: entry.version.clone(),
            sha256: entry.sha256.clone(),
            settings_sha256: entry.identity.settings_sha256.clone(),
            signer: entry.signer.clone(),
            loaded_by: entry.by.clone(),
            since: entry.since,
            until: entry.until,
            decisions: counted.decisions,
            denials: counted.denials,
            failures: counted.failures,
            reason: quarantined.map(|one| one.reason.clone()),
        }
    };
    known.entries.iter().map(view).collect()
}

fn shadow_view(shadow: &Shadow) -> GenerationView {
    let found = shadow.findings();
    GenerationView {
        generation: None,
        state: "shadow",
        version: shadow.candidate.version.clone(),
        sha256: shadow.candidate.sha256.clone(),
        settings_sha256: shadow.candidate.settings_sha256.clone(),
        signer: None,
        loaded_by: shadow.by.clone(),
        since: shadow.since,
        until: None,
        decisions: found.tally.asked,
        denials: found.tally.denied,
        failures: found.tally.failed,
        reason: None,
    }
}

fn quarantined_view(one: &Quarantined) -> QuarantinedView {
    QuarantinedView {
        component: one.identity.component.clone(),
        settings_sha256: one.identity.settings_sha256.clone(),
        since: one.since,
        reason: one.reason.clone(),
    }
}

fn report_view(report: Report) -> GatesView {
    let gate = |row: Row| GateView {
        gate: row.gate,
        result: row.verdict.as_str(),
        words: row.words,
        millis: row.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    };
    GatesView {
        by: report.by,
        time: report.time,
        component: report.identity.as_ref().map(|identity| identity.component.clone()),
        settings_sha256: report.identity.map(|identity| identity.settings_sha256),
        gates: report.rows.into_iter().map(gate).collect(),
    }
}

fn differences(tally: &Tally) -> DifferencesView {
    let groups = tally.by_count().into_iter().take(MOST_SHOWN);
    let users = tally.by_user().into_iter().take(MOST_SHOWN);
    let examples = tally.examples.iter();
    DifferencesView {
        asked: tally.asked,
        skipped: 0,
        different: tally.different,
        since: None,
        groups: groups
            .map(|(group, count)| GroupView {
                change: group.change.to_string(),
                before: group.before.clone(),
                after: group.after.clone(),
                count: count.count,
                first: count.first.1.clone(),
            })
            .collect(),
        users: users
            .map(|(user, count, changes)| UserView {
                user: user.to_owned(),
                count,
                changes: changes
                    .iter()
                    .map(|(change, count)| (change.to_string(), *count))
                    .collect(),
            })
            .collect(),
        examples: examples
            .map(|example| ExampleView {
                forward: example.forward.clone(),
                time: example.time,
                user: example.user.clone(),
                asked: example.asked.clone(),
                before: example.before.to_string(),
                after: example.after.to_string(),
            })
            .collect(),
    }
}

/// Groups and users that are shown, the most frequent first.
const MOST_SHOWN: usize = 100;
