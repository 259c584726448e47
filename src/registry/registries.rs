//! Errands to registries, each in a process of its own.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::ROOM;
use super::credentials::Source;
use super::errand::{Errand, Fetch, MOST_BROUGHT, Name, Outcome, Place, Proxies, Task};
use super::kept::ArtifactFolder;
use super::layout::Described;
use super::parcel::{pack, unpack};
use crate::config::{Image, Oci};
use crate::confined::{Confinement, Sealed, Task as Work};
use crate::files;

/// The registries that a configuration gives access to. Files that it names are read anew for each errand.
#[derive(Clone)]
pub(crate) struct Registries {
    confinement: Confinement,
    oci: Oci,
}

/// An artifact, with all its digests checked.
#[derive(Clone, Debug)]
pub(crate) struct Pulled {
    /// Of its manifest, as `sha256:…`.
    pub(crate) digest: String,
    /// The manifest, exactly as the registry sent it.
    pub(crate) manifest: Bytes,
    /// The component.
    pub(crate) component: Bytes,
    /// Its signature, if it has one.
    pub(crate) signature: Option<Bytes>,
}

/// An artifact that was pushed.
pub(crate) struct Pushed {
    /// The digest of its manifest, as `sha256:…`.
    pub(crate) digest: String,
    /// That of its signature's, if it has one.
    pub(crate) signature: Option<String>,
}

/// What came of looking an image up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// What is kept is what the registry has.
    Unmoved,
    /// Something else is kept now.
    Moved,
}

/// Why nothing was pulled or pushed. Each names the image and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullError {
    /// The registry cannot be asked, or does not give it. Later it may.
    Away(String),
    /// What it gives cannot be used; only another artifact helps.
    Refused {
        /// Of its manifest.
        digest: String,
        /// Why.
        words: String,
    },
}

impl fmt::Display for PullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Away(words) | Self::Refused { words, .. }) = self;
        f.write_str(words)
    }
}

