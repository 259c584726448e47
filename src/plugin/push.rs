//! `portreeve plugin push`: a component to a registry.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::loading;
use super::project::Setup;
use super::pull::{Access, PATIENCE};
use super::wrong::{Wrong, fail};
use crate::config::{Image, Source};
use crate::files;
use crate::policy::{Component, Description, Kind, Meter, Offline};
use crate::registry::{Described, Pushed};
use crate::say::{self, FAILED, INVALID, plain};
use crate::signature;

/// Push a component to a registry, with its signature.
#[derive(Args)]
pub(crate) struct Push {
    /// Component, or project folder (one with a `policy.toml`). A signature in FILE.sig goes with it.
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// Where to, as in oci://registry.example.org/policies/office:1.2.0.
    #[arg(value_name = "oci://REGISTRY/REPOSITORY:TAG")]
    image: String,
    /// Where the source of the policy is, for the annotations.
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    #[command(flatten)]
    access: Access,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Pushes it; the exit code is the answer.
pub(super) async fn run(mut push: Push) -> u8 {
    let image = match super::pull::image(&push.image) {
        Ok(image) if image.digest().is_none() => image,
        Ok(_) => return fail(INVALID, "a push makes the digest: name a tag only", push.json),
        Err(words) => return fail(INVALID, &words, push.json),
    };
    let file = match loading::file(&push.file) {
        Ok(file) => file,
        Err(unready) => return unready.report(push.json),
    };
    push.access.of(&image);
    let setup = match loading::projected(&file.to_string_lossy()) {
        Ok(setup) => setup,
        Err(unready) => return unready.report(push.json),
    };
    match pushed(&push, &image, &file, &setup).await {
        Ok(text) => say::print(&text),
        Err((code, wrong)) => wrong.report(code, push.json),
    }
}

async fn pushed(push: &Push, image: &Image, file: &Path, setup: &Setup) -> Result<String, (u8, Wrong)> {
    let invalid = |what: &dyn std::fmt::Display| (INVALID, Wrong::file(file, what));
    let component = Component::read(&Source::File(file.to_owned()));
    let component = component.map_err(|error| (INVALID, Wrong::from(error.to_string())))?;
    let signature = match files::read(&signature::beside(file), MOST_SIGNATURE) {
        Ok(signature) => Some(Bytes::from(signature)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err((INVALID, Wrong::file(&signature::beside(file), error))),
    };
    let created = std::fs::metadata(file).and_then(|found| found.modified());
    let created = created.map_err(|error| invalid(&error))?;
    let created = Timestamp::try_from(created).unwrap_or_default();
    let (described, doubt) = described(setup, &component)
        .await
        .map_err(|words| (FAILED, Wrong::file(file, words)))?;
    let described = Described {
        source: push.source.clone(),
        created: format!("{created:.0}"),
        ..described
    };
    let (name, version) = (described.name.clone(), described.version.clone());
    let (bytes, sha256) = (component.bytes().clone(), component.sha256().to_owned());
    let size = bytes.len();
    let registries = push.access.registries();
    let done = registries.push(image, bytes, signature, described, PATIENCE).await;
    let Pushed { digest, signature } = done.map_err(|error| (FAILED, Wrong::from(error.to_string())))?;
    if push.json {
        let value = json!({
            "ok": true,
            "reference": image.to_string(),
            "digest": digest,
            "sha256": sha256,
            "size": size,
            "name": name,
            "version": version,
            "signature": signature,
            "warning": doubt,
        });
        return Ok(format!("{value:#}\n"));
    }
    let signed = match signature {
        Some(_) => "with its signature",
        None => "not signed",
    };
    let what = match (name, version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => "a component".to_owned(),
    };
    let told = format!(
        "{}: pushed {what} to {image} ({signed})\n  pinned: {}",
        file.display(),
        pinned(image, &digest)
    );
    let doubt = doubt.map(|words| format!("\nwarning: {words}")).unwrap_or_default();
    let told = told + &doubt;
    Ok(told.lines().map(|line| plain(line) + "\n").collect())
}

/// The name that always means this artifact.
fn pinned(image: &Image, digest: &str) -> String {
    format!("oci://{}/{}@{digest}", image.registry(), image.repository())
}

/// What a component says of itself, and why a gateway would not run it, if that shows here. What is no component at all is not
/// pushed.
async fn described(setup: &Setup, component: &Component) -> Result<(Described, Option<String>), String> {
    let offline = Offline::new(setup.memory, setup.deadline, Meter::Off).map_err(|error| error.to_string())?;
    let parts = offline.inspect(component).await.map_err(|error| error.to_string())?;
    if parts.kind != Kind::Component {
        return Err("it is not a component, so no gateway could use it: see `portreeve plugin inspect`".to_owned());
    }
    let said = super::inspect::described(&offline, setup, component.clone()).await;
    let world = parts.world();
    let found = Described {
        world,
        imports: parts.imports.into_iter().map(|import| import.name).collect(),
        exports: parts.exports,
        ..Described::default()
    };
    match said {
        Ok(Description {
            name, version, summary, ..
        }) => {
            let found = Described {
                name: Some(name),
                version: Some(version),
                summary: Some(summary),
                ..found
            };
            Ok((found, None))
        }
        Err(error) => Ok((found, Some(format!("a gateway would reject this component: {error}")))),
    }
}

const MOST_SIGNATURE: u64 = 64 << 10;
