//! The imports that a component may have, by the grants of its plugin.

use crate::config::{Grant, Plugin, Source, Wasi};
use crate::policy::LoadError;
use crate::policy::contract::{NEWEST, Track, ours};

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
pub(super) fn grant(interface: &str) -> Option<Grant> {
    let all = [Grant::Log, Grant::Names, Grant::State, Grant::View];
    all.into_iter().find(|grant| grant.as_str() == interface)
}

pub(in crate::policy) fn grants(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Log || config.grants.contains(&grant)
}

/// The embedded policy serves with any grants: without `names` its rules on addresses are told
/// that it is not granted, and then fail closed.
pub(in crate::policy) fn links_anyway(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Names && matches!(config.component, Source::Builtin(_))
}
