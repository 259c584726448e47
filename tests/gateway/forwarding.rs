//! Every way to forward, allowed, refused and rewritten, with the client that people have.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::Value;

use crate::guests::{Guest, When, allows, denies, rewrites};
use crate::harness::{Running, Server, Setup, eventually, free_port, hear, ping};

const DENIED: u16 = 4001;
const MOVED: u16 = 4002;
const SENTENCE: &str = "ask the database team";

/// Knows the target by its address, and by a port under which it is found anywhere.
fn policy(target: &Server) -> Guest {
    Guest::that(allows())
        .on(When::Port(DENIED), denies(SENTENCE))
        .on(When::Port(MOVED), rewrites(&target.address()))
}

fn start() -> (Running, Server) {
    let target = Server::named("the target");
    (Setup::asking(&policy(&target)).start(), target)
}

#[test]
fn a_local_forward_goes_where_the_policy_says() {
    let (gateway, target) = start();
    #[rustfmt::skip]
    let table = [
        // asked for               heard          said                                       verdict    effective
        (target.address(),         "the target",  "",                                        "allow",   Value::Null),
        (format!("db:{MOVED}"),    "the target",  "",                                        "rewrite", target.address().into()),
        (format!("db:{DENIED}"),   "",            "administratively prohibited: ask the database team [ref f-", "deny", Value::Null),
    ];
    for (asked, heard, said, verdict, effective) in table {
        let local = gateway.local(&asked);
        assert_eq!(hear(local.connect()), heard, "{asked}");
        local.client.says(said);
        let decision = gateway.decision(&asked);
        assert_eq!(decision["verdict"], verdict, "{asked}");
        assert_eq!(decision["effective"], effective, "{asked}");
    }
    gateway.stop();
}

#[test]
fn a_local_forward_to_a_socket_goes_where_the_policy_says() {
    let tcp = Server::named("tcp");
    #[rustfmt::skip]
    let table = [
        // the policy                    heard      said
        (allows(),                       "socket",  ""),
        (rewrites(&tcp.address()),       "tcp",     ""),
        (denies(SENTENCE),               "",        "administratively prohibited: ask the database team [ref f-"),
    ];
    for (does, heard, said) in table {
        let gateway = Setup::asking(&Guest::that(allows()).on(When::Socket, does)).start();
        let path = gateway.path("app.sock");
        Server::at(&path, "socket");
        let local = gateway.local(path.to_str().unwrap());
        assert_eq!(hear(local.connect()), heard);
        local.client.says(said);
        gateway.decision(&format!("unix:{}", path.display()));
    }
}

#[test]
fn a_connection_can_be_rewritten_to_a_socket() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("app.sock");
    Server::at(&path, "socket");
    let moves = rewrites(&format!("unix:{}", path.display()));
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Port(MOVED), moves)).start();
    let answer = gateway.through(&format!("db:{MOVED}"));
    assert_eq!(answer.stdout, "socket");
    assert_eq!(
        gateway.event("tunnel-opened")["dialled"],
        format!("unix:{}", path.display())
    );
}

#[test]
fn a_stdio_forward_goes_where_the_policy_says() {
    let (gateway, target) = start();
    #[rustfmt::skip]
    let table = [
        // asked for               heard               said
        (target.address(),         "the target",       ""),
        (format!("db:{MOVED}"),    "the target",       ""),
        (format!("db:{DENIED}"),   "",                 "administratively prohibited: ask the database team [ref f-"),
    ];
    for (asked, heard, said) in table {
        let answer = gateway.through(&asked);
        assert_eq!(answer.stdout, heard, "{asked}");
        assert!(answer.errors.contains(said), "{asked}: {}", answer.errors);
        assert_eq!(answer.code == Some(0), said.is_empty(), "{asked}: {answer:?}");
    }
}

