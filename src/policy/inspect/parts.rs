//! Describes a component without running or compiling it, even one that would never load, so that
//! its author learns why.

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use super::imports;
use crate::config::Plugin;
use crate::policy::contract::{NEWEST, Track, ours};
use crate::policy::source::digest;

/// The parts of a file that should be a component.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parts {
    /// What the bytes are.
    pub kind: Kind,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: usize,
    /// Names of what it imports, in order.
    pub imports: Vec<Import>,
    /// Names of what it exports, in order.
    pub exports: Vec<String>,
    /// Core modules inside of it.
    pub modules: u32,
    /// Their memories.
    pub memories: u32,
    /// Bytes of their memories before anything runs.
    pub initial_memory: u64,
    /// Their tables.
    pub tables: u32,
    /// What it was made with, in its own words: a kind, a name and a version; the first hundred.
    pub producers: Vec<Producer>,
    /// Where it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A component.
    Component,
    /// A core module, of which a component can be made.
    CoreModule,
    /// Neither.
    NotWasm,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// As in `portreeve:policy/names@0.1.0`.
    pub name: String,
    /// The grant that it needs; none where no grant helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
}

/// One tool that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Parts {
    /// Reads as far as the bytes make sense. Only to be done where it may fail: in the compiling process.
    #[must_use]
    pub(in crate::policy) fn of(bytes: &[u8]) -> Self {
        let mut parts = Self::bare(bytes);
        if parts.kind != Kind::NotWasm
            && let Err(error) = parts.read(bytes)
        {
            parts.broken = Some(format!("{} (at byte {:#x})", error.message(), error.offset()));
        }
        parts
    }

    /// What shows without reading more than the first bytes.
    #[must_use]
    pub fn bare(bytes: &[u8]) -> Self {
        let kind = if Parser::is_component(bytes) {
            Kind::Component
        } else if Parser::is_core_wasm(bytes) {
            Kind::CoreModule
        } else {
            Kind::NotWasm
        };
        Self {
            kind,
            sha256: digest(bytes),
            size: bytes.len(),
            imports: Vec::new(),
            exports: Vec::new(),
            modules: 0,
            memories: 0,
            initial_memory: 0,
            tables: 0,
            producers: Vec::new(),
            broken: None,
        }
    }

    /// The world that it was built for, with the version, if it exports what a policy must.
    #[must_use]
    pub fn world(&self) -> Option<String> {
        let version = |interface| {
            let found = self.exports.iter().filter_map(|name| ours(name));
            let mut versions = found.filter(|(name, _)| *name == interface);
            versions.next().map(|(_, version)| version)
        };
        let version_of_decision = version("decision")?;
        let world = if version("observer").is_some() {
            "observing-policy"
        } else {
            "policy"
        };
        Some(format!("portreeve:policy/{world}@{version_of_decision}"))
    }

    /// The track of its world, as in `0.1`: what a gateway that speaks the track runs.
    #[must_use]
    pub fn track(&self) -> Option<String> {
        let world = self.world()?;
        let (_, version) = world.rsplit_once('@')?;
        let parts: Vec<_> = version.split('.').collect();
        match parts.as_slice() {
            ["0", minor, ..] => Some(format!("0.{minor}")),
            [major, ..] if !major.is_empty() => Some((*major).to_owned()),
            _ => None,
        }
    }

    /// Whether a plugin that is configured like this may have the import; otherwise what to do.
    ///
    /// # Errors
    /// Why it is refused, with the fix.
    pub fn granted(&self, import: &Import, plugin: &Plugin) -> Result<(), crate::policy::LoadError> {
        imports::check_import(plugin, self.served().ok(), &import.name)
    }

    /// The track that it is served on.
    ///
    /// # Errors
    /// If it exports no policy, or one of a track that this gateway does not serve.
    pub(in crate::policy) fn served(&self) -> Result<&'static Track, crate::policy::LoadError> {
        let exports: Vec<_> = self.exports.iter().map(String::as_str).collect();
        Track::of(&exports)
    }

    /// Whether this gateway serves its track.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served().is_ok()
    }

    /// The version of the world that this gateway speaks.
    #[must_use]
    pub fn ours() -> &'static str {
        NEWEST
    }

    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    self.modules += u32::from(encoding == Encoding::Module);
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let name = import?.name.name.to_owned();
                        let grant = grant(&name);
                        self.imports.push(Import { name, grant });
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        self.memories += 1;
                        let pages = memory?.initial;
                        self.initial_memory = self.initial_memory.saturating_add(pages.saturating_mul(65536));
                    }
                }
                Payload::TableSection(section) => self.tables += section.count(),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Producers(producers) = section.as_known() {
                        self.produced_by(producers)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn produced_by(&mut self, producers: wasmparser::ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in producers {
            let field = field?;
            for value in field.values {
                let value = value?;
                let clean = |text: &str| crate::request::printable(text, 128);
                let producer = Producer {
                    kind: clean(field.name),
                    name: clean(value.name),
                    version: clean(value.version),
                };
                if self.producers.len() == MOST_PRODUCERS {
                    return Ok(());
                }
                if !self.producers.contains(&producer) {
                    self.producers.push(producer);
                }
            }
        }
        Ok(())
    }
}

/// Compilers name a handful.
const MOST_PRODUCERS: usize = 100;

fn grant(import: &str) -> Option<String> {
    let (interface, _) = ours(import)?;
    imports::grant(interface).map(|grant| grant.as_str().to_owned())
}
