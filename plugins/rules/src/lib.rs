//! The `rules` policy: an ordered list of rules, the first one that matches decides, and a request that no rule
//! matches is denied.
//!
//! ```text
//! settings (JSON) ── settings ──▶ RuleSet { rules, index }        once, in `configure`
//! request ── Facts ──▶ index: candidates in order ──▶ Rule::matches ──▶ Verdict        for every request
//! ```
//!
//! The gateway calls `configure` once, keeps a snapshot of the instance's memory, and starts every decision from it. So
//! everything that can be prepared is prepared in `configure`, and a decision reads as few memory pages as it can.
//!
//! What a rule cannot know never helps a request: where a name does not resolve, or only some of its addresses lie
//! inside a network, an `allow` or `rewrite` rule does not match and a `deny` rule does (see [`condition::Answer`]).
//!
//! Nothing here panics on any request or any settings: a panic would be a trap, and the audit log would say "the policy
//! failed" where it should say "denied".

pub mod condition;
mod cover;
mod index;
pub mod network;
pub mod outcome;
pub mod pattern;
pub mod range;
pub mod request;
mod rules;
pub mod settings;
pub mod time;

#[cfg(target_arch = "wasm32")]
mod bindings;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod heap;

pub use outcome::Verdict;
pub use request::Request;
pub use rules::{NOT_CONFIGURED, RuleSet};
pub use settings::{Fault, SCHEMA};
