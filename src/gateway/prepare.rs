//! Prepares a configuration to serve, and reports all its faults.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Invariants;
use super::pulls::{Aside, Unpulled, pull, pull_aside};
use super::surroundings::doubts;
use crate::accounts::Accounts;
pub use crate::config::state_directory;
use crate::config::{Config, Fault, Faults};
use crate::judgement::{Current, House, Judge, OwnListeners};
use crate::names::Resolver;
use crate::outbound::Routes;
use crate::policy::{Compiler, DirectoryError, Generation, LoadError, OpenForwards, Policies, Workshop};
use crate::sessions::Sessions;
use crate::signature::{AllowedSigners, Refused};
use crate::ssh::HostKeys;

/// Everything that a configuration needs to serve, loaded and checked, with no socket open.
pub struct Prepared {
    /// As meant.
    pub config: Config,
    /// Who may log in.
    pub accounts: Accounts,
    /// Who is asked for names.
    pub names: Resolver,
    /// How targets are connected to.
    pub routes: Routes,
    /// The gateway's keys.
    pub host_keys: HostKeys,
    /// Where policies are made.
    pub policies: Policies,
    /// The policies.
    pub generation: Arc<Generation>,
    /// What is open.
    pub sessions: Sessions,
    /// Registries that could not be asked, where what was pulled before serves: a sentence each.
    pub warnings: Vec<String>,
    /// What was pulled only to be looked at.
    _aside: Option<Aside>,
}

impl Prepared {
    /// Loads keys and policies, to look at them: nothing that is kept of what serves is changed.
    ///
    /// # Errors
    /// Every fault that there is.
    pub async fn new(mut config: Config, file: &Path) -> Result<Self, Faults> {
        let compiler = Compiler::this_program();
        let (unpulled, aside) = pull_aside(&mut config, &compiler).await;
        let prepared = Self::made(compiler, config, file, Workshop::looking, &unpulled).await?;
        Ok(Self {
            _aside: aside,
            ..prepared
        })
    }

    /// Loads keys and policies, to serve.
    pub(super) async fn compiled_by(compiler: Compiler, config: Config, file: &Path) -> Result<Self, Faults> {
        let unpulled = pull(&config, &compiler).await;
        let prepared = Self::made(compiler, config, file, |all| all, &unpulled).await?;
        for words in &prepared.warnings {
            tracing::warn!("{words}");
        }
        Ok(prepared)
    }

