//! A real Redis for tests, of this room and of the whole gateway: on a Unix socket or a free port of loopback, in a folder of its
//! own, with nothing kept.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A Redis that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    place: Place,
    options: Vec<String>,
    process: Option<Child>,
}

/// Where it listens.
enum Place {
    Socket,
    Port(u16),
}

impl Server {
    /// On a Unix socket.
    pub(crate) fn start() -> Self {
        Self::started(Place::Socket, &[])
    }

    /// On a port of loopback, with these options.
    pub(crate) fn on_a_port(options: &[&str]) -> Self {
        Self::started(Place::Port(free_port()), options)
    }

    /// On two ports of loopback, with TLS on the second; the certificate is in `cert` in its folder.
    pub(crate) fn with_tls() -> (Self, u16) {
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            place: Place::Port(free_port()),
            options: Vec::new(),
            process: None,
        };
        let [cert, key] = ["cert", "key"].map(|name| server.folder.path().join(name).display().to_string());
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ]);
        command.args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        let made = command.args(["-keyout", &key, "-out", &cert]).output();
        let made = made.expect("openssl: install it with tests/install.sh");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let text = port.to_string();
        let options = ["--tls-port", &text, "--tls-cert-file", &cert, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &cert, "--tls-auth-clients", "no"];
        server.options = options.iter().chain(&more).map(|&option| option.to_owned()).collect();
        server.begin();
        (server, port)
    }

    fn started(place: Place, options: &[&str]) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            place,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            process: None,
        };
        server.begin();
        server
    }

    /// Starts it, with nothing in it.
    pub(crate) fn begin(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command
            .arg("--dir")
            .arg(folder)
            .arg("--logfile")
            .arg(folder.join("log"));
        match self.place {
            Place::Socket => command.args(["--port", "0"]).arg("--unixsocket").arg(self.socket()),
            Place::Port(port) => command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]),
        };
        command.args(&self.options).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("redis-server: install it with tests/install.sh");
        self.process = Some(process);
        eventually("redis listens", || {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            log.contains("eady to accept connections").then_some(())
        });
        fs::remove_file(folder.join("log")).unwrap();
    }

    pub(crate) fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// It answers nothing until [`Server::resume`].
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Where it is, as a URL.
    pub(crate) fn url(&self) -> String {
        match self.place {
            Place::Socket => format!("redis+unix://{}", self.socket().display()),
            Place::Port(port) => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// What `redis-cli` prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        match self.place {
            Place::Socket => command.arg("-s").arg(self.socket()),
            Place::Port(port) => command.args(["-h", "127.0.0.1", "-p", &port.to_string()]),
        };
        let output = command.args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Another program that runs until it is dropped.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("install it with tests/install.sh"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody listens there now.
pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

/// Looks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PATIENCE: Duration = Duration::from_secs(40);
