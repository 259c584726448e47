//! `[policy]` and `[[policy.plugin]]`: who decides, and within which bounds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use super::Fleet;
use super::auth::{Claim, claims};
use super::gates::{self, Gates, Generations};
use super::oci::{self, Artifact};
use super::rollout::{self, Rollout};
use super::settings::{self, Settings};
use super::units;
use super::value::Value;
use super::walk::Table;

/// `[policy]`: who decides, and within which bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What a swap does to forwards that are open. Default `re-evaluate`.
    pub on_swap: OnSwap,
    /// What happens to an open forward that could not be decided again. Default `keep`.
    pub on_doubt: OnDoubt,
    /// How long one decision may run in the guest, 1ms to 10s. Default 50ms; past it the decision fails, which is a refusal.
    pub deadline: Duration,
    /// Bytes one instance may have, all memories and tables together, 1MiB to 4GiB. Default 64MiB; past it the guest fails.
    pub memory: u64,
    /// Where compiled code and copies of what served last are kept. Default: `policies` in the state directory.
    pub directory: Option<PathBuf>,
    /// Facts that a plugin with the grant `view` may ask for by name, in the order of the file. Default: none.
    pub facts: Vec<(String, Claim)>,
    /// Whose signatures the components need. Default: none, so unsigned components load.
    pub signatures: Option<Signatures>,
    /// What a candidate must pass besides loading.
    pub gates: Gates,
    /// What served is kept, to go back to.
    pub generations: Generations,
    /// Where in a fleet a candidate decides first. Default: everywhere at once.
    pub rollout: Option<Rollout>,
    /// The chain, at least one, in the order of asking: the first deny wins, a rewrite is what the next one sees.
    pub plugins: Vec<Plugin>,
}

/// `policy.allowed-signers`: every component that is a file must be signed by a signer in that file. Both files are
/// read anew at each load, so what changes in them counts from the next one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// An `allowed_signers` file as ssh-keygen(1) describes it.
    pub allowed_signers: PathBuf,
    /// `auth.revoked-keys`: a key that is revoked for logins is revoked for signatures too.
    pub revoked_keys: Option<PathBuf>,
}

/// What a swap does to forwards that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSwap {
    /// `keep`: they stay as they were decided.
    Keep,
    /// `re-evaluate`: they are decided again, and closed if the new policy would not have them.
    Reevaluate,
}

/// What happens to an open forward if the gateway asks about it again and gets no decision: the policy failed or took too
/// long, too many decisions were under way, or a name server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDoubt {
    /// `keep`: it stays open, and the gateway asks again, after a pause that grows from a second to a minute.
    Keep,
    /// `close`: it is closed, if need be after a few attempts.
    Close,
}

/// `[[policy.plugin]]`: one component of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Unique, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where the component is.
    pub component: Source,
    /// The required name of a signed component. Default: the name of the plugin. Not checked without `policy.allowed-signers`.
    pub component_name: Option<String>,
    /// Whether a signed component may be older than what served in its place. Default false.
    pub allow_downgrade: bool,
    /// The required SHA-256 of the component. Default: not checked.
    pub sha256: Option<[u8; 32]>,
    /// Which principals of `policy.allowed-signers` may sign this one. Default: each of them.
    pub signers: Vec<String>,
    /// Host interfaces it may import, each once, in the order of [`Grant`]. Default: [`Grant::Log`], which is always there.
    pub grants: Vec<Grant>,
    /// Whether it may rewrite. Default false; a rewrite is then a failed decision.
    pub rewrite: bool,
    /// What its WASI imports find. Default `refuse`.
    pub wasi: Wasi,
    /// An object: `settings`, or what `settings-file` holds. Default: an empty one.
    pub settings: Json,
    /// Where the settings came from, if from a file.
    pub settings_file: Option<PathBuf>,
    /// Whether a settings file without any setting is meant. Default false: such a file is a fault, because it was emptied or
    /// cut off.
    pub settings_may_be_empty: bool,
    /// What a change of the component or its settings file does. Default: it swaps the policy.
    pub watch: OnChange,
}

impl Plugin {
    /// Whether the same component decides alike under both: where it and its settings come from makes no difference.
    #[must_use]
    pub fn decides_as(&self, other: &Self) -> bool {
        let apart = |plugin: &Self| Self {
            component: Source::Builtin(String::new()),
            settings_file: None,
            settings_may_be_empty: false,
            watch: OnChange::Wait,
            allow_downgrade: false,
            ..plugin.clone()
        };
        apart(self) == apart(other)
    }
}

