//! portreeve: an SSH server that only forwards ports, every forward decided by a WebAssembly policy.

pub mod accounts;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod embedded;
pub mod explain;
pub mod forwarder;
pub mod gateway;
pub mod judgement;
pub mod names;
pub mod policy;
pub mod proxy_header;
pub mod registry;
pub mod relay;
pub mod request;
pub mod ssh;
pub mod workers;
