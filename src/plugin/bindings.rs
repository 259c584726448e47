//! The bindings for each language, embedded in the program: `plugins/bindings`.
//!
//! A project that `plugin new` made has these files in its folder `bindings`, for its author and their editor. A
//! project without that folder is built against the same files from here.

use std::fs;
use std::io;
use std::path::Path;

use super::contract::Contract;
use super::language::Language;

/// Files by their path in a folder.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// The bindings of a language for a version of the contract; none for Rust, whose SDK is a crate.
pub(super) fn of(language: Language, contract: Contract) -> Vec<(&'static str, &'static str)> {
    let (written, generated) = match (language, contract) {
        (Language::Rust, _) => (NONE, NONE),
        (Language::C | Language::Cpp, Contract::V0_2) => (C, C_0_2),
        (Language::C | Language::Cpp, Contract::V0_1) => (C, C_0_1),
        (Language::Go, Contract::V0_2) => (GO, GO_0_2),
        (Language::Go, Contract::V0_1) => (GO, GO_0_1),
        (Language::Python, Contract::V0_2) => (PYTHON, PYTHON_0_2),
        // What is generated there is for editors only.
        (Language::Python, Contract::V0_1) => (PYTHON, NONE),
        (Language::Javascript | Language::Typescript, Contract::V0_2) => (JAVASCRIPT, JAVASCRIPT_0_2),
        (Language::Javascript | Language::Typescript, Contract::V0_1) => (JAVASCRIPT, JAVASCRIPT_0_1),
    };
    [written, generated].concat()
}

/// The version of the contract of the bindings in a folder, if known.
pub(super) fn contract_of(language: Language, folder: &Path) -> Option<Contract> {
    let file = match language {
        Language::Rust => return None,
        Language::C | Language::Cpp => "policy.c",
        Language::Go => "main.go",
        Language::Python => {
            let newest = folder.join("wit_world/imports/calendar.py").is_file();
            let any = folder.join("portreeve_entry.py").is_file();
            return any.then_some(if newest { Contract::V0_2 } else { Contract::V0_1 });
        }
        Language::Javascript | Language::Typescript => "portreeve.js",
    };
    let text = fs::read_to_string(folder.join(file)).ok()?;
    let found = Contract::WORDS.into_iter().find(|(version, _)| {
        ["decision", "log"]
            .map(|name| format!("portreeve:policy/{name}@{version}"))
            .iter()
            .any(|name| text.contains(name))
    });
    found.map(|(_, contract)| contract)
}

/// Writes files below a folder; those that are there already with the same bytes are left alone, so that tools which go by
/// the time of a file see no change.
///
/// # Errors
/// If a folder or a file cannot be written.
pub(super) fn write(files: &[(&str, &str)], folder: &Path) -> io::Result<()> {
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

const NONE: Files = &[];

const C: Files = files!("plugins/bindings/c": "verdict.h", "checks.c");
const C_0_2: Files = files!("plugins/bindings/c": "policy.h", "policy.c");
const C_0_1: Files = files!("plugins/bindings/0.1.0/c": "policy.h", "policy.c");

const GO: Files = files!("plugins/bindings/go":
    "decision/decision.go",
    "lifecycle/lifecycle.go",
    "observer/observer.go",
    "types/short.go",
    "wit/LICENSE",
    "wit/runtime/runtime.go",
    "wit/types/option.go",
    "wit/types/result.go",
    "wit/types/tuple.go",
    "wit/types/unit.go",
);
const GO_0_2: Files = files!("plugins/bindings/go":
    "main.go",
    "main_observing.go",
    "log/generated.go",
    "calendar/generated.go",
    "names/generated.go",
    "state/generated.go",
    "view/generated.go",
    "types/generated.go",
);
const GO_0_1: Files = files!("plugins/bindings/0.1.0/go":
    "main.go",
    "main_observing.go",
    "log/generated.go",
    "names/generated.go",
    "state/generated.go",
    "view/generated.go",
    "types/generated.go",
);

const PYTHON: Files = files!("plugins/bindings/python":
    "portreeve.py",
    "portreeve_entry.py",
    "portreeve_surroundings.py",
    "portreeve_verdict.py",
);
const PYTHON_0_2: Files = files!("plugins/bindings/python":
    "componentize_py_types.py",
    "wit_world/__init__.py",
    "wit_world/exports/__init__.py",
    "wit_world/exports/decision.py",
    "wit_world/exports/lifecycle.py",
    "wit_world/exports/observer.py",
    "wit_world/imports/__init__.py",
    "wit_world/imports/calendar.py",
    "wit_world/imports/log.py",
    "wit_world/imports/names.py",
    "wit_world/imports/state.py",
    "wit_world/imports/types.py",
    "wit_world/imports/view.py",
);

const JAVASCRIPT: Files = files!("plugins/bindings/javascript": "entry.js", "surroundings.js");
const JAVASCRIPT_0_2: Files = files!("plugins/bindings/javascript": "portreeve.js", "portreeve.d.ts");
const JAVASCRIPT_0_1: Files = files!("plugins/bindings/0.1.0/javascript": "portreeve.js", "portreeve.d.ts");
