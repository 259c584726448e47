//! Why a policy could not decide.

use jiff::Timestamp;
use thiserror::Error;

use crate::config::{Faults, Source};
use crate::signature::Refused;

/// Why a policy could not decide. Never a denial: the request is refused and recorded as `failed`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// The guest trapped.
    #[error("the policy trapped: {0}")]
    Trap(String),
    /// The guest computed past its deadline.
    #[error("the policy did not decide within its deadline")]
    Deadline,
    /// The same, and where it was then.
    #[error("the policy did not decide within its deadline{0}")]
    Overdue(String),
    /// The guest asked for more memory than `policy.memory` and then gave up.
    #[error("the policy needs more memory than `policy.memory` permits: {0}")]
    Memory(String),
    /// The guest recursed too deeply.
    #[error("the policy overflowed its stack{0}")]
    Stack(String),
    /// The answer is no verdict.
    #[error("the policy's answer is malformed: {0}")]
    Malformed(String),
    /// The answer is too large.
    #[error("the policy's answer is too large: {0}")]
    Oversized(String),
    /// The verdict carries an obligation that this gateway does not know.
    #[error("the verdict carries the obligation `{0}`, which this gateway does not know")]
    UnknownObligation(String),
    /// The verdict carries an obligation that the gateway knows and cannot keep as it is given.
    #[error("the verdict's obligation `{0}` {1}")]
    BadObligation(String, String),
    /// A rewrite by a plugin that may not rewrite.
    #[error("the policy is not permitted to rewrite the target: set `rewrite = true` for the plugin to permit it")]
    RewriteNotGranted,
    /// A rewrite to something that is no endpoint.
    #[error("the policy rewrote the target to something that cannot be used: {0}")]
    BadTarget(String),
    /// A denial that may rest on a name that was not answered.
    #[error("refused ({code}: {reason}) without an answer for {name}")]
    Unanswered {
        /// The name, and why there is no answer.
        name: String,
        /// Of the denial.
        code: String,
        /// Of the denial.
        reason: String,
    },
    /// Too many decisions at once.
    #[error("too many decisions are in progress")]
    QueueFull,
    /// A fault of the gateway itself.
    #[error("internal error while asking the policy: {0}")]
    Host(String),
}

impl Failure {
    /// The stable name for the audit log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline | Self::Overdue(_) => "deadline",
            Self::Memory(_) => "memory",
            Self::Stack(_) => "stack",
            Self::Malformed(_) => "malformed-verdict",
            Self::Oversized(_) => "oversized-verdict",
            Self::UnknownObligation(_) => "unknown-obligation",
            Self::BadObligation(..) => "bad-obligation",
            Self::RewriteNotGranted => "rewrite-not-granted",
            Self::BadTarget(_) => "bad-target",
            Self::Unanswered { .. } => "name-unanswered",
            Self::QueueFull => "queue-full",
            Self::Host(_) => "host",
        }
    }
}

