//! `portreeve plugin build`: the language's own compiler, then a component.
//!
//! An author needs the tools of their language and nothing else: the contract, the bindings and the adapter are in this
//! program, and the component is made here. Invariant: if anything fails, the existing component stays unchanged.

mod c;
mod component;
mod failure;
mod flags;
mod go;
mod javascript;
mod python;
mod rust;
mod target;
mod tool;
mod world;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

pub(super) use self::component::ADAPTER;
pub(crate) use self::component::{Making, perform};
use self::failure::BuildError;
pub(super) use self::world::World;
use super::bindings;
use super::contract::Contract;
use super::language::Language;
use super::project::{self, Project};
use super::wrong::invalid;
use crate::config::{Grant, Source};
use crate::say::{plain, print};

/// Compile a policy to a component.
#[derive(Args)]
pub(crate) struct Build {
    /// Project folder: the one with `policy.toml`.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Builds; the exit code is the answer.
pub(super) fn run(command: &Build) -> u8 {
    let project = match Project::read(&command.folder) {
        Ok(project) => project,
        Err(faults) => return invalid(&[faults], command.json),
    };
    match build(&command.folder, &project) {
        Ok(built) if command.json => print(&format!("{}\n", serde_json::json!(built))),
        Ok(built) => print(&built.sentence()),
        Err(error) => error.wrong().report(error.code(), command.json),
    }
}

/// What was built.
#[derive(Serialize)]
struct Built {
    component: PathBuf,
    bytes: usize,
    sha256: String,
    /// Interfaces that it calls.
    imports: Vec<String>,
    /// Those of them for which the project has no grant.
    not_granted: Vec<String>,
    /// The version of the contract of bindings that the project brings, where this program has newer ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    older: Option<&'static str>,
}

impl Built {
    fn sentence(&self) -> String {
        let short: Vec<&str> = self
            .imports
            .iter()
            .map(|name| interface(name).unwrap_or(name))
            .collect();
        let imports = if short.is_empty() {
            "nothing".to_owned()
        } else {
            short.join(", ")
        };
        let mut text = format!(
            "built {}: {} KiB, imports {}\n",
            plain(&self.component.display().to_string()),
            self.bytes.div_ceil(1024),
            plain(&imports)
        );
        for name in &self.not_granted {
            text.push_str(&format!(
                "it imports {}, which policy.toml does not grant: a gateway would reject it\n",
                plain(name)
            ));
        }
        if let Some(older) = self.older {
            text.push_str(&format!(
                "its folder `bindings` is for portreeve:policy {older}, where a verdict that was never set may be an allow: delete the folder \
                 to build against the bindings of this program, for {newest} (docs/versions.md says what changed) or, with \
                 `contract = \"{older}\"` in policy.toml, for {older}\n",
                newest = Contract::default().version(),
            ));
        }
        text
    }
}

fn build(folder: &Path, project: &Project) -> Result<Built, BuildError> {
    let file = folder.join(project::FILE);
    let Some(language) = project.language else {
        let known = Language::WORDS.map(|(word, _)| word).join(", ");
        return Err(BuildError::NoLanguage { file, known });
    };
    let Some(Source::File(target)) = &project.keys.component else {
        return Err(BuildError::NoFile { file });
    };
    target::check(folder, target).map_err(|refusal| match refusal {
        target::Refusal::Not(why) => BuildError::Target {
            file,
            component: target.clone(),
            why,
        },
        target::Refusal::File(path, error) => BuildError::File { path, error },
    })?;
    let grants = project.keys.grants.as_deref().unwrap_or_default();
    let mut sources = Sources::new(folder, language, project.world, grants)?;
    sources.contract = contract(&sources, project.contract)?;
    let bytes = match language {
        Language::Rust => rust::build(&sources),
        Language::C | Language::Cpp => c::build(&sources),
        Language::Go => go::build(&sources),
        Language::Python => python::build(&sources),
        Language::Javascript | Language::Typescript => javascript::build(&sources),
    }?;
    let imports = component::imports(&bytes)?;
    put(&bytes, target)?;
    let granted = |name: &str| interface(name).is_some_and(|short| is_granted(grants, short));
    Ok(Built {
        component: target.clone(),
        bytes: bytes.len(),
        sha256: crate::policy::digest(&bytes),
        not_granted: imports.iter().filter(|name| !granted(name)).cloned().collect(),
        older: sources.older_bindings(),
        imports,
    })
}

/// The contract that a project is built for: what `policy.toml` says, else that of the bindings that it brings, else the newest.
fn contract(sources: &Sources<'_>, said: Option<Contract>) -> Result<Contract, BuildError> {
    let brought = sources
        .has_bindings()
        .then(|| bindings::contract_of(sources.language, &sources.folder.join("bindings")))
        .flatten();
    match (said, brought) {
        (Some(said), Some(brought)) if said != brought => Err(BuildError::Bindings {
            folder: sources.folder.join("bindings"),
            brought: brought.version(),
            said: said.version(),
        }),
        (said, brought) => Ok(said.or(brought).unwrap_or_default()),
    }
}

/// The new file takes the place of the old one at once, so that a gateway which watches it never reads half of it.
fn put(bytes: &[u8], target: &Path) -> Result<(), BuildError> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(BuildError::file(folder))?;
    }
    // What an earlier build left there goes; a link is removed, not followed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(BuildError::file(&beside)(error)),
        _ => {}
    }
    let made = fs::File::create_new(&beside).and_then(|mut file| file.write_all(bytes));
    made.map_err(BuildError::file(&beside))?;
    fs::rename(&beside, target).map_err(BuildError::file(target))
}

