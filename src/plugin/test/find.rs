//! Which case files are meant.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::project;
use super::super::wrong::Wrong;

/// The case files of these paths, in order.
///
/// # Errors
/// A path that is not there, or a folder without a case file.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Wrong> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_file() {
            found.push(path.clone());
            continue;
        }
        let (folder, advice) = if path.join(project::FILE).is_file() {
            (path.join("cases"), "write one, as in cases/first.toml")
        } else {
            (path.clone(), "name a case file or the folder of a project")
        };
        let before = found.len();
        below(&folder, &mut found).map_err(|error| Wrong::file(&folder, error))?;
        if found.len() == before {
            return Err(Wrong::file(&folder, format_args!("there is no case file: {advice}")));
        }
    }
    Ok(found)
}

/// Every `.toml` file below a folder, in the order of their names.
///
/// A link to a file is read; one to a folder is not followed: it may lead back up, and the search would not end.
fn below(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = fs::read_dir(folder)?;
    let mut paths: Vec<_> = entries
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect::<Result<_, _>>()?;
    paths.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in paths {
        if kind.is_dir() {
            below(&path, found)?;
        } else if is_case_file(&path) && !(kind.is_symlink() && path.is_dir()) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_case_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml") && !path.ends_with(project::FILE)
}
