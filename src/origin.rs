//! The configuration that a command uses: a file, or the embedded default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Draft, Faults};
use crate::embedded::Embedded;
use crate::gateway::{Invariants, Origin, control_socket};
use crate::plugin::CaseFiles;

/// A configuration file.
struct FromFile {
    path: PathBuf,
    listen: Vec<SocketAddr>,
}

impl Origin for FromFile {
    fn file(&self) -> &Path {
        &self.path
    }

    fn control_socket(&self) -> Option<PathBuf> {
        control_socket()
    }

    fn invariants(&self) -> &'static dyn Invariants {
        &CaseFiles
    }

    fn load(&self) -> Result<Config, Faults> {
        Ok(self.listening(config::load(&self.path)?))
    }

    fn draft(&self) -> Result<Draft, Faults> {
        let Draft { config, settings_files } = config::draft(&self.path)?;
        Ok(Draft {
            config: self.listening(config),
            settings_files,
        })
    }
}

impl FromFile {
    fn listening(&self, mut config: Config) -> Config {
        if !self.listen.is_empty() {
            config.server.listen.clone_from(&self.listen);
        }
        config
    }
}

/// The file, or the embedded default.
pub(crate) fn origin(config: Option<PathBuf>, listen: Vec<SocketAddr>) -> Result<Box<dyn Origin>, Faults> {
    match config {
        Some(path) => Ok(Box::new(FromFile { path, listen })),
        None => Ok(Box::new(Embedded::new(listen)?)),
    }
}