impl Registries {
    /// These registries, asked by processes that are started like this.
    #[must_use]
    pub(crate) fn new(confinement: Confinement, oci: &Oci) -> Self {
        Self {
            confinement: confinement.holding(MEMORY),
            oci: oci.clone(),
        }
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn pull(&self, image: &Image, within: Duration) -> Result<Pulled, PullError> {
        let fetch = Fetch {
            image: name(image),
            have: None,
            unsigned: false,
            refused: None,
        };
        match self.done(image, Task::Fetch(fetch), Vec::new(), within).await? {
            (Outcome::Pulled { digest }, parts) => pulled(image, digest, parts),
            _ => Err(away(image, "an answer to another question")),
        }
    }

    /// Looks an image up, and pulls it if it is not what is kept. A pinned one that is kept is not looked up. What was refused
    /// once is not pulled again; `demanded` says whether it should have a signature.
    ///
    /// # Errors
    /// Why it cannot be had, or kept.
    pub(crate) async fn fetch(
        &self,
        image: &Image,
        kept: &ArtifactFolder,
        (have, refused): (Option<String>, Option<String>),
        demanded: bool,
        within: Duration,
    ) -> Result<Fetched, PullError> {
        let unsigned = demanded && have.is_some() && !kept.is_signed();
        if have.is_some() && have.as_deref() == image.digest() && !unsigned {
            return Ok(Fetched::Unmoved);
        }
        let fetch = Fetch {
            image: name(image),
            have,
            unsigned,
            refused,
        };
        let written = match self.done(image, Task::Fetch(fetch), Vec::new(), within).await? {
            (Outcome::Pulled { digest }, parts) => {
                let (pulled, kept) = (pulled(image, digest, parts)?, kept.clone());
                apart(image, move || kept.keep(&pulled)).await?
            }
            (Outcome::Signed, parts) => {
                let (signature, kept) = (parts.into_iter().next().unwrap_or_default(), kept.clone());
                apart(image, move || kept.sign(&signature)).await?
            }
            _ => return Ok(Fetched::Unmoved),
        };
        written.map_err(|error| {
            away(
                image,
                &format!("it cannot be kept in {}: {error}", kept.component().display()),
            )
        })?;
        Ok(Fetched::Moved)
    }

    /// Pushes a component, and its signature, if it has one.
    ///
    /// # Errors
    /// Why the registry does not have it.
    pub(crate) async fn push(
        &self,
        image: &Image,
        component: Bytes,
        signature: Option<Bytes>,
        described: Described,
        within: Duration,
    ) -> Result<Pushed, PullError> {
        let task = Task::Push {
            image: name(image),
            described,
        };
        let parts = [Some(component), signature].into_iter().flatten().collect();
        match self.done(image, task, parts, within).await? {
            (Outcome::Pushed { digest, signature }, _) => Ok(Pushed { digest, signature }),
            _ => Err(away(image, "an answer to another question")),
        }
    }

    async fn done(
        &self,
        image: &Image,
        task: Task,
        parts: Vec<Bytes>,
        within: Duration,
    ) -> Result<(Outcome, Vec<Bytes>), PullError> {
        let registries = self.clone();
        let asked = image.clone();
        let done = apart(image, move || registries.run(&asked, task, &parts, within)).await?;
        match done.map_err(|words| away(image, &words))? {
            (Outcome::Faulty { digest, words }, _) => Err(PullError::Refused {
                words: format!("{image} ({digest}) cannot be used: {words}"),
                digest,
            }),
            done => Ok(done),
        }
    }

    /// Starts the process and waits for it.
    fn run(
        &self,
        image: &Image,
        task: Task,
        parts: &[Bytes],
        within: Duration,
    ) -> Result<(Outcome, Vec<Bytes>), String> {
        let is_push = matches!(task, Task::Push { .. });
        let errand = Errand {
            task,
            places: self.places(image.registry(), is_push)?,
            authorities: self.authorities()?,
            proxies: proxies(),
            within,
        };
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        let input = pack(&errand, &parts).and_then(|packed| Sealed::of(&packed));
        let input = input.map_err(|error| error.to_string())?;
        // The process ends itself in time; this is for one that cannot.
        let confinement = self.confinement.clone().within(within / 4 + SLACK);
        let work = Work {
            room: ROOM,
            work: &(),
            doing: "asking the registry",
            most: MOST_BROUGHT,
        };
        let output = confinement.run(&work, input, |input| super::perform(&input));
        let output = output.map_err(|failed| failed.words())?.to_vec();
        let output = output.map_err(|error| error.to_string())?;
        unpack(output.into()).map_err(|error| error.to_string())
    }

    /// The mirrors of a registry, if it is to be read, and then the registry itself.
    fn places(&self, registry: &str, is_push: bool) -> Result<Vec<Place>, String> {
        let mirrors = self.oci.mirrors.iter().filter(|(name, _)| name == registry && !is_push);
        let mirrors = mirrors.flat_map(|(_, mirrors)| mirrors.iter().map(String::as_str));
        let credentials = Source::of(self.oci.credentials_file.as_deref());
        let mut places = Vec::new();
        for registry in mirrors.chain([registry]) {
            for plain_http in self.ways(registry) {
                places.push(Place {
                    registry: registry.to_owned(),
                    plain_http: *plain_http,
                    credentials: credentials.read(registry)?,
                    credentials_in: credentials.shown(),
                });
            }
        }
        Ok(places)
    }

    /// With TLS, or without where that was named; on loopback, where the network cannot be read, either.
    fn ways(&self, registry: &str) -> &'static [bool] {
        match self.oci.plain_http.iter().any(|plain| plain == registry) {
            true => &[true],
            false if is_loopback(registry) => &[false, true],
            false => &[false],
        }
    }

    fn authorities(&self) -> Result<Vec<String>, String> {
        let Some(path) = &self.oci.ca_file else {
            return Ok(Vec::new());
        };
        let wrong = |what: String| format!("oci.ca-file {}: {what}", path.display());
        let text =
            files::read_text(path, MOST_AUTHORITIES).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        match certificates(&text) {
            all if all.is_empty() => Err(wrong("has no certificate in PEM".to_owned())),
            all => Ok(all),
        }
    }
}