/// The short name of an interface of the contract: `names` of `portreeve:policy/names@0.1.0`.
fn interface(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("portreeve:policy/")?;
    Some(rest.split_once('@').map_or(rest, |(short, _)| short))
}

fn is_granted(grants: &[Grant], interface: &str) -> bool {
    let words = [("names", Grant::Names), ("state", Grant::State), ("view", Grant::View)];
    let free = ["log", "calendar"].contains(&interface);
    free || words
        .iter()
        .any(|(word, grant)| *word == interface && grants.contains(grant))
}

/// A project as its compiler sees it.
struct Sources<'a> {
    /// Absolute.
    folder: PathBuf,
    /// What is made on the way, in the folder `build` of the project.
    scratch: PathBuf,
    language: Language,
    contract: Contract,
    world: World,
    grants: &'a [Grant],
}

impl<'a> Sources<'a> {
    fn new(folder: &Path, language: Language, world: World, grants: &'a [Grant]) -> Result<Self, BuildError> {
        let folder = folder.canonicalize().map_err(BuildError::file(folder))?;
        let scratch = folder.join("build");
        if language != Language::Rust {
            fs::create_dir_all(&scratch).map_err(BuildError::file(&scratch))?;
        }
        Ok(Self {
            folder,
            scratch,
            language,
            contract: Contract::default(),
            world,
            grants,
        })
    }

    fn observes(&self) -> bool {
        self.world == World::Observing
    }

    /// The version of the project's own bindings, where this program has newer ones.
    fn older_bindings(&self) -> Option<&'static str> {
        let older = self.has_bindings() && self.contract != Contract::default();
        older.then(|| self.contract.version())
    }

    /// Whether the project brings the bindings.
    fn has_bindings(&self) -> bool {
        self.folder.join("bindings").is_dir()
    }

    /// The folder with the bindings: the project's, or one with those of this program.
    fn bindings(&self) -> Result<PathBuf, BuildError> {
        if self.has_bindings() {
            return Ok(self.folder.join("bindings"));
        }
        let folder = self.scratch.join("bindings");
        bindings::write(&bindings::of(self.language, self.contract), &folder).map_err(BuildError::file(&folder))?;
        Ok(folder)
    }

    /// A file with the contract as far as it is granted.
    fn wit(&self) -> Result<PathBuf, BuildError> {
        let path = self.scratch.join("policy.wit");
        fs::write(&path, world::narrowed(self.contract, self.world, self.grants)).map_err(BuildError::file(&path))?;
        Ok(path)
    }

    /// Fails where the file with which a policy begins is not there.
    fn require(&self, name: &str) -> Result<(), BuildError> {
        let path = self.folder.join(name);
        if path.is_file() {
            return Ok(());
        }
        Err(BuildError::Sources(format!(
            "{}: not found: it should contain the policy",
            path.display()
        )))
    }

    /// The author's files with one of these endings, in the order of their paths.
    ///
    /// A link to a file is followed, one to a folder is not: it may lead back up, to sources that are there already.
    fn files(&self, endings: &[&str]) -> Result<Vec<PathBuf>, BuildError> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(BuildError::file(&folder))?;
            for entry in entries {
                let entry = entry.map_err(BuildError::file(&folder))?;
                let path = entry.path();
                let kind = entry.file_type().map_err(BuildError::file(&path))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if kind.is_dir() {
                    if !name.starts_with('.') && !NOT_SOURCES.contains(&name.as_ref()) {
                        folders.push(path);
                    }
                } else if path
                    .extension()
                    .is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
                    && path.is_file()
                {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Folders of a project that hold no source of the policy.
const NOT_SOURCES: [&str; 5] = ["bindings", "build", "cases", "node_modules", "tests"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_folder_brings_no_sources() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().canonicalize().unwrap();
        fs::create_dir(folder.join("part")).unwrap();
        fs::write(folder.join("part/a.c"), "").unwrap();
        symlink("part/a.c", folder.join("b.c")).unwrap();
        symlink(".", folder.join("again")).unwrap();
        symlink(".", folder.join("again.c")).unwrap();
        symlink("part", folder.join("other")).unwrap();
        let sources = Sources::new(&folder, Language::C, World::Policy, &[]).unwrap();
        let found = sources.files(&["c"]).unwrap();
        assert_eq!(found, [folder.join("b.c"), folder.join("part/a.c")]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_in_the_sentence() {
        let built = Built {
            component: PathBuf::from("\x1b[31m.wasm"),
            bytes: 1,
            sha256: String::new(),
            imports: vec!["\x1b[32m".to_owned()],
            not_granted: vec!["\x1b[33m".to_owned()],
            older: None,
        };
        let sentence = built.sentence();
        assert!(sentence.contains("[31m") && sentence.contains("[33m"), "{sentence:?}");
        assert!(!sentence.contains('\x1b'), "{sentence:?}");
    }
}
