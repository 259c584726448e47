//! A name server for tests, of this room and of the whole gateway: over UDP and TCP or over TLS, on a free port of loopback, with
//! every fault that a name server can have.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{CNAME, NS, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// What it says of a name. Of a name that it does not know, it says that there is none.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// This is another name for that one, for so many seconds, and what that one has.
    Alias(&'static str, u32),
    /// The same without what that one has.
    AliasAlone(&'static str),
    /// There is such a name, without addresses.
    NoAddress,
    /// Addresses, and those of a name that nobody asked for.
    WithStranger(Vec<IpAddr>, Vec<IpAddr>),
    /// Addresses of version 4, and a failure for those of version 6.
    HalfFails(Vec<IpAddr>),
    /// Addresses over TCP alone: over UDP they are said to be too many.
    TooLong(Vec<IpAddr>),
    /// It cannot say.
    Fails(ResponseCode),
    /// Ask somebody else.
    Refers,
    /// Nothing.
    Silent,
    /// No message.
    Garbage,
    /// An answer to another question, then what another server would have said too late.
    WrongId(Vec<IpAddr>),
    /// What it says of a name that it does not know, but for this long.
    NoSuchName(u32),
}

/// So says a server that knows these addresses and has them believed for a minute.
pub(crate) fn addresses(text: &str) -> Says {
    Says::Addresses(parsed(text), 60)
}

/// Addresses, with spaces between them.
pub(crate) fn parsed(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|one| one.parse().unwrap()).collect()
}

/// A name server that runs until it is dropped.
pub(crate) struct NameServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    udp: Option<UdpSocket>,
}

struct Inner {
    names: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<String>>,
    silent: AtomicBool,
    stopped: AtomicBool,
}

impl NameServer {
    /// Over UDP and TCP.
    pub(crate) fn start(names: &[(&str, Says)]) -> Self {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .expect("a port that is free for both");
        let mut server = Self::on(&tcp, names);
        let (inner, socket) = (Arc::clone(&server.inner), udp.try_clone().unwrap());
        server.threads.push(thread::spawn(move || inner.serve_udp(&socket)));
        server.udp = Some(udp);
        server.accept(tcp, None);
        server
    }

    /// Over TLS, with this certificate.
    pub(crate) fn with_tls(certificate: &Certificate, names: &[(&str, Says)]) -> Self {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut server = Self::on(&tcp, names);
        server.accept(tcp, Some(certificate.server()));
        server
    }

    fn on(tcp: &TcpListener, names: &[(&str, Says)]) -> Self {
        let server = Self {
            address: tcp.local_addr().unwrap(),
            inner: Arc::new(Inner {
                names: Mutex::default(),
                asked: Mutex::default(),
                silent: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
            }),
            threads: Vec::new(),
            udp: None,
        };
        for (name, says) in names {
            server.says(name, says.clone());
        }
        server
    }

    /// From now on it says that of a name.
    pub(crate) fn says(&self, name: &str, says: Says) {
        lock(&self.inner.names).insert(name.to_owned(), says);
    }

