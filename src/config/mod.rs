//! The configuration: a TOML file as typed, and a [`Config`] as meant.
//!
//! Each file of this room holds one part of the configuration: its types, with unit, range, default and consequence of every
//! key, and beside them the one function that reads it. What comes out has every default applied and every path resolved
//! against the folder of the file; there is nothing left to check that the text alone can tell.
//!
//! The room reads the configuration and the settings files named there, and nothing else. It must not know SSH, policies or
//! the network: a key, a certificate or a component that is named here is opened by the room that uses it. Other TOML files
//! of the program (`policy.toml`, cases of policies) are read by their rooms with the same `Document` and `Table`, so
//! that a fault looks the same everywhere.
//!
//! Invariant: a file with any fault yields no `Config`, and all its faults at once. Only a file that is not TOML stops at its
//! first syntax error. Secrets appear in no message and in no `Debug`.

mod admin;
mod algorithms;
pub(crate) mod auth;
mod fault;
mod fleet;
mod gates;
mod json;
mod limits;
mod names;
pub(crate) mod oci;
mod outbound;
pub(crate) mod policy;
mod rollout;
mod server;
pub(crate) mod settings;
mod spelling;
mod units;
mod value;
mod walk;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files::{MOST_TEXT, read_capped};

pub use admin::Admin;
pub use algorithms::{Algorithms, Preset};
pub use auth::{Auth, Claim, InlineKey, Secret, User};
pub use fault::{Fault, Faults};
pub use fleet::{Fleet, RedisNode, RedisServers, Topology, WhenCutOff};
pub use gates::{BurnIn, Gates, Generations, Replay, Share};
pub use limits::{Floors, Keepalive, Limits};
pub use names::{NameCache, NameServer, NameTransport, Naming};
pub use oci::{Artifact, Image, Oci};
pub use outbound::{Names, Outbound, OutboundFor, Proxy, ProxyKind, Target};
pub use policy::{Grant, OnChange, OnDoubt, OnSwap, Plugin, Policy, Signatures, Source, Wasi};
pub use rollout::Rollout;
pub use server::{Audit, AuditFile, Forwarding, GatewayPorts, Server};
pub use settings::{settings_from_file, settings_from_toml};
pub(crate) use spelling::nearest;
pub(crate) use units::duration;

pub(crate) use value::{Value, integer};
pub(crate) use walk::{Document, Table};

/// A whole configuration, as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen and as whom.
    pub server: Server,
    /// Switches above any policy.
    pub forwarding: Forwarding,
    /// Who may log in, and how.
    pub auth: Auth,
    /// The users described in the file itself, in its order; names are unique.
    pub users: Vec<User>,
    /// Who decides, and within which bounds.
    pub policy: Policy,
    /// What a client may negotiate.
    pub algorithms: Algorithms,
    /// What no policy can allow.
    pub floors: Floors,
    /// Who is asked for the addresses of names.
    pub names: Naming,
    /// How targets are connected to.
    pub outbound: Outbound,
    /// Proxies through which targets are reached, in the order of the file; names are unique.
    pub proxies: Vec<Proxy>,
    /// Defaults and ceilings.
    pub limits: Limits,
    /// The log of decisions.
    pub audit: Audit,
    /// How the running gateway is reached.
    pub admin: Admin,
    /// What it shares with other gateways.
    pub fleet: Fleet,
    /// How components are pulled from registries.
    pub oci: Oci,
}

/// Reads a configuration file.
///
/// # Errors
///
/// Every fault of the file and of the settings files it names.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let text = read_text(path).map_err(|fault| Faults {
        file: path.to_owned(),
        faults: vec![fault],
    })?;
    parse(&text, path).map(placed)
}

/// With the paths that are still relative, since the file was named by a relative path, where they start.
fn placed(mut config: Config) -> Config {
    if let Ok(folder) = std::env::current_dir() {
        config.auth.start_at(&folder);
    }
    config
}

/// Reads a configuration that is already text. `file` is where it came from: it names the file in faults, and its folder is
/// where relative paths start.
///
/// # Errors
///
/// Every fault of the text and of the settings files it names.
pub fn parse(text: &str, file: &Path) -> Result<Config, Faults> {
    let document = Document::new(file, text);
    let config = document.read(root).flatten();
    let faults = document.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(Faults {
            file: file.to_owned(),
            faults,
        }),
    }
}