#[test]
fn a_dynamic_forward_goes_where_the_policy_says() {
    let (gateway, target) = start();
    let proxy = gateway.dynamic();
    let home = Ipv4Addr::LOCALHOST;
    let heard = |stream: Option<TcpStream>| stream.map(hear);
    let found = Some("the target".to_owned());
    assert_eq!(heard(proxy.socks4(home, target.port)), found, "version 4");
    assert_eq!(heard(proxy.socks4(home, MOVED)), found, "version 4, rewritten");
    assert_eq!(heard(proxy.socks4(home, DENIED)), None, "version 4, refused");
    assert_eq!(heard(proxy.socks4a("localhost", target.port)), found, "version 4a");
    assert_eq!(heard(proxy.socks4a("db", MOVED)), found, "version 4a, rewritten");
    assert_eq!(heard(proxy.socks4a("db", DENIED)), None, "version 4a, refused");
    assert_eq!(heard(proxy.socks5("localhost", target.port)), found, "version 5");
    assert_eq!(heard(proxy.socks5("db", MOVED)), found, "version 5, rewritten");
    assert_eq!(heard(proxy.socks5("db", DENIED)), None, "version 5, refused");
    proxy
        .client
        .says("administratively prohibited: ask the database team [ref f-");
    eventually("nine decisions in the log", || {
        (gateway.events("forward-decided").len() == 9).then_some(())
    });
}

#[test]
fn a_jump_goes_where_the_policy_says() {
    let inner = Setup::allowing().start();
    let target = Server::named("behind both");
    let moves = rewrites(&inner.address().to_string());
    let guest = Guest::that(allows())
        .on(When::Port(DENIED), denies(SENTENCE))
        .on(When::Port(MOVED), moves);
    let outer = Setup::asking(&guest).start();
    #[rustfmt::skip]
    let table = [
        // the host and port that ssh is told             heard           said
        ("127.0.0.1", inner.address().port(),             "behind both",  ""),
        ("inner.invalid", MOVED,                          "behind both",  ""),
        ("inner.invalid", DENIED,                         "",             "administratively prohibited: ask the database team [ref f-"),
    ];
    for (host, port, heard, said) in table {
        let answer = outer.jump(host, port, &target.address());
        assert_eq!(answer.stdout, heard, "{host}:{port} {}", answer.errors);
        assert!(answer.errors.contains(said), "{}", answer.errors);
    }
}

/// Where a listener was bound, as IPv4.
fn bound(line: &Value) -> (Ipv4Addr, u16) {
    let places = line["bound"].as_array().unwrap();
    let place = places
        .iter()
        .find_map(|place| place.as_str()?.strip_prefix("127.0.0.1:"));
    (Ipv4Addr::LOCALHOST, place.expect("bound to 127.0.0.1").parse().unwrap())
}

#[test]
fn a_remote_forward_listens_on_the_port_it_asked_for() {
    let (gateway, target) = start();
    let port = free_port();
    let _client = gateway.remote(&format!("{port}:{}", target.address()));
    assert_eq!(bound(&gateway.event("listener-opened")).1, port);
    assert_eq!(hear(TcpStream::connect(("127.0.0.1", port)).unwrap()), "the target");
    let accepted = gateway.audited("the accept", |line| {
        line["action"] == "accept" && line["event"] == "forward-decided"
    });
    assert_eq!(accepted["requested"], format!("localhost:{port}"));
    assert!(
        accepted["originator"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{accepted}"
    );
    gateway.stop();
}

#[test]
fn a_remote_forward_to_port_0_is_told_its_port() {
    let (gateway, target) = start();
    let client = gateway.remote(&format!("0:{}", target.address()));
    let place = bound(&gateway.event("listener-opened"));
    client.says(&format!("Allocated port {} for remote forward", place.1));
    assert_eq!(hear(TcpStream::connect(place).unwrap()), "the target");
}

#[test]
fn a_rewritten_remote_forward_is_still_the_clients_own() {
    let target = Server::named("the target");
    let elsewhere = free_port();
    let guest = Guest::that(allows()).on(When::Listen, rewrites(&format!("127.0.0.1:{elsewhere}")));
    let gateway = Setup::asking(&guest).start();
    for asked in [free_port(), 0] {
        let client = gateway.remote(&format!("{asked}:{}", target.address()));
        let stream = TcpStream::connect(("127.0.0.1", elsewhere)).unwrap();
        assert_eq!(hear(stream), "the target", "asked for {asked}");
        drop(client);
        eventually("the end of the listener", || (gateway.open() == 0).then_some(()));
    }
    assert_eq!(
        gateway.event("listener-opened")["effective"],
        format!("127.0.0.1:{elsewhere}")
    );
}

#[test]
fn a_refused_remote_forward_says_why_to_ssh_v() {
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Listen, denies(SENTENCE))).start();
    let path = gateway.path("remote.sock");
    for (asked, warning) in [
        (
            format!("{}:localhost:1", free_port()),
            "remote port forwarding failed for listen port",
        ),
        (
            "0:localhost:1".to_owned(),
            "remote port forwarding failed for listen port 0",
        ),
        (
            format!("{}:localhost:1", path.display()),
            "remote port forwarding failed for listen path",
        ),
    ] {
        let client = gateway.ssh().args(["-v", "-N", "-R", &asked]).start();
        client.says(warning);
        client.says("Remote: ask the database team [ref f-");
    }
    assert!(!path.exists());
    gateway.stop();
}

