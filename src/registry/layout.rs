//! The layout of an artifact: a manifest with one layer, the component, as the CNCF's Wasm OCI artifact layout describes it,
//! and a second manifest that refers to it, with the signature.
//!
//! ```text
//! manifest   application/vnd.oci.image.manifest.v1+json, annotations org.opencontainers.image.* and portreeve.policy.*
//! ├ config   application/vnd.wasm.config.v0+json: digests of the layers, what the component exports and imports
//! └ layer    application/wasm: the component
//! manifest   artifactType application/vnd.portreeve.policy.signature.v1, subject: the manifest above
//! ├ config   application/vnd.oci.empty.v1+json
//! └ layer    application/vnd.portreeve.policy.signature.v1: the signature (SSHSIG), as it is beside a file
//! ```

use std::collections::BTreeMap;

use oci_client::annotations::{
    ORG_OPENCONTAINERS_IMAGE_CREATED, ORG_OPENCONTAINERS_IMAGE_DESCRIPTION, ORG_OPENCONTAINERS_IMAGE_SOURCE,
    ORG_OPENCONTAINERS_IMAGE_TITLE, ORG_OPENCONTAINERS_IMAGE_VERSION,
};
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex, OciImageManifest,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::oci::is_digest;
use crate::files::MOST_COMPONENT;

/// What an artifact says of its component. All of it is for people and tools: nothing of it is believed when it is pulled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Described {
    /// The name in its description.
    pub(crate) name: Option<String>,
    /// The version in its description.
    pub(crate) version: Option<String>,
    /// The summary in its description.
    pub(crate) summary: Option<String>,
    /// The world that it was built for.
    pub(crate) world: Option<String>,
    /// Names of its imports.
    pub(crate) imports: Vec<String>,
    /// Names of its exports.
    pub(crate) exports: Vec<String>,
    /// Where its source is.
    pub(crate) source: Option<String>,
    /// When it was made, RFC 3339. That of its file, so that the same file is the same artifact.
    pub(crate) created: String,
}

/// A manifest, or a blob, by its digest.
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            bytes,
        }
    }

    fn described(&self, media_type: &str) -> OciDescriptor {
        OciDescriptor {
            media_type: media_type.to_owned(),
            digest: self.digest.clone(),
            size: size(&self.bytes),
            ..OciDescriptor::default()
        }
    }
}

/// The manifest of an artifact, and its config.
pub(super) fn artifact(component: &[u8], described: &Described) -> serde_json::Result<(Blob, Blob)> {
    let layer = OciDescriptor {
        media_type: COMPONENT.to_owned(),
        digest: digest(component),
        size: size(component),
        ..OciDescriptor::default()
    };
    let config = Blob::of(serde_json::to_vec(&json!({
        "created": described.created,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest],
        "component": {
            "exports": described.exports,
            "imports": described.imports,
            "target": described.world,
        },
    }))?);
    let manifest = OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        config: config.described(CONFIG),
        layers: vec![layer],
        annotations: Some(annotations(described)),
        ..OciImageManifest::default()
    };
    Ok((Blob::of(serde_json::to_vec(&manifest)?), config))
}

/// The annotations of an artifact, by their keys.
pub(super) fn annotations(described: &Described) -> BTreeMap<String, String> {
    let pairs = [
        (ORG_OPENCONTAINERS_IMAGE_TITLE, described.name.clone()),
        (ORG_OPENCONTAINERS_IMAGE_VERSION, described.version.clone()),
        (ORG_OPENCONTAINERS_IMAGE_DESCRIPTION, described.summary.clone()),
        (ORG_OPENCONTAINERS_IMAGE_SOURCE, described.source.clone()),
        (ORG_OPENCONTAINERS_IMAGE_CREATED, Some(described.created.clone())),
        (WORLD, described.world.clone()),
        (IMPORTS, Some(described.imports.join(","))),
    ];
    let there = pairs.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((key.to_owned(), value))
    });
    there.collect()
}

/// The manifest of a signature of the artifact with this manifest, and its two blobs.
pub(super) fn signature(subject: &Blob, signature: &[u8], created: &str) -> serde_json::Result<(Blob, [Blob; 2])> {
    let (layer, empty) = (Blob::of(signature.to_vec()), Blob::of(b"{}".to_vec()));
    let manifest = OciImageManifest {
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        artifact_type: Some(SIGNATURE.to_owned()),
        config: empty.described(EMPTY),
        layers: vec![layer.described(SIGNATURE)],
        subject: Some(subject.described(OCI_IMAGE_MEDIA_TYPE)),
        annotations: Some(BTreeMap::from([(
            ORG_OPENCONTAINERS_IMAGE_CREATED.to_owned(),
            created.to_owned(),
        )])),
        ..OciImageManifest::default()
    };
    Ok((Blob::of(serde_json::to_vec(&manifest)?), [layer, empty]))
}

