//! Credentials for registries, from a file as `docker login` writes it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files;

/// What a registry is told of who asks. It is in no message, and has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Credentials {
    /// A name and a password.
    Password(String, String),
    /// A token that the registry itself gave.
    Token(String),
}

/// Where credentials come from.
pub(super) struct Source {
    path: Option<PathBuf>,
    demanded: bool,
}

impl Source {
    /// The configured file, or that of Docker.
    pub(super) fn of(configured: Option<&Path>) -> Self {
        let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
        Self {
            demanded: configured.is_some(),
            path: configured
                .map(Path::to_owned)
                .or_else(|| folder.map(|folder| folder.join("config.json"))),
        }
    }

    /// Where credentials for a registry would be, in words.
    pub(super) fn shown(&self) -> String {
        self.path
            .as_ref()
            .map_or("oci.credentials-file".to_owned(), |path| path.display().to_string())
    }

    /// Reads the credentials for a registry, if there are any.
    ///
    /// # Errors
    /// A sentence that names the file and the fix.
    pub(super) fn read(&self, registry: &str) -> Result<Option<Credentials>, String> {
        let Some(path) = &self.path else { return Ok(None) };
        let wrong = |what: &str| format!("{}: {what}", path.display());
        let text = match self.demanded {
            true => files::read_private(path, MOST)?,
            // Docker's own file: who may read it is the business of Docker's user, and it need not be there.
            false => match files::read_text(path, MOST) {
                Ok(text) => text,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                    return Ok(None);
                }
                Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
            },
        };
        of_registry(&text, registry).map_err(|what| wrong(&what))
    }
}

/// The credentials for a registry in such a text.
fn of_registry(text: &str, registry: &str) -> Result<Option<Credentials>, String> {
    let whole: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let entries = whole.get("auths").and_then(Value::as_object).into_iter().flatten();
    let mut named = entries.filter(|(name, _)| is_of(name, registry));
    let Some((_, entry)) = named.find(|(_, entry)| entry.as_object().is_some_and(|entry| !entry.is_empty())) else {
        return Ok(None);
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::Token(token.to_owned())));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Credentials::Password(user.to_owned(), password.to_owned())));
    }
    if text("identitytoken").is_some() {
        return Err(format!(
            "has an identity token for {registry}, which is not supported: log in with a user name and a password or access token"
        ));
    }
    let Some(auth) = text("auth") else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(auth).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|pair| pair.split_once(':'));
    match pair {
        Some((user, password)) => Ok(Some(Credentials::Password(user.to_owned(), password.to_owned()))),
        None => Err(format!(
            "`auth` for {registry} is not a user name and a password in base64: log in to the registry again"
        )),
    }
}

/// Docker writes a host, with a scheme and a path where it did so long ago.
fn is_of(name: &str, registry: &str) -> bool {
    let name = name
        .strip_prefix("https://")
        .or(name.strip_prefix("http://"))
        .unwrap_or(name);
    let host = name.split('/').next().unwrap_or_default();
    host == registry || (host == "index.docker.io" && registry == "docker.io")
}

const MOST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_the_registry() {
        let auth = BASE64_STANDARD.encode("ann:pass:word");
        let text = format!(
            r#"{{"auths": {{
                "a.example.org": {{"auth": "{auth}"}},
                "https://b.example.org/v1/": {{"username": "bob", "password": "b"}},
                "127.0.0.1:5000": {{"registrytoken": "t"}},
                "https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "helped.example.org": {{}},
                "identity.example.org": {{"identitytoken": "t"}},
                "broken.example.org": {{"auth": "%"}}
            }}, "credsStore": "desktop"}}"#
        );
        let password =
            |user: &str, password: &str| Ok(Some(Credentials::Password(user.to_owned(), password.to_owned())));
        #[rustfmt::skip]
        let table = [
            ("a.example.org",        password("ann", "pass:word")),
            ("b.example.org",        password("bob", "b")),
            ("127.0.0.1:5000",       Ok(Some(Credentials::Token("t".to_owned())))),
            ("127.0.0.1:5001",       Ok(None)),
            ("docker.io",            password("ann", "pass:word")),
            ("helped.example.org",   Ok(None)),
            ("xa.example.org",       Ok(None)),
            ("identity.example.org", Err("identity token")),
            ("broken.example.org",   Err("in base64")),
        ];
        for (registry, expected) in table {
            match (of_registry(&text, registry), expected) {
                (Ok(found), Ok(expected)) => assert!(found == expected, "{registry}"),
                (Err(words), Err(expected)) => assert!(words.contains(expected), "{registry}: {words}"),
                (found, _) => unreachable!("{registry}: {}", found.is_ok()),
            }
        }
        assert!(of_registry("[", "a").is_err());
        assert!(of_registry("{}", "a").is_ok_and(|found| found.is_none()));
    }
}
