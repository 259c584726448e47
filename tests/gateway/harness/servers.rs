//! Servers behind the gateway.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use super::forwards::Duplex;

/// A server behind the gateway: it says its name where it has one, then returns what it gets, and ends when its peer does.
pub struct Server {
    pub port: u16,
}

impl Server {
    pub fn echo() -> Self {
        Self::named("")
    }

    pub fn named(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let name = name.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, name.clone());
            }
        });
        Self { port }
    }

    /// The same on a Unix socket.
    pub fn at(path: &Path, name: &str) {
        let listener = UnixListener::bind(path).expect("a socket");
        let name = name.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, name.clone());
            }
        });
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn serve<D: Duplex>(mut stream: D, name: String) {
    thread::spawn(move || {
        let _ = stream.write_all(name.as_bytes());
        let mut reader = stream.again();
        let _ = std::io::copy(&mut reader, &mut stream);
        stream.end_writing();
    });
}
