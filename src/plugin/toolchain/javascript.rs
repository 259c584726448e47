//! JavaScript and TypeScript: tsc, and componentize-qjs, which brings QuickJS and makes the component itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::BuildError;
use super::{Sources, tool};
use crate::plugin::language::Language;

/// Builds the component.
///
/// # Errors
/// If a tool is missing or refuses the sources.
pub(super) fn build(sources: &Sources<'_>) -> Result<Vec<u8>, BuildError> {
    let componentize = find(sources, "componentize-qjs")?;
    let modules = sources.scratch.join("modules");
    if modules.exists() {
        fs::remove_dir_all(&modules).map_err(BuildError::file(&modules))?;
    }
    if sources.language == Language::Typescript {
        sources.require("policy.ts")?;
        translate(sources, &modules)?;
    } else {
        sources.require("policy.js")?;
    }
    for file in sources.files(&["js", "mjs"])? {
        let name = file.strip_prefix(&sources.folder).unwrap_or(&file);
        copy(&file, &modules.join(name))?;
    }
    let bindings = sources.bindings()?;
    for name in ["entry.js", "surroundings.js"] {
        let from = bindings.join(name);
        // Bindings that a project has from an earlier version have the first only.
        if name == "entry.js" || from.is_file() {
            copy(&from, &modules.join(name))?;
        }
    }
    copy(
        &bindings.join("portreeve.js"),
        &modules.join("node_modules/portreeve/portreeve.js"),
    )?;
    let package = modules.join("node_modules/portreeve/package.json");
    fs::write(&package, PACKAGE).map_err(BuildError::file(&package))?;
    let made = sources.scratch.join("policy.component.wasm");
    let mut command = Command::new(componentize);
    command
        .arg("--wit")
        .arg(sources.wit()?)
        .args(["--world", super::world::NAME, "--stub-wasi", "--sync"]);
    command
        .arg("--js")
        .arg(modules.join("entry.js"))
        .arg("--module-root")
        .arg(&modules)
        .arg("-o")
        .arg(&made);
    let hint = format!(
        "portreeve:policy offers log@{version} and the interfaces that policy.toml grants, all in version {version}",
        version = sources.contract.version()
    );
    tool::run(&mut command, &hint)?;
    fs::read(&made).map_err(BuildError::file(&made))
}

/// Checks the types and writes JavaScript.
fn translate(sources: &Sources<'_>, modules: &Path) -> Result<(), BuildError> {
    let mut tsc = Command::new(find(sources, "tsc")?);
    let types = sources.bindings()?.join("portreeve.d.ts");
    let settings = sources.scratch.join("tsconfig.json");
    let text = serde_json::json!({
        "compilerOptions": {
            "strict": true, "noEmitOnError": true, "target": "es2022", "module": "es2022", "moduleResolution": "bundler",
            "lib": ["es2022"], "types": [], "rootDir": sources.folder, "outDir": modules,
        },
        "files": [types, sources.folder.join("policy.ts")],
    });
    fs::write(&settings, text.to_string()).map_err(BuildError::file(&settings))?;
    tool::run(tsc.current_dir(&sources.folder).arg("--project").arg(&settings), "")
}

/// A tool of the project's own packages, of a folder above, or on the path.
fn find(sources: &Sources<'_>, name: &str) -> Result<PathBuf, BuildError> {
    let near = sources
        .folder
        .ancestors()
        .map(|folder| folder.join("node_modules/.bin").join(name));
    let found = near
        .into_iter()
        .find(|file| tool::runs(file))
        .or_else(|| tool::on_path(&[name]));
    found.ok_or_else(|| BuildError::Missing {
        what: name.to_owned(),
        how: format!(
            "  any system with Node.js: npm install {PACKAGES}\n  in {}, or in a folder above it",
            sources.folder.display()
        ),
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(BuildError::file(parent))?;
    }
    fs::copy(from, to).map(drop).map_err(BuildError::file(from))
}

const PACKAGE: &str = r#"{ "name": "portreeve", "type": "module", "main": "portreeve.js" }"#;
const PACKAGES: &str = "--save-dev componentize-qjs@0.4.5 typescript@5.9";
