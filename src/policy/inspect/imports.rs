//! What a component may import, and what it is linked with.

use wasmtime::component::{Component, InstancePre, Linker};

use crate::config::{Grant, Plugin, Source, Wasi};
use crate::policy::LoadError;
use crate::policy::contract::{NEWEST, Offers, PolicyPre, Track, ours};
use crate::policy::load::Trial;
use crate::policy::sandbox::Guest;
use crate::policy::sandbox::wasi;

impl Trial<'_> {
    /// Links what is granted and nothing else, and checks all types in both directions.
    pub(in crate::policy) fn link(&self, component: &Component) -> Result<(Linker<Guest>, PolicyPre), LoadError> {
        let engine = &self.sandbox.engine;
        let kind = component.component_type();
        let exports: Vec<_> = kind.exports(engine).map(|(name, _)| name).collect();
        let track = Track::of(&exports)?;
        for (name, _) in kind.imports(engine) {
            check_import(self.config, Some(track), name)?;
        }
        let mut linker = Linker::new(engine);
        let linked = self.add_granted(&mut linker, track);
        linked.map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let pre = typed(linker.instantiate_pre(component))?;
        Ok((linker, pre))
    }

    fn add_granted(&self, linker: &mut Linker<Guest>, track: &Track) -> wasmtime::Result<()> {
        let offers = Offers {
            names: grants(self.config, Grant::Names) || links_anyway(self.config, Grant::Names),
            state: grants(self.config, Grant::State),
            view: grants(self.config, Grant::View),
        };
        offers.add_to(linker, track.contract)?;
        if self.config.wasi == Wasi::Inert {
            wasi::add_to_linker(linker)?;
        }
        Ok(())
    }
}

pub(in crate::policy) fn typed(pre: wasmtime::Result<InstancePre<Guest>>) -> Result<PolicyPre, LoadError> {
    pre.and_then(PolicyPre::new).map_err(|error| LoadError::Types {
        error: format!("{error:#}"),
    })
}

/// Whether a plugin that is configured like this may have an import. Without a track its version is not looked at.
pub(in crate::policy) fn check_import(config: &Plugin, track: Option<&Track>, name: &str) -> Result<(), LoadError> {
    if name.starts_with("wasi:") {
        return match config.wasi {
            Wasi::Inert => Ok(()),
            Wasi::Refuse => Err(LoadError::WasiRefused(name.to_owned())),
        };
    }
    let Some((interface, version)) = ours(name) else {
        return Err(LoadError::UnknownImport(name.to_owned()));
    };
    if let Some(track) = track {
        track.admits(version)?;
    }
    if interface == "types" {
        return Ok(());
    }
    if interface == "calendar" {
        return match track {
            Some(track) if !track.has_calendar() => Err(LoadError::Later {
                interface: name.to_owned(),
                since: NEWEST,
            }),
            _ => Ok(()),
        };
    }
    let grant = grant(interface).ok_or_else(|| LoadError::UnknownImport(name.to_owned()))?;
    if grants(config, grant) || links_anyway(config, grant) {
        return Ok(());
    }
    Err(LoadError::NotGranted {
        interface: name.to_owned(),
        grant: interface.to_owned(),
    })
}

/// The grant that an interface of the world needs.
pub(in crate::policy) fn grant(interface: &str) -> Option<Grant> {
    let all = [Grant::Log, Grant::Names, Grant::State, Grant::View];
    all.into_iter().find(|grant| grant.as_str() == interface)
}

pub(in crate::policy) fn grants(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Log || config.grants.contains(&grant)
}

/// The embedded policy serves with any grants: without `names` its rules on addresses are told
/// that it is not granted, and then fail closed.
fn links_anyway(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Names && matches!(config.component, Source::Builtin(_))
}
