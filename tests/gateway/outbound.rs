//! How targets are connected to, with real targets and proxies: nginx and HAProxy read the PROXY header, microsocks and tinyproxy
//! are on the way.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use ppp::v2;
use serde_json::Value;
use tempfile::TempDir;

use crate::abi::V;
use crate::guests::{Does, Guest, When, allows, allows_with};
use crate::harness::{PATIENCE, Running, Server, Setup, eventually, free_port, hear, ping};
use crate::terms::{count, target};

/// Allows, and demands this.
fn obliges(obligations: &[(&str, V)]) -> Does {
    allows_with(vec![duties(obligations)])
}

fn duties(obligations: &[(&str, V)]) -> (&'static str, V) {
    let duty = |(name, value): &(&str, V)| V::Tuple(vec![V::text(name), value.clone()]);
    ("obligations", V::List(obligations.iter().map(duty).collect()))
}

fn text(text: &str) -> V {
    V::case("text", V::text(text))
}

fn number(number: u64) -> V {
    V::case("number", V::Number(number))
}

fn obliging(obligations: &[(&str, V)]) -> Setup {
    Setup::asking(&Guest::that(obliges(obligations)))
}

/// The same for targets of this port: what no gateway can keep would fail the decision that tries the policy.
fn obliging_to(port: u16, obligations: &[(&str, V)]) -> Setup {
    Setup::asking(&Guest::that(allows()).on(When::Port(port), obliges(obligations)))
}

/// A program of the system, ended with the test; what it says is kept.
struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    address: IpAddr,
    port: u16,
    _folder: Option<TempDir>,
}