/// Why a component does not become a policy. Each names the plugin's fault and the fix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The operating system's words.
        error: String,
    },
    /// It is in a registry, and nothing of it was pulled.
    #[error("{0}")]
    Unpulled(String),
    /// The file of its settings cannot be read, or is no TOML or JSON.
    #[error("{0}")]
    SettingsFile(Faults),
    /// Its files do not stop changing.
    #[error("its files kept changing while they were read: replace each by rename, and reload")]
    Moving,
    /// Its signature is not what the configuration demands.
    #[error("{refused}")]
    Signature {
        /// Of the bytes that were read.
        sha256: String,
        /// Why.
        refused: Box<Refused>,
    },
    /// It is signed, and another policy than the one that is meant.
    #[error(
        "it is signed as `{found}`, but `{wanted}` is expected here: put that component here, or set `component-name = \"{found}\"` for the plugin if this one is intended"
    )]
    AnotherPolicy {
        /// The name in its description.
        found: String,
        /// What the configuration demands.
        wanted: String,
    },
    /// It is signed, and older than what served.
    #[error(
        "it is signed as version {found}, which is not newer than {served}, the last one in force here: set `allow-downgrade = true` for the plugin to go back"
    )]
    Downgrade {
        /// The version in its description.
        found: String,
        /// The version of what served.
        served: String,
    },
    /// The bytes are not those that were pinned.
    #[error("its SHA-256 is {found}, but {pinned} is pinned: set `sha256` to the new digest if the change is intended")]
    Pin {
        /// Of the bytes.
        found: String,
        /// In the configuration.
        pinned: String,
    },
    /// Larger than a component may be.
    #[error("it has {0} bytes; the limit is 64 MiB")]
    TooLarge(usize),
    /// Not WebAssembly at all.
    #[error("it is not WebAssembly: a component begins with the bytes `\\0asm`")]
    NotWasm,
    /// A core module.
    #[error("it is a core module, not a component: convert it with `wasm-tools component new`")]
    CoreModule,
    /// Its bytes end too early, or are no longer those that were built.
    #[error("it is damaged: {0}: build or copy it again")]
    Damaged(String),
    /// It exceeds a bound of the process that reads it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It does not validate or compile.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It does not export the policy interfaces.
    #[error("it does not export `{0}`: build it for the world `portreeve:policy/policy`")]
    NotAPolicy(String),
    /// Built for another version of the world.
    #[error("it was built for portreeve:policy {found}; this gateway speaks {ours} and runs components for {range}")]
    Version {
        /// Of the component.
        found: String,
        /// Of this gateway.
        ours: &'static str,
        /// Versions that it runs.
        range: String,
    },
    /// An interface of the world that was not granted.
    #[error(
        "it imports `{interface}`, which is not granted: add \"{grant}\" to the plugin's `grants`, or build it without"
    )]
    NotGranted {
        /// The full import name.
        interface: String,
        /// The word in the configuration.
        grant: String,
    },
    /// WASI, which is refused.
    #[error(
        "it imports `{0}`: build it without WASI (for Rust the target wasm32-unknown-unknown, otherwise the stub adapter), or set `wasi = \"inert\"` for the plugin, which links a WASI that does nothing"
    )]
    WasiRefused(String),
    /// An interface that its track of the contract does not have.
    #[error("it imports `{interface}`, which is new in portreeve:policy {since}: build it for that version")]
    Later {
        /// The full import name.
        interface: String,
        /// The version that has it.
        since: &'static str,
    },
    /// An import that nobody offers.
    #[error(
        "it imports `{0}`, which this gateway does not offer: only the interfaces of portreeve:policy are available"
    )]
    UnknownImport(String),
    /// The interfaces have the right names and other types.
    #[error("its interfaces do not match the version of portreeve:policy that it was built for: {error}")]
    Types {
        /// The first difference.
        error: String,
    },
    /// The settings are faulty, in the component's own words.
    #[error("its settings are not valid: {}", list(.0))]
    Settings(Vec<Problem>),
    /// It failed when it was configured or tried.
    #[error("the test decision failed: {0}")]
    Trial(Failure),
    /// It failed to answer the test request.
    #[error("the test decision failed: {failure} (the test request was: {asked})")]
    TestRequest {
        /// The request, in words.
        asked: String,
        /// How it failed.
        failure: Failure,
    },
    /// What was put in force by name does not load any more.
    #[error(
        "generation {generation}, which was in force, does not load: {error}: if the component or the settings that the configuration names change, those are tried instead"
    )]
    Kept {
        /// Its number.
        generation: u64,
        /// Why.
        error: Box<LoadError>,
    },
    /// It was rolled back.
    #[error(
        "it was rolled back at {since:.0} ({reason}), so neither a file nor a start brings it back: to put it in force all the same, load it by name: `portreeve ctl policy load`"
    )]
    Quarantined {
        /// When.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// The system does not let this process run compiled code.
    #[error(
        "compiled code cannot be run: {0}: this process is not permitted to make memory executable: permit it (systemd: remove `MemoryDenyWriteExecute=yes` from the unit; SELinux: the permission `execmem`)"
    )]
    Forbidden(String),
    /// A tool or the engine panicked over it.
    #[error("internal error while loading it: {0}: please report this with the component")]
    Panicked(String),
    /// The engine cannot be started.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
}

impl LoadError {
    /// Whether another file would help. For its settings, grants and signature a component is not to blame.
    #[must_use]
    pub fn is_of_the_file(&self) -> bool {
        !matches!(
            self,
            Self::Settings(_)
                | Self::SettingsFile(_)
                | Self::Moving
                | Self::Signature { .. }
                | Self::NotGranted { .. }
                | Self::WasiRefused(_)
                | Self::Kept { .. }
                | Self::Engine(_)
        )
    }

    /// Whether another file there would help. A registry can serve anything, so of what comes from there the signature counts, too:
    /// it must not keep a gateway from its start.
    #[must_use]
    pub fn is_of_what_is_at(&self, source: &Source) -> bool {
        self.is_of_the_file() || matches!((self, source), (Self::Signature { .. }, Source::Oci(_)))
    }

    /// The digest of the rejected bytes, if it is not known already.
    #[must_use]
    pub fn sha256(&self) -> Option<String> {
        match self {
            Self::Signature { sha256, .. } => Some(sha256.clone()),
            Self::Pin { found, .. } => Some(found.clone()),
            _ => None,
        }
    }
}

/// A fault in the settings of a policy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// A JSON pointer into the settings.
    pub at: String,
    /// What is wrong there.
    pub message: String,
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|Problem { at, message }| {
            let at = if at.is_empty() { "/" } else { at };
            format!("{at}: {message}")
        })
        .collect();
    lines.join("; ")
}
