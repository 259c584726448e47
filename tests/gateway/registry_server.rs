//! A real registry, Debian's `docker-registry`, in a process and a folder of its own, and the program that pushes to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;

/// A registry on a loopback port.
pub struct Registry {
    folder: TempDir,
    settings: String,
    address: Option<SocketAddr>,
    child: Option<Child>,
}

impl Registry {
    /// One that everybody may use, without TLS.
    pub fn open() -> Self {
        Self::with("")
    }

    /// One that demands this login: `ann`, `secret`.
    pub fn with_a_login() -> Self {
        Self::with("auth:\n  htpasswd:\n    realm: test\n    path: \"{folder}/logins\"\n")
    }

    /// One with TLS; its certificate is by an authority of its own, which [`Registry::authority`] is.
    pub fn with_tls() -> Self {
        Self::with("    tls:\n      certificate: \"{folder}/leaf.pem\"\n      key: \"{folder}/leaf.key\"\n")
    }

    fn with(settings: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        // Made with `htpasswd -Bbn ann secret`.
        let logins = "ann:$2y$05$ocGswTPNeNvn0vLus3g90.39Ohcac6JrdzqpclT6Lx9R09ItOenpi\n";
        fs::write(folder.path().join("logins"), logins).expect("write the logins");
        let settings = settings.replace("{folder}", folder.path().to_str().expect("a plain path"));
        if settings.contains("tls:") {
            certify(folder.path());
        }
        let mut registry = Self {
            folder,
            settings,
            address: None,
            child: None,
        };
        registry.start();
        registry
    }

    /// Starts it, where it was before.
    pub fn start(&mut self) {
        let data = self.folder.path().join("data");
        let address = self
            .address
            .map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let config = format!(
            "version: 0.1\nlog:\n  level: info\n  formatter: text\nstorage:\n  filesystem:\n    rootdirectory: {data:?}\nhttp:\n    \
             addr: \"{address}\"\n{}",
            self.settings
        );
        let file = self.folder.path().join("config.yml");
        fs::write(&file, config).expect("write its configuration");
        let log = fs::File::create(self.log_file()).expect("its log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("docker-registry runs (Debian: docker-registry)"));
        let address = eventually("a registry that listens", || {
            let log = self.log();
            let (_, rest) = log.split_once("listening on ")?;
            rest.split(['"', ',', ' ']).next()?.parse().ok()
        });
        self.address = Some(address);
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has logged since it was started: a line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// How many times a manifest was looked up, and not downloaded.
    pub fn looks(&self) -> usize {
        let log = self.log();
        let heads = log
            .lines()
            .filter(|line| line.contains("\"HEAD /v2/") && line.contains("/manifests/"));
        heads.count()
    }

    /// How many times something of this repository was downloaded.
    pub fn downloads(&self, repository: &str) -> usize {
        let asked = format!("\"GET /v2/{repository}/");
        self.log().lines().filter(|line| line.contains(&asked)).count()
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was started")
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// An image here.
    pub fn image(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address())
    }

    /// `plugin push`, which succeeds: what it prints.
    pub fn push(&self, file: &Path, name: &str) -> Value {
        let pushed = portreeve(&["plugin", "push", "--json", file.to_str().unwrap(), &self.image(name)]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
        serde_json::from_str(&pushed.out).expect("JSON")
    }

    /// A manifest, as the registry has it.
    pub fn manifest(&self, repository: &str, reference: &str) -> Value {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json\r\n";
        let (head, body) = self.ask("GET", &path, accept, b"");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        serde_json::from_slice(&body).expect("JSON")
    }

    /// A blob, as the registry has it.
    pub fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        let (head, body) = self.ask("GET", &format!("/v2/{repository}/blobs/{digest}"), "", b"");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body
    }

    /// Puts an artifact there that no program of ours would push: a layer of that type, of which the manifest says that it has
    /// so many bytes.
    pub fn put(&self, repository: &str, tag: &str, layer: (&str, &[u8], usize)) {
        let (media_type, bytes, size) = layer;
        let blob = |bytes: &[u8]| {
            let digest = format!("sha256:{}", portreeve::policy::digest(bytes));
            let (head, _) = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
            let location = head
                .lines()
                .find_map(|line| line.strip_prefix("Location: "))
                .expect("a place");
            let (_, path) = location.split_once("/v2/").expect("a path");
            let (head, _) = self.ask("PUT", &format!("/v2/{path}&digest={digest}"), "", bytes);
            assert!(head.starts_with("HTTP/1.1 201"), "{head}");
            digest
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob(b"{}"), "size": 2 },
            "layers": [{ "mediaType": media_type, "digest": blob(bytes), "size": size }],
        });
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (head, _) = self.ask("PUT", &path, kind, manifest.to_string().as_bytes());
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n",
            self.address()
        );
        stream.write_all(head.as_bytes()).expect("ask");
        stream.write_all(body).expect("ask");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let body = answer.split_off(end + 4);
        (String::from_utf8_lossy(&answer).into_owned(), body)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An authority, and a certificate by it for the loopback address.
fn certify(folder: &Path) {
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).current_dir(folder).output();
        let made = made.expect("openssl runs (Debian: openssl)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("write the names");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "req",
        "-x509",
        "-subj",
        "/CN=test authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
    ];
    openssl(&[&authority[..], &key].concat());
    let request = [
        "req",
        "-subj",
        "/CN=registry",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.csr",
    ];
    openssl(&[&request[..], &key].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "leaf.pem",
    ]);
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub out: String,
    pub errors: String,
    pub code: i32,
}

/// Runs the program, without credentials of whoever runs the tests.
pub fn portreeve(arguments: &[&str]) -> Printed {
    let done = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(arguments)
        .env("DOCKER_CONFIG", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    Printed {
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        errors: String::from_utf8_lossy(&done.stderr).into_owned(),
        code: done.status.code().expect("an exit code"),
    }
}