impl Program {
    /// Starts it on a port that `command` is told; again where another process was faster.
    fn start(package: &str, command: impl FnMut(u16) -> (Command, Option<TempDir>)) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), package, command)
    }

    fn start_at(address: IpAddr, package: &str, mut command: impl FnMut(u16) -> (Command, Option<TempDir>)) -> Self {
        eventually(package, || {
            let port = free_port();
            let (mut command, folder) = command(port);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let child = command.spawn();
            let child = child.unwrap_or_else(|error| panic!("this test needs the Debian package {package}: {error}"));
            let said = Arc::new(Mutex::new(String::new()));
            let mut program = Self {
                child,
                said,
                address,
                port,
                _folder: folder,
            };
            program.listen_to();
            program.is_up().then_some(program)
        })
    }

    fn listen_to(&mut self) {
        let out: Box<dyn Read + Send> = Box::new(self.child.stdout.take().unwrap());
        let errors: Box<dyn Read + Send> = Box::new(self.child.stderr.take().unwrap());
        for stream in [out, errors] {
            let said = Arc::clone(&self.said);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().unwrap();
                    said.push_str(&line);
                    said.push('\n');
                }
            });
        }
    }

    fn is_up(&mut self) -> bool {
        eventually("a program that listens or ends", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect((self.address, self.port)).ok().map(|_| true)
        })
    }

    fn says(&self, words: &str) -> String {
        eventually(words, || {
            let said = self.said.lock().unwrap();
            said.contains(words).then(|| said.clone())
        })
    }

    fn microsocks(arguments: &[&str]) -> Self {
        Self::microsocks_at(Ipv4Addr::LOCALHOST.into(), arguments)
    }

    fn microsocks_at(address: IpAddr, arguments: &[&str]) -> Self {
        Self::start_at(address, "microsocks", |port| {
            let mut command = Command::new("microsocks");
            command.args(["-i", &address.to_string(), "-p", &port.to_string()]);
            command.args(arguments);
            (command, None)
        })
    }

    fn tinyproxy(lines: &str) -> Self {
        Self::start("tinyproxy-bin", |port| {
            let folder = TempDir::new().unwrap();
            let file = folder.path().join("tinyproxy.conf");
            fs::write(
                &file,
                format!("Listen 127.0.0.1\nPort {port}\nMaxClients 20\nTimeout 60\n{lines}\n"),
            )
            .unwrap();
            let mut command = Command::new("tinyproxy");
            command.args(["-d", "-c"]).arg(file);
            (command, Some(folder))
        })
    }

    fn nginx() -> Self {
        Self::start("nginx-light", |port| {
            let folder = TempDir::new().unwrap();
            let at = folder.path().display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {at}/{name};\n"))
                .concat();
            let answer =
                "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port";
            let config = format!(
                "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\n{temporary}\
                 log_format seen '{answer}';\naccess_log {at}/access.log seen;\n\
                 server {{\nlisten 127.0.0.1:{port} proxy_protocol;\nreturn 200 \"{answer}\\n\";\n}}\n}}\n"
            );
            let file = folder.path().join("nginx.conf");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("nginx");
            command.env("PATH", path());
            command
                .arg("-e")
                .arg(folder.path().join("error.log"))
                .arg("-c")
                .arg(file);
            (command, Some(folder))
        })
    }

    fn haproxy() -> Self {
        Self::start("haproxy", |port| {
            let folder = TempDir::new().unwrap();
            let config = format!(
                "defaults\n  mode http\n  timeout client 30s\n  timeout connect 5s\n  timeout server 30s\nfrontend seen\n  \
                 bind 127.0.0.1:{port} accept-proxy\n  http-request return status 200 content-type text/plain lf-string \
                 \"%[src]:%[src_port] %[dst]:%[dst_port]\"\n"
            );
            let file = folder.path().join("haproxy.cfg");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("haproxy");
            command.env("PATH", path());
            command.arg("-f").arg(file);
            (command, Some(folder))
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian has servers in `/usr/sbin`, which is not in the path of every user.
fn path() -> String {
    format!(
        "{}:/usr/sbin:/usr/local/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// The body of the answer of an HTTP server.
fn get(gateway: &Running, port: u16) -> String {
    let local = gateway.local(&format!("127.0.0.1:{port}"));
    let mut stream = local.connect();
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer of HTTP: {answer:?}"))
        .1
        .trim()
        .to_owned()
}

/// Where the client of the only session is.
fn client(gateway: &Running) -> String {
    let line = gateway.event("auth-succeeded");
    line["client"].as_str().unwrap().to_owned()
}

#[test]
fn nginx_and_haproxy_are_told_who_the_client_is() {
    for (version, program) in [
        ("v1", Program::nginx()),
        ("v2", Program::nginx()),
        ("v1", Program::haproxy()),
        ("v2", Program::haproxy()),
    ] {
        let gateway = obliging(&[("proxy-protocol", text(version))]).start();
        let seen = get(&gateway, program.port);
        assert_eq!(
            seen,
            format!("{} 127.0.0.1:{}", client(&gateway), program.port),
            "{version}"
        );
        let decided = gateway.event("forward-decided");
        assert_eq!(decided["terms"]["proxy-protocol"], version, "{decided}");
        assert_eq!(decided["outbound"]["proxy-protocol"], version, "{decided}");
    }
}

/// The header of version 2 that comes first, and what comes after it.
fn introduced(mut stream: impl Read) -> (Vec<u8>, Vec<u8>) {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let length = v2::Header::try_from(all.as_slice()).expect("a header").len();
    let rest = all.split_off(length);
    (all, rest)
}

fn fields(header: &[u8]) -> Vec<(u8, String)> {
    let header = v2::Header::try_from(header).unwrap();
    // An unspecified family has no addresses, so the fields begin where those would.
    let fields = match header.addresses {
        v2::Addresses::Unspecified => v2::TypeLengthValues::from(header.address_bytes()),
        _ => header.tlvs(),
    };
    let fields = fields.map(|field| field.unwrap());
    fields
        .map(|field| (field.kind, String::from_utf8(field.value.to_vec()).unwrap()))
        .collect()
}

#[test]
fn the_header_names_user_session_and_policy_and_is_no_byte_of_the_user() {
    let header = text("v2");
    let bound = allows_with(vec![
        duties(&[("proxy-protocol", header)]),
        ("max-bytes", V::some(V::Number(1000))),
    ]);
    let gateway = Setup::asking(&Guest::that(bound)).start();
    let (port, heard) = target(introduced);
    let local = gateway.local(&format!("127.0.0.1:{port}"));
    let mut stream = local.connect();
    let _ = stream.write_all(&[7; 5000]);
    let (header, rest) = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(rest, [7; 1000]);
    let decided = gateway.event("forward-decided");
    let policy = &decided["policy"];
    let policy = format!(
        "{}@{}",
        policy["name"].as_str().unwrap(),
        policy["version"].as_str().unwrap()
    );
    let session = decided["session"].as_str().unwrap();
    assert_eq!(
        fields(&header),
        [(0xe0, "alice".to_owned()), (0xe1, session.to_owned()), (0xe2, policy)]
    );
    let closed = gateway.event("tunnel-closed");
    assert_eq!(
        (count(&closed, "bytes_up"), &closed["cause"]),
        (1000, &"byte-limit".into())
    );
}

#[test]
fn a_socket_gets_the_header_too_and_nothing_that_needs_a_network() {
    let gateway = obliging(&[("proxy-protocol", text("v2"))]).start();
    let path = gateway.path("target.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let heard = thread::spawn(move || introduced(listener.accept().unwrap().0));
    let local = gateway.local(&path.display().to_string());
    let mut stream = local.connect();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (header, rest) = heard.join().unwrap();
    assert_eq!(rest, b"hello");
    let client = client(&gateway);
    assert!(fields(&header).contains(&(0xe3, client)), "{:?}", fields(&header));

    let gateway = obliging(&[("mark", number(7))]).start();
    let path = gateway.path("target.sock");
    Server::at(&path, "the target");
    let local = gateway.local(&path.display().to_string());
    assert_eq!(hear(local.connect()), "");
    let decided = gateway.event("forward-decided");
    assert_eq!(
        (&decided["verdict"], &decided["code"]),
        (&"failed".into(), &"bad-obligation".into()),
        "{decided}"
    );
}

#[test]
fn obligations_that_cannot_be_kept_are_refused() {
    let target = Server::named("the target");
    let wrong = [
        ("proxy-protocol", text("v3"), "must be one of"),
        ("proxy-protocol", number(2), "must be one of"),
        ("source-address", text("gw"), "must be an IP address"),
        ("mark", text("7"), "must be a number"),
        ("dscp", text("best"), "must be a number from 0 to 63"),
        ("dscp", number(64), "must be a number from 0 to 63"),
        ("via", text("nowhere"), "no [[via]] has the name `nowhere`"),
        ("replace-socket", number(1), "must be true or false"),
    ];
    for (name, value, words) in wrong {
        let gateway = obliging_to(target.port, &[(name, value)]).start();
        assert_eq!(gateway.through(&target.address()).stdout, "", "{name} {words}");
        let decided = gateway.decision(&target.address());
        assert_eq!(decided["verdict"], "failed", "{decided}");
        assert_eq!(decided["code"], "bad-obligation", "{decided}");
        assert!(decided["reason"].as_str().unwrap().contains(words), "{decided}");
    }
    let twice = [("via", text("direct")), ("via", text("office"))];
    let gateway = obliging_to(target.port, &twice).start();
    assert_eq!(gateway.through(&target.address()).stdout, "");
    let decided = gateway.decision(&target.address());
    assert!(decided["reason"].as_str().unwrap().contains("given twice"), "{decided}");

    // A listener has no target to connect to.
    let gateway = obliging(&[("dscp", text("ef"))]).start();
    let refused = gateway
        .ssh()
        .args(["-v", "-N", "-R", &format!("0:{}", target.address())])
        .start();
    refused.says("the policy could not decide");
    let decided = gateway.event("forward-decided");
    assert_eq!(decided["code"], "bad-obligation", "{decided}");
}

/// A target that says from where it was connected to.
fn mirror() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().unwrap();
            let _ = stream.write_all(peer.ip().to_string().as_bytes());
        }
    });
    port
}

#[test]
fn a_target_is_connected_to_from_the_address_that_is_demanded() {
    let port = mirror();
    let target = format!("127.0.0.1:{port}");
    let gateway = obliging(&[("source-address", text("127.0.0.9")), ("dscp", text("ef"))]).start();
    assert_eq!(gateway.through(&target).stdout, "127.0.0.9");
    // Addresses of the other family are passed over: `localhost` has both.
    assert_eq!(gateway.through(&format!("localhost:{port}")).stdout, "127.0.0.9");
    let decided = gateway.decision(&target);
    assert_eq!(decided["outbound"]["source-address"], "127.0.0.9", "{decided}");
    assert_eq!(decided["outbound"]["dscp"], "ef", "{decided}");

    for (source, words) in [
        ("::1", "has no address of the family of ::1"),
        (
            "192.0.2.77",
            "cannot connect from 192.0.2.77: Cannot assign requested address",
        ),
    ] {
        let gateway = obliging(&[("source-address", text(source))]).start();
        let answer = gateway.through(&target);
        assert!(answer.errors.contains(words), "{}", answer.errors);
        let failed = gateway.event("connect-failed");
        assert_eq!(failed["step"], "socket", "{failed}");
        assert!(failed["reason"].as_str().unwrap().contains(words), "{failed}");
    }
}

/// Whether this process may mark sockets.
fn may_mark() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    // CAP_NET_ADMIN, CAP_NET_RAW
    set & (1 << 12 | 1 << 13) != 0
}

/// Without the capabilities to mark sockets.
const UNABLE: [&str; 3] = [
    "setpriv",
    "--bounding-set=-net_admin,-net_raw",
    "--inh-caps=-net_admin,-net_raw",
];

#[test]
fn a_connection_that_cannot_be_marked_is_not_made() {
    let target = Server::named("the target");
    let words = "cannot set the mark 7: Operation not permitted";
    if may_mark() {
        let gateway = obliging(&[("mark", number(7))]).start();
        assert_eq!(gateway.through(&target.address()).stdout, "the target");
    }
    let unable: &[&str] = if may_mark() { &UNABLE } else { &[] };
    let gateway = obliging(&[("mark", number(7))]).start_program_under(unable);
    let answer = gateway.through(&target.address());
    assert_eq!(answer.stdout, "");
    assert!(answer.errors.contains(words), "{}", answer.errors);
    let failed = gateway.event("connect-failed");
    assert_eq!((&failed["step"], &failed["reason"]), (&"socket".into(), &words.into()));
}

#[test]
fn check_says_what_this_machine_cannot_do() {
    let setup = Setup::allowing().tables(
        "[outbound]\nmark = 7\n[[outbound.for]]\ntargets = [\"10.0.0.0/8\"]\nsource-address = \"192.0.2.77\"\n",
    );
    let gateway = setup.start();
    let unable: &[&str] = if may_mark() { &UNABLE } else { &[] };
    let portreeve = env!("CARGO_BIN_EXE_portreeve");
    let mut words = unable.iter().copied().chain([portreeve]);
    let mut check = Command::new(words.next().unwrap());
    check.args(words).args(["check", "--config"]);
    let checked = check.arg(gateway.path("portreeve.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("outbound.mark: this user cannot mark sockets"), "{said}");
    assert!(said.contains("outbound.for[0].source-address: no interface"), "{said}");
}

/// `[[via]]`, with credentials in a file of the gateway's folder.
fn via(setup: &Setup, kind: &str, port: u16, credentials: Option<&str>) -> String {
    let mut table = format!("[[via]]\nname = \"office\"\n{kind} = \"127.0.0.1:{port}\"\n");
    if let Some(credentials) = credentials {
        secret(&setup.path("credentials"), credentials);
        table.push_str("credentials-file = \"credentials\"\n");
    }
    table
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A gateway that reaches all its targets through this proxy.
fn through(kind: &str, port: u16, credentials: Option<&str>) -> Running {
    let setup = obliging(&[("via", text("office"))]);
    let table = via(&setup, kind, port, credentials);
    setup.tables(&table).start()
}

/// What a target says first. The client goes on listening: some proxies end both directions with one.
fn first_words(gateway: &Running, target: &str, length: usize) -> String {
    let local = gateway.local(target);
    let mut words = vec![0; length];
    let read = local.connect().read_exact(&mut words);
    read.map(|()| String::from_utf8_lossy(&words).into_owned())
        .unwrap_or_default()
}

#[test]
fn targets_are_reached_through_a_proxy_and_nothing_is_lost_on_the_way() {
    let open = [
        ("socks5", Program::microsocks(&[])),
        ("http-connect", Program::tinyproxy("")),
    ];
    for (kind, proxy) in &open {
        let gateway = through(kind, proxy.port, None);
        // The target speaks first, right behind the answer of the proxy.
        let talker = Server::named("the target speaks first");
        for _ in 0..5 {
            assert_eq!(
                first_words(&gateway, &talker.address(), 23),
                "the target speaks first",
                "{kind}"
            );
        }
        let opened = gateway.event("tunnel-opened");
        assert_eq!(opened["dialled"], talker.address(), "{kind}");
        let decided = gateway.decision(&talker.address());
        assert_eq!(decided["outbound"]["via"], "office", "{decided}");
        let echo = Server::echo();
        let local = gateway.local(&echo.address());
        let mut stream = local.connect();
        assert!(ping(&mut stream), "{kind}");
    }
    open[0].1.says("connected to 127.0.0.1");
}

#[test]
fn a_proxy_that_wants_credentials_gets_them_from_a_file() {
    let target = Server::named("the target");
    let closed = [
        ("socks5", Program::microsocks(&["-u", "alice", "-P", "s3cret"])),
        ("http-connect", Program::tinyproxy("BasicAuth alice s3cret")),
    ];
    for (kind, proxy) in &closed {
        let gateway = through(kind, proxy.port, Some("alice:s3cret\n"));
        assert_eq!(first_words(&gateway, &target.address(), 10), "the target", "{kind}");
        for (credentials, words) in [
            (None, "set `credentials-file`"),
            (Some("alice:wrong\n"), "it does not accept the credentials"),
        ] {
            let gateway = through(kind, proxy.port, credentials);
            let answer = gateway.through(&target.address());
            assert_eq!(answer.stdout, "", "{kind}");
            let failed = gateway.event("connect-failed");
            assert_eq!(failed["step"], "proxy-answer", "{failed}");
            let reason = failed["reason"].as_str().unwrap();
            assert!(
                reason.starts_with("the proxy `office`: ") && reason.contains(words),
                "{failed}"
            );
            assert!(answer.errors.contains(words), "{}", answer.errors);
        }
    }
    let setup = Setup::allowing();
    let table = via(&setup, "socks5", 1, Some("alice:s3cret"));
    fs::set_permissions(setup.path("credentials"), fs::Permissions::from_mode(0o644)).unwrap();
    let Err(error) = setup.tables(&table).try_start() else {
        panic!("it started with credentials that everybody can read");
    };
    let error = error.to_string();
    assert!(
        error.contains("via.credentials-file") && error.contains("has mode 0644: chmod it to 0600"),
        "{error}"
    );
}

#[test]
fn what_a_proxy_says_of_a_target_is_said_as_of_a_direct_connection() {
    let (socks, http) = (Program::microsocks(&[]), Program::tinyproxy(""));
    let closed = format!("127.0.0.1:{}", free_port());
    let gateway = through("socks5", socks.port, None);
    let answer = gateway.through(&closed);
    assert!(
        answer.errors.contains("the proxy `office`: Connection refused"),
        "{}",
        answer.errors
    );
    let gateway = through("http-connect", http.port, None);
    let answer = gateway.through(&closed);
    assert!(
        answer.errors.contains("the proxy `office`: it answered 500 "),
        "{}",
        answer.errors
    );
    // Nobody is there.
    let gateway = through("socks5", free_port(), None);
    let answer = gateway.through(&closed);
    assert!(
        answer.errors.contains("the proxy `office`: Connection refused"),
        "{}",
        answer.errors
    );
    assert_eq!(gateway.event("connect-failed")["step"], "proxy-connect");
}

#[test]
fn the_floors_hold_for_what_a_proxy_is_asked_for() {
    let (socks, http) = (Program::microsocks(&[]), Program::tinyproxy(""));
    for names in ["resolve", "hand-on"] {
        for (kind, proxy) in [("socks5", &socks), ("http-connect", &http)] {
            let setup = obliging(&[("via", text("office"))]);
            let table = via(&setup, kind, proxy.port, None) + &format!("names = \"{names}\"\n");
            // The proxy itself may be where no target may be: on loopback.
            let gateway = setup
                .tables(&table)
                .tables("[floors]\ndeny = [\"127.0.0.0/8\", \"::1/128\"]\n")
                .start();
            let target = Server::named("the target");
            for host in ["127.0.0.1", "localhost"] {
                let address = format!("{host}:{}", target.port);
                let answer = gateway.through(&address);
                assert_eq!(answer.stdout, "", "{kind} {names} {host}");
                let decided = gateway.decision(&address);
                assert_eq!(
                    (&decided["by"], &decided["code"]),
                    (&"floor".into(), &"deny".into()),
                    "{decided}"
                );
            }
            let ours = format!("127.0.0.1:{}", gateway.address().port());
            gateway.through(&ours);
            assert_eq!(gateway.decision(&ours)["by"], "floor");
        }
    }
}

#[test]
fn a_name_is_handed_on_only_where_the_configuration_says_so() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"the target");
        }
    });
    for (names, asked, dialled) in [
        ("resolve", "127.0.0.1", format!("127.0.0.1:{port}")),
        ("hand-on", "localhost", format!("localhost:{port}")),
    ] {
        let proxy = Program::microsocks(&[]);
        let setup = obliging(&[("via", text("office"))]);
        let table = via(&setup, "socks5", proxy.port, None) + &format!("names = \"{names}\"\n");
        let gateway = setup.tables(&table).start();
        let target = format!("localhost:{port}");
        assert_eq!(first_words(&gateway, &target, 10), "the target", "{names}");
        proxy.says(&format!("connected to {asked}:{port}"));
        assert_eq!(gateway.event("tunnel-opened")["dialled"], dialled);
        assert_eq!(gateway.event("tunnel-closed")["dialled"], dialled);
    }
}

