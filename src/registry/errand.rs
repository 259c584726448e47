//! What is to be done at a registry, as it is handed to the process that does it, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::client::Session;
use super::credentials::Credentials;
use super::layout::{Described, MOST_SIGNATURE};
use super::parcel::{pack, unpack};
use super::words::Trouble;
use crate::confined::Wrong;

/// One errand: what, where, and for how long at most. The bytes to push come along as parts.
#[derive(Serialize, Deserialize)]
pub(super) struct Errand {
    /// What.
    pub(super) task: Task,
    /// The places to ask, in this order.
    pub(super) places: Vec<Place>,
    /// Certificates of private authorities, each as PEM.
    pub(super) authorities: Vec<String>,
    /// Proxies, as the environment names them.
    pub(super) proxies: Proxies,
    /// The deadline of all of it.
    pub(super) within: Duration,
}

/// What is to be done.
#[derive(Serialize, Deserialize)]
pub(super) enum Task {
    /// Look an image up, and pull it if it is not what is there already.
    Fetch(Fetch),
    /// Push the component in the first part under this name, and the signature in the second, if it has one.
    Push { image: Name, described: Described },
}

/// What to pull, and what need not be.
#[derive(Serialize, Deserialize)]
pub(super) struct Fetch {
    /// What.
    pub(super) image: Name,
    /// Of the manifest that is there already.
    pub(super) have: Option<String>,
    /// Whether what is there has no signature, and should have one.
    pub(super) unsigned: bool,
    /// Of a manifest that was refused already.
    pub(super) refused: Option<String>,
}

/// An image within a registry.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
}

/// A registry, or a mirror of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    /// As `host` or `host:port`.
    pub(super) registry: String,
    /// Without TLS.
    pub(super) plain_http: bool,
    /// What it is told of who asks.
    pub(super) credentials: Option<Credentials>,
    /// The file that these come from, or would.
    pub(super) credentials_in: String,
}

/// Proxies on the way to a registry.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Proxies {
    pub(super) https: Option<String>,
    pub(super) http: Option<String>,
    pub(super) not_for: Option<String>,
}

/// What came of an errand.
#[derive(Serialize, Deserialize)]
pub(super) enum Outcome {
    /// What is there already is what the registry has.
    Unmoved,
    /// The same, and it has a signature: the one part.
    Signed,
    /// Manifest, component and, if it has one, signature are the parts.
    Pulled { digest: String },
    /// What the registry has cannot be used.
    Faulty { digest: String, words: String },
    /// The digest of the artifact's manifest, and that of the signature.
    Pushed { digest: String, signature: Option<String> },
}

/// Does an errand: what comes in is what [`super::Registries`] packed, what goes out is what it unpacks.
///
/// # Errors
/// Why the registry cannot be asked.
pub(crate) fn perform(input: &[u8]) -> Result<Vec<u8>, Wrong> {
    let broken = |error: std::io::Error| Wrong::Broken(error.to_string());
    let (errand, parts): (Errand, _) = unpack(Bytes::copy_from_slice(input)).map_err(broken)?;
    // Another library may have installed one already, and that is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(broken)?;
    let done = runtime.block_on(async { timeout(errand.within, done(&errand, parts)).await });
    // A name that is still being looked up holds up nothing.
    runtime.shutdown_background();
    let (answer, parts) = match done {
        Ok(Ok(done)) => done,
        Ok(Err(Trouble::Faulty { digest, words })) => (Outcome::Faulty { digest, words }, Vec::new()),
        Ok(Err(Trouble::Away(words))) => return Err(Wrong::Unsuited(words)),
        Err(_) => {
            let registry = errand.places.first().map_or("the registry", |place| &place.registry);
            let seconds = errand.within.as_secs();
            return Err(Wrong::Unsuited(format!("{registry} took longer than {seconds} s")));
        }
    };
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    pack(&answer, &parts).map_err(broken)
}

type Done = (Outcome, Vec<Bytes>);

/// Asks each place in turn until one answers. An artifact that cannot be used is an answer.
async fn done(errand: &Errand, parts: Vec<Bytes>) -> Result<Done, Trouble> {
    let mut away = Vec::new();
    for place in &errand.places {
        let done = match Session::open(place, errand) {
            Ok(session) => at(&session, &errand.task, &parts).await,
            Err(trouble) => Err(trouble),
        };
        match done {
            Err(Trouble::Away(words)) => away.push((place, words)),
            done => return done,
        }
    }
    // A loopback registry is asked with TLS and without. The last attempt says what is wrong, unless it is the certificate.
    let of_last = |registry: &str| errand.places.iter().rfind(|last| last.registry == registry);
    let told = away.iter().filter(|(place, words)| {
        let is_last = of_last(&place.registry).is_none_or(|last| std::ptr::eq(last, *place));
        is_last || words.contains("certificate")
    });
    let words: Vec<_> = told.map(|(_, words)| words.as_str()).collect();
    Err(Trouble::Away(words.join("; ")))
}

async fn at(session: &Session<'_>, task: &Task, parts: &[Bytes]) -> Result<Done, Trouble> {
    match task {
        Task::Fetch(fetch) => self::fetch(session, fetch).await,
        Task::Push { image, described } => {
            let Some(component) = parts.first() else {
                return Err(Trouble::Away("there is nothing to push".to_owned()));
            };
            let (digest, signature) = session.push(image, component, parts.get(1), described).await?;
            Ok((Outcome::Pushed { digest, signature }, Vec::new()))
        }
    }
}

async fn fetch(session: &Session<'_>, fetch: &Fetch) -> Result<Done, Trouble> {
    let digest = match &fetch.image.digest {
        Some(digest) => digest.clone(),
        None => session.digest_of(&fetch.image).await?,
    };
    if fetch.have.as_ref() == Some(&digest) {
        let signature = match fetch.unsigned {
            true => session.signature_of(&fetch.image, &digest).await?,
            false => None,
        };
        return Ok(match signature {
            Some(signature) => (Outcome::Signed, vec![signature]),
            None => (Outcome::Unmoved, Vec::new()),
        });
    }
    if fetch.refused.as_ref() == Some(&digest) {
        return Ok((Outcome::Unmoved, Vec::new()));
    }
    let (manifest, component) = session.pull(&fetch.image, &digest).await?;
    let signature = session.signature_of(&fetch.image, &digest).await?;
    let parts = [Some(manifest), Some(component), signature].into_iter().flatten();
    Ok((Outcome::Pulled { digest }, parts.collect()))
}

/// The most that an errand brings back.
pub(super) const MOST_BROUGHT: u64 =
    crate::files::MOST_COMPONENT + super::layout::MOST_MANIFEST as u64 + MOST_SIGNATURE + (64 << 10);
