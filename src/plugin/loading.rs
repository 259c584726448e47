//! Which component a command is about, and how it is loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use super::project::{FILE, Keys, Project, Setup, named, shown};
use super::wasi::WasiFlags;
use super::wrong::Unready;
use crate::config::{self, Faults, Grant, Policy, Signatures, Source};
use crate::gateway::state_directory;
use crate::policy::Workshop;
use crate::request::Fact;

/// A component, and what would be configured for it.
#[derive(Args)]
pub(super) struct Loading {
    /// Component, `builtin:rules`, or project folder (one with a `policy.toml`).
    #[arg(value_name = "FILE|DIR")]
    component: String,
    /// Settings file, TOML or JSON [default: those of the project or the configuration].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Load it as the plugin in this configuration that has the same component, or the only one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Load it as the plugin with this name in the configuration.
    #[arg(long, value_name = "NAME", requires = "config")]
    plugin: Option<String>,
    /// Interface to grant: names, state or view; repeatable.
    #[arg(long = "grant", value_name = "NAME")]
    grants: Vec<Granted>,
    /// Permit rewrites.
    #[arg(long)]
    rewrite: bool,
    #[command(flatten)]
    wasi: WasiFlags,
    /// Time limit of one decision, as in 20ms [default: as configured, or 50ms].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    deadline: Option<Duration>,
}

/// A component with all that a command needs to know of it.
pub(super) struct Subject {
    pub(super) setup: Setup,
    /// The facts of the configuration, for `view`.
    pub(super) facts: Vec<(String, Fact)>,
    /// Whose signature the configuration demands.
    pub(super) signatures: Option<Signatures>,
    /// Where the configuration has compiled policies kept.
    pub(super) directory: Option<PathBuf>,
    /// What it is called in what is printed.
    pub(super) shown: String,
}

/// Where components are compiled that are to be asked: the gateway's folder of compiled policies is used as well, where
/// that can be had. `check` does without, because it says whether a component compiles.
pub(super) fn workshop(named: Option<&Path>) -> Workshop {
    let usual = || state_directory().map(|folder| folder.join("policies"));
    Workshop::at_hand(named.map(Path::to_owned).or_else(usual).as_deref())
}

#[derive(Clone, Copy)]
struct Granted(Grant);

impl std::str::FromStr for Granted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Grant::Log, Grant::Names, Grant::State, Grant::View];
        let found = all.into_iter().find(|grant| grant.as_str() == text);
        found
            .map(Self)
            .ok_or_else(|| format!("unknown grant `{text}`: expected names, state or view"))
    }
}

/// What a configuration says of a plugin.
type Configured = (Setup, Vec<(String, Fact)>, Option<Signatures>, Option<PathBuf>);

fn duration(text: &str) -> Result<Duration, String> {
    let time = config::duration(text).map_err(|error| format!("`{text}` {error}"))?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(10);
    if allowed.contains(&time) {
        Ok(time)
    } else {
        Err(format!("`{text}` is not between 1ms and 10s"))
    }
}

impl Loading {
    /// Grants more than was asked for on the command line.
    pub(super) fn grant(&mut self, grant: Grant) {
        self.grants.push(Granted(grant));
    }

    /// The component with its settings and grants: of the configuration or the project, and the flags laid over them.
    ///
    /// # Errors
    /// Every fault of the files, or that there is no such component in them.
    pub(super) fn subject(&self) -> Result<Subject, Unready> {
        let (mut setup, facts, signatures, directory) = match &self.config {
            Some(path) => self.configured(path)?,
            None => (projected(&self.component)?, Vec::new(), None, None),
        };
        self.lay_over(&mut setup)?;
        let shown = shown(&setup.plugin.component);
        Ok(Subject {
            setup,
            facts,
            signatures,
            directory,
            shown,
        })
    }

    /// Another component, named as the first may be. That of a project is loaded as the project says, any other as the first.
    ///
    /// # Errors
    /// As [`Loading::subject`].
    pub(super) fn other(&self, subject: &Subject, component: &str) -> Result<Setup, Unready> {
        let path = Path::new(component);
        if !path.is_dir() {
            let mut setup = subject.setup.clone();
            setup.plugin.component = named(component)?;
            return Ok(setup);
        }
        let mut setup = of_folder(path)?;
        self.lay_over(&mut setup)?;
        Ok(setup)
    }

