//! A forwarding policy for the SSH gateway portreeve, as a plain function over a request.
//!
//! ```
//! use portreeve_policy::{Request, Verdict, policy};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! struct Settings {
//!     ports: Vec<u16>,
//! }
//!
//! fn decide(request: &Request, settings: &Settings) -> Verdict {
//!     match request.port() {
//!         Some(port) if request.is_connect() && settings.ports.contains(&port) => Verdict::allow().max_seconds(3600),
//!         _ => Verdict::deny("other-port", "not one of the ports").tell_user("this port is closed"),
//!     }
//! }
//!
//! policy!(name: "only-ports", summary: "connections to some ports", settings: Settings, decide: decide);
//! # fn main() {
//! use portreeve_policy::{settings, testing};
//!
//! let settings = settings::read(r#"{ "ports": [22] }"#).unwrap();
//! assert!(decide(&testing::connect("db.internal:22").build(), &settings).is_allow());
//! assert_eq!(decide(&testing::connect("db.internal:23").build(), &settings).code(), Some("other-port"));
//! # }
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`policy!`] | makes a component of the functions |
//! | [`settings`] | reads the settings, and says where a fault is |
//! | [`log`], [`calendar`], [`names`], [`state`], [`view`] | what the gateway offers; the last three must be granted in its configuration |
//! | [`time`], [`Network`] | weekdays, times of day and networks, for settings and conditions |
//! | [`sample`] | made-up requests |
//! | [`testing`] | the same, and a gateway's answers, for unit tests on the host |
//!
//! The types are those of `wit/policy.wit`, the contract, with helpers. The crate compiles on every target: a policy's unit
//! tests need no WebAssembly. In a test, [`names`], [`state`] and [`view`] answer what [`testing::Host`] was told.
//!
//! # When a policy panics
//!
//! A panic ends the decision and refuses the request, which the audit log calls `failed` and not `deny`. What the panic said
//! is in the gateway's log. So a panic is never an allow; but a policy that means to refuse says so with [`Verdict::deny`].

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod component;
mod host;
mod macros;
mod network;
mod request;
pub mod sample;
pub mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
mod verdict;

pub use bindings::portreeve::policy::types::{
    Action, AddressRule, Certificate, Connection, Credential, Denial, Effect, Ended, Endpoint, HostPort, Principal,
    Problem, Redirect, Request, SocketAddress, Terms, Value, Verdict,
};
pub use host::{calendar, log, names, state, view};
pub use network::Network;
