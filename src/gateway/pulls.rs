//! Pulls components from registries: at a start, a check and a reload, and whenever a tag moves.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::Parts;
use crate::config::{Artifact, Config, OnChange, Source};
use crate::policy::{Compiler, LoadError};
use crate::registry::{ArtifactFolder, Fetched, PullError, Registries};

/// What was not pulled, by the names of the plugins.
#[derive(Debug, Default)]
pub(super) struct Unpulled(Vec<(String, PullError)>);

/// A folder for what is pulled only to be looked at; it goes with this value.
#[derive(Debug)]
pub(super) struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Unpulled {
    /// What is kept of each of these serves, in words.
    pub(super) fn warnings(&self, config: &Config) -> Vec<String> {
        let kept = |name: &str| images(config).any(|(plugin, artifact)| plugin == name && artifact.file.is_file());
        let kept = self.0.iter().filter(|(name, _)| kept(name));
        kept.map(|(name, error)| format!("{name}: {error}; what was pulled before serves"))
            .collect()
    }

    /// Says of each plugin that has no component why nothing was pulled.
    pub(super) fn explain(&self, errors: Vec<(String, LoadError)>) -> Vec<(String, LoadError)> {
        let explained = errors.into_iter().map(|(name, error)| {
            let known = self.0.iter().find(|(unpulled, _)| *unpulled == name);
            match (&error, known) {
                (LoadError::Unpulled(_), Some((_, why))) => (name, LoadError::Unpulled(why.to_string())),
                _ => (name, error),
            }
        });
        explained.collect()
    }
}

/// Looks every component up that is in a registry, and pulls what has moved or is not kept. All are asked at once; one that is kept is
/// waited for less long.
pub(super) async fn pull(config: &Config, compiler: &Compiler) -> Unpulled {
    let registries = Registries::new(compiler.confinement(), &config.oci);
    let pulls = images(config).map(async |(name, artifact)| {
        let kept = ArtifactFolder::at(&artifact.file);
        let pulled = look(&registries, config, artifact, &kept, &kept).await;
        Some((name.to_owned(), pulled.err()?))
    });
    Unpulled(join_all(pulls).await.into_iter().flatten().collect())
}

/// The same, to look at it: what is pulled goes into a folder of its own, which the configuration then names.
pub(super) async fn pull_aside(config: &mut Config, compiler: &Compiler) -> (Unpulled, Option<Aside>) {
    if images(config).next().is_none() {
        return (Unpulled::default(), None);
    }
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    let random = u64::from_le_bytes(random);
    let aside = Aside(std::env::temp_dir().join(format!("portreeve-{}-{random:016x}", std::process::id())));
    let registries = Registries::new(compiler.confinement(), &config.oci);
    let pulls = images(config).enumerate().map(async |(index, (name, artifact))| {
        let (kept, fresh) = (
            ArtifactFolder::at(&artifact.file),
            ArtifactFolder::within(&aside.0.join(index.to_string())),
        );
        let pulled = look(&registries, config, artifact, &kept, &fresh).await;
        (name.to_owned(), pulled, fresh.component())
    });
    let pulls = join_all(pulls).await;
    let mut unpulled = Unpulled::default();
    for (name, pulled, file) in pulls {
        let plugin = config.policy.plugins.iter_mut().find(|plugin| plugin.name == name);
        match (pulled, plugin.map(|plugin| &mut plugin.component)) {
            (Ok(Fetched::Moved), Some(Source::Oci(artifact))) if file.is_file() => artifact.file = file,
            (Err(error), _) => unpulled.0.push((name, error)),
            _ => {}
        }
    }
    (unpulled, Some(aside))
}

async fn look(
    registries: &Registries,
    config: &Config,
    artifact: &Artifact,
    kept: &ArtifactFolder,
    into: &ArtifactFolder,
) -> Result<Fetched, PullError> {
    let reader = kept.clone();
    let whole = tokio::task::spawn_blocking(move || reader.whole()).await;
    let whole = whole.unwrap_or_default();
    let within = match whole {
        Some(_) => WITH_ONE_KEPT,
        None => WITH_NONE_KEPT,
    };
    // Where it is only looked at, a signature that comes later is pulled with its component.
    let have = whole.filter(|_| !is_demanded(config) || kept.is_signed() || std::ptr::eq(kept, into));
    registries
        .fetch(&artifact.image, into, (have, None), is_demanded(config), within)
        .await
}

