//! Finding and running the tools of the languages.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::failure::BuildError;

/// The first of these programs that is on the path.
pub(super) fn on_path(names: &[&str]) -> Option<PathBuf> {
    names.iter().find_map(|name| all_on_path(name).next())
}

/// Every program of this name on the path, in its order.
pub(super) fn all_on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let name = name.to_owned();
    folders
        .into_iter()
        .map(move |folder| folder.join(&name))
        .filter(|file| runs(file))
}

/// Whether this is a file that the system would run.
pub(super) fn runs(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// What a program prints, trimmed; none where it fails.
pub(super) fn printed(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())?;
    text.map(|text| text.trim().to_owned())
}

/// Runs a tool to its end. What it prints is shown where it fails; `hint` says what may be behind that.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(super) fn run(command: &mut Command, hint: &str) -> Result<(), BuildError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unstarted(command, &error))?;
    if output.status.success() {
        return Ok(());
    }
    show(&output.stdout);
    show(&output.stderr);
    Err(failed(command, hint))
}

/// Runs a tool that takes long and shows how far it is.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(super) fn run_shown(command: &mut Command) -> Result<(), BuildError> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status.map_err(|error| unstarted(command, &error))? {
        status if status.success() => Ok(()),
        _ => Err(failed(command, "")),
    }
}

fn show(printed: &[u8]) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(printed);
}

fn failed(command: &Command, hint: &str) -> BuildError {
    BuildError::Failed {
        tool: name(command.get_program()),
        hint: if hint.is_empty() {
            String::new()
        } else {
            format!(": {hint}")
        },
    }
}

fn unstarted(command: &Command, error: &std::io::Error) -> BuildError {
    BuildError::Failed {
        tool: name(command.get_program()),
        hint: format!(": it cannot be started: {error}"),
    }
}

fn name(program: &OsStr) -> String {
    Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy()
        .into_owned()
}