/// `watch`: what a plugin whose files change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// `false`: it waits for a reload.
    Wait,
    /// `true`: it goes through the gates, and then decides.
    Swap,
    /// `"shadow"`: it is asked beside the one that decides, until it is promoted.
    Shadow,
}

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `builtin:NAME`: embedded in the program. The one name is `rules`.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// `oci://REGISTRY/REPOSITORY:TAG`: pulled from a registry.
    Oci(Artifact),
}

impl Source {
    /// The file with its bytes, unless it is built in. That of a component in a registry is where what was pulled is kept.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Builtin(_) => None,
            Self::File(path) => Some(path),
            Self::Oci(artifact) => Some(&artifact.file),
        }
    }
}

/// A host interface that a plugin may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `log`: write to the gateway's log. Always granted.
    Log,
    /// `names`: resolve names.
    Names,
    /// `state`: remember between decisions.
    State,
    /// `view`: see what is open, and the facts.
    View,
}

impl Grant {
    /// The word in the configuration, which is the name of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Names => "names",
            Self::State => "state",
            Self::View => "view",
        }
    }
}

/// What the WASI imports of a component find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wasi {
    /// `refuse`: a component that has any is not loaded.
    Refuse,
    /// `inert`: they are linked, with nothing behind them.
    Inert,
}

/// `None` after a fault.
pub(super) fn policy(table: &mut Table<'_>, fleet: &Fleet) -> Option<Policy> {
    let on_swap = table.or("on-swap", OnSwap::Reevaluate, |value| {
        value.one_of(&[("keep", OnSwap::Keep), ("re-evaluate", OnSwap::Reevaluate)])
    });
    let on_doubt = table.or("on-doubt", OnDoubt::Keep, |value| {
        value.one_of(&[("keep", OnDoubt::Keep), ("close", OnDoubt::Close)])
    });
    let deadline = table.or("deadline", DEADLINE, deadline);
    let memory = table.or("memory", MEMORY, memory);
    let directory = table.read("directory", |value| value.path());
    let facts = table.or("facts", Vec::new(), claims);
    let signatures = table
        .read("allowed-signers", |value| value.path())
        .map(|path| Signatures {
            allowed_signers: path,
            revoked_keys: None,
        });
    let demanded = table.has("allowed-signers");
    let gates = table.or("gates", Gates::default(), |value| value.table(gates::gates));
    let generations = table.or("generations", Generations::default(), |value| {
        value.table(gates::generations)
    });
    let rollout = table.read("rollout", |value| rollout::rollout(value, fleet));
    let kept = directory
        .clone()
        .or_else(|| super::state_directory().map(|folder| folder.join("policies")));
    let plugins = table.required("plugin", NO_POLICY, |value| plugins(value, demanded, kept.as_deref()))?;
    Some(Policy {
        on_swap,
        on_doubt,
        deadline,
        memory,
        directory,
        facts,
        signatures,
        gates,
        generations,
        rollout,
        plugins,
    })
}

fn plugins(value: &Value<'_>, demanded: bool, kept: Option<&Path>) -> Option<Vec<Plugin>> {
    if value.toml().as_array().is_some_and(|items| items.is_empty()) {
        return value.fault(NO_POLICY);
    }
    let mut names = BTreeMap::new();
    value.tables(|table| {
        let mut plugin = plugin(table, &mut names, demanded)?;
        if let Source::Oci(artifact) = &mut plugin.component {
            let Some(kept) = kept else {
                table.fault("component", NOWHERE_TO_KEEP);
                return None;
            };
            artifact.keep_in(kept, &plugin.name);
        }
        Some(plugin)
    })
}

fn plugin(table: &mut Table<'_>, names: &mut BTreeMap<String, usize>, demanded: bool) -> Option<Plugin> {
    let name = table.required("name", "the plugin's name in the audit log", |value| {
        let name = plugin_name(value)?;
        value.unique(&name, names).map(|()| name)
    });
    let component = table.required("component", EXPECTED, configured);
    let unsigned = UNSIGNED_KEY.filter(|_| !demanded);
    let component_name = table.read("component-name", |value| match unsigned {
        Some(words) => value.fault(words),
        None => value.word().map(str::to_owned),
    });
    let allow_downgrade = table.or("allow-downgrade", false, |value| match unsigned {
        Some(words) => value.fault(words),
        None => value.flag(),
    });
    let sha256 = table.read("sha256", |value| {
        units::sha256(value.text()?).or_else(|| value.wrong("64 hexadecimal digits"))
    });
    let builtin = matches!(component, Some(Source::Builtin(_)));
    let signers = table.or("signers", Vec::new(), |value| signers(value, builtin, demanded));
    let grants = table.or("grants", vec![Grant::Log], grants);
    let rewrite = table.or("rewrite", false, |value| value.flag());
    let wasi = table.or("wasi", Wasi::Refuse, wasi);
    let Settings {
        values: settings,
        file: settings_file,
        may_be_empty: settings_may_be_empty,
    } = settings::settings(table);
    let watch = table.or("watch", OnChange::Swap, on_change);
    Some(Plugin {
        name: name?,
        component: component?,
        component_name,
        allow_downgrade,
        sha256,
        signers,
        grants,
        rewrite,
        wasi,
        settings,
        settings_file,
        settings_may_be_empty,
        watch,
    })
}