/// A list of referrers with one more in it, for a registry that keeps no such list itself.
pub(super) fn listed(mut index: OciImageIndex, referrer: &Blob, created: &str) -> serde_json::Result<Vec<u8>> {
    index.media_type = Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned());
    index.manifests.push(ImageIndexEntry {
        media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
        digest: referrer.digest.clone(),
        size: size(&referrer.bytes),
        platform: None,
        artifact_type: Some(SIGNATURE.to_owned()),
        annotations: Some(BTreeMap::from([(
            ORG_OPENCONTAINERS_IMAGE_CREATED.to_owned(),
            created.to_owned(),
        )])),
    });
    serde_json::to_vec(&index)
}

/// Digests of the signatures in a list of referrers, the newest first; as many as are looked at.
pub(super) fn signatures(index: OciImageIndex) -> Vec<String> {
    let mut found: Vec<_> = index.manifests.into_iter().filter(is_signature).collect();
    let created = |entry: &ImageIndexEntry| {
        let annotations = entry.annotations.as_ref();
        annotations.and_then(|all| all.get(ORG_OPENCONTAINERS_IMAGE_CREATED).cloned())
    };
    // The order of a list says nothing, but what a client appends is later.
    found.reverse();
    found.sort_by_key(|entry| std::cmp::Reverse(created(entry)));
    let digests = found.into_iter().map(|entry| entry.digest);
    digests
        .filter(|digest| is_digest(digest))
        .take(MOST_SIGNATURES)
        .collect()
}

fn is_signature(entry: &ImageIndexEntry) -> bool {
    entry.artifact_type.as_deref() == Some(SIGNATURE)
}

/// The component in a manifest.
///
/// # Errors
/// Why it is none of a policy, and what to do.
pub(super) fn component(manifest: &[u8]) -> Result<OciDescriptor, String> {
    let manifest: OciImageManifest = serde_json::from_slice(manifest).map_err(|_| {
        "it is not the manifest of one artifact (an index of images for several platforms?): push the component with `portreeve \
         plugin push`"
            .to_owned()
    })?;
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!(
            "it has {} layers, and a component is one: {PUSH}",
            manifest.layers.len()
        ));
    };
    if layer.media_type != COMPONENT {
        let found: String = layer.media_type.chars().take(100).collect();
        return Err(format!("it holds `{found}`, not a component (`{COMPONENT}`): {PUSH}"));
    }
    if !is_digest(&layer.digest) {
        return Err("its component is not named by a SHA-256".to_owned());
    }
    checked(layer, MOST_COMPONENT).map_err(|size| format!("its component has {size} bytes; the limit is 64 MiB"))
}

/// The signature in a manifest that refers to `subject`; none if it is something else.
pub(super) fn signed(manifest: &[u8], subject: &str) -> Option<OciDescriptor> {
    let manifest: OciImageManifest = serde_json::from_slice(manifest).ok()?;
    let [layer] = manifest.layers.as_slice() else {
        return None;
    };
    let is_of = manifest.subject.is_some_and(|found| found.digest == subject);
    let is_signature = layer.media_type == SIGNATURE && is_of && is_digest(&layer.digest);
    is_signature.then(|| checked(layer, MOST_SIGNATURE).ok()).flatten()
}

/// A layer of a size that is permitted. Other places where it may be are not looked at.
fn checked(layer: &OciDescriptor, most: u64) -> Result<OciDescriptor, i64> {
    match u64::try_from(layer.size) {
        Ok(size) if size <= most => Ok(OciDescriptor {
            urls: None,
            ..layer.clone()
        }),
        _ => Err(layer.size),
    }
}

