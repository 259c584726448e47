//! The languages that a policy can be written in with the tools of this program.

use clap::ValueEnum;

/// A language with a template, and a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, with the SDK.
    Rust,
    /// C, with clang and wasi-libc.
    C,
    /// C++20, with clang, wasi-libc and libc++.
    Cpp,
    /// Go 1.25 or newer.
    Go,
    /// Python, with componentize-py.
    Python,
    /// JavaScript, with componentize-qjs.
    #[value(alias = "js")]
    Javascript,
    /// TypeScript, with tsc and componentize-qjs.
    #[value(alias = "ts")]
    Typescript,
}

impl Language {
    /// The word for it in `policy.toml`, with the language.
    pub(super) const WORDS: [(&str, Self); 7] = [
        ("rust", Self::Rust),
        ("c", Self::C),
        ("cpp", Self::Cpp),
        ("go", Self::Go),
        ("python", Self::Python),
        ("javascript", Self::Javascript),
        ("typescript", Self::Typescript),
    ];
}
