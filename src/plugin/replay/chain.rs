//! Which chain is asked: one component alone, or a configuration's with one component exchanged.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::wrong::Unready;
use crate::config::{self, Config, Grant, Plugin, Source, Wasi};
use crate::plugin::project::{Project, Setup, stem};

/// What surrounds the component.
#[derive(Args)]
pub(super) struct Chain {
    /// Ask the chain of this configuration, with the component in the place of one of its plugins.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grants", "rewrite", "wasi"])]
    config: Option<PathBuf>,
    /// Which plugin of the configuration the component replaces; needed where there are several.
    #[arg(long, value_name = "NAME", requires = "config")]
    plugin: Option<String>,
    /// Its settings, TOML or JSON by the ending; without it those of the configuration or project, or none.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A host interface it may import (names, state, view); may be given several times.
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    grants: Vec<Grant>,
    /// It may rewrite.
    #[arg(long)]
    rewrite: bool,
    /// What its WASI imports find: `refuse` or `inert`.
    #[arg(long, value_name = "WORD", value_parser = wasi)]
    wasi: Option<Wasi>,
}

impl Chain {
    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// The configuration of a chain with this component; `settings` instead of those that are given for all.
    pub(super) fn config(&self, component: &Path, settings: Option<&Path>) -> Result<Config, Unready> {
        let project = match component.is_dir() {
            true => Some(project(component)?),
            false => None,
        };
        let mut config = match &self.config {
            Some(path) => config::load(path),
            None => config::parse(ALONE, Path::new("")),
        }?;
        // What is asked here serves nobody: a signature is demanded of it when it is to serve.
        config.policy.signatures = None;
        let plugin = self.replaced(&mut config)?;
        plugin.sha256 = None;
        match (&project, &self.config) {
            (Some(project), None) => *plugin = project.plugin.clone(),
            (Some(project), Some(_)) => plugin.component = project.plugin.component.clone(),
            (None, _) => plugin.component = source(component)?,
        }
        if self.config.is_none() && project.is_none() {
            plugin.name = stem(&plugin.component);
        }
        plugin.grants.extend(&self.grants);
        plugin.grants.sort_unstable();
        plugin.grants.dedup();
        plugin.rewrite |= self.rewrite;
        plugin.wasi = self.wasi.unwrap_or(plugin.wasi);
        if let Some(path) = settings.or(self.settings.as_deref()) {
            plugin.settings_file = Some(path.to_owned());
            *plugin = plugin.settings_again()?;
        }
        if let (Some(project), None) = (project, &self.config) {
            (config.policy.deadline, config.policy.memory) = (project.deadline, project.memory);
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
            Some(name) => format!("no plugin is called `{name}`; there are {}", names.join(", ")),
            None => format!(
                "which plugin does it replace? Say `--plugin` and one of {}",
                names.join(", ")
            ),
        })
    }
}

/// What the `policy.toml` of a folder says.
fn project(folder: &Path) -> Result<Setup, Unready> {
    let project = Project::read(folder)?;
    let setup = project.keys.setup(Some(project.name));
    setup.ok_or_else(|| Unready::Usage(format!("{}: its policy.toml names no component", folder.display())))
}

fn source(component: &Path) -> Result<Source, String> {
    match component.to_str().and_then(|text| text.strip_prefix("builtin:")) {
        Some("rules") => Ok(Source::Builtin("rules".to_owned())),
        Some(_) => Err(format!(
            "`{}`: the only one that is built in is builtin:rules",
            component.display()
        )),
        None => Ok(Source::File(component.to_owned())),
    }
}

fn grant(word: &str) -> Result<Grant, String> {
    match word {
        "log" => Ok(Grant::Log),
        "names" => Ok(Grant::Names),
        "state" => Ok(Grant::State),
        "view" => Ok(Grant::View),
        _ => Err("there are log, names, state and view".to_owned()),
    }
}

fn wasi(word: &str) -> Result<Wasi, String> {
    match word {
        "refuse" => Ok(Wasi::Refuse),
        "inert" => Ok(Wasi::Inert),
        _ => Err("it is refuse or inert".to_owned()),
    }
}

const ALONE: &str = "[[policy.plugin]]\nname = \"policy\"\ncomponent = \"builtin:rules\"\n";
