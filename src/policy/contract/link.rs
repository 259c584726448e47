//! What a guest is linked with, by its track.

use wasmtime::component::{HasSelf, Linker};

use super::generated::{v0_1, v0_2};
use super::version::Contract;
use crate::policy::sandbox::Guest;

/// The interfaces that need a grant, and whether a guest gets them.
#[derive(Clone, Copy)]
pub(in crate::policy) struct Offers {
    pub(in crate::policy) names: bool,
    pub(in crate::policy) state: bool,
    pub(in crate::policy) view: bool,
}

macro_rules! add {
    ($linker:ident, $offers:ident, $track:ident) => {{
        use $track::portreeve::policy::{log, names, state, view};
        log::add_to_linker::<_, HasSelf<_>>($linker, |guest| guest)?;
        if $offers.names {
            names::add_to_linker::<_, HasSelf<_>>($linker, |guest| guest)?;
        }
        if $offers.state {
            state::add_to_linker::<_, HasSelf<_>>($linker, |guest| guest)?;
        }
        if $offers.view {
            view::add_to_linker::<_, HasSelf<_>>($linker, |guest| guest)?;
        }
    }};
}

impl Offers {
    /// Adds what is offered, and the interfaces that need no grant.
    pub(in crate::policy) fn add_to(self, linker: &mut Linker<Guest>, contract: Contract) -> wasmtime::Result<()> {
        match contract {
            Contract::V0_1 => add!(linker, self, v0_1),
            Contract::V0_2 => {
                use v0_2::portreeve::policy::calendar;
                add!(linker, self, v0_2);
                calendar::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
            }
        }
        Ok(())
    }
}
