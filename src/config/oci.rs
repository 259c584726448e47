//! `[oci]`: how components are pulled from registries, and how an image there is named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::value::Value;
use super::walk::Table;

/// `[oci]`: access to the registries that components are pulled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oci {
    /// A file with credentials for registries, as `docker login` writes it. Default: `config.json` in `$DOCKER_CONFIG` or
    /// `~/.docker`; without that file, registries are asked without credentials.
    pub credentials_file: Option<PathBuf>,
    /// Registries without TLS, as `host:port`. Default: none. A registry on a loopback address is also asked without TLS, if it
    /// does not answer with TLS.
    pub plain_http: Vec<String>,
    /// Certificates (PEM) of private authorities to trust besides those of the system. Default: none.
    pub ca_file: Option<PathBuf>,
    /// How often a tag is looked up, 1s to 24h. Default 30s; one tenth of it at random is added or taken away. Digests are never
    /// looked up again.
    pub poll: Duration,
    /// For a registry, those that are asked before it, in this order. Default: none.
    pub mirrors: Vec<(String, Vec<String>)>,
}

impl Default for Oci {
    fn default() -> Self {
        Self {
            credentials_file: None,
            plain_http: Vec::new(),
            ca_file: None,
            poll: POLL,
            mirrors: Vec::new(),
        }
    }
}

/// A component in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is called there.
    pub image: Image,
    /// Where what was pulled last is kept. Empty until the folder for policies is known.
    pub file: PathBuf,
}

/// The name of an image: `registry/repository:tag`, `registry/repository@sha256:…`, or with both, where only the digest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Image {
    /// Reads a name without the `oci://` in front. The registry and the tag or digest must be there, because a default for either
    /// would be a guess.
    ///
    /// # Errors
    /// A sentence that says which part is wrong, and what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (registry, rest) = text
            .split_once('/')
            .ok_or("the repository is missing: write registry/repository:tag")?;
        check_registry(registry)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.len() > LONGEST_REPOSITORY || !repository.split('/').all(is_path_component) {
            return Err(format!(
                "`{repository}` is not a repository: use lower-case letters, digits and single `.`, `_`, `-` or `/` between them"
            ));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!(
                "`{tag}` is not a tag: use up to 128 letters, digits, `.`, `_` and `-`, and begin with a letter, a digit or `_`"
            ));
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(format!(
                "`{digest}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits"
            ));
        }
        if tag.is_none() && digest.is_none() {
            return Err("neither a tag nor a digest: append `:TAG` or `@sha256:DIGEST`".to_owned());
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry, as `host` or `host:port`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none where only a digest is named.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, as `sha256:…`, where it is pinned.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

/// As it is written in a configuration.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether this is the digest of a manifest or blob, as `sha256:…`.
#[must_use]
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    let names_a_host = host.contains('.') || port.is_some() || host == "localhost";
    if host.len() <= 253 && host.split('.').all(label) && port.is_none_or(is_port) && names_a_host {
        return Ok(());
    }
    Err(format!(
        "`{registry}` is not a registry: expected a host name or IPv4 address, with a port where it is not the usual one, as in \
         `registry.example.org` or `127.0.0.1:5000`"
    ))
}

/// Alphanumeric runs, separated by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let separators = text.split(|c: char| c.is_ascii() && word(c as u8));
    let separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let ends = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    ends && separators.into_iter().all(separator)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inner = |byte: u8| word(byte) || matches!(byte, b'.' | b'-');
    text.len() <= 128 && text.bytes().next().is_some_and(word) && text.bytes().all(inner)
}

pub(super) fn oci(table: &mut Table<'_>) -> Oci {
    Oci {
        credentials_file: table.read("credentials-file", |value| value.path()),
        plain_http: table.or("plain-http", Vec::new(), |value| value.list(registry)),
        ca_file: table.read("ca-file", |value| value.path()),
        poll: table.or("poll", POLL, |value| {
            value.duration(Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60))
        }),
        mirrors: table.or("mirrors", Vec::new(), |value| value.table(mirrors).flatten()),
    }
}