#[test]
fn a_refused_remote_forward_ends_an_ssh_that_insists() {
    let gateway = Setup::asking(&Guest::that(denies(SENTENCE))).start();
    let insisting = gateway
        .ssh()
        .option("ExitOnForwardFailure=yes")
        .args(["-N", "-R", "0:localhost:1"]);
    assert_eq!(insisting.run(b"").code, Some(255));
}

#[test]
fn a_refused_visitor_does_not_reach_the_client() {
    let target = Server::named("the target");
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Accept, denies(SENTENCE))).start();
    let _client = gateway.remote(&format!("0:{}", target.address()));
    let place = bound(&gateway.event("listener-opened"));
    assert_eq!(hear(TcpStream::connect(place).unwrap()), "");
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(refused["action"], "accept");
}

#[test]
fn a_remote_forward_from_a_socket_goes_where_the_policy_says() {
    let target = Server::named("the target");
    let folder = tempfile::TempDir::new().unwrap();
    let elsewhere = folder.path().join("elsewhere.sock");
    for moved in [false, true] {
        let does = if moved {
            rewrites(&format!("unix:{}", elsewhere.display()))
        } else {
            allows()
        };
        let gateway = Setup::asking(&Guest::that(allows()).on(When::Listen, does)).start();
        let asked = gateway.path("remote.sock");
        let mut client = gateway.remote(&format!("{}:{}", asked.display(), target.address()));
        let path = if moved { &elsewhere } else { &asked };
        assert_eq!(hear(UnixStream::connect(path).unwrap()), "the target", "moved: {moved}");
        assert_eq!(asked.exists(), !moved);
        client.kill();
        eventually("the end of the socket file", || (!path.exists()).then_some(()));
    }
}

#[test]
fn a_socket_file_that_exists_is_left_alone() {
    let gateway = Setup::allowing().start();
    let path = gateway.path("remote.sock");
    std::fs::write(&path, "somebody's").unwrap();
    let client = gateway
        .ssh()
        .args(["-v", "-N", "-R", &format!("{}:localhost:1", path.display())])
        .start();
    client.says("remote port forwarding failed for listen path");
    client.says("Remote: Address already in use");
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
}

#[test]
fn a_cancelled_remote_forward_ends_and_its_tunnels_live_on() {
    let (gateway, target) = start();
    let control = gateway.path("control");
    let control = control.to_str().unwrap();
    let _master = gateway.ssh().args(["-M", "-S", control, "-N"]).start();
    gateway.event("auth-succeeded");
    eventually("the control socket", || {
        std::path::Path::new(control).exists().then_some(())
    });
    for asked in [free_port(), 0] {
        let before = gateway.events("listener-opened").len();
        let forward = |port: u16| format!("{port}:{}", target.address());
        let made = gateway
            .ssh()
            .args(["-S", control, "-O", "forward", "-R", &forward(asked)])
            .run(b"");
        assert_eq!(made.code, Some(0), "{made:?}");
        let opened = eventually("the listener in the log", || {
            gateway.events("listener-opened").into_iter().nth(before)
        });
        let place = bound(&opened);
        let mut tunnel = TcpStream::connect(place).unwrap();
        let mut name = [0; 10];
        std::io::Read::read_exact(&mut tunnel, &mut name).unwrap();
        let port = if asked == 0 { 0 } else { place.1 };
        let cancelled = gateway
            .ssh()
            .args(["-S", control, "-O", "cancel", "-R", &forward(port)])
            .run(b"");
        assert_eq!(cancelled.code, Some(0), "asked for {asked}: {cancelled:?}");
        eventually("the end of the listener", || {
            gateway.events("listener-closed").into_iter().nth(before)
        });
        assert!(TcpStream::connect(place).is_err(), "asked for {asked}");
        assert!(ping(&mut tunnel), "asked for {asked}");
    }
    assert_eq!(gateway.event("listener-closed")["cause"], "closed");
    gateway.stop();
}

