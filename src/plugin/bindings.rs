//! What a policy is compiled against in each language, embedded in the program: `plugins/bindings`.
//!
//! A project that `plugin new` made has these files in its folder `bindings`, where its author and their editor see them. A
//! project without that folder is built against the same files from here.

use std::fs;
use std::io;
use std::path::Path;

use super::language::Language;

/// Files by their path in a folder.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// The bindings of a language; none for Rust, whose SDK is a crate.
pub(super) fn of(language: Language) -> Files {
    match language {
        Language::Rust => &[],
        Language::C | Language::Cpp => C,
        Language::Go => GO,
        Language::Python => PYTHON,
        Language::Javascript | Language::Typescript => JAVASCRIPT,
    }
}

/// Writes files below a folder; those that are there already with the same bytes are left alone, so that tools which go by
/// the time of a file see no change.
///
/// # Errors
/// Where a folder or a file cannot be written.
pub(super) fn write(files: Files, folder: &Path) -> io::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../", $folder, "/", $name)))),+]
    };
}
pub(super) use files;

const C: Files = files!("plugins/bindings/c": "policy.h", "policy.c", "verdict.h");

const GO: Files = files!("plugins/bindings/go":
    "main.go",
    "main_observing.go",
    "decision/decision.go",
    "lifecycle/lifecycle.go",
    "observer/observer.go",
    "log/generated.go",
    "names/generated.go",
    "state/generated.go",
    "view/generated.go",
    "types/generated.go",
    "types/short.go",
    "wit/LICENSE",
    "wit/runtime/runtime.go",
    "wit/types/option.go",
    "wit/types/result.go",
    "wit/types/tuple.go",
    "wit/types/unit.go",
);

const PYTHON: Files = files!("plugins/bindings/python":
    "componentize_py_types.py",
    "portreeve.py",
    "portreeve_entry.py",
    "wit_world/__init__.py",
    "wit_world/exports/__init__.py",
    "wit_world/exports/decision.py",
    "wit_world/exports/lifecycle.py",
    "wit_world/exports/observer.py",
    "wit_world/imports/__init__.py",
    "wit_world/imports/log.py",
    "wit_world/imports/names.py",
    "wit_world/imports/state.py",
    "wit_world/imports/types.py",
    "wit_world/imports/view.py",
);

const JAVASCRIPT: Files = files!("plugins/bindings/javascript": "entry.js", "portreeve.js", "portreeve.d.ts");
