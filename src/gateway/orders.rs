//! Does here what an administrator told all gateways of the fleet.

use std::sync::Arc;

use super::Parts;
use crate::admin;
use crate::fleet::Hears;
use crate::vital::Vital;

impl Parts {
    /// Hears orders until the gateway has stopped.
    pub(super) fn hear_orders(self: &Arc<Self>) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let gateway = Arc::downgrade(self);
        let hears: Hears = Arc::new(move |heard| {
            let gateway = gateway.upgrade();
            Box::pin(async move {
                if let Some(gateway) = gateway {
                    admin::obey(gateway, heard).await;
                }
            })
        });
        let (fleet, ending) = (fleet.clone(), self.ending.clone());
        let heard = self.vitals.keep(Vital::Hearing, ending.clone(), move || {
            fleet.clone().keep_hearing(Arc::clone(&hears), ending.clone())
        });
        self.tasks.spawn(heard);
    }
}
