//! Settings and components read from disk, as they are at one moment.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::vetted::Vetted;
use super::watch::files_of;
use crate::config::{Plugin, Signatures};
use crate::files::Mark;
use crate::policy::LoadError;

/// A plugin with its settings as they are on disk, and the bytes of its component.
pub struct Fresh {
    pub(in crate::policy) plugin: Plugin,
    pub(in crate::policy) vetted: Vetted,
}

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
        let plugin = plugin.settings_again().map_err(LoadError::SettingsFile)?;
        let vetted = Vetted::read(&plugin, signatures)?;
        Ok(Self { plugin, vetted })
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
