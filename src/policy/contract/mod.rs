//! The contract with a guest, in the words of the newest track.
//!
//! Each track has bindings of its own (`generated`). A guest of an older track is served by a translation (`v0_1`): what the
//! gateway says is put into the older types, what the guest says into the newest. So the other rooms know one contract.
//!
//! It must not know who the guest is, nor what it is asked for.

pub(in crate::policy) mod convert;
mod generated;
mod link;
pub(in crate::policy) mod observer;
mod v0_1;
mod version;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use version::Contract;

/// The types of the newest track, and the traits of its imports.
pub(in crate::policy) use generated::v0_2::portreeve::policy as newest;
pub(in crate::policy) use link::Offers;
pub(in crate::policy) use version::{NEWEST, Track, ours};

use generated::{v0_1 as older, v0_2};
use newest::types::{Description, Problem, Request, Verdict};

/// A policy of any track that can be instantiated, as a guest of type `G`.
pub(in crate::policy) enum PolicyPre<G: 'static> {
    V0_1(older::PolicyPre<G>),
    V0_2(v0_2::PolicyPre<G>),
}

/// An instance of a policy of any track.
pub(in crate::policy) enum Policy {
    V0_1(older::Policy),
    V0_2(v0_2::Policy),
}

impl<G: Send + 'static> PolicyPre<G> {
    /// Finds the exports of a policy, and compares their types with those of its track.
    ///
    /// # Errors
    /// The first difference.
    pub(in crate::policy) fn new(pre: InstancePre<G>) -> wasmtime::Result<Self> {
        let kind = pre.component().component_type();
        let exports: Vec<_> = kind.exports(pre.engine()).map(|(name, _)| name).collect();
        Ok(match Track::of(&exports)?.contract {
            Contract::V0_1 => Self::V0_1(older::PolicyPre::new(pre)?),
            Contract::V0_2 => Self::V0_2(v0_2::PolicyPre::new(pre)?),
        })
    }

    pub(in crate::policy) fn instance_pre(&self) -> &InstancePre<G> {
        match self {
            Self::V0_1(pre) => pre.instance_pre(),
            Self::V0_2(pre) => pre.instance_pre(),
        }
    }

    pub(in crate::policy) async fn instantiate_async(&self, store: &mut Store<G>) -> wasmtime::Result<Policy> {
        Ok(match self {
            Self::V0_1(pre) => Policy::V0_1(pre.instantiate_async(store).await?),
            Self::V0_2(pre) => Policy::V0_2(pre.instantiate_async(store).await?),
        })
    }

    /// The policy that an instance of this component is.
    pub(in crate::policy) fn of(&self, store: &mut Store<G>, instance: &Instance) -> wasmtime::Result<Policy> {
        let pre = self.instance_pre();
        Ok(match self {
            Self::V0_1(_) => Policy::V0_1(older::PolicyIndices::new(pre)?.load(store, instance)?),
            Self::V0_2(_) => Policy::V0_2(v0_2::PolicyIndices::new(pre)?.load(store, instance)?),
        })
    }
}

impl<G> Clone for PolicyPre<G> {
    fn clone(&self) -> Self {
        match self {
            Self::V0_1(pre) => Self::V0_1(pre.clone()),
            Self::V0_2(pre) => Self::V0_2(pre.clone()),
        }
    }
}

impl Policy {
    pub(in crate::policy) async fn describe<G: Send + 'static>(
        &self,
        store: &mut Store<G>,
    ) -> wasmtime::Result<Description> {
        match self {
            Self::V0_1(policy) => {
                let described = policy.portreeve_policy_lifecycle().call_describe(store).await?;
                Ok(described.into())
            }
            Self::V0_2(policy) => policy.portreeve_policy_lifecycle().call_describe(store).await,
        }
    }

    /// The inner error is the policy's own list of faults.
    pub(in crate::policy) async fn configure<G: Send + 'static>(
        &self,
        store: &mut Store<G>,
        settings: &str,
    ) -> wasmtime::Result<Result<(), Vec<Problem>>> {
        match self {
            Self::V0_1(policy) => {
                let lifecycle = policy.portreeve_policy_lifecycle();
                let answer = lifecycle.call_configure(store, settings).await?;
                Ok(answer.map_err(|problems| problems.into_iter().map(Into::into).collect()))
            }
            Self::V0_2(policy) => {
                let lifecycle = policy.portreeve_policy_lifecycle();
                lifecycle.call_configure(store, settings).await
            }
        }
    }

    pub(in crate::policy) async fn decide<G: Send + 'static>(
        &self,
        store: &mut Store<G>,
        request: Request,
    ) -> wasmtime::Result<Verdict> {
        match self {
            Self::V0_1(policy) => {
                let request = request.into();
                let verdict = policy.portreeve_policy_decision().call_decide(store, &request).await?;
                Ok(verdict.into())
            }
            Self::V0_2(policy) => policy.portreeve_policy_decision().call_decide(store, &request).await,
        }
    }
}