/// A configuration without a fault of its own. Its settings files may have some: then its policies cannot be loaded, and
/// all the rest of it is as meant.
pub struct Draft {
    /// As meant, but for the settings of plugins whose settings files are faulty.
    pub config: Config,
    /// Every fault of settings files.
    pub settings_files: Vec<Fault>,
}

/// Reads a configuration file, and tells faults of its settings files from its own.
///
/// # Errors
///
/// Every fault of the file, if it has any of its own, with those of the settings files.
pub fn draft(path: &Path) -> Result<Draft, Faults> {
    let text = read_text(path).map_err(|fault| Faults {
        file: path.to_owned(),
        faults: vec![fault],
    })?;
    let document = Document::new(path, &text);
    let config = document.read(root).flatten();
    let faults = document.into_faults();
    match config {
        Some(config) if faults.iter().all(|fault| fault.file != path) => Ok(Draft {
            config: placed(config),
            settings_files: faults,
        }),
        _ => Err(Faults {
            file: path.to_owned(),
            faults,
        }),
    }
}

/// What a configuration file says of the control socket, whatever is wrong with the rest: an administrator steers a gateway
/// while its file is being edited, too.
///
/// # Errors
/// If the file cannot be read or is not TOML, in words.
pub fn control_socket_in(path: &Path) -> Result<Option<PathBuf>, String> {
    let text = read_text(path).map_err(|fault| fault.to_string())?;
    let document = Document::new(path, &text);
    let socket = document.read(|file| Some(file.section("admin", admin::admin).socket));
    match socket.flatten() {
        Some(socket) => Ok(socket),
        None => Err(Faults {
            file: path.to_owned(),
            faults: document.into_faults(),
        }
        .to_string()),
    }
}

fn root(file: &mut Table<'_>) -> Option<Config> {
    let server = file.section("server", server::server);
    let forwarding = file.section("forwarding", server::forwarding);
    let auth = file.section("auth", auth::auth);
    let users = file.read("user", auth::users);
    let fleet = file.section("fleet", fleet::fleet);
    let policy = file.section("policy", |table| policy::policy(table, &fleet));
    let algorithms = file.section("algorithms", algorithms::algorithms);
    let floors = file.section("floors", limits::floors);
    let names = file.section("names", names::names);
    let proxies = file.read("via", outbound::proxies).unwrap_or_default();
    let outbound = file.section("outbound", |table| outbound::outbound(table, &proxies));
    let limits = file.section("limits", limits::limits);
    let audit = file.section("audit", server::audit);
    let admin = file.section("admin", admin::admin);
    let oci = file.section("oci", oci::oci);
    let mut policy = policy?;
    if let Some(signatures) = &mut policy.signatures {
        signatures.revoked_keys.clone_from(&auth.revoked_keys);
    }
    Some(Config {
        server,
        forwarding,
        auth,
        users: users.unwrap_or_default(),
        policy,
        algorithms,
        floors,
        names,
        outbound,
        proxies,
        limits,
        audit,
        admin,
        fleet,
        oci,
    })
}

/// The folder for the program's own files: the XDG state directory of its user.
#[must_use]
pub fn state_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    let state = named.or_else(|| home().map(|home| home.join(".local/state")))?;
    Some(state.join("portreeve"))
}

/// A file as text; what keeps it from being text is a fault with its place.
pub(crate) fn read_text(path: &Path) -> Result<String, Fault> {
    // A pipe is allowed, as in `check --config <(…)`.
    let read = File::open(path).and_then(|file| read_capped(file, MOST_TEXT));
    let read = read.map_err(|error| Fault::whole_file(path, format_args!("cannot be read: {error}")))?;
    let bytes = read.ok_or_else(|| Fault::whole_file(path, "is larger than 16 MiB"))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
        let (line, column) = Document::new(path, &text).place(good);
        Fault {
            line,
            column,
            ..Fault::whole_file(path, "not UTF-8 from here on")
        }
    })
}