impl Parts {
    /// Pulls what a configuration names, before its policies are prepared.
    pub(super) async fn pull(&self, config: &Config) -> Unpulled {
        let unpulled = pull(config, &self.origin.compiler()).await;
        for words in unpulled.warnings(config) {
            tracing::warn!("{words}");
        }
        unpulled
    }

    /// Looks tags up, each at its own pace. A tag that moved is a file that changes, which is noticed where files are watched.
    pub(super) async fn watch_registries(self: Arc<Self>) {
        loop {
            let config = self.in_force.config();
            let registries = Registries::new(self.origin.compiler().confinement(), &config.oci);
            let watched = config
                .policy
                .plugins
                .iter()
                .filter(|plugin| plugin.watch != OnChange::Wait);
            let polls = watched.filter_map(|plugin| match &plugin.component {
                Source::Oci(artifact) if artifact.image.digest().is_none() => {
                    Some(self.poll(&config, &registries, &plugin.name, artifact))
                }
                _ => None,
            });
            let polls = join_all(polls);
            let replaced = async {
                while Arc::ptr_eq(&config, &self.in_force.config()) {
                    sleep(RECHECK_CONFIG).await;
                }
            };
            tokio::select! {
                () = async { polls.await; pending().await } => {}
                () = replaced => {}
                () = self.ending.cancelled() => return,
            }
        }
    }

    /// Looks one tag up again and again.
    async fn poll(&self, config: &Config, registries: &Registries, name: &str, artifact: &Artifact) {
        let (image, kept) = (&artifact.image, ArtifactFolder::at(&artifact.file));
        let (mut away, mut refused) = (false, None);
        loop {
            sleep(jittered(config.oci.poll)).await;
            let known = (kept.digest(), refused.clone());
            match registries.fetch(image, &kept, known, is_demanded(config), POLL).await {
                Ok(fetched) => {
                    if std::mem::take(&mut away) {
                        tracing::info!(plugin = name, "{image}: the registry answers again");
                    }
                    if fetched == Fetched::Moved {
                        let digest = kept.digest().unwrap_or_default();
                        tracing::info!(plugin = name, "{image} moved to {digest}: pulled");
                    }
                }
                Err(PullError::Refused { digest, words }) => {
                    away = false;
                    self.rejected(name, None, words);
                    self.swaps.send_modify(|count| *count += 1);
                    refused = Some(digest);
                }
                Err(PullError::Away(words)) if !away => {
                    away = true;
                    tracing::warn!(plugin = name, "{words}; what was pulled before serves");
                }
                Err(PullError::Away(_)) => {}
            }
        }
    }
}

fn images(config: &Config) -> impl Iterator<Item = (&str, &Artifact)> {
    config
        .policy
        .plugins
        .iter()
        .filter_map(|plugin| match &plugin.component {
            Source::Oci(artifact) => Some((plugin.name.as_str(), artifact)),
            _ => None,
        })
}

fn is_demanded(config: &Config) -> bool {
    config.policy.signatures.is_some()
}

/// A tenth more or less at random, so that many gateways do not ask at once.
fn jittered(pace: Duration) -> Duration {
    let mut random = [0];
    let _ = getrandom::fill(&mut random);
    let [random] = random;
    pace.mul_f64(0.9 + 0.2 * f64::from(random) / 255.0)
}

/// How long a registry may take at a start, a check or a reload, where something can serve in its place.
const WITH_ONE_KEPT: Duration = Duration::from_secs(10);
/// The same where nothing can.
const WITH_NONE_KEPT: Duration = Duration::from_secs(60);
/// How long one look may take while the policy before serves.
const POLL: Duration = Duration::from_secs(60);
const RECHECK_CONFIG: Duration = Duration::from_secs(1);
