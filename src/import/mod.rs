//! `portreeve import sshd`: a configuration and rules from what an administrator has for `sshd`.
//!
//! [`sshd`] reads `sshd_config` as OpenSSH does and says what would count for a connection. From the same lines [`rules`] makes
//! the rules and [`settings`] the configuration, and [`mod@write`] puts them where no file is yet. [`verify`] asks the result, as
//! the gateway would, and compares it with what `sshd` would do. It must not know how a forward is carried.
//!
//! Invariant: the result permits what the `sshd_config` permits and no more. What cannot be said exactly is said more strictly,
//! and a [`note`] names the line.

mod clients;
mod keys;
mod note;
mod people;
mod regions;
mod report;
mod rules;
mod settings;
mod sshd;
mod targets;
mod verify;
mod who;
mod write;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::keys::KeyFile;
use self::note::{Notes, Place, Wrong};
use self::people::{Directory, People};
use self::report::Report;
use self::rules::Ruleset;
use self::sshd::Sshd;
use self::write::Staged;
use crate::plugin::fail;
use crate::policy::{Component, Meter, Offline};
use crate::say::{DONE, FAILED, INVALID, print};

/// Make a configuration and rules from those of another server.
#[derive(Subcommand)]
pub(crate) enum Import {
    /// Make portreeve.toml and rules.toml from sshd_config and authorized_keys.
    ///
    /// The result permits the forwards that sshd permits and no others. Whatever cannot be said exactly becomes stricter, and is
    /// named with its line. No file is overwritten.
    Sshd(FromSshd),
}