    /// `used` says what of a workshop is used.
    async fn made(
        compiler: Compiler,
        config: Config,
        file: &Path,
        used: fn(Workshop) -> Workshop,
        unpulled: &Unpulled,
    ) -> Result<Self, Faults> {
        let mut faults: Vec<_> = signers_fault(&config, file).into_iter().collect();
        let sessions = Sessions::default();
        let counted = sessions.clone();
        let open_forwards: OpenForwards = Arc::new(move |user| counted.open_forwards(user));
        let accounts = Accounts::new(&config, file).map_err(|found| faults.extend(found)).ok();
        let routes = Routes::new(&config, file).map_err(|found| faults.extend(found)).ok();
        let names = resolver(&config, file).map_err(|found| faults.push(found)).ok();
        let host_keys = host_keys(&config, file).map_err(|found| faults.extend(found)).ok();
        let policies = match workshop(&config, file, compiler).map(used) {
            Ok(workshop) => {
                let loaded = Policies::load_in(workshop, &config.policy, open_forwards).await;
                loaded
                    .map_err(|found| {
                        let found = policy_faults(&config, file, &unpulled.explain(found));
                        faults.extend(found.into_iter().filter(|one| one.key != SIGNERS_KEY));
                    })
                    .ok()
            }
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        match (accounts, names, routes, host_keys, policies) {
            (Some(accounts), Some(names), Some(routes), Some(host_keys), Some((policies, generation)))
                if faults.is_empty() =>
            {
                Ok(Self {
                    warnings: unpulled.warnings(&config).into_iter().chain(doubts(&config)).collect(),
                    _aside: None,
                    config,
                    accounts,
                    names,
                    routes,
                    host_keys,
                    policies,
                    generation,
                    sessions,
                })
            }
            _ => Err(Faults {
                file: file.to_owned(),
                faults,
            }),
        }
    }

    /// Whether the chain keeps to the cases that the administrator wrote down.
    ///
    /// # Errors
    /// Which it breaks.
    pub async fn keeps_to(&self, invariants: &dyn Invariants, file: &Path) -> Result<(), Faults> {
        let cases = &self.config.policy.gates.cases;
        let checked = match cases.as_slice() {
            [] => return Ok(()),
            cases => invariants.check(cases, &self.generation).await,
        };
        checked.map(|_| ()).map_err(|words| Faults {
            file: file.to_owned(),
            faults: vec![Fault::of_key(file, "policy.gates.cases", words)],
        })
    }

    /// A judge by this configuration.
    #[must_use]
    pub fn into_judge(self) -> (Judge, Arc<Accounts>) {
        let own = OwnListeners::default();
        for address in &self.config.server.listen {
            own.add(*address);
        }
        if let Some(address) = self.config.admin.http {
            own.add(address);
        }
        if let Some(path) = &self.config.admin.socket {
            own.add_socket(path);
        }
        let accounts = Arc::new(self.accounts);
        let current = Current {
            house: Arc::new(House::new(self.config.forwarding, self.config.floors, own)),
            generation: self.generation,
            names: self.names,
            routes: Arc::new(self.routes),
            accounts: Arc::clone(&accounts),
            limits: Arc::new(self.config.limits),
            on_swap: self.config.policy.on_swap,
            on_doubt: self.config.policy.on_doubt,
        };
        let judge = Judge::new(current, Arc::new(self.policies));
        (judge, accounts)
    }
}

pub(super) fn host_keys(config: &Config, file: &Path) -> Result<HostKeys, Vec<Fault>> {
    if !config.server.host_keys.is_empty() {
        let loaded = HostKeys::load(&config.server.host_keys);
        return loaded.map_err(|errors| {
            let faults = errors
                .iter()
                .map(|error| Fault::of_key(file, "server.host-keys", error));
            faults.collect()
        });
    }
    let Some(path) = state_directory().map(|folder| folder.join("ssh_host_ed25519_key")) else {
        let words = "no host key is configured and there is no home directory to keep one in: set this key, or HOME";
        return Err(vec![Fault::of_key(file, "server.host-keys", words)]);
    };
    HostKeys::keep(&path).map_err(|error| vec![Fault::of_key(file, "server.host-keys", error)])
}

/// Who is asked for names.
pub(super) fn resolver(config: &Config, file: &Path) -> Result<Resolver, Fault> {
    Resolver::new(&config.names).map_err(|words| Fault::of_key(file, "names.servers", words))
}

/// What is configured must be usable. Where nothing is, a state directory that cannot be had costs
/// no more than time; one that somebody else could put code into is a fault all the same.
fn workshop(config: &Config, file: &Path, compiler: Compiler) -> Result<Workshop, Fault> {
    let named = config.policy.directory.as_deref();
    let Some(path) = named
        .map(Path::to_owned)
        .or_else(|| state_directory().map(|folder| folder.join("policies")))
    else {
        return Ok(Workshop::new(compiler));
    };
    match Workshop::keeping(compiler.clone(), &path, file) {
        Ok(workshop) => Ok(workshop),
        Err(error @ DirectoryError::Unusable { .. }) if named.is_none() => {
            tracing::warn!(%error, "compiled policies cannot be stored, so each start recompiles them: set policy.directory");
            Ok(Workshop::new(compiler))
        }
        Err(error) => Err(Fault::of_key(file, "policy.directory", error)),
    }
}

/// Where a gateway keeps who is locked out: in `policy.directory`, or else in its state directory.
pub(super) fn locks_of(config: &Config) -> Option<PathBuf> {
    let folder = config.policy.directory.clone().or_else(state_directory)?;
    Some(folder.join("locks.json"))
}

/// The signers must be known, even if nothing that is loaded needs a signature yet.
pub(super) fn signers_fault(config: &Config, file: &Path) -> Option<Fault> {
    let signatures = config.policy.signatures.as_ref()?;
    let read = AllowedSigners::read(&signatures.allowed_signers);
    read.err().map(|error| Fault::of_key(file, SIGNERS_KEY, error))
}

pub(super) fn policy_faults(config: &Config, file: &Path, errors: &[(String, LoadError)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, error) in errors {
        let index = config.policy.plugins.iter().position(|plugin| plugin.name == *name);
        let key = index.map_or("policy".to_owned(), |index| format!("policy.plugin[{index}]"));
        match error {
            LoadError::Settings(problems) => faults.extend(problems.iter().map(|problem| {
                let key = format!("{key}.settings{}", problem.at);
                Fault::of_key(file, &key, format!("{name}: {}", problem.message))
            })),
            LoadError::SettingsFile(found) => faults.extend(found.faults.iter().cloned()),
            // One file for all plugins, and one fault.
            LoadError::Signature { refused, .. } if let Refused::Signers(error) = &**refused => {
                let found = Fault::of_key(file, SIGNERS_KEY, error);
                if !faults.contains(&found) {
                    faults.push(found);
                }
            }
            error => faults.push(Fault::of_key(
                file,
                &format!("{key}.component"),
                format!("{name}: {error}"),
            )),
        }
    }
    faults
}

const SIGNERS_KEY: &str = "policy.allowed-signers";
