//! The chain to replay: one component alone, or a configuration's chain with one component replaced.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::loading::{projected, source};
use super::super::wasi::WasiFlags;
use super::super::wrong::Unready;
use crate::config::{self, Config, Grant, Plugin};

/// What surrounds the component.
#[derive(Args)]
pub(super) struct Chain {
    /// Replay the policy chain of this configuration, with the component replacing one of its plugins.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grants", "rewrite", "wasi", "wasi_inert"])]
    config: Option<PathBuf>,
    /// Plugin that the component replaces; required if the configuration has several.
    #[arg(long, value_name = "NAME", requires = "config")]
    plugin: Option<String>,
    /// Settings file, TOML or JSON by its extension [default: those of the configuration or project].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Host interface that the component may import (names, state, view); repeatable.
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    grants: Vec<Grant>,
    /// Permit rewrites.
    #[arg(long)]
    rewrite: bool,
    #[command(flatten)]
    wasi: WasiFlags,
}

impl Chain {
    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// The configuration of a chain with this component; `settings` instead of those that are given for all.
    pub(super) fn config(&self, component: &str, settings: Option<&Path>) -> Result<Config, Unready> {
        let mut config = match &self.config {
            Some(path) => {
                let mut config = config::load(path)?;
                self.replaced(&mut config)?.component = source(component)?;
                config
            }
            None => {
                let setup = projected(component)?;
                let mut config = config::parse(ALONE, Path::new(""))?;
                (config.policy.deadline, config.policy.memory) = (setup.deadline, setup.memory);
                *self.replaced(&mut config)? = setup.plugin;
                config
            }
        };
        // What is asked here serves nobody: a signature is demanded of it when it is to serve.
        config.policy.signatures = None;
        let plugin = self.replaced(&mut config)?;
        plugin.sha256 = None;
        plugin.grants.extend(&self.grants);
        plugin.grants.sort_unstable();
        plugin.grants.dedup();
        plugin.rewrite |= self.rewrite;
        plugin.wasi = self.wasi.said().unwrap_or(plugin.wasi);
        if let Some(path) = settings.or(self.settings.as_deref()) {
            plugin.settings_file = Some(path.to_owned());
            *plugin = plugin.settings_again()?;
        }
        Ok(config)
    }

    fn replaced<'a>(&self, config: &'a mut Config) -> Result<&'a mut Plugin, String> {
        let plugins = &mut config.policy.plugins;
        let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.clone()).collect();
        let index = match &self.plugin {
            Some(name) => names.iter().position(|one| one == name),
            None if names.len() == 1 => Some(0),
            None => None,
        };
        let found = index.and_then(|index| plugins.get_mut(index));
        found.ok_or_else(|| match &self.plugin {
            Some(name) => format!("no plugin is called `{name}`; expected one of: {}", names.join(", ")),
            None => format!(
                "choose the plugin to replace: `--plugin` and one of {}",
                names.join(", ")
            ),
        })
    }
}

fn grant(word: &str) -> Result<Grant, String> {
    match word {
        "log" => Ok(Grant::Log),
        "names" => Ok(Grant::Names),
        "state" => Ok(Grant::State),
        "view" => Ok(Grant::View),
        _ => Err("expected one of log, names, state, view".to_owned()),
    }
}

const ALONE: &str = "[[policy.plugin]]\nname = \"policy\"\ncomponent = \"builtin:rules\"\n";
