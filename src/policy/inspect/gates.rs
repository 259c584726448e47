//! The gates of a swap, one by one, so that an author sees everything that is missing at once.

use super::bytes::check_bytes;
use super::parts::Parts;
use crate::config::Plugin;
use crate::policy::LoadError;
use crate::policy::source::Component;
use crate::signature::Signer;

/// One gate of a swap.
pub struct Gate {
    /// Its name.
    pub name: GateName,
    /// Its result.
    pub result: Passed,
}

/// The result of a gate.
pub enum Passed {
    /// It was passed, with words that may be of use.
    Yes(String),
    /// It was not, and what to do.
    No(Vec<LoadError>),
    /// Not reached, because of an earlier one.
    Unknown,
}

/// The gates in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateName {
    /// Size, and the digest where it is pinned.
    Bytes,
    /// It is signed by whom the configuration demands.
    Signature,
    /// It is a component.
    Component,
    /// It exports what a policy does, for a version that this gateway runs.
    World,
    /// Every import is granted.
    Imports,
    /// It compiles.
    Compiles,
    /// Its interfaces have the types of the world.
    Types,
    /// `configure` accepts the settings.
    Settings,
    /// It answers a request.
    Trial,
    /// How decisions start.
    Snapshot,
}

impl GateName {
    const ALL: [Self; 10] = [
        Self::Bytes,
        Self::Signature,
        Self::Component,
        Self::World,
        Self::Imports,
        Self::Compiles,
        Self::Types,
        Self::Settings,
        Self::Trial,
        Self::Snapshot,
    ];

    /// The word that is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Signature => "signature",
            Self::Component => "component",
            Self::World => "world",
            Self::Imports => "imports",
            Self::Compiles => "compiles",
            Self::Types => "types",
            Self::Settings => "settings",
            Self::Trial => "trial",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What came of each gate, in their order. Those that need no running report all that they find; those after the first that was
/// not passed are unknown. `snapshot` says how decisions start, where it came so far.
pub(in crate::policy) fn gates(
    mut faults: Vec<LoadError>,
    parts: &Parts,
    plugin: &Plugin,
    signer: Option<&Signer>,
    snapshot: Option<bool>,
) -> Vec<Gate> {
    let first = faults.iter().map(gate_of).min();
    let gates = GateName::ALL.into_iter().map(|name| {
        let (own, others): (Vec<_>, Vec<_>) = faults.drain(..).partition(|error| gate_of(error) == name);
        faults = others;
        let result = match first {
            _ if !own.is_empty() => Passed::No(own),
            // What can be seen without running it was looked at in any case.
            Some(first) if name > first && (name > GateName::Imports || first < GateName::World) => Passed::Unknown,
            _ => Passed::Yes(match (name, signer) {
                (GateName::Signature, Some(signer)) => format!("by {}", signer.principal),
                _ => words(name, parts, plugin, snapshot),
            }),
        };
        Gate { name, result }
    });
    gates.collect()
}

/// Every fault that shows without running anything.
pub(in crate::policy) fn at_rest(parts: &Parts, plugin: &Plugin, component: &Component) -> Vec<LoadError> {
    if let Err(error) = check_bytes(component, plugin.sha256.as_ref()) {
        return vec![error];
    }
    if let Some(words) = &parts.broken {
        // Its exports and imports are not all known then.
        return vec![LoadError::Damaged(words.clone())];
    }
    let mut faults: Vec<LoadError> = Vec::new();
    let mut add = |result: Result<(), LoadError>| {
        if let Err(error) = result
            && !faults.contains(&error)
        {
            faults.push(error);
        }
    };
    add(parts.served().map(|_| ()));
    for import in &parts.imports {
        add(parts.granted(import, plugin));
    }
    faults
}

fn gate_of(error: &LoadError) -> GateName {
    match error {
        LoadError::Read { .. } | LoadError::Pin { .. } | LoadError::TooLarge(_) => GateName::Bytes,
        LoadError::Signature { .. } | LoadError::AnotherPolicy { .. } | LoadError::Downgrade { .. } => {
            GateName::Signature
        }
        LoadError::NotWasm | LoadError::CoreModule | LoadError::Damaged(_) | LoadError::Unreadable(_) => {
            GateName::Component
        }
        LoadError::NotAPolicy(_) | LoadError::Version { .. } => GateName::World,
        LoadError::NotGranted { .. }
        | LoadError::WasiRefused(_)
        | LoadError::Later { .. }
        | LoadError::UnknownImport(_) => GateName::Imports,
        LoadError::Types { .. } => GateName::Types,
        LoadError::Settings(_) => GateName::Settings,
        LoadError::Trial(_) | LoadError::TestRequest { .. } => GateName::Trial,
        // An engine that does not start, and whatever is added later, ends at the compiler.
        _ => GateName::Compiles,
    }
}

fn words(name: GateName, parts: &Parts, plugin: &Plugin, snapshot: Option<bool>) -> String {
    match name {
        GateName::Bytes if plugin.sha256.is_some() => format!("{} of them, with the pinned digest", parts.size),
        GateName::Bytes => format!("{} of them", parts.size),
        GateName::Signature => "none is demanded".to_owned(),
        GateName::Component => "it is a component".to_owned(),
        GateName::World => parts.world().unwrap_or_default(),
        GateName::Imports => {
            let grants = parts.imports.iter().filter_map(|import| import.grant.as_deref());
            let grants: Vec<_> = grants.collect();
            if grants.is_empty() {
                "none that needs a grant".to_owned()
            } else {
                format!("{}: granted", grants.join(", "))
            }
        }
        GateName::Compiles => "for this machine".to_owned(),
        GateName::Types => "those of the world".to_owned(),
        GateName::Settings => "`configure` accepts them".to_owned(),
        GateName::Trial => "it decides a test request".to_owned(),
        GateName::Snapshot if snapshot == Some(true) => {
            "each decision starts from a copy of the configured instance".to_owned()
        }
        GateName::Snapshot => {
            "none can be taken: each decision first configures its own instance, which is slower".to_owned()
        }
    }
}