#[test]
fn a_proxy_is_tried_at_each_of_its_addresses() {
    let six: IpAddr = Ipv6Addr::LOCALHOST.into();
    if TcpListener::bind((six, 0)).is_err() {
        return;
    }
    let target = Server::named("the target");
    let proxy = Program::microsocks_at(six, &[]);
    let setup = obliging(&[("via", text("office"))]);
    // Its first address is 127.0.0.1, where nobody listens.
    let table = format!("[[via]]\nname = \"office\"\nsocks5 = \"localhost:{}\"\n", proxy.port);
    let gateway = setup.tables(&table).start();
    assert_eq!(first_words(&gateway, &target.address(), 10), "the target");
}

/// A proxy that takes connections, answers with these bytes and goes on to wait.
fn mute(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(answer);
            open.push(stream);
        }
    });
    port
}

#[test]
fn a_proxy_that_does_not_answer_is_given_up_after_the_dial_timeout() {
    let target = Server::echo();
    for (kind, answer, step) in [
        ("socks5", b"".as_slice(), "proxy-answer"),
        ("socks5", b"\x05\0\x05\0\0\x03\xff", "proxy-answer"),
        ("http-connect", b"HTTP/1.1 200 OK\r\nX-Never: ends", "proxy-answer"),
    ] {
        let setup = obliging(&[("via", text("office"))]);
        let table = via(&setup, kind, mute(answer), None) + "[limits]\ndial-timeout = \"300ms\"\n";
        let gateway = setup.tables(&table).start();
        let answer = gateway.through(&target.address());
        assert!(answer.errors.contains("Connection timed out"), "{}", answer.errors);
        assert_eq!(gateway.event("connect-failed")["step"], step);
    }
}

