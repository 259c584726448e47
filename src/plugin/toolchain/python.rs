//! Python: componentize-py, which brings CPython and makes the component itself.

use std::fs;
use std::process::Command;

use super::failure::BuildError;
use super::{Sources, tool};

/// Builds the component.
///
/// # Errors
/// If the tool is missing or refuses the sources.
pub(super) fn build(sources: &Sources<'_>) -> Result<Vec<u8>, BuildError> {
    let own = sources.folder.join(".venv/bin/componentize-py");
    let program = Some(own)
        .filter(|own| tool::runs(own))
        .or_else(|| tool::on_path(&["componentize-py"]));
    let program = program.ok_or_else(missing)?;
    sources.require("policy.py")?;
    // Of the bindings only those written by hand: the rest is there for editors, and the tool makes its own.
    let bindings = sources.bindings()?;
    let modules = sources.scratch.join("modules");
    fs::create_dir_all(&modules).map_err(BuildError::file(&modules))?;
    for name in [
        "portreeve.py",
        "portreeve_entry.py",
        "portreeve_surroundings.py",
        "portreeve_verdict.py",
    ] {
        let path = bindings.join(name);
        // Bindings that a project has from an earlier version have the first two only.
        if name != "portreeve_surroundings.py" && name != "portreeve_verdict.py" || path.is_file() {
            fs::copy(&path, modules.join(name)).map_err(BuildError::file(&path))?;
        }
    }
    let made = sources.scratch.join("policy.component.wasm");
    let mut componentize = Command::new(program);
    componentize
        .arg("--wit-path")
        .arg(sources.wit()?)
        .args(["--world", super::world::NAME, "componentize", "--stub-wasi"])
        .arg("-p")
        .arg(&sources.folder)
        .arg("-p")
        .arg(&modules)
        .arg("-o")
        .arg(&made)
        .arg("portreeve_entry");
    tool::run(&mut componentize, HINT)?;
    fs::read(&made).map_err(BuildError::file(&made))
}

fn missing() -> BuildError {
    BuildError::Missing {
        what: "componentize-py".to_owned(),
        how: "  any system: python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1\n  in the folder of the policy, or anywhere on PATH".to_owned(),
    }
}

const HINT: &str = "wit_world.imports offers log, types and the interfaces that policy.toml grants";