/// Make portreeve.toml and rules.toml from sshd_config and authorized_keys.
#[derive(Args)]
pub(crate) struct FromSshd {
    /// An sshd_config and any number of authorized_keys files, told apart by what is in them; NAME=FILE says whose keys a file
    /// has.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Folder to write to; created if it is missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Ask the result about every user, group and target that is named, and compare with sshd_config and, if it is installed,
    /// with `sshd -T`.
    #[arg(long)]
    verify: bool,
    /// Groups of users, as in /etc/group [default: those of this machine].
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that was made, before it is written.
struct Made {
    sshd: Sshd,
    ruleset: Ruleset,
    people: People,
    keys: Vec<KeyFile>,
    notes: Notes,
    files: write::Files,
}

/// Why there is no result.
enum Failure {
    /// What was typed, or is in a file.
    Invalid(String),
    /// What could not be done.
    Failed(String),
}

/// Imports; the exit code says whether that was done.
pub(crate) async fn run(command: Import) -> u8 {
    let Import::Sshd(asked) = command;
    match import(&asked).await {
        Ok(report) => match print(&report.shown(asked.json)) {
            DONE => report.code(),
            failed => failed,
        },
        Err(Failure::Invalid(words)) => fail(INVALID, &words, asked.json),
        Err(Failure::Failed(words)) => fail(FAILED, &words, asked.json),
    }
}

async fn import(asked: &FromSshd) -> Result<Report, Failure> {
    let made = make(asked)?;
    let staged = Staged::write(&asked.output, &made.files).map_err(Failure::Failed)?;
    accepted(&staged).await.map_err(Failure::Failed)?;
    staged.put().map_err(Failure::Failed)?;
    let verified = match asked.verify {
        true => {
            let question = verify::Question {
                sshd: &made.sshd,
                people: &made.people,
                stricter: made.ruleset.stricter(),
                uses_groups: made.ruleset.uses_groups,
            };
            Some(
                verify::verify(&asked.output.join(write::CONFIGURATION), &question)
                    .await
                    .map_err(Failure::Failed)?,
            )
        }
        false => None,
    };
    Ok(Report::new(&asked.output, made, verified))
}

/// Whether a gateway would take what was made, as far as this machine has no part in it.
async fn accepted(staged: &Staged) -> Result<(), String> {
    let faulty = |words: String| format!("nothing was written, because a gateway would not take the result: {words}");
    let config = staged.configuration().map_err(|faults| faulty(faults.to_string()))?;
    let policy = &config.policy;
    let offline =
        Offline::new(policy.memory, policy.deadline, Meter::Off).map_err(|error| faulty(error.to_string()))?;
    for plugin in &policy.plugins {
        let component = Component::read(&plugin.component).map_err(|error| faulty(error.to_string()))?;
        let loaded = offline.load(plugin, component).await;
        loaded.map_err(|error| faulty(error.to_string()))?;
    }
    Ok(())
}

fn make(asked: &FromSshd) -> Result<Made, Failure> {
    let Inputs { main, keys } = inputs(&asked.files)?;
    let sshd = Sshd::read(&main.0, main.1).map_err(|wrong| Failure::Invalid(lines(&wrong)))?;
    let keys = key_files(keys, &sshd)?;
    let mut notes = Notes::default();
    let wrong: Vec<_> = keys
        .iter()
        .filter_map(|file| keys::examine(file, &mut notes).err())
        .collect();
    if !wrong.is_empty() {
        return Err(Failure::Invalid(lines(&wrong)));
    }
    let directory = match &asked.groups {
        None => Directory::System,
        Some(path) => {
            Directory::read(path).map_err(|words| Failure::Invalid(format!("{}: {words}", path.display())))?
        }
    };
    let names: Vec<_> = keys.iter().map(|file| file.user.clone()).collect();
    let people = people::people(&sshd, &names, &directory);
    let ruleset = rules::rules(&sshd, &mut notes);
    let from = settings::From {
        sshd: &sshd,
        rules: &ruleset,
        keys: &keys,
        people: &people,
    };
    let settings = settings::settings(&from, &mut notes).map_err(|wrong| Failure::Failed(wrong.to_string()))?;
    let mut files = settings.files;
    files.push((
        PathBuf::from(write::RULES),
        write::page(&ruleset, &main.0.display().to_string()),
    ));
    files.push((PathBuf::from(write::CONFIGURATION), settings.text));
    Ok(Made {
        sshd,
        ruleset,
        people,
        keys,
        notes,
        files,
    })
}

/// The files of the command line, told apart.
struct Inputs {
    main: (PathBuf, String),
    keys: Vec<(Option<String>, PathBuf, String)>,
}

fn inputs(files: &[String]) -> Result<Inputs, Failure> {
    let mut configurations = Vec::new();
    let mut keys = Vec::new();
    for file in files {
        let (user, path) = match file.split_once('=').filter(|_| !Path::new(file).exists()) {
            Some((user, path)) => (Some(user.to_owned()), PathBuf::from(path)),
            None => (None, PathBuf::from(file)),
        };
        let text = sshd::text_of(&path).map_err(|words| Failure::Invalid(format!("{}: {words}", path.display())))?;
        match user.is_some() || keys::are_keys(&text) {
            true => keys.push((user, path, text)),
            false => configurations.push((path, text)),
        }
    }
    let mut configurations = configurations.into_iter();
    match (configurations.next(), configurations.next()) {
        (Some(main), None) => Ok(Inputs { main, keys }),
        (None, _) => Err(Failure::Invalid(
            "none of the files is an sshd_config: name it beside the files of keys".to_owned(),
        )),
        (Some((one, _)), Some((other, _))) => Err(Failure::Invalid(format!(
            "{} and {} are both no files of keys, and one sshd_config is expected: what it includes is read by itself; if one has \
             the keys of a user, say so with NAME=FILE",
            one.display(),
            other.display()
        ))),
    }
}

fn key_files(files: Vec<(Option<String>, PathBuf, String)>, sshd: &Sshd) -> Result<Vec<KeyFile>, Failure> {
    let patterns = settings::patterns_of(sshd);
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for (user, path, text) in files {
        match user.or_else(|| keys::user_of(&path, sshd)) {
            Some(user) if user.is_empty() || user.contains(['/', '\0']) || user.starts_with('.') => {
                return Err(Failure::Invalid(format!(
                    "`{user}` is no name of a user: write NAME=FILE"
                )));
            }
            Some(user) => {
                let in_place = keys::is_in_place(&path, &user, &patterns);
                found.push(KeyFile {
                    user,
                    path,
                    text,
                    in_place,
                });
            }
            None => unknown.push(format!("{0}: whose keys are these? Write NAME={0}", path.display())),
        }
    }
    match unknown.is_empty() {
        true => Ok(found),
        false => Err(Failure::Invalid(unknown.join("\n"))),
    }
}

fn lines(wrong: &[Wrong]) -> String {
    let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