#[test]
fn the_header_goes_through_the_proxy_to_the_target() {
    let proxy = Program::microsocks(&[]);
    let setup = obliging(&[("via", text("office")), ("proxy-protocol", text("v1"))]);
    let table = via(&setup, "socks5", proxy.port, None);
    let gateway = setup.tables(&table).start();
    let program = Program::nginx();
    let seen = get(&gateway, program.port);
    assert_eq!(seen, format!("{} 127.0.0.1:{}", client(&gateway), program.port));
}

#[test]
fn the_configuration_has_defaults_which_a_policy_overrides() {
    let port = mirror();
    let outbound = "[outbound]\nsource-address = \"127.0.0.8\"\n\
                    [[outbound.for]]\ntargets = [\"127.0.0.0/30\"]\nsource-address = \"127.0.0.9\"\n";
    let guest = Guest::that(allows());
    let gateway = Setup::asking(&guest).tables(outbound).start();
    let target = format!("127.0.0.1:{port}");
    assert_eq!(gateway.through(&target).stdout, "127.0.0.9");
    let decided = gateway.decision(&target);
    assert_eq!(decided["outbound"]["source-address"], "127.0.0.9", "{decided}");
    assert_eq!(
        decided["terms"],
        serde_json::json!({}),
        "what the policy said: {decided}"
    );
    drop(gateway);
    let gateway = obliging(&[("source-address", text("127.0.0.7"))])
        .tables(outbound)
        .start();
    assert_eq!(gateway.through(&target).stdout, "127.0.0.7");
}

