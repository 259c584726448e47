//! For unit tests of a policy, on the host: requests that nobody made, and a gateway that answers what it was told.
//!
//! ```
//! use portreeve_policy::{names, testing};
//!
//! let host = testing::Host::new().name("db.internal", ["10.0.0.5"]).install();
//! let request = testing::connect("db.internal:5432").user("bob").group("dba").at("2026-11-24T09:00:00Z").build();
//! assert!(request.in_group("dba"));
//! assert_eq!(names::resolve("db.internal"), Ok(vec!["10.0.0.5".parse().unwrap()]));
//! portreeve_policy::log::info("seen");
//! assert_eq!(host.logged(), ["info: seen"]);
//! ```
//!
//! What is written wrongly in a test, such as a target without a port, panics there and says so.

mod host;

pub use crate::sample::{RequestBuilder, accept, connect, listen};
pub(crate) use host::gateway;
pub use host::{Host, Installed};