/// The digest of some bytes, as `sha256:…`.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn size(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// The media type of a component's layer.
pub(super) const COMPONENT: &str = "application/wasm";
/// That of the config of an artifact.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The type of a signature, as an artifact and as a layer.
pub(super) const SIGNATURE: &str = "application/vnd.portreeve.policy.signature.v1";
/// A config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const WORLD: &str = "portreeve.policy.world";
const IMPORTS: &str = "portreeve.policy.imports";
const PUSH: &str = "push the component with `portreeve plugin push`";
/// Bytes of a signature.
pub(super) const MOST_SIGNATURE: u64 = 64 << 10;
/// Bytes of a manifest or a list of referrers, as registries have it.
pub(super) const MOST_MANIFEST: usize = 4 << 20;
const MOST_SIGNATURES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        Described {
            name: Some("office".to_owned()),
            version: Some("1.2.0".to_owned()),
            world: Some("portreeve:policy/policy@0.1.0".to_owned()),
            imports: vec!["portreeve:policy/log@0.1.0".to_owned()],
            created: "2026-01-02T03:04:05Z".to_owned(),
            ..Described::default()
        }
    }

    #[test]
    fn an_artifact_is_laid_out_as_the_cncf_describes_it() {
        let (manifest, config) = artifact(b"component", &described()).unwrap();
        let config_json: serde_json::Value = serde_json::from_slice(&config.bytes).unwrap();
        assert_eq!(config_json["architecture"], "wasm");
        assert_eq!(config_json["os"], "wasip2");
        assert_eq!(config_json["layerDigests"][0], digest(b"component"));
        assert_eq!(config_json["component"]["imports"][0], "portreeve:policy/log@0.1.0");
        let json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
        assert_eq!(json["schemaVersion"], 2);
        assert_eq!(json["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(json["config"]["digest"], config.digest);
        assert_eq!(json["annotations"]["org.opencontainers.image.title"], "office");
        assert_eq!(json["annotations"]["org.opencontainers.image.version"], "1.2.0");
        assert_eq!(
            json["annotations"]["portreeve.policy.world"],
            "portreeve:policy/policy@0.1.0"
        );
        let layer = component(&manifest.bytes).unwrap();
        assert_eq!((layer.media_type.as_str(), layer.size), ("application/wasm", 9));
        assert_eq!(layer.digest, digest(b"component"));
        let (again, _) = artifact(b"component", &described()).unwrap();
        assert_eq!(again.digest, manifest.digest, "the same file is the same artifact");
    }

    #[test]
    fn what_is_no_component_is_refused_before_it_is_downloaded() {
        let layer = |media_type: &str, size: i64| json!({ "mediaType": media_type, "size": size, "digest": digest(b"x"), "urls": ["http://10.0.0.1/"] });
        let manifest = |layers: Vec<serde_json::Value>| {
            let config = json!({ "mediaType": EMPTY, "size": 2, "digest": digest(b"{}") });
            let whole = json!({ "schemaVersion": 2, "config": config, "layers": layers });
            serde_json::to_vec(&whole).unwrap()
        };
        let table = [
            (manifest(vec![]), "it has 0 layers"),
            (
                manifest(vec![layer(COMPONENT, 1), layer(COMPONENT, 1)]),
                "it has 2 layers",
            ),
            (
                manifest(vec![layer("application/vnd.oci.image.layer.v1.tar+gzip", 1)]),
                "not a component",
            ),
            (manifest(vec![layer(COMPONENT, (64 << 20) + 1)]), "the limit is 64 MiB"),
            (manifest(vec![layer(COMPONENT, -1)]), "the limit is 64 MiB"),
            (
                b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec(),
                "not the manifest of one artifact",
            ),
            (b"garbage".to_vec(), "not the manifest of one artifact"),
        ];
        for (manifest, expected) in table {
            let words = component(&manifest).unwrap_err();
            assert!(words.contains(expected), "{words}");
        }
        assert_eq!(component(&manifest(vec![layer(COMPONENT, 1)])).unwrap().urls, None);
    }

    #[test]
    fn a_signature_is_that_of_one_artifact() {
        let subject = Blob::of(b"manifest".to_vec());
        let (manifest, _) = signature(&subject, b"signature", "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(
            signed(&manifest.bytes, &subject.digest).unwrap().digest,
            digest(b"signature")
        );
        assert!(signed(&manifest.bytes, &digest(b"another")).is_none());
        assert!(signed(&subject.bytes, &subject.digest).is_none());
        let (newer, _) = signature(&subject, b"newer", "2026-01-02T00:00:00Z").unwrap();
        let empty = OciImageIndex {
            schema_version: 2,
            media_type: None,
            manifests: Vec::new(),
            artifact_type: None,
            annotations: None,
        };
        let one = listed(empty, &newer, "2026-01-02T00:00:00Z").unwrap();
        let both = listed(serde_json::from_slice(&one).unwrap(), &manifest, "2026-01-01T00:00:00Z").unwrap();
        let found = signatures(serde_json::from_slice(&both).unwrap());
        assert_eq!(found, [newer.digest, manifest.digest], "the newest first");
    }
}
