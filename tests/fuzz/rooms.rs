//! The rooms of portreeve that read what others wrote, under the name that they have there.

#[path = "../../src/auth/mod.rs"]
pub mod auth;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/request/mod.rs"]
pub mod request;
