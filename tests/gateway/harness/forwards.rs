//! What a client opens: local forwards and SOCKS proxies, and the streams through them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use super::clients::Client;
use super::{PATIENCE, eventually};

/// The near end of a local forward.
pub struct Local {
    pub client: Client,
    pub(super) socket: PathBuf,
}

impl Local {
    pub fn connect(&self) -> UnixStream {
        let stream = eventually("a local forward", || UnixStream::connect(&self.socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

/// A SOCKS proxy; it ends with its client.
pub struct Dynamic {
    pub client: Arc<Client>,
    pub port: u16,
}

impl Dynamic {
    /// The same proxy, for another thread.
    pub fn again(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            port: self.port,
        }
    }

    pub fn socks4(&self, address: Ipv4Addr, port: u16) -> Option<TcpStream> {
        let mut greeting = vec![4, 1];
        greeting.extend(port.to_be_bytes());
        greeting.extend(address.octets());
        greeting.extend(b"me\0");
        self.ask_version_4(&greeting)
    }

    pub fn socks4a(&self, host: &str, port: u16) -> Option<TcpStream> {
        let mut greeting = vec![4, 1];
        greeting.extend(port.to_be_bytes());
        greeting.extend([0, 0, 0, 1]);
        greeting.extend(b"me\0");
        greeting.extend(host.as_bytes());
        greeting.push(0);
        self.ask_version_4(&greeting)
    }

    fn ask_version_4(&self, greeting: &[u8]) -> Option<TcpStream> {
        let mut stream = self.connect();
        stream.write_all(greeting).ok()?;
        let mut reply = [0; 8];
        stream.read_exact(&mut reply).ok()?;
        (reply[1] == 90).then_some(stream)
    }

    /// A new forward; none where it was refused.
    pub fn socks5(&self, host: &str, port: u16) -> Option<TcpStream> {
        self.granted5(self.ask5(host, port))
    }

    /// Asks, and leaves the answer for later.
    pub fn ask5(&self, host: &str, port: u16) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&[5, 1, 0]).expect("the proxy listens");
        stream.read_exact(&mut [0; 2]).expect("the proxy answers");
        let mut ask = vec![5, 1, 0, 3, u8::try_from(host.len()).expect("a short name")];
        ask.extend(host.as_bytes());
        ask.extend(port.to_be_bytes());
        stream.write_all(&ask).expect("the proxy listens");
        stream
    }

    /// The answer.
    pub fn granted5(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).ok()?;
        (reply[1] == 0).then_some(stream)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("the proxy");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

/// A stream of either kind.
pub trait Duplex: Read + Write + Send + 'static {
    fn end_writing(&self);
    fn again(&self) -> Self;
}

impl Duplex for TcpStream {
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn again(&self) -> Self {
        self.try_clone().expect("a second handle")
    }
}

impl Duplex for UnixStream {
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn again(&self) -> Self {
        self.try_clone().expect("a second handle")
    }
}

/// Everything that comes after the last word was said; empty where nobody is there.
pub fn hear<D: Duplex>(mut stream: D) -> String {
    stream.end_writing();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// Says a line and waits for its echo: the tunnel is open both ways.
pub fn ping<D: Duplex>(stream: &mut D) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"ping\n").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"ping\n"
}