#[test]
fn a_cancelled_socket_listener_takes_its_file_along() {
    let gateway = Setup::allowing().start();
    let (control, path) = (gateway.path("control"), gateway.path("remote.sock"));
    let control = control.to_str().unwrap();
    let forward = format!("{}:localhost:1", path.display());
    let _master = gateway.ssh().args(["-M", "-S", control, "-N", "-R", &forward]).start();
    gateway.event("listener-opened");
    eventually("the control socket", || {
        std::path::Path::new(control).exists().then_some(())
    });
    assert!(path.exists());
    gateway
        .ssh()
        .args(["-S", control, "-O", "cancel", "-R", &forward])
        .run(b"");
    assert_eq!(gateway.event("listener-closed")["cause"], "closed");
    assert!(!path.exists());
}

#[test]
fn a_switch_stands_above_every_policy() {
    #[rustfmt::skip]
    let table = [
        // switch            what is asked for                          who says so
        ("local",            "-W localhost:1",                          "local forwarding is switched off on this gateway"),
        ("local-sockets",    "-N -L local:/run/app.sock",               "local socket forwarding is switched off on this gateway"),
        ("remote",           "-N -R 0:localhost:1",                     "remote forwarding is switched off on this gateway"),
        ("remote-sockets",   "-N -R /run/app.sock:localhost:1",         "remote socket forwarding is switched off on this gateway"),
    ];
    for (switch, asked, sentence) in table {
        let gateway = Setup::allowing()
            .tables(&format!("[forwarding]\n{switch} = false"))
            .start();
        let local = gateway.path("local");
        let asked = asked.replace("local:/", &format!("{}:/", local.display()));
        let client = gateway.ssh().args(["-v"]).args(asked.split(' ')).start();
        if switch == "local-sockets" {
            hear(eventually("a local forward", || UnixStream::connect(&local).ok()));
        }
        client.says(sentence);
        assert_eq!(gateway.event("forward-decided")["by"], "switch", "{switch}");
    }
}

#[test]
fn gateway_ports_decides_where_a_remote_forward_listens() {
    #[rustfmt::skip]
    let table = [
        // gateway-ports       asked for        listens on
        ("no",                 "",              &["127.0.0.1", "[::1]"] as &[&str]),
        ("no",                 "0.0.0.0:",      &["127.0.0.1", "[::1]"]),
        ("no",                 "127.0.0.1:",    &["127.0.0.1"]),
        ("no",                 "*:",            &["127.0.0.1", "[::1]"]),
        ("yes",                "127.0.0.1:",    &["0.0.0.0", "[::]"]),
        ("yes",                "",              &["0.0.0.0", "[::]"]),
        ("client-specified",   "",              &["127.0.0.1", "[::1]"]),
        ("client-specified",   "*:",            &["0.0.0.0", "[::]"]),
        ("client-specified",   "0.0.0.0:",      &["0.0.0.0"]),
        ("client-specified",   "127.0.0.1:",    &["127.0.0.1"]),
    ];
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for (setting, asked, expected) in table {
        let tables = format!("[forwarding]\ngateway-ports = \"{setting}\"");
        let gateway = Setup::allowing().tables(&tables).start();
        let _client = gateway.remote(&format!("{asked}0:localhost:1"));
        let opened = gateway.event("listener-opened");
        let places = opened["bound"].as_array().unwrap().iter();
        let hosts: Vec<_> = places
            .map(|place| place.as_str().unwrap().rsplit_once(':').unwrap().0)
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .copied()
            .filter(|host| has_v6 || !host.starts_with('['))
            .collect();
        assert_eq!(hosts, expected, "{setting} {asked}");
    }
}

