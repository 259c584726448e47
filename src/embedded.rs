//! The gateway without a configuration: one person, one machine, running at once.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth;
use crate::config::{self, Config, Fault, Faults, InlineKey};
use crate::gateway::{Origin, control_socket, state_directory};
use crate::ssh::make_user_key;

/// The embedded default (the outside contract, section 3).
pub(crate) struct Embedded {
    file: PathBuf,
    state: PathBuf,
    user: String,
    listen: Vec<SocketAddr>,
}

impl Embedded {
    /// The default for the current user; `listen` replaces the address.
    ///
    /// # Errors
    /// If there is no home and no user name.
    pub(crate) fn new(listen: Vec<SocketAddr>) -> Result<Self, Faults> {
        let file = PathBuf::from("(embedded default)");
        let missing = |words: &str| Faults {
            file: file.clone(),
            faults: vec![Fault::of_key(&file, "environment", words)],
        };
        let state = state_directory().ok_or_else(|| missing("no home directory: set HOME or use --config"))?;
        let user = user_name().ok_or_else(|| missing("the current user has no name: use --config"))?;
        Ok(Self {
            file,
            state,
            user,
            listen,
        })
    }

    /// The commands to try, ready to paste.
    #[must_use]
    pub(crate) fn commands(&self, address: SocketAddr) -> String {
        let mut options = format!("-p {}", address.port());
        let key = self.client_key();
        if key.exists() {
            let _ = write!(options, " -i {}", quoted(&key));
        }
        let known = self.state.join("known_hosts");
        let _ = write!(
            options,
            " -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new",
            quoted(&known)
        );
        let place = format!("{}@{}", self.user, address.ip());
        format!(
            "Try, from another terminal:\n\
             \n\
             # something to reach, unless a server listens on port 8000 already\n\
             python3 -m http.server 8000 --bind 127.0.0.1\n\
             \n\
             # allowed: your port 8080 becomes port 8000 of this machine, until Ctrl-C\n\
             ssh {options} -N -L 8080:localhost:8000 {place}\n\
             \n\
             # rewritten: the policy knows what `hello.portreeve` means\n\
             ssh {options} -N -L 8081:hello.portreeve:8000 {place}\n\
             \n\
             # refused, with the policy's sentence\n\
             ssh {options} -W localhost:25 {place}\n\
             \n\
             # who you are, and every decision about your sessions as it happens\n\
             ssh {options} {place}\n"
        )
    }

    fn client_key(&self) -> PathBuf {
        self.state.join("client_ed25519_key")
    }

    /// The lines of the user's own `authorized_keys` and public keys; where there are none, of a
    /// key that is made for them.
    fn keys(&self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        if let Some(folder) = std::env::home_dir().map(|home| home.join(".ssh")) {
            lines.extend(usable(&folder.join("authorized_keys")));
            let files = fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path());
            for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "pub")) {
                lines.extend(usable(&path));
            }
        }
        if lines.is_empty() || self.client_key().exists() {
            lines.push(make_user_key(&self.client_key()).map_err(|error| error.to_string())?);
        }
        Ok(lines)
    }
}

/// The lines of a key file that can be used; the others are somebody else's business.
fn usable(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| matches!(auth::parse_line(line), Ok(Some(_))));
    lines.map(str::to_owned).collect()
}

impl Origin for Embedded {
    fn file(&self) -> &Path {
        &self.file
    }

    fn control_socket(&self) -> Option<PathBuf> {
        control_socket()
    }

    fn load(&self) -> Result<Config, Faults> {
        let mut config = config::parse(TEMPLATE, &self.file)?;
        config.policy.plugins.iter_mut().try_for_each(|plugin| {
            plugin.settings = config::settings_from_toml(SETTINGS, &self.file)?;
            Ok::<_, Faults>(())
        })?;
        let keys = self.keys().map_err(|words| Faults {
            file: self.file.clone(),
            faults: vec![Fault::of_key(&self.file, "user[0].authorized-keys", words)],
        })?;
        config.users = vec![config::User {
            name: self.user.clone(),
            groups: Vec::new(),
            authorized_keys: keys.into_iter().map(inline).collect(),
            password_hash: None,
            claims: Vec::new(),
        }];
        config.audit.file = config::AuditFile::Path(self.state.join("audit.jsonl"));
        if !self.listen.is_empty() {
            config.server.listen.clone_from(&self.listen);
        }
        Ok(config)
    }
}

fn inline(text: String) -> InlineKey {
    InlineKey {
        text,
        line: 0,
        column: 0,
        key: "user[0].authorized-keys".to_owned(),
    }
}

fn user_name() -> Option<String> {
    let entry = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    entry
        .map(|user| user.name)
        .or_else(|| std::env::var("USER").ok())
        .filter(|name| !name.is_empty())
}

/// For a POSIX shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .chars()
        .all(|one| one.is_ascii_alphanumeric() || "/._-+".contains(one));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

const TEMPLATE: &str = include_str!("embedded.toml");
const SETTINGS: &str = include_str!("../plugins/rules/examples/default-settings.toml");
