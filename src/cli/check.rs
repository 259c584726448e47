//! `portreeve check`: validates a configuration, and says what would change in a gateway that runs with another.

use std::path::PathBuf;

use crate::config::{self, Config, Faults};
use crate::gateway::{self, Applies, Origin, Prepared, changes};
use crate::origin::origin;
use crate::policy::Installed;
use crate::say::{INVALID, invalid, plain, print};

/// Checks a configuration, and compares it with the one of a running gateway; returns the exit code.
pub(super) async fn run(config: Option<PathBuf>, running: Option<PathBuf>, json: bool) -> u8 {
    match checked(config, running).await {
        Ok((prepared, changes)) => print(&report(&prepared, changes.as_deref(), json)),
        Err(faults) if json => {
            let text = serde_json::to_string_pretty(&serde_json::json!({ "ok": false, "faults": faults.faults }));
            print(&(text.unwrap_or_default() + "\n"));
            INVALID
        }
        Err(faults) => invalid(&faults),
    }
}

type Changes = Vec<(&'static str, Applies)>;

async fn checked(config: Option<PathBuf>, running: Option<PathBuf>) -> Result<(Prepared, Option<Changes>), Faults> {
    let origin = origin(config, Vec::new())?;
    let running = running.map(|running| config::load(&running)).transpose()?;
    let prepared = whole(origin.load()?, &*origin).await?;
    let changes = running.map(|running| changes(&running, &prepared.config));
    Ok((prepared, changes))
}

/// The configuration prepared, or all that keeps a gateway from its start.
async fn whole(config: Config, origin: &dyn Origin) -> Result<Prepared, Faults> {
    let file = origin.file();
    let mut missing = gateway::missing(&config, file);
    match Prepared::new(config, file).await {
        Ok(prepared) if missing.is_empty() => {
            prepared.keeps_to(origin.invariants(), file).await?;
            Ok(prepared)
        }
        Ok(_) => Err(Faults {
            file: file.to_owned(),
            faults: missing,
        }),
        Err(mut faults) => {
            faults.faults.append(&mut missing);
            Err(faults)
        }
    }
}

fn report(prepared: &Prepared, changes: Option<&[(&'static str, Applies)]>, json: bool) -> String {
    let generation = &prepared.generation;
    let keys: Vec<_> = prepared.host_keys.fingerprints().collect();
    if json {
        let policies: Vec<_> = generation.installed().collect();
        let mut value = serde_json::json!({ "ok": true, "policies": policies, "host-keys": keys });
        if let (false, Some(value)) = (prepared.warnings.is_empty(), value.as_object_mut()) {
            value.insert("warnings".to_owned(), prepared.warnings.clone().into());
        }
        if let (Some(changes), Some(value)) = (changes, value.as_object_mut()) {
            let change =
                |(key, applies): &(&str, Applies)| serde_json::json!({ "key": key, "applies": word(*applies) });
            value.insert("changes".to_owned(), changes.iter().map(change).collect());
        }
        return format!("{value:#}\n");
    }
    let mut text = "the configuration is valid\n".to_owned();
    for warning in &prepared.warnings {
        text.push_str(&format!("warning: {}\n", plain(warning)));
    }
    for key in keys {
        text.push_str(&format!("host key {key}\n"));
    }
    for Installed { policy, signer } in generation.installed() {
        let digest = policy.sha256.get(..12).unwrap_or_default();
        let signed =
            signer.map(|signer| format!(", signed by {} with {}", plain(&signer.principal), signer.fingerprint));
        text.push_str(&format!(
            "policy {} {} (sha256 {digest}…{})\n",
            plain(&policy.name),
            plain(&policy.version),
            signed.unwrap_or_default()
        ));
    }
    text + &changes.map(compared).unwrap_or_default()
}

fn compared(changes: &[(&'static str, Applies)]) -> String {
    if changes.is_empty() {
        return "no key changes\n".to_owned();
    }
    let width = changes.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, applies): &(&str, Applies)| format!("  {key:width$}  {}\n", when(*applies));
    format!("changes:\n{}", changes.iter().map(line).collect::<String>())
}

fn when(applies: Applies) -> &'static str {
    match applies {
        Applies::TakesAtOnce => "after a reload; restrictions even if a policy is faulty",
        Applies::WithPolicies => "after a reload",
        Applies::AfterRestart => "after a restart or an upgrade",
    }
}

/// The same for programs.
fn word(applies: Applies) -> &'static str {
    match applies {
        Applies::TakesAtOnce => "reload-restrictions-at-once",
        Applies::WithPolicies => "reload",
        Applies::AfterRestart => "restart",
    }
}
