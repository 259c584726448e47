//! `sshd -T -C`: what the installed `sshd` says of the same configuration, as the independent truth for its values.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Difference, Verified, named};
use crate::import::people::Directory;
use crate::import::sshd::{SourceFile, Sshd, Surroundings, Visitor, World};

/// Compares the values that count for each connection.
///
/// A visitor's groups are known to `sshd` from the system alone, so with conditions on groups only accounts of this machine can
/// be asked about.
pub(super) fn compare(sshd: &Sshd, visitors: &[Visitor], verified: &mut Verified) {
    match compared(sshd, visitors) {
        Ok((number, differences)) => {
            verified.sshd = differences.is_empty().then_some(number);
            verified.differences.extend(differences);
        }
        Err(why) => verified.sshd_not_asked = Some(why),
    }
}

fn compared(sshd: &Sshd, visitors: &[Visitor]) -> Result<(usize, Vec<Difference>), String> {
    let program = program().ok_or("it is not installed")?;
    let folder = Folder::make()?;
    let file = copy(sshd, 0, &folder.0)?;
    let key = folder.0.join("key");
    host_key(&key)?;
    let other = folder.for_whom()?;
    let around = sshd.surroundings();
    let asked = askable(sshd, visitors, &around);
    let mut differences = Vec::new();
    for visitor in &asked {
        let said = ask(&mut base(&program, &file, &key, other), visitor, &around)?;
        for keyword in COMPARED {
            let expected = expected(sshd, keyword, (visitor, &around));
            let found = said
                .get(&keyword.to_ascii_lowercase())
                .map_or_else(String::new, Clone::clone);
            if expected != found {
                differences.push(Difference {
                    question: format!("{}: {keyword}", named(visitor)),
                    expected: format!("`{expected}`"),
                    found: format!("`{found}` from sshd -T"),
                });
            }
        }
    }
    Ok((asked.len(), differences))
}

/// One visitor for each user and address, with the groups that the system gives them.
fn askable(sshd: &Sshd, visitors: &[Visitor], around: &Surroundings) -> Vec<Visitor> {
    let known = |visitor: &&Visitor| {
        sshd.scopes.iter().all(|scope| scope.unknown(around).is_none()) && !visitor.user.contains([',', '='])
    };
    let mut found: Vec<Visitor> = Vec::new();
    for visitor in visitors.iter().filter(known) {
        let groups = Directory::System.groups_of(&visitor.user).unwrap_or_default();
        let one = Visitor {
            groups,
            ..visitor.clone()
        };
        if !found
            .iter()
            .any(|other| (&other.user, other.address) == (&one.user, one.address))
        {
            found.push(one);
        }
    }
    found.truncate(MOST);
    found
}

/// What is expected in the words of `sshd -T`.
fn expected(sshd: &Sshd, keyword: &'static str, (visitor, around): (&Visitor, &Surroundings)) -> String {
    let line = sshd.effective(keyword, (visitor, around, World::Met));
    let default = match keyword {
        "AllowTcpForwarding" | "AllowStreamLocalForwarding" => "yes",
        "PermitOpen" | "PermitListen" => "any",
        _ => "no",
    };
    let Some(line) = line else {
        return default.to_owned();
    };
    let words: Vec<_> = line
        .arguments
        .iter()
        .map(|one| match keyword {
            "PermitListen" if !one.contains(':') && !matches!(one.as_str(), "any" | "none") => format!("*:{one}"),
            "PermitOpen" | "PermitListen" => one.clone(),
            _ => one.to_ascii_lowercase(),
        })
        .collect();
    match words.join(" ").as_str() {
        "all" => "yes".to_owned(),
        text => text.to_owned(),
    }
}

fn base(program: &Path, file: &Path, key: &Path, other: Option<u32>) -> Command {
    let mut command = Command::new(program);
    command.arg("-T").arg("-f").arg(file).arg("-h").arg(key);
    if let Some(id) = other {
        command.uid(id).gid(id);
    }
    command
}

fn ask(command: &mut Command, visitor: &Visitor, around: &Surroundings) -> Result<BTreeMap<String, String>, String> {
    let Visitor { user, address, .. } = visitor;
    let port = around.ports.first().copied().unwrap_or(22);
    let output = command
        .arg("-C")
        .arg(format!(
            "user={user},host={address},addr={address},laddr=127.0.0.1,lport={port}"
        ))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(words.lines().last().unwrap_or("it fails without a word").to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
        .collect())
}

/// Writes a file again with the files that it includes, under names that `sshd` finds.
fn copy(sshd: &Sshd, number: usize, folder: &Path) -> Result<PathBuf, String> {
    let Some(SourceFile { text, includes, .. }) = sshd.sources.get(number) else {
        return Err("a file is missing".to_owned());
    };
    let mut lines = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        match includes.get(&line) {
            None => lines.push(text.to_owned()),
            // What matches nothing sets nothing.
            Some(files) if files.is_empty() => lines.push(String::new()),
            Some(files) => {
                let paths = files
                    .iter()
                    .map(|file| copy(sshd, *file, folder))
                    .collect::<Result<Vec<_>, _>>()?;
                let paths: Vec<_> = paths.iter().map(|path| format!("\"{}\"", path.display())).collect();
                lines.push(format!("Include {}", paths.join(" ")));
            }
        }
    }
    let path = folder.join(format!("sshd_config_{number}"));
    fs::write(&path, lines.join("\n") + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// `sshd` says nothing without a host key that it can read.
fn host_key(path: &Path) -> Result<(), String> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("ssh-keygen: {error}")),
    }
}

/// `sshd` must be called by its whole path.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    let absolute = folders.filter(|folder| folder.is_absolute());
    absolute.map(|folder| folder.join("sshd")).find(|path| path.is_file())
}

/// A folder that only this user can read, gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(crate::request::new_id("portreeve-import"));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map(|()| Self(path.clone()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// As whom `sshd` is asked, if not as this user: to root it says nothing without its folder for privilege separation, which
    /// only a service that runs has.
    fn for_whom(&self) -> Result<Option<u32>, String> {
        if !nix::unistd::geteuid().is_root() || Path::new(SEPARATION).exists() {
            return Ok(None);
        }
        let entries = fs::read_dir(&self.0).map_err(|error| error.to_string())?;
        let paths = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .chain([self.0.clone()]);
        for path in paths {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).map_err(|error| error.to_string())?;
        }
        Ok(Some(NOBODY))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The keywords that decide about forwards, with one value each.
const COMPARED: [&str; 6] = [
    "AllowTcpForwarding",
    "AllowStreamLocalForwarding",
    "DisableForwarding",
    "GatewayPorts",
    "PermitOpen",
    "PermitListen",
];

/// `_PATH_PRIVSEP_CHROOT_DIR` on Debian.
const SEPARATION: &str = "/run/sshd";

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// Each is a process.
const MOST: usize = 60;
