//! Writes the result: beside first, then into its place, and never over a file that is there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::rules::{Rule, Ruleset};
use super::settings::{list, quoted};
use crate::config::{self, Config, Faults};

/// `rules.toml`.
pub(crate) fn page(ruleset: &Ruleset, name: &str) -> String {
    let mut text = format!(
        "# Made from {name} by `portreeve import sshd`. The first rule that matches decides; what no rule matches is denied.\n\
         # Each rule names the line that it comes from. What rules can say: plugins/rules/README.md.\n\n\
         count = {}                 # how many rules follow: a file that was cut off is refused; count again after a change\n",
        ruleset.rules.len()
    );
    if ruleset.rules.is_empty() {
        text.push_str("rules = []                # nothing may be forwarded\n");
    }
    for rule in &ruleset.rules {
        text.push_str(&block(rule));
    }
    text.push_str("\n[default]\ncode = \"not-permitted\"\nreason = \"sshd_config does not permit it\"\n");
    text
}

fn block(rule: &Rule) -> String {
    let mut text = String::from("\n");
    for source in &rule.sources {
        let _ = writeln!(text, "# {}", source.replace(char::is_control, " "));
    }
    if rule.stricter {
        text.push_str("# stricter than sshd\n");
    }
    let _ = writeln!(text, "[[rules]]\nname = {}", quoted(&rule.name));
    let actions: Vec<_> = rule.actions.iter().map(|one| (*one).to_owned()).collect();
    let who = &rule.who;
    for (key, texts) in [
        ("actions", &actions),
        ("users", &who.users),
        ("groups", &who.groups),
        ("methods", &who.methods),
        ("clients", &who.clients),
        ("targets", &rule.targets),
    ] {
        if !texts.is_empty() {
            let _ = writeln!(text, "{key} = {}", list(texts));
        }
    }
    let outcome = if rule.allows { "allow" } else { "deny" };
    let _ = writeln!(text, "outcome = \"{outcome}\"\nreason = {}", quoted(&rule.reason));
    if let Some(words) = rule.tell_user {
        let _ = writeln!(text, "tell-user = {}", quoted(words));
    }
    if let Some(seconds) = rule.idle_seconds {
        let _ = writeln!(
            text,
            "terms = {{ idle-seconds = {} }}",
            seconds.min(u64::from(u32::MAX))
        );
    }
    text
}

/// Files, by their names below a folder.
pub(crate) type Files = Vec<(PathBuf, String)>;

/// Files that are written beside their place, and not yet in it. Dropped, they are gone.
#[derive(Debug)]
pub(crate) struct Staged {
    folder: PathBuf,
    stage: PathBuf,
    names: Vec<PathBuf>,
    /// Whether the folder was made for them.
    made: bool,
}

impl Staged {
    /// Writes files beside their places in a folder.
    ///
    /// # Errors
    /// What is there already, or what cannot be written: a sentence.
    pub(crate) fn write(folder: &Path, files: &Files) -> Result<Self, String> {
        let there = files.iter().map(|(name, _)| folder.join(name));
        if let Some(path) = there.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(exists(&path));
        }
        let made = !folder.exists();
        fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
        let staged = Self {
            folder: folder.to_owned(),
            stage: folder.join(format!(".import-{}", std::process::id())),
            names: files.iter().map(|(name, _)| name.clone()).collect(),
            made,
        };
        // Left behind by a process of the same number that was killed.
        let _ = fs::remove_dir_all(&staged.stage);
        fs::create_dir(&staged.stage).map_err(|error| cannot("create", &staged.stage, &error))?;
        for (name, text) in files {
            let path = staged.stage.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| cannot("create", parent, &error))?;
            }
            fs::write(&path, text).map_err(|error| cannot("write", &path, &error))?;
        }
        Ok(staged)
    }

    /// The configuration among them.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn configuration(&self) -> Result<Config, Faults> {
        config::load(&self.stage.join(CONFIGURATION))
    }

    /// Moves them into their places, all or none of them.
    ///
    /// # Errors
    /// What has come there since, or what cannot be written.
    pub(crate) fn put(mut self) -> Result<(), String> {
        let mut moved: Vec<PathBuf> = Vec::new();
        for name in &self.names {
            let path = self.folder.join(name);
            if let Err(words) = put(&self.stage.join(name), &path) {
                moved.iter().for_each(|path| drop(fs::remove_file(path)));
                let _ = fs::remove_dir(self.folder.join(KEYS));
                return Err(words);
            }
            moved.push(path);
        }
        self.made = false;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.stage);
        if self.made {
            // Only if nothing else is in it by now.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Moves a file to where there is none.
fn put(from: &Path, to: &Path) -> Result<(), String> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|error| cannot("create", parent, &error))?;
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Err(exists(to)),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // A file system that cannot do that in one step.
            let linked = fs::hard_link(from, to).and_then(|()| fs::remove_file(from));
            linked.map_err(|error| cannot("write", to, &error))
        }
        Err(error) => Err(cannot("write", to, &error.into())),
        Ok(()) => Ok(()),
    }
}

fn exists(path: &Path) -> String {
    format!(
        "{} exists: nothing was written, because an import never overwrites a file; remove it, or name another --output",
        path.display()
    )
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

/// The configuration, in its folder.
pub(crate) const CONFIGURATION: &str = "portreeve.toml";
/// The rules, beside it.
pub(crate) const RULES: &str = "rules.toml";
/// The folder of copied keys.
const KEYS: &str = "keys";

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str =
        "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nsettings-file = \"rules.toml\"\n";

    fn files(configuration: &str) -> Files {
        let file = |name: &str, text: &str| (PathBuf::from(name), text.to_owned());
        vec![
            file("keys/alice", "key\n"),
            file("portreeve.toml", configuration),
            file("rules.toml", "rules = []\n"),
        ]
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_are_written_or_none() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("a/b");
        let write = |folder: &Path, text: &str| Staged::write(folder, &files(text)).and_then(Staged::put);
        write(&folder, FINE).expect("written");
        assert_eq!(entries(&folder), ["keys", "portreeve.toml", "rules.toml"]);
        fs::remove_file(folder.join("portreeve.toml")).expect("removed");
        let words = write(&folder, FINE).expect_err("rules.toml is there");
        assert!(words.contains("exists"), "{words}");
        assert_eq!(entries(&folder), ["keys", "rules.toml"]);
        let folder = home.path().join("c");
        let staged = Staged::write(&folder, &files("colour = 1\n")).expect("staged");
        assert!(
            staged
                .configuration()
                .expect_err("no configuration")
                .to_string()
                .contains("colour")
        );
        drop(staged);
        assert!(!folder.exists());
        let staged = Staged::write(&folder, &files(FINE)).expect("staged");
        fs::write(folder.join("rules.toml"), "mine").expect("written");
        staged.put().expect_err("another was faster");
        assert_eq!(entries(&folder), ["rules.toml"]);
    }
}