fn on_change(value: &Value<'_>) -> Option<OnChange> {
    match (value.toml().as_bool(), value.toml().as_str()) {
        (Some(true), _) => Some(OnChange::Swap),
        (Some(false), _) => Some(OnChange::Wait),
        (None, Some("shadow")) => Some(OnChange::Shadow),
        _ => value.wrong("true, false or \"shadow\""),
    }
}

pub(crate) fn plugin_name(value: &Value<'_>) -> Option<String> {
    let name = value.word()?;
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return value.wrong("letters, digits, `-`, `_` and `.`");
    }
    Some(name.to_owned())
}

/// The component of a gateway, which may be in a registry.
fn configured(value: &Value<'_>) -> Option<Source> {
    match value.word()?.strip_prefix(oci::SCHEME) {
        Some(name) => oci::artifact(value, name).map(Source::Oci),
        None => source(value),
    }
}

/// A component that is a file or built in.
pub(crate) fn source(value: &Value<'_>) -> Option<Source> {
    let text = value.word()?;
    if text.starts_with(oci::SCHEME) {
        return value.fault(
            "a component in a registry is none to be built: pull it with `portreeve plugin pull` and name its file",
        );
    }
    if text.contains("://") {
        return value.wrong(EXPECTED);
    }
    match text.strip_prefix("builtin:") {
        Some("rules") => Some(Source::Builtin("rules".to_owned())),
        Some(_) => value.wrong("\"builtin:rules\" (the only built-in policy) or the path of a file"),
        None => value.path().map(Source::File),
    }
}

fn signers(value: &Value<'_>, builtin: bool, demanded: bool) -> Option<Vec<String>> {
    if !demanded {
        return value.fault("signatures are not checked: set policy.allowed-signers to a file that lists the signers");
    }
    if builtin {
        return value.fault("a built-in policy is part of the program and has no signature: remove this key");
    }
    if value.toml().as_array().is_some_and(|items| items.is_empty()) {
        return value.fault("no signer, so nothing could be loaded: name at least one, or remove this key");
    }
    value.list(|item| {
        let signer = item.word()?;
        match signer.contains(['*', '?', '!', ',']) {
            true => item.wrong("one principal, without wildcards"),
            false => Some(signer.to_owned()),
        }
    })
}

pub(crate) fn wasi(value: &Value<'_>) -> Option<Wasi> {
    value.one_of(&[("refuse", Wasi::Refuse), ("inert", Wasi::Inert)])
}

pub(crate) fn deadline(value: &Value<'_>) -> Option<Duration> {
    value.duration(Duration::from_millis(1)..=Duration::from_secs(10))
}

pub(crate) fn memory(value: &Value<'_>) -> Option<u64> {
    value.size(1 << 20..=4 << 30)
}

pub(crate) fn grants(value: &Value<'_>) -> Option<Vec<Grant>> {
    let mut grants = value.list(|item| {
        item.one_of(&[
            ("log", Grant::Log),
            ("names", Grant::Names),
            ("state", Grant::State),
            ("view", Grant::View),
        ])
    })?;
    grants.push(Grant::Log);
    grants.sort();
    grants.dedup();
    Some(grants)
}

/// The default time limit of a decision.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);
/// The default memory limit of an instance, in bytes.
pub(crate) const MEMORY: u64 = 64 << 20;
const EXPECTED: &str = "\"builtin:rules\", the path of a file, or \"oci://registry/repository:tag\"";
const NOWHERE_TO_KEEP: &str = "there is no folder to keep what is pulled in: set policy.directory, or HOME";
const UNSIGNED_KEY: Option<&str> =
    Some("this applies only to signed components: set policy.allowed-signers, or remove this key");
const NO_POLICY: &str = "no policy, so nothing could be allowed: add [[policy.plugin]] with name = \"rules\" and component = \
                         \"builtin:rules\", or your own";
