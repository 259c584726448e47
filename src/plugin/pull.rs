//! `portreeve plugin pull`: a component from a registry.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::wrong::{Wrong, fail};
use crate::config::{Image, Oci};
use crate::files;
use crate::policy::{Compiler, digest};
use crate::registry::{Pulled, Registries};
use crate::say::{self, FAILED, INVALID, plain};
use crate::signature;

/// Pull a component from a registry, with its signature.
#[derive(Args)]
pub(crate) struct Pull {
    /// What to pull, as in oci://registry.example.org/policies/office:1.2.0, or @sha256:… for one artifact and no other.
    #[arg(value_name = "oci://REGISTRY/REPOSITORY:TAG")]
    image: String,
    /// File to write the component to; its signature goes to FILE.sig [default: the last part of the repository, with .wasm].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// How a registry is reached.
#[derive(Args)]
pub(super) struct Access {
    /// The registry has no TLS.
    #[arg(long)]
    plain_http: bool,
    /// Credentials, as `docker login` writes them [default: config.json in $DOCKER_CONFIG or ~/.docker].
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Certificates (PEM) of private authorities to trust besides those of the system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[arg(skip)]
    registry: Option<String>,
}

impl Access {
    /// The registries that are reached so, of which one is asked.
    pub(super) fn registries(&self) -> Registries {
        let oci = Oci {
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            plain_http: self.registry.iter().filter(|_| self.plain_http).cloned().collect(),
            ..Oci::default()
        };
        Registries::new(Compiler::this_program().confinement(), &oci)
    }

    /// For this registry.
    pub(super) fn of(&mut self, image: &Image) {
        self.registry = Some(image.registry().to_owned());
    }
}

/// Writes component and signature; the exit code is the answer.
pub(super) async fn run(mut pull: Pull) -> u8 {
    let image = match image(&pull.image) {
        Ok(image) => image,
        Err(words) => return fail(INVALID, &words, pull.json),
    };
    pull.access.of(&image);
    let pulled = match pull.access.registries().pull(&image, PATIENCE).await {
        Ok(pulled) => pulled,
        Err(error) => return fail(FAILED, &error.to_string(), pull.json),
    };
    match written(&pull, &image, &pulled) {
        Ok(text) => say::print(&text),
        Err(wrong) => wrong.report(FAILED, pull.json),
    }
}

fn written(pull: &Pull, image: &Image, pulled: &Pulled) -> Result<String, Wrong> {
    let last = image.repository().rsplit('/').next().unwrap_or("policy");
    let file = pull
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{last}.wasm")));
    let signed = signature::beside(&file);
    for path in [&file, &signed] {
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(Wrong::file(
                path,
                "it is not a regular file and is not overwritten: name another with -o",
            ));
        }
    }
    if pulled.signature.is_none() && signed.exists() {
        let words = format!(
            "it is the signature of something else, and {image} has none: remove it, or name another file with -o"
        );
        return Err(Wrong::file(&signed, words));
    }
    // The signature first: whoever watches the component then finds both.
    if let Some(signature) = &pulled.signature {
        files::replace(&signed, signature, None).map_err(|error| Wrong::file(&signed, error))?;
    }
    files::replace(&file, &pulled.component, None).map_err(|error| Wrong::file(&file, error))?;
    let sha256 = digest(&pulled.component);
    if pull.json {
        let value = json!({
            "ok": true,
            "reference": image.to_string(),
            "digest": pulled.digest,
            "sha256": sha256,
            "size": pulled.component.len(),
            "file": file.display().to_string(),
            "signature": pulled.signature.as_ref().map(|_| signed.display().to_string()),
        });
        return Ok(format!("{value:#}\n"));
    }
    let with = match pulled.signature {
        Some(_) => format!("its signature written to {}", signed.display()),
        None => "not signed".to_owned(),
    };
    let told = format!("{image} ({}): written to {}, {with}", pulled.digest, file.display());
    Ok(plain(&told) + "\n")
}

/// The image that is named on the command line.
///
/// # Errors
/// What is wrong with the name.
pub(super) fn image(text: &str) -> Result<Image, String> {
    let name = text.strip_prefix("oci://");
    let name = name.ok_or_else(|| format!("`{text}` is not in a registry: write oci://registry/repository:tag"))?;
    Image::parse(name).map_err(|words| format!("`{text}`: {words}"))
}

/// How long all of it may take. The largest component takes so long at two megabits a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
