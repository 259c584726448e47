//! What a guest is linked with, by its track.

use wasmtime::component::{HasSelf, Linker};

use super::generated::v0_1 as older;
use super::generated::v0_2;
use super::newest::{calendar, log, names, state, view};
use super::v0_1::{Translated, Translation};
use super::version::Contract;

/// Who answers what a guest asks, on the newest track; older ones are translated.
pub(in crate::policy) trait Answers:
    calendar::Host + log::Host + names::Host + state::Host + view::Host + Send + 'static
{
}

impl<G> Answers for G where G: calendar::Host + log::Host + names::Host + state::Host + view::Host + Send + 'static {}

/// The interfaces that need a grant, and whether a guest gets them.
#[derive(Clone, Copy)]
pub(in crate::policy) struct Offers {
    pub(in crate::policy) names: bool,
    pub(in crate::policy) state: bool,
    pub(in crate::policy) view: bool,
}

macro_rules! add {
    ($linker:ident, $offers:ident, $track:ident, $host:ty, $of:expr) => {{
        use $track::portreeve::policy::{log, names, state, view};
        log::add_to_linker::<_, $host>($linker, $of)?;
        if $offers.names {
            names::add_to_linker::<_, $host>($linker, $of)?;
        }
        if $offers.state {
            state::add_to_linker::<_, $host>($linker, $of)?;
        }
        if $offers.view {
            view::add_to_linker::<_, $host>($linker, $of)?;
        }
    }};
}

impl Offers {
    /// Adds what is offered, and the interfaces that need no grant.
    pub(in crate::policy) fn add_to<G: Answers>(
        self,
        linker: &mut Linker<G>,
        contract: Contract,
    ) -> wasmtime::Result<()> {
        match contract {
            Contract::V0_1 => add!(linker, self, older, Translation<G>, |guest| Translated(guest)),
            Contract::V0_2 => {
                add!(linker, self, v0_2, HasSelf<G>, |guest| guest);
                calendar::add_to_linker::<_, HasSelf<G>>(linker, |guest| guest)?;
            }
        }
        Ok(())
    }
}
