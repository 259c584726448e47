//! One registry, through the library: what is asked of it, and the checks of what it answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::credentials::Credentials;
use super::errand::{Errand, Name, Place};
use super::layout::{self, Blob, Described, MOST_MANIFEST};
use super::words::{Trouble, trouble};
use crate::config::oci::is_digest;

/// A client of one registry, for one errand.
pub(super) struct Session<'a> {
    place: &'a Place,
    client: Client,
    auth: RegistryAuth,
}

impl<'a> Session<'a> {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn open(place: &'a Place, errand: &Errand) -> Result<Self, Trouble> {
        let authority = |pem: &String| Certificate {
            encoding: CertificateEncoding::Pem,
            data: pem.clone().into_bytes(),
        };
        let config = ClientConfig {
            protocol: if place.plain_http {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            extra_root_certificates: errand.authorities.iter().map(authority).collect(),
            platform_resolver: None,
            use_monolithic_push: true,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("portreeve/", env!("CARGO_PKG_VERSION")),
            https_proxy: errand.proxies.https.clone(),
            http_proxy: errand.proxies.http.clone(),
            no_proxy: errand.proxies.not_for.clone(),
            ..ClientConfig::default()
        };
        let auth = match &place.credentials {
            None => RegistryAuth::Anonymous,
            Some(Credentials::Password(user, password)) => RegistryAuth::Basic(user.clone(), password.clone()),
            Some(Credentials::Token(token)) => RegistryAuth::Bearer(token.clone()),
        };
        let client = Client::try_from(config).map_err(|error| trouble(place, &error))?;
        Ok(Self { place, client, auth })
    }

    /// The digest of the manifest that a tag names now.
    pub(super) async fn digest_of(&self, image: &Name) -> Result<String, Trouble> {
        let found = self.client.fetch_manifest_digest(&self.tagged(image), &self.auth).await;
        let digest = found.map_err(|error| self.trouble(&error))?;
        if is_digest(&digest) {
            Ok(digest)
        } else {
            let words = format!("{} names the tag by another digest than a SHA-256", self.place.registry);
            Err(Trouble::Away(words))
        }
    }

    /// The manifest with that digest, and its component.
    pub(super) async fn pull(&self, image: &Name, digest: &str) -> Result<(Bytes, Bytes), Trouble> {
        let manifest = self.manifest(image, digest).await?;
        let faulty = |words| Trouble::Faulty {
            digest: digest.to_owned(),
            words,
        };
        let layer = layout::component(&manifest).map_err(faulty)?;
        let component = self.blob(image, digest, &layer).await?;
        Ok((manifest, component))
    }

    /// The newest signature of the artifact with that digest, if the registry has one.
    pub(super) async fn signature_of(&self, image: &Name, digest: &str) -> Result<Option<Bytes>, Trouble> {
        let index = self.referrers(image, digest, Some(layout::SIGNATURE)).await?;
        for found in layout::signatures(index) {
            let manifest = self.manifest(image, &found).await?;
            if let Some(layer) = layout::signed(&manifest, digest) {
                return self.blob(image, &found, &layer).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Pushes an artifact. The tag is set last, so a client that sees it finds the whole artifact, with its signature.
    pub(super) async fn push(
        &self,
        image: &Name,
        component: &Bytes,
        signature: Option<&Bytes>,
        described: &Described,
    ) -> Result<(String, Option<String>), Trouble> {
        let json = |error: serde_json::Error| Trouble::Away(error.to_string());
        let (manifest, config) = layout::artifact(component, described).map_err(json)?;
        let tagged = self.tagged(image);
        let login = self.client.auth(&tagged, &self.auth, RegistryOperation::Push).await;
        login.map_err(|error| self.trouble(&error))?;
        self.push_blob(image, &layout::digest(component), component.clone())
            .await?;
        self.push_blob(image, &config.digest, config.bytes.into()).await?;
        let by_digest = self.by_digest(image, &manifest.digest);
        self.push_manifest(&by_digest, OCI_IMAGE_MEDIA_TYPE, manifest.bytes.clone())
            .await?;
        let signature = match signature {
            Some(signature) => Some(
                self.push_signature(image, &manifest, signature, &described.created)
                    .await?,
            ),
            None => None,
        };
        if image.tag.is_some() {
            self.push_manifest(&self.tagged(image), OCI_IMAGE_MEDIA_TYPE, manifest.bytes)
                .await?;
        }
        Ok((manifest.digest, signature))
    }

    /// Pushes a signature as a referrer. A registry without a list of referrers gets one under the tag that the distribution
    /// specification has for that.
    async fn push_signature(
        &self,
        image: &Name,
        subject: &Blob,
        signature: &Bytes,
        created: &str,
    ) -> Result<String, Trouble> {
        let json = |error: serde_json::Error| Trouble::Away(error.to_string());
        let (referrer, blobs) = layout::signature(subject, signature, created).map_err(json)?;
        for Blob { digest, bytes } in blobs {
            self.push_blob(image, &digest, bytes.into()).await?;
        }
        let by_digest = self.by_digest(image, &referrer.digest);
        self.push_manifest(&by_digest, OCI_IMAGE_MEDIA_TYPE, referrer.bytes.clone())
            .await?;
        let index = self.referrers(image, &subject.digest, None).await?;
        if !index.manifests.iter().any(|entry| entry.digest == referrer.digest) {
            let tag = subject.digest.replace(':', "-");
            let listed = layout::listed(index, &referrer, created).map_err(json)?;
            let list = Reference::with_tag(self.place.registry.clone(), image.repository.clone(), tag);
            self.push_manifest(&list, OCI_IMAGE_INDEX_MEDIA_TYPE, listed).await?;
        }
        Ok(referrer.digest)
    }

    async fn push_blob(&self, image: &Name, digest: &str, bytes: Bytes) -> Result<(), Trouble> {
        let place = self.by_digest(image, digest);
        if self.client.blob_exists(&place, digest).await.unwrap_or(false) {
            return Ok(());
        }
        let pushed = self.client.push_blob(&place, bytes, digest).await;
        pushed.map(|_| ()).map_err(|error| self.trouble(&error))
    }

    async fn push_manifest(&self, place: &Reference, media_type: &'static str, bytes: Vec<u8>) -> Result<(), Trouble> {
        let Ok(media_type) = media_type.parse() else {
            return Err(Trouble::Away(format!("`{media_type}` cannot be sent")));
        };
        let pushed = self.client.push_manifest_raw(place, bytes, media_type).await;
        pushed.map(|_| ()).map_err(|error| self.trouble(&error))
    }

    async fn referrers(&self, image: &Name, digest: &str, kind: Option<&str>) -> Result<OciImageIndex, Trouble> {
        let place = self.by_digest(image, digest);
        self.client.store_auth_if_needed(&self.place.registry, &self.auth).await;
        match self.client.pull_referrers(&place, kind).await {
            Ok(index) => Ok(index),
            Err(error) if is_unsupported(&error) => Ok(OciImageIndex {
                schema_version: 2,
                media_type: None,
                manifests: Vec::new(),
                artifact_type: None,
                annotations: None,
            }),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    async fn manifest(&self, image: &Name, digest: &str) -> Result<Bytes, Trouble> {
        let place = self.by_digest(image, digest);
        let types = [OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE];
        let pulled = self.client.pull_manifest_raw(&place, &self.auth, &types).await;
        let (bytes, _) = pulled.map_err(|error| self.trouble(&error))?;
        if bytes.len() > MOST_MANIFEST {
            return Err(Trouble::Faulty {
                digest: digest.to_owned(),
                words: "its manifest has more than 4 MiB".to_owned(),
            });
        }
        if layout::digest(&bytes) != digest {
            return Err(self.does_not_match());
        }
        Ok(bytes)
    }

    /// A blob of that size; reading ends with the first byte that is too much.
    async fn blob(&self, image: &Name, manifest: &str, layer: &OciDescriptor) -> Result<Bytes, Trouble> {
        let place = self.by_digest(image, manifest);
        let size = usize::try_from(layer.size).unwrap_or(0);
        let pulled = self.client.pull_blob_stream(&place, layer).await;
        let mut stream = pulled.map_err(|error| self.trouble(&error))?.stream;
        let mut bytes = BytesMut::with_capacity(size);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| self.trouble(&OciDistributionError::IoError(error)))?;
            if bytes.len() + chunk.len() > size {
                return Err(self.does_not_match());
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() != size || layout::digest(&bytes) != layer.digest {
            return Err(self.does_not_match());
        }
        Ok(bytes.freeze())
    }

    fn tagged(&self, image: &Name) -> Reference {
        let (registry, repository) = (self.place.registry.clone(), image.repository.clone());
        match (&image.tag, &image.digest) {
            (Some(tag), _) => Reference::with_tag(registry, repository, tag.clone()),
            (None, digest) => Reference::with_digest(registry, repository, digest.clone().unwrap_or_default()),
        }
    }

    fn by_digest(&self, image: &Name, digest: &str) -> Reference {
        let (registry, repository) = (self.place.registry.clone(), image.repository.clone());
        Reference::with_digest(registry, repository, digest.to_owned())
    }

    fn trouble(&self, error: &OciDistributionError) -> Trouble {
        trouble(self.place, error)
    }

    fn does_not_match(&self) -> Trouble {
        let words = format!(
            "{} sent something that does not match its digest or size",
            self.place.registry
        );
        Trouble::Away(words)
    }
}

/// A registry that says that it has no list of referrers, in another way than by a missing page.
fn is_unsupported(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RegistryError { envelope, .. } => {
            let first = envelope.errors.first();
            first.is_some_and(|first| {
                matches!(
                    first.code,
                    OciErrorCode::Unsupported | OciErrorCode::NotFound | OciErrorCode::ManifestUnknown
                )
            })
        }
        OciDistributionError::ServerError { code, .. } => matches!(code, 404 | 405 | 501),
        _ => false,
    }
}

/// The deadline of a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a registry may be silent in an answer.
const SILENCE: Duration = Duration::from_secs(10);
