//! The files of a new project in each language: `plugins/templates`.
//!
//! `{{name}}` in a file becomes the name of the policy. The files in `common` are in every project, with three parts of the
//! language in them: what the files are (`about.md`), which tools are needed (`tools.md`), and how CI gets them (`setup.yml`).

use super::bindings::{Files, files};
use super::language::Language;

/// A project in one language, besides the bindings and what all projects have.
pub(super) struct Template {
    /// Files with `{{name}}` in them.
    pub(super) files: Files,
    /// For the README: what is what.
    pub(super) about: &'static str,
    /// For the README: what has to be installed.
    pub(super) tools: &'static str,
    /// For CI: how it is installed.
    pub(super) setup: &'static str,
    /// Files that are copied as they are.
    pub(super) vendored: Files,
}

/// The template of a language.
pub(super) fn of(language: Language) -> Template {
    match language {
        Language::Rust => Template {
            vendored: SDK,
            ..template!("rust": "policy.toml", "Cargo.toml", "src/lib.rs", ".vscode/extensions.json")
        },
        Language::C => template!("c": "policy.toml", "decide.c", "compile_flags.txt", ".vscode/extensions.json"),
        Language::Cpp => template!("cpp": "policy.toml", "decide.cpp", "compile_flags.txt", ".vscode/extensions.json"),
        Language::Go => template!("go": "policy.toml", "go.mod", "policy.go", ".vscode/settings.json"),
        Language::Python => template!("python":
            "policy.toml", "policy.py", "requirements.txt", "pyrightconfig.json", ".vscode/settings.json"),
        Language::Javascript => template!("javascript": "policy.toml", "policy.js", "package.json", "jsconfig.json"),
        Language::Typescript => template!("typescript": "policy.toml", "policy.ts", "package.json", "tsconfig.json"),
    }
}

/// Whether the starting policy of a language reads settings. C and C++ have no reader of JSON.
pub(super) fn has_settings(language: Language) -> bool {
    !matches!(language, Language::C | Language::Cpp)
}

macro_rules! template {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        Template {
            files: &[$(($name, include_str!(concat!("../../plugins/templates/", $folder, "/", $name)))),+],
            about: include_str!(concat!("../../plugins/templates/", $folder, "/about.md")),
            tools: include_str!(concat!("../../plugins/templates/", $folder, "/tools.md")),
            setup: include_str!(concat!("../../plugins/templates/", $folder, "/setup.yml")),
            vendored: &[],
        }
    };
}
use template;

macro_rules! sdk {
    ($($name:literal),+ $(,)?) => {
        &[$((concat!("portreeve-policy/", $name), include_str!(concat!("../../plugins/sdk/", $name)))),+]
    };
}

/// The SDK, which a project in Rust brings with it: it is on no registry, and does not change under its author.
const SDK: Files = sdk!(
    "Cargo.toml",
    "src/bindings.rs",
    "src/component.rs",
    "src/host.rs",
    "src/lib.rs",
    "src/macros.rs",
    "src/network.rs",
    "src/request.rs",
    "src/sample.rs",
    "src/settings.rs",
    "src/testing/host.rs",
    "src/testing/mod.rs",
    "src/time.rs",
    "src/verdict.rs",
    "wit/policy.wit",
);

/// In every project.
pub(super) const COMMON: Files = files!("plugins/templates/common":
    "README.md",
    ".editorconfig",
    ".gitignore",
    ".github/workflows/policy.yml",
    "cases/basics.toml",
    "cases/settings.toml",
);

/// Only where the policy reads settings.
pub(super) const SETTINGS_CASES: &str = "cases/settings.toml";