#[test]
fn explain_says_how_a_target_would_be_connected_to() {
    let gateway = Setup::allowing()
        .tables("[outbound]\ndscp = \"af41\"\n[[outbound.for]]\ntargets = [\"*.internal\", \"10.0.0.0/8\"]\nproxy-protocol = \"v2\"\n")
        .start();
    let explained = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["explain", "--user", "alice", "--config"])
        .arg(gateway.path("portreeve.toml"))
        .args(["connect", "10.1.2.3:443"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&explained.stdout);
    let expected = r#"outbound  {"proxy-protocol":"v2","dscp":"af41"}"#;
    assert!(said.contains(expected), "{said}");
}

/// Waits for the end of the only tunnel, and answers its cause.
fn ended(gateway: &Running) -> Value {
    gateway.event("tunnel-closed")["cause"].clone()
}

#[test]
fn what_is_open_ends_when_another_way_is_demanded_of_it() {
    let proxy = Program::microsocks(&[]);
    let target = Server::echo();
    let rows: [(&[(&str, V)], bool); 5] = [
        (&[("via", text("office"))], false),
        (&[("source-address", text("127.0.0.9"))], false),
        (&[("proxy-protocol", text("v1"))], false),
        (&[("via", text("direct")), ("mark", number(0))], true),
        (&[("dscp", text("ef"))], true),
    ];
    for (obligations, stays) in rows {
        let setup = Setup::allowing();
        let table = via(&setup, "socks5", proxy.port, None);
        let gateway = setup.tables(&table).start();
        let local = gateway.local(&target.address());
        let mut stream = local.connect();
        assert!(ping(&mut stream));
        gateway.swap(&Guest::that(obliges(obligations)));
        gateway.audited("a second decision", |line| line["again"] == "swap");
        match stays {
            true => assert!(ping(&mut stream), "{:?}", gateway.audit()),
            false => assert_eq!(ended(&gateway), "revoked", "{:?}", gateway.audit()),
        }
    }
}

