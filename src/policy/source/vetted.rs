//! A component that may be loaded, and the checks on its bytes before anything else uses them.

use super::component::Component;
use crate::config::{Plugin, Signatures};
use crate::policy::LoadError;
use crate::signature::{self, Signer};

/// A component that may be loaded: whatever the configuration demands of its signature was checked on exactly these bytes.
pub struct Vetted {
    component: Component,
    signer: Option<Signer>,
}

impl Vetted {
    /// Reads a plugin's component and checks its signature, where `signatures` demands one.
    ///
    /// # Errors
    /// If a file cannot be read, or the signature is not as demanded.
    pub fn read(plugin: &Plugin, signatures: Option<&Signatures>) -> Result<Self, LoadError> {
        Self::of(Component::read(&plugin.component)?, plugin, signatures)
    }

    /// Checks the signature of a component, where `signatures` demands one. What is built in is part of the program and needs
    /// none.
    ///
    /// # Errors
    /// If the signature is not as demanded.
    pub fn of(component: Component, plugin: &Plugin, signatures: Option<&Signatures>) -> Result<Self, LoadError> {
        let signed = signatures
            .zip(component.file())
            .map(|(demanded, path)| signature::demanded(demanded, &plugin.signers, path, component.bytes()));
        match signed.transpose() {
            Ok(signer) => Ok(Self { component, signer }),
            Err(refused) => Err(LoadError::Signature {
                sha256: component.sha256().to_owned(),
                refused: Box::new(refused),
            }),
        }
    }

    /// One of which no signature is demanded, because it does not serve.
    pub(in crate::policy) fn unsigned(component: Component) -> Self {
        Self {
            component,
            signer: None,
        }
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Who signed it, where a signature was demanded.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    pub(in crate::policy) fn into_parts(self) -> (Component, Option<Signer>) {
        (self.component, self.signer)
    }
}