    /// Lays the flags over what files say.
    fn lay_over(&self, setup: &mut Setup) -> Result<(), Unready> {
        let plugin = &mut setup.plugin;
        plugin.grants.extend(self.grants.iter().map(|granted| granted.0));
        plugin.grants.sort();
        plugin.grants.dedup();
        plugin.rewrite |= self.rewrite;
        plugin.wasi = self.wasi.said().unwrap_or(plugin.wasi);
        if let Some(path) = &self.settings {
            plugin.settings = settings(path)?;
        }
        setup.deadline = self.deadline.unwrap_or(setup.deadline);
        Ok(())
    }

    fn configured(&self, path: &Path) -> Result<Configured, Unready> {
        let Policy {
            deadline,
            memory,
            facts,
            signatures,
            directory,
            plugins,
            ..
        } = config::load(path)?.policy;
        let source = source(&self.component)?;
        let count = plugins.len();
        let mut plugins = plugins.into_iter();
        let found = match &self.plugin {
            Some(name) => plugins.find(|plugin| plugin.name == *name),
            None => plugins.find(|plugin| count == 1 || same(&plugin.component, &source)),
        };
        let Some(mut plugin) = found else {
            let words = match &self.plugin {
                Some(name) => format!("{}: no plugin is called `{name}`", path.display()),
                None => format!(
                    "{}: none of its {count} plugins has this component: choose one with --plugin",
                    path.display()
                ),
            };
            return Err(Unready::Usage(words));
        };
        plugin.component = source;
        let setup = Setup {
            plugin,
            deadline,
            memory,
        };
        Ok((setup, facts, signatures, directory))
    }
}

/// The component of a project.
fn of_folder(path: &Path) -> Result<Setup, Unready> {
    if !path.join(FILE).is_file() {
        return Err(Unready::Usage(format!(
            "{}: no policy.toml: name the component's file, or a project folder",
            path.display()
        )));
    }
    let project = Project::read(path)?;
    let setup = project.keys.setup(Some(project.name));
    setup.ok_or_else(|| Unready::Usage(format!("{}: no component", path.display())))
}

/// How a component is loaded that is named alone: as its project says, where it is named by its folder or lies in it, and
/// else with nothing.
///
/// # Errors
/// Every fault of the `policy.toml`, or that there is no such component.
pub(super) fn projected(component: &str) -> Result<Setup, Unready> {
    let path = Path::new(component);
    if path.is_dir() {
        return of_folder(path);
    }
    let source = source(component)?;
    let mut keys = Keys {
        component: Some(source.clone()),
        ..Keys::default()
    };
    let mut name = None;
    if let Source::File(path) = &source
        && let Some(project) = Project::of(path)?
        && project.keys.component.as_ref().is_some_and(|own| same(own, &source))
    {
        keys = keys.over(&project.keys);
        name = Some(project.name);
    }
    keys.setup(name)
        .ok_or_else(|| Unready::Usage("no component".to_owned()))
}

/// The component that is named; that of a project by its folder.
///
/// # Errors
/// As [`projected`].
pub(super) fn source(component: &str) -> Result<Source, Unready> {
    if Path::new(component).is_dir() {
        return Ok(projected(component)?.plugin.component);
    }
    Ok(named(component)?)
}

/// The file of a component: the file that is named, or what the project of a folder builds.
///
/// # Errors
/// If a folder has no project, or its component is no file.
pub(super) fn file(path: &Path) -> Result<PathBuf, Unready> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    match of_folder(path)?.plugin.component {
        Source::File(component) => Ok(component),
        other => Err(Unready::Usage(format!(
            "{}: its component is not a file: {}",
            path.display(),
            shown(&other)
        ))),
    }
}

/// A settings file.
pub(super) fn settings(path: &Path) -> Result<Json, Faults> {
    config::settings_from_file(path)
}

fn same(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::File(one), Source::File(other)) => {
            one == other
                || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
        }
        (one, other) => one == other,
    }
}
