//! Everything that requests are judged by at one moment: one pointer, so that a reload changes all of it or none.

use std::sync::Arc;

use super::House;
use crate::accounts::Accounts;
use crate::config::{Limits, OnDoubt, OnSwap};
use crate::names::Resolver;
use crate::outbound::Routes;
use crate::policy::Generation;

/// What is in force. Never changed, only replaced as a whole: a decision that began with it ends with it, so no decision
/// sees new policies with old floors, or old users with new policies.
///
/// A part that a reload does not change is the same [`Arc`] afterwards. That is how the parts that did change are found.
pub struct Current {
    /// Switches, floors and the gateway's own sockets.
    pub house: Arc<House>,
    /// The policies.
    pub generation: Arc<Generation>,
    /// Who is asked for names.
    pub names: Resolver,
    /// How targets are connected to.
    pub routes: Arc<Routes>,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// Defaults and ceilings.
    pub limits: Arc<Limits>,
    /// What a change does to what is open.
    pub on_swap: OnSwap,
    /// What becomes of something open that cannot be decided again.
    pub on_doubt: OnDoubt,
}

/// Which of what is open a change can concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// Nothing: the verdicts would be the same.
    Nothing,
    /// What the switches and floors now refuse.
    Refused,
    /// All of it: other policies may decide otherwise, or targets are connected to in another way.
    Everything,
}

impl Current {
    /// The same, with those parts of `before` that are equal in their places.
    #[must_use]
    pub fn keeping(mut self, before: &Self) -> Self {
        if self.house == before.house {
            self.house = Arc::clone(&before.house);
        }
        if self.limits == before.limits {
            self.limits = Arc::clone(&before.limits);
        }
        if self.routes == before.routes {
            self.routes = Arc::clone(&before.routes);
        }
        // What is open stays as it was judged: an answer may change at any time, with the same servers too.
        self.names = self.names.after(&before.names);
        self
    }

    /// What of the change from `before` can concern what is open.
    #[must_use]
    pub fn concerns(&self, before: &Self) -> Concerns {
        if !Arc::ptr_eq(&self.generation, &before.generation) || !Arc::ptr_eq(&self.routes, &before.routes) {
            Concerns::Everything
        } else if !Arc::ptr_eq(&self.house, &before.house) {
            Concerns::Refused
        } else {
            Concerns::Nothing
        }
    }
}
