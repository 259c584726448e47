//! What a registry's errors say to the person who can fix them.

use std::error::Error;

use oci_client::errors::{OciDistributionError, OciErrorCode};

use super::errand::Place;
use crate::request::printable;

/// Why nothing came of an errand.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The registry cannot be asked, or does not give it. Later it may.
    Away(String),
    /// What it gives is not an artifact that can be used. Only another one helps.
    Faulty {
        /// Of its manifest.
        digest: String,
        /// What is wrong with it.
        words: String,
    },
}

/// A sentence on this error of the registry at that place.
pub(super) fn trouble(place: &Place, error: &OciDistributionError) -> Trouble {
    let registry = &place.registry;
    let words = match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => login(place),
        OciDistributionError::ServerError { code: 401 | 403, .. } => login(place),
        OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.first() {
            Some(first) => match first.code {
                OciErrorCode::Unauthorized | OciErrorCode::Denied => login(place),
                OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound => absent(registry),
                _ => format!("{registry} refuses: {}", short(&first.message)),
            },
            None => format!("{registry} refuses, and does not say why"),
        },
        OciDistributionError::ServerError { code: 404, .. } => absent(registry),
        OciDistributionError::ServerError { code, .. } => format!("{registry} fails with HTTP status {code}"),
        OciDistributionError::DigestError(_) => {
            format!("{registry} sent something that does not match its digest")
        }
        OciDistributionError::RequestError(error) if error.is_timeout() => {
            format!("{registry} did not answer in time")
        }
        OciDistributionError::RequestError(error) => {
            let hint = if place.plain_http || !error.is_connect() {
                ""
            } else {
                " (a registry without TLS must be named in oci.plain-http, or with --plain-http)"
            };
            format!("{registry} cannot be reached: {}{hint}", last(error))
        }
        other => format!("{registry}: {}", short(&other.to_string())),
    };
    Trouble::Away(words)
}

fn login(place: &Place) -> String {
    let registry = &place.registry;
    let file = &place.credentials_in;
    match place.credentials {
        Some(_) => {
            format!("{registry} does not accept the credentials in {file}, or they do not permit this: log in again")
        }
        None => format!(
            "{registry} demands a login: add credentials for it to {file}, as `docker login` writes them (credential helpers are \
             not used)"
        ),
    }
}

fn absent(registry: &str) -> String {
    format!("{registry} has no such repository, tag or digest: push it, or correct the name")
}

/// The innermost cause, which says what happened.
fn last(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    short(&error.to_string())
}

/// What a registry says, in a line.
fn short(text: &str) -> String {
    printable(text, 200)
}
