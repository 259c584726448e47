//! Checks where a build may write its component.
//!
//! `policy.toml` may come with a project that others wrote. So the path that it names must be inside that project, and hold a
//! component or nothing: a build never overwrites a source, a file elsewhere or a device.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

/// Why a build does not write there.
pub(super) enum Refusal {
    /// It is no place for a component.
    Not(&'static str),
    /// It cannot be looked at.
    File(PathBuf, io::Error),
}

/// Looks at the file that a build would write.
///
/// # Errors
/// If it is outside the project (links included), does not end in `.wasm`, or exists and is not WebAssembly.
pub(super) fn check(project: &Path, target: &Path) -> Result<(), Refusal> {
    if target.extension().is_none_or(|ending| ending != "wasm") {
        return Err(Refusal::Not("it does not end in .wasm"));
    }
    if !is_inside(project, target)? {
        return Err(Refusal::Not("it is outside the project"));
    }
    match target.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(file(target)(error)),
        Ok(there) if !there.is_file() => Err(Refusal::Not("it exists and is not a regular file")),
        Ok(_) if begins_as_wasm(target).map_err(file(target))? => Ok(()),
        Ok(_) => Err(Refusal::Not("it exists, is not WebAssembly and would be overwritten")),
    }
}

/// Whether the folder of a file, as far as it exists, is that of the project or below it.
fn is_inside(project: &Path, target: &Path) -> Result<bool, Refusal> {
    let project = project.canonicalize().map_err(file(project))?;
    let folder = target.parent().unwrap_or(Path::new(""));
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok());
    // A relative path without any folder that exists begins in the current one.
    let there = there.unwrap_or(Path::new(""));
    let rest = folder.strip_prefix(there).unwrap_or(folder);
    let only_down = rest.components().all(|part| matches!(part, Component::Normal(_)));
    let start = if there.as_os_str().is_empty() {
        Path::new(".")
    } else {
        there
    };
    let start = start.canonicalize().map_err(file(start))?;
    Ok(only_down && start.starts_with(project))
}

fn begins_as_wasm(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> Refusal {
    let path = path.to_owned();
    move |error| Refusal::File(path, error)
}

/// With which a module and a component begin.
const MAGIC: &[u8] = b"\0asm";