#[test]
fn what_is_open_ends_when_the_proxy_of_that_name_is_another_one() {
    let (one, two) = (Program::microsocks(&[]), Program::microsocks(&[]));
    let target = Server::echo();
    for (port, stays) in [(one.port, true), (two.port, false)] {
        let gateway = through("socks5", one.port, None);
        let local = gateway.local(&target.address());
        let mut stream = local.connect();
        assert!(ping(&mut stream));
        let file = gateway.path("portreeve.toml");
        let before = fs::read_to_string(&file).unwrap();
        secret(&gateway.path("credentials"), "alice:unused\n");
        let now = before.replace(
            &format!("\"127.0.0.1:{}\"\n", one.port),
            &format!("\"127.0.0.1:{port}\"\ncredentials-file = \"credentials\"\n"),
        );
        assert_ne!(before, now);
        fs::write(&file, now).unwrap();
        gateway.reload().unwrap();
        gateway.audited("a second decision", |line| line["again"] == "swap");
        match stays {
            true => assert!(ping(&mut stream)),
            false => assert_eq!(ended(&gateway), "revoked"),
        }
    }
}

#[test]
fn rules_may_demand_a_way() {
    let port = mirror();
    let setup = Setup::allowing().component("builtin:rules").plugin(
        "settings = { rules = [{ actions = \"connect\", outcome = \"allow\", terms = { obligations = { source-address = \
         \"127.0.0.9\", dscp = \"ef\" } } }] }",
    );
    let gateway = setup.start();
    let target = format!("127.0.0.1:{port}");
    assert_eq!(gateway.through(&target).stdout, "127.0.0.9");
    let setup = Setup::allowing().component("builtin:rules").plugin(
        "settings = { rules = [{ actions = \"connect\", outcome = \"allow\", terms = { obligations = { proxy-protocl = \
         \"v2\" } } }] }",
    );
    let Err(error) = setup.try_start() else {
        panic!("it started with an obligation that nobody knows");
    };
    let error = error.to_string();
    assert!(error.contains("did you mean `proxy-protocol`?"), "{error}");
}

#[test]
fn both_addresses_of_a_client_of_another_family_are_unknown_to_version_1() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let address: SocketAddr = listener.local_addr().unwrap();
    assert_eq!(address.ip(), "::1".parse::<IpAddr>().unwrap());
    let heard = thread::spawn(move || {
        let mut heard = String::new();
        let _ = listener.accept().unwrap().0.read_to_string(&mut heard);
        heard
    });
    let gateway = obliging(&[("proxy-protocol", text("v1"))]).start();
    let local = gateway.local(&format!("[::1]:{}", address.port()));
    let mut stream = local.connect();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(heard.join().unwrap(), "PROXY UNKNOWN\r\nhello");
}
