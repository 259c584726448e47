//! Settings and components read from disk, as they are at one moment.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::component::digest;
use super::vetted::Vetted;
use super::watch::files_of;
use crate::config::{Plugin, Signatures};
use crate::files::Mark;
use crate::policy::{Identity, LoadError};

/// A plugin with its settings as they are on disk, and the bytes of its component.
pub struct Fresh {
    pub(in crate::policy) plugin: Plugin,
    pub(in crate::policy) vetted: Vetted,
    /// What the configuration names, where this is something else that serves in its place.
    named: Option<Identity>,
    /// Which generation it is, then.
    generation: Option<u64>,
    /// How long it took to read it and to check its digest and signature.
    pub(in crate::policy) took: Duration,
}

/// Plugins by their names, each as it was read.
pub type ReadPlugins = Vec<(String, Result<Fresh, LoadError>)>;

impl Fresh {
    /// Reads the settings files and components of these plugins, and checks the signatures that are demanded.
    ///
    /// Plugins that belong together are often replaced by one rename of a folder. If a file changes while they are read,
    /// all are read again, so that no plugin comes from before that rename while another comes from after it.
    ///
    /// Returns each plugin by its name; if their files do not stop changing, an error for each of them.
    pub async fn read(plugins: Vec<Plugin>, signatures: Option<Signatures>) -> Vec<(String, Result<Self, LoadError>)> {
        let read = tokio::task::spawn_blocking(move || read_still(&plugins, signatures.as_ref())).await;
        read.unwrap_or_else(|error| vec![("policy".to_owned(), Err(LoadError::Engine(error.to_string())))])
    }

    fn read_one(plugin: &Plugin, signatures: Option<&Signatures>) -> Result<Self, LoadError> {
        let began = Instant::now();
        let plugin = plugin.settings_again().map_err(LoadError::SettingsFile)?;
        let vetted = Vetted::read(&plugin, signatures)?;
        let took = began.elapsed();
        Ok(Self {
            took,
            ..Self::of(plugin, vetted)
        })
    }

    pub(in crate::policy) fn of(plugin: Plugin, vetted: Vetted) -> Self {
        Self {
            plugin,
            vetted,
            named: None,
            generation: None,
            took: Duration::ZERO,
        }
    }

    /// The same, in the place of what the configuration names.
    pub(in crate::policy) fn for_what_names(mut self, named: Identity, generation: u64) -> Self {
        (self.named, self.generation) = (Some(named), Some(generation));
        self
    }

    /// Its number, where it serves in the place of what the configuration names.
    pub(in crate::policy) fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// Component and settings.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let settings = digest(self.plugin.settings.to_string().as_bytes());
        Identity::of(&self.plugin.component, self.vetted.component().sha256(), &settings)
    }

    /// What the configuration names: this, or what this serves in the place of.
    pub(in crate::policy) fn named(&self) -> Identity {
        self.named.clone().unwrap_or_else(|| self.identity())
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plugin.name
    }

    /// The SHA-256 of the component, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        self.vetted.component().sha256().to_owned()
    }
}

fn read_still(plugins: &[Plugin], signatures: Option<&Signatures>) -> Vec<(String, Result<Fresh, LoadError>)> {
    let began = Instant::now();
    let each = |read: &dyn Fn(&Plugin) -> Result<Fresh, LoadError>| {
        let named = plugins.iter().map(|plugin| (plugin.name.clone(), read(plugin)));
        named.collect()
    };
    loop {
        let before = marks(plugins, signatures);
        let read = each(&|plugin| Fresh::read_one(plugin, signatures));
        if marks(plugins, signatures) == before {
            return read;
        }
        if began.elapsed() > PATIENCE {
            return each(&|_| Err(LoadError::Moving));
        }
        sleep(PAUSE);
    }
}

fn marks(plugins: &[Plugin], signatures: Option<&Signatures>) -> Vec<(PathBuf, Option<Mark>)> {
    let files = plugins.iter().flat_map(|plugin| files_of(plugin, signatures));
    files.map(|path| (path.clone(), Mark::of(&path))).collect()
}

/// How long files may go on changing while they are read.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
