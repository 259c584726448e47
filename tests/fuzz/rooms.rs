//! The rooms of portreeve that read what others wrote, under the names that they have there.
#![allow(dead_code, unused_imports, reason = "the rooms that use the rest of them are not here")]

#[path = "../../src/auth/mod.rs"]
pub mod auth;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/files.rs"]
mod files;
#[path = "../../src/request/mod.rs"]
pub mod request;