#[test]
fn a_floor_stands_above_every_policy() {
    let target = Server::named("the target");
    let guest = Guest::that(allows()).on(When::Port(MOVED), rewrites("169.254.169.254:80"));
    let gateway = Setup::asking(&guest).start();
    let itself = gateway.address().port();
    #[rustfmt::skip]
    let table = [
        // asked for                                 code
        ("169.254.169.254".to_owned(), 80,           "deny"),
        ("2852039166".to_owned(), 80,                "deny"),
        ("::ffff:169.254.169.254".to_owned(), 80,    "deny"),
        ("db".to_owned(), MOVED,                     "deny"),
        ("0.0.0.0".to_owned(), target.port,          "deny"),
        ("127.0.0.1".to_owned(), itself,             "own-listeners"),
        ("localhost".to_owned(), itself,             "own-listeners"),
    ];
    let proxy = gateway.dynamic();
    for (row, (host, port, code)) in table.into_iter().enumerate() {
        assert!(proxy.socks5(&host, port).is_none(), "{host}:{port}");
        let decision = eventually("a decision", || gateway.events("forward-decided").into_iter().nth(row));
        assert_eq!(
            (&decision["by"], &decision["code"]),
            (&"floor".into(), &code.into()),
            "{host}:{port}"
        );
    }
    let refused = gateway.ssh().args(["-v", "-N", "-R", "80:localhost:1"]).start();
    refused.says("Remote: port 80 is privileged and may not be listened on");
}

#[test]
fn a_listener_that_is_allowed_and_cannot_be_bound_is_on_record() {
    let gateway = Setup::allowing().start();
    let taken = Server::echo();
    let refused = gateway
        .ssh()
        .option("ExitOnForwardFailure=yes")
        .args(["-N", "-R", &format!("127.0.0.1:{}:localhost:1", taken.port)])
        .run(b"");
    assert!(
        refused.errors.contains("remote port forwarding failed"),
        "{}",
        refused.errors
    );
    let failed = gateway.event("connect-failed");
    assert_eq!(
        (&failed["action"], &failed["step"], &failed["forward"]),
        (
            &"listen".into(),
            &"bind".into(),
            &gateway.event("forward-decided")["forward"]
        )
    );
    assert!(failed["reason"].as_str().unwrap().contains("in use"), "{failed}");
}

#[test]
fn a_session_does_nothing_but_forward() {
    let gateway = Setup::allowing().start();
    let answer = gateway.ssh().start_with(&["uname"]).finish(b"");
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.errors.contains("portreeve only forwards ports"),
        "{}",
        answer.errors
    );
    let answer = gateway.ssh().args(["-s"]).start_with(&["sftp"]).finish(b"");
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.errors.contains("portreeve only forwards ports"),
        "{}",
        answer.errors
    );
}

#[test]
fn a_plain_ssh_shows_who_one_is_and_what_is_decided() {
    let (gateway, _target) = start();
    let local = gateway.path("local");
    let mut client = gateway
        .ssh()
        .args(["-L", &format!("{}:db:{DENIED}", local.display())])
        .start();
    hear(eventually("a local forward", || UnixStream::connect(&local).ok()));
    gateway.decision(&format!("db:{DENIED}"));
    let screen = client.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(screen));
    let mut until = |words: &str| {
        lines
            .find(|line| line.as_ref().unwrap().contains(words))
            .expect("a line")
            .unwrap()
    };
    assert!(until("You are").starts_with("You are alice (dba), by publickey SHA256:"));
    hear(UnixStream::connect(&local).unwrap());
    assert!(until("refused").starts_with("refused: connect db:4001: ask the database team [ref f-"));
}

/// `ssh -W`, and `-J` with it, leaves the last word to the server.
#[test]
fn a_client_that_waits_for_the_server_to_close_is_not_kept_waiting() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    let quickest = |target: &str, code| {
        let times = (0..5).map(|_| {
            let began = Instant::now();
            assert_eq!(gateway.through(target).code, Some(code));
            began.elapsed()
        });
        times.min().unwrap()
    };
    // A client that is refused leaves by itself.
    let (served, refused) = (quickest(&target.address(), 0), quickest("127.0.0.1:1", 255));
    assert!(served < 8 * refused, "{served:?} and {refused:?}");
}

#[test]
fn a_status_channel_shows_what_all_sessions_of_its_user_have_and_ask() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let open = gateway.local(&target.address());
    let mut near = open.connect();
    assert!(ping(&mut near));
    let mut status = gateway.ssh().start();
    let mut lines = BufReader::new(status.stdout.take().unwrap()).lines();
    let mut next = |words: &str| {
        lines
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.contains(words))
            .expect(words)
    };
    assert!(next("open: connect").contains("(another session, from 127.0.0.1:"));
    next("Decisions follow");
    let other = Server::named("x");
    assert_eq!(gateway.through(&other.address()).stdout, "x");
    let line = next("allowed: connect");
    assert!(
        line.contains(&other.address()) && line.contains("(another session, from 127.0.0.1:"),
        "{line}"
    );
}