/// Certificates in a text, one by one.
fn certificates(text: &str) -> Vec<String> {
    let blocks = text.split(BEGIN).skip(1).filter_map(|block| block.split_once(END));
    blocks.map(|(block, _)| format!("{BEGIN}{block}{END}\n")).collect()
}

/// As the environment has them, for a process that inherits none of it.
fn proxies() -> Proxies {
    let variable = |names: [&str; 2]| {
        let mut found = names.into_iter().filter_map(|name| std::env::var(name).ok());
        found.find(|value| !value.is_empty())
    };
    Proxies {
        https: variable(["HTTPS_PROXY", "https_proxy"]),
        http: variable(["HTTP_PROXY", "http_proxy"]),
        not_for: variable(["NO_PROXY", "no_proxy"]),
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn name(image: &Image) -> Name {
    Name {
        repository: image.repository().to_owned(),
        tag: image.tag().map(str::to_owned),
        digest: image.digest().map(str::to_owned),
    }
}

fn pulled(image: &Image, digest: String, parts: Vec<Bytes>) -> Result<Pulled, PullError> {
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(manifest), Some(component), signature) => Ok(Pulled {
            digest,
            manifest,
            component,
            signature,
        }),
        _ => Err(away(image, "an answer without a component")),
    }
}

fn away(image: &Image, words: &str) -> PullError {
    PullError::Away(format!("{image}: {words}"))
}

/// Does something that blocks where that is no matter.
async fn apart<T: Send + 'static>(image: &Image, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PullError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| away(image, &error.to_string()))
}

/// Address space of the process: the program, what the allocator reserves (1 GiB), and a component several times.
const MEMORY: u64 = 2 << 30;
/// To start, and to end by itself.
const SLACK: Duration = Duration::from_secs(3);
const MOST_AUTHORITIES: u64 = 1 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_asked_without_tls_only_where_that_was_said_or_on_loopback() {
        let oci = Oci {
            plain_http: vec!["10.0.0.1:5000".to_owned(), "127.0.0.1:5001".to_owned()],
            mirrors: vec![("ghcr.io".to_owned(), vec!["10.0.0.1:5000".to_owned()])],
            ..Oci::default()
        };
        let registries = Registries::new(Confinement::in_process(), &oci);
        let asked = |registry: &str, is_push: bool| {
            let places = registries.places(registry, is_push).unwrap();
            let told = places.iter().map(|place| {
                let scheme = if place.plain_http { "http" } else { "https" };
                format!("{scheme}://{}", place.registry)
            });
            told.collect::<Vec<_>>().join(" ")
        };
        #[rustfmt::skip]
        let table = [
            ("registry.example.org", false, "https://registry.example.org"),
            ("10.0.0.1:5000",        false, "http://10.0.0.1:5000"),
            ("10.0.0.1:5001",        false, "https://10.0.0.1:5001"),
            ("127.0.0.1:5001",       true,  "http://127.0.0.1:5001"),
            ("127.0.0.1:5000",       false, "https://127.0.0.1:5000 http://127.0.0.1:5000"),
            ("localhost:5000",       true,  "https://localhost:5000 http://localhost:5000"),
            ("localhost.evil.org",   false, "https://localhost.evil.org"),
            ("ghcr.io",              false, "http://10.0.0.1:5000 https://ghcr.io"),
            ("ghcr.io",              true,  "https://ghcr.io"),
        ];
        for (registry, is_push, expected) in table {
            assert_eq!(asked(registry, is_push), expected, "{registry} {is_push}");
        }
    }

    #[test]
    fn certificates_of_a_bundle_are_told_apart() {
        let one = format!("{BEGIN}\nAAAA\n{END}\n");
        assert_eq!(
            certificates(&format!("# ours\n{one}between\n{one}")),
            [one.clone(), one.clone()]
        );
        assert_eq!(certificates(&format!("{BEGIN}\nAAAA\n")), Vec::<String>::new());
    }
}
