//! The gateway's part in a fleet: what it shares is wired here to the rooms that use it.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Parts;
use crate::config::{self, Fault, Faults};
use crate::fleet::{Condition, Fleet, Open};
use crate::metrics::Redis;
use crate::policy::Generation;
use crate::sessions::{Elsewhere, Sessions};
use crate::vital::Vital;

/// Takes part as the configuration says: counts together with others, and decides with a state that they share. Connects to
/// nothing yet.
pub(super) fn join(
    config: &config::Fleet,
    file: &Path,
    sessions: &Sessions,
    generation: Arc<Generation>,
) -> Result<(Option<Fleet>, Arc<Generation>), Faults> {
    let fleet = Fleet::new(config).map_err(|words| Faults {
        file: file.to_owned(),
        faults: vec![Fault::of_key(file, PASSWORD_KEY, words)],
    })?;
    let Some(fleet) = fleet else {
        return Ok((None, generation));
    };
    let counted = sessions.clone();
    fleet.counts.counted_by(move |user| Open {
        forwards: u64::from(counted.open_forwards(user)),
        sessions: counted.sessions_of(user) as u64,
    });
    sessions.count_with(Arc::new(fleet.clone()));
    let generation = generation.sharing(fleet.state(), Arc::clone(&fleet.counts) as Arc<_>);
    Ok((Some(fleet), Arc::new(generation)))
}

impl Elsewhere for Fleet {
    fn changed(&self, user: &str) {
        self.counts.changed(user);
    }

    fn admits<'a>(&'a self, user: &'a str, most: usize) -> BoxFuture<'a, bool> {
        Box::pin(self.counts.admits(user, most))
    }

    fn refuses_new(&self) -> bool {
        Fleet::refuses_new(self)
    }
}

impl Parts {
    /// Keeps the connection and the counts until the gateway has stopped.
    pub(super) fn keep_fleet(&self) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let (kept, ending) = (fleet.clone(), self.ending.clone());
        let linked = self.vitals.keep(Vital::Linking, ending.clone(), move || {
            kept.clone().keep_link(ending.clone())
        });
        self.tasks.spawn(linked);
        let (kept, ending) = (fleet.clone(), self.ending.clone());
        let counted = self.vitals.keep(Vital::Counting, ending.clone(), move || {
            kept.clone().keep_counts(ending.clone())
        });
        self.tasks.spawn(counted);
    }

    /// Why the fleet is not what it should be, in words; none where there is no fleet or nothing is wrong.
    pub(super) fn fleet_trouble(&self) -> Option<String> {
        let fleet = self.fleet.as_ref()?;
        match fleet.link.condition() {
            Condition::Connected(_) if fleet.link.is_refused() => Some("redis refuses what it is asked".to_owned()),
            Condition::Connected(_) => None,
            Condition::Unknown => Some("redis is not reachable: not connected yet".to_owned()),
            Condition::Away(why) => Some(format!("redis is not reachable: {why}")),
        }
    }

    /// For the metrics.
    pub(super) fn redis(&self) -> Option<Redis> {
        let link = &self.fleet.as_ref()?.link;
        Some(Redis {
            connected: link.condition().is_connected(),
            connections: link.connections(),
            calls: link.outcomes().collect(),
        })
    }
}

pub(super) const PASSWORD_KEY: &str = "fleet.redis-password-file";