    /// Whether it says nothing at all.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.inner.silent.store(silent, Ordering::SeqCst);
    }

    /// What it was asked since the last call: each name once, with the kind of the question, as in `db.test A`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *lock(&self.inner.asked));
        asked.sort();
        asked.dedup();
        asked
    }

    fn accept(&mut self, tcp: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let inner = Arc::clone(&self.inner);
        self.threads.push(thread::spawn(move || {
            for stream in tcp.incoming() {
                if inner.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (inner, tls, Ok(stream)) = (Arc::clone(&inner), tls.clone(), stream) else {
                    return;
                };
                // It ends with its client.
                thread::spawn(move || match tls {
                    None => inner.serve(stream),
                    Some(config) => inner.serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
                });
            }
        }));
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(udp) = &self.udp {
            let _ = udp.send_to(&[0], self.address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let answers = buffer.get(..length).map(|question| self.answers(question, true));
            for answer in answers.unwrap_or_default() {
                let _ = socket.send_to(&answer, client);
            }
        }
    }

    /// RFC 1035 section 4.2.2: each message after its length.
    fn serve(&self, mut stream: impl Read + Write) {
        let mut serve = || -> io::Result<()> {
            loop {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut question)?;
                for answer in self.answers(&question, false) {
                    stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())?;
                    stream.write_all(&answer)?;
                    stream.flush()?;
                }
            }
        };
        let _ = serve();
    }

    /// The messages that answer one.
    fn answers(&self, question: &[u8], udp: bool) -> Vec<Vec<u8>> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries.first().unwrap().clone();
        let name = query.name().to_string().trim_end_matches('.').to_owned();
        let kind = query.query_type();
        lock(&self.asked).push(format!("{name} {kind}"));
        if self.silent.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut answer = Message::new(question.id, MessageType::Response, OpCode::Query);
        answer.add_query(query);
        answer.metadata.recursion_available = true;
        match self.of(&name) {
            Says::Silent => return Vec::new(),
            Says::Garbage => {
                let id = question.id.to_be_bytes();
                return vec![[&id[..], &[0xff; 40]].concat(), vec![0xff; 40], Vec::new(), vec![1]];
            }
            Says::WrongId(addresses) => {
                answer.metadata.id = question.id.wrapping_add(1);
                self.fill(&mut answer, &name, kind, Says::Addresses(addresses, 60));
            }
            Says::TooLong(_) if udp => answer.metadata.truncation = true,
            says => self.fill(&mut answer, &name, kind, says),
        }
        vec![answer.to_vec().unwrap()]
    }

    fn of(&self, name: &str) -> Says {
        let known = lock(&self.names).get(&name.to_ascii_lowercase()).cloned();
        known.unwrap_or(Says::NoSuchName(60))
    }

    fn fill(&self, answer: &mut Message, name: &str, kind: RecordType, says: Says) {
        let record = |ttl, data| Record::from_rdata(full(name), ttl, data);
        match says {
            Says::Addresses(addresses, ttl) => {
                let fitting = addresses
                    .into_iter()
                    .filter(|one| one.is_ipv4() == (kind == RecordType::A));
                for address in fitting {
                    answer.add_answer(record(ttl, address.into()));
                }
                if answer.answers.is_empty() {
                    answer.add_authority(apex(60));
                }
            }
            Says::WithStranger(own, strange) => {
                self.fill(answer, name, kind, Says::Addresses(own, 60));
                self.fill(answer, "stranger.test", kind, Says::Addresses(strange, 60));
            }
            Says::TooLong(addresses) => self.fill(answer, name, kind, Says::Addresses(addresses, 60)),
            Says::HalfFails(addresses) if kind == RecordType::A => {
                self.fill(answer, name, kind, Says::Addresses(addresses, 60));
            }
            Says::HalfFails(_) => answer.metadata.response_code = ResponseCode::ServFail,
            Says::Alias(other, ttl) => {
                answer.add_answer(record(ttl, RData::CNAME(CNAME(full(other)))));
                self.fill(answer, other, kind, self.of(other));
            }
            Says::AliasAlone(other) => _ = answer.add_answer(record(60, RData::CNAME(CNAME(full(other))))),
            Says::NoAddress => _ = answer.add_authority(apex(60)),
            Says::Fails(code) => answer.metadata.response_code = code,
            Says::Refers => _ = answer.add_authority(record(60, RData::NS(NS(full("ns.other.test"))))),
            Says::NoSuchName(ttl) => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(apex(ttl));
            }
            Says::Silent | Says::Garbage | Says::WrongId(_) => {}
        }
    }
}

fn full(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

/// The record of a zone that says for how long a name is absent.
fn apex(ttl: u32) -> Record {
    let authority = SOA::new(full("ns.test"), full("admin.test"), 1, 3600, 600, 86400, ttl);
    Record::from_rdata(full("test"), ttl, RData::SOA(authority))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A certificate that is its own authority: `cert` and `key` in its folder.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// For these names and addresses, as in `DNS:dns.test,IP:127.0.0.1`.
    pub(crate) fn of(names: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("openssl");
        command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test".split(' '));
        command.args(["-addext", &format!("subjectAltName={names}")]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(folder.path().join("key"));
        let made = command.arg("-out").arg(folder.path().join("cert")).output();
        let made = made.expect("openssl: install it with tests/install.sh");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    /// The file of the certificate.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("cert")
    }

    fn server(&self) -> Arc<ServerConfig> {
        let read = |name: &str| self.folder.path().join(name);
        let certificate = CertificateDer::from_pem_file(read("cert")).unwrap();
        let key = PrivateKeyDer::from_pem_file(read("key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
    }
}
