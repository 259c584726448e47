//! Finds the case files to run.

use std::collections::HashSet;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::super::project;
use super::super::wrong::Wrong;

/// The case files of these paths, in order; one that is named twice, however it is spelled, is there once.
///
/// # Errors
/// A path that is not there or no regular file, or a folder without a case file.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Wrong> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_file() {
            found.push(path.clone());
            continue;
        }
        if path.exists() && !path.is_dir() {
            return Err(Wrong::file(
                path,
                format_args!("{NOT_REGULAR}: name a case file or the folder of a project"),
            ));
        }
        let (folder, advice) = if path.join(project::FILE).is_file() {
            (path.join("cases"), "write one, as in cases/first.toml")
        } else {
            (path.clone(), "name a case file or the folder of a project")
        };
        let before = found.len();
        if path.is_dir() && !folder.exists() {
            return Err(Wrong::file(&folder, format_args!("no case file: {advice}")));
        }
        below(&folder, &mut found)?;
        if found.len() == before {
            return Err(Wrong::file(&folder, format_args!("no case file: {advice}")));
        }
    }
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(place(path)));
    Ok(found)
}

/// Where a file is, whatever the way there. A link in another project is another file: it is asked of that project's policy.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok();
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Every `.toml` file below a folder, in the order of their names.
///
/// A link to a file is read; one to a folder is not followed: it may lead back up, and the search would not end.
fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Wrong> {
    let mut paths = entries(folder).map_err(|error| Wrong::file(folder, error))?;
    paths.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in paths {
        if kind.is_dir() {
            below(&path, found)?;
        } else if is_case_file(&path) && !(kind.is_symlink() && path.is_dir()) {
            // A FIFO would be waited for.
            if path.exists() && !path.is_file() {
                return Err(Wrong::file(
                    &path,
                    format_args!("{NOT_REGULAR}: remove it, or give it another name"),
                ));
            }
            found.push(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> std::io::Result<Vec<(PathBuf, FileType)>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect()
}

fn is_case_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml") && !path.ends_with(project::FILE)
}

const NOT_REGULAR: &str = "it is not a regular file";
