//! What may be written in the file, what it means, and what is said of everything else.

mod right;
mod wrong;

use std::path::Path;

use super::{Config, Faults, parse};

/// Parses a text as if it stood in /etc/portreeve.
fn read(text: &str) -> Result<Config, Faults> {
    parse(text, Path::new("/etc/portreeve/portreeve.toml"))
}

/// A text with the least policy there can be, after it.
fn with_policy(text: &str) -> String {
    format!("{text}\n{LEAST}")
}

const LEAST: &str = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n";