fn registry(value: &Value<'_>) -> Option<String> {
    let text = value.word()?;
    match check_registry(text) {
        Ok(()) => Some(text.to_owned()),
        Err(words) => value.fault(words),
    }
}

fn mirrors(table: &mut Table<'_>) -> Option<Vec<(String, Vec<String>)>> {
    let mut mirrors = Vec::new();
    for (name, value) in table.all() {
        if let Err(words) = check_registry(name) {
            return value.fault(words);
        }
        mirrors.push((name.to_owned(), value.list(registry)?));
    }
    Some(mirrors)
}

/// The image of a `component` that begins with `oci://`.
pub(super) fn artifact(value: &Value<'_>, name: &str) -> Option<Artifact> {
    match Image::parse(name) {
        Ok(image) => Some(Artifact {
            image,
            file: PathBuf::new(),
        }),
        Err(words) => value.fault(words),
    }
}

impl Artifact {
    /// Says where what is pulled for the plugin of that name is kept: in a folder of its own for each plugin and image, because
    /// a plugin that waits for a reload must not be changed by another that follows the same tag.
    pub(super) fn keep_in(&mut self, directory: &Path, plugin: &str) {
        let digest = Sha256::digest(self.image.to_string());
        let image: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let folder = directory.join("pulled").join(format!("{plugin}.{image}"));
        self.file = folder.join("current").join("component.wasm");
    }
}

/// What a `component` in a registry begins with.
pub(crate) const SCHEME: &str = "oci://";
const POLL: Duration = Duration::from_secs(30);
/// What the OCI's distribution specification allows clients to expect.
const LONGEST_REPOSITORY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_registry_a_repository_and_a_tag_or_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        #[rustfmt::skip]
        let table = [
            // name                                          what is wrong with it
            ("registry.example.org/team/office:1.2.0".to_owned(), None),
            ("127.0.0.1:5000/office:stable".to_owned(),      None),
            ("localhost/a:b".to_owned(),                     None),
            ("registry.example.org/a__b/c-d.e:_x".to_owned(), None),
            (format!("ghcr.io/a/b@{digest}"),                None),
            (format!("ghcr.io/a/b:1@{digest}"),              None),
            ("office:1".to_owned(),                          Some("repository is missing")),
            ("team/office:1".to_owned(),                     Some("`team` is not a registry")),
            ("user@host.org/office:1".to_owned(),            Some("is not a registry")),
            ("host.org:0/office:1".to_owned(),               Some("is not a registry")),
            ("host.org:99999/office:1".to_owned(),           Some("is not a registry")),
            ("host..org/office:1".to_owned(),                Some("is not a registry")),
            ("[::1]:5000/office:1".to_owned(),               Some("is not a registry")),
            ("host.org/Office:1".to_owned(),                 Some("is not a repository")),
            ("host.org/:1".to_owned(),                       Some("is not a repository")),
            ("host.org/../x:1".to_owned(),                   Some("is not a repository")),
            ("host.org/a//b:1".to_owned(),                   Some("is not a repository")),
            ("host.org/a?b=c:1".to_owned(),                  Some("is not a repository")),
            ("host.org/a..b:1".to_owned(),                   Some("is not a repository")),
            (format!("host.org/{}:1", "a".repeat(201)),      Some("is not a repository")),
            ("host.org/office".to_owned(),                   Some("neither a tag nor a digest")),
            ("host.org/office:".to_owned(),                  Some("is not a tag")),
            ("host.org/office:-1".to_owned(),                Some("is not a tag")),
            ("host.org/office:a/b".to_owned(),               Some("is not a tag")),
            ("host.org/office@sha256:abc".to_owned(),        Some("is not a digest")),
            (format!("host.org/office@{}", digest.to_uppercase()), Some("is not a digest")),
            ("host.org/office@md5:00".to_owned(),            Some("is not a digest")),
        ];
        for (name, wrong) in table {
            match (Image::parse(&name), wrong) {
                (Ok(image), None) => assert_eq!(image.to_string(), format!("oci://{name}")),
                (Err(words), Some(expected)) => assert!(words.contains(expected), "{name}: {words}"),
                (parsed, _) => unreachable!("{name}: {parsed:?}"),
            }
        }
    }
}
