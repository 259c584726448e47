//! Links a component with the interfaces that its plugin is granted, and nothing else.

use wasmtime::component::{Component, InstancePre, Linker};

use super::trial::Trial;
use crate::config::{Grant, Wasi};
use crate::policy::LoadError;
use crate::policy::contract::{Offers, PolicyPre, Track};
use crate::policy::inspect::{check_import, grants, links_anyway};
use crate::policy::sandbox::{Guest, add_to_linker};

impl Trial<'_> {
    /// Links what is granted and nothing else, and checks all types in both directions.
    pub(super) fn link(&self, component: &Component) -> Result<(Linker<Guest>, PolicyPre<Guest>), LoadError> {
        let engine = &self.loader.sandbox.engine;
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
            add_to_linker(linker)?;
        }
        Ok(())
    }
}

pub(super) fn typed(pre: wasmtime::Result<InstancePre<Guest>>) -> Result<PolicyPre<Guest>, LoadError> {
    pre.and_then(PolicyPre::new).map_err(|error| LoadError::Types {
        error: format!("{error:#}"),
    })
}
