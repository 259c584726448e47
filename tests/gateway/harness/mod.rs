//! A gateway in this process, real OpenSSH clients around it, and servers behind it. Nothing here sleeps to let something
//! happen: whatever is waited for is looked at until it is there, and its absence is a failure after [`PATIENCE`].

mod clients;
mod forwards;
mod gateways;
mod programs;
mod servers;
mod setup;
pub mod wire;

use std::fmt::Display;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use clients::{Answer, Client};
pub use forwards::{Duplex, Dynamic, hear, ping};
pub use gateways::{Process, Reached, Running};
pub use programs::{compiler, install, install_script, make_key, signal, ssh_keygen};
pub use servers::Server;
pub use setup::Setup;

/// How long anything may take here. Only a failing test waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Looks again and again until there is something.
pub fn eventually<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A number that no other call gets.
pub fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
