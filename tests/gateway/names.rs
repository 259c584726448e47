//! Names of targets, looked up by name servers of the administrator's choice.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Running, Server, Setup, eventually, ping};
use crate::name_server::{Certificate, NameServer, Says, addresses};

/// A configuration that names this server.
fn asking(server: &NameServer, more: &str) -> String {
    format!("[names]\nservers = [\"{}\"]\n{more}", server.address)
}

fn edit(gateway: &Running, from: &str, to: &str) {
    let file = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&file, text.replace(from, to)).unwrap();
}

#[test]
fn a_target_has_the_addresses_that_the_configured_server_knows() {
    let names = NameServer::start(&[
        ("db.corp.test", addresses("127.0.0.1")),
        ("alias.corp.test", Says::Alias("db.corp.test", 60)),
    ]);
    let target = Server::named("the target");
    let gateway = Setup::allowing()
        .tables(&asking(&names, "search = [\"corp.test\"]"))
        .start();
    for host in ["db.corp.test", "DB.corp.test.", "alias.corp.test", "db"] {
        let answer = gateway.through(&format!("{host}:{}", target.port));
        assert_eq!(answer.stdout, "the target", "{host}: {answer:?}");
    }
    let local = gateway.local(&format!("db.corp.test:{}", Server::echo().port));
    let mut tunnel = local.connect();
    assert!(ping(&mut tunnel));
    let opened = eventually("a line for each tunnel", || {
        let opened = gateway.events("tunnel-opened");
        (opened.len() == 5).then_some(opened)
    });
    for line in opened {
        assert!(line["dialled"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    let decision = gateway.decision(&format!("db:{}", target.port));
    assert_eq!(decision["resolved"], serde_json::json!(["127.0.0.1"]), "{decision}");
    names.asked();
    for host in ["nowhere.test", "db."] {
        let answer = gateway.through(&format!("{host}:{}", target.port));
        assert!(answer.errors.contains("no such name"), "{host}: {answer:?}");
    }
    assert!(names.asked().contains(&"nowhere.test A".to_owned()));
    // The address was judged, and that one is dialled: nothing is asked of any server for the connection.
    assert!(gateway.through(&format!("127.0.0.1:{}", target.port)).stdout == "the target");
    assert!(gateway.through(&format!("localhost:{}", target.port)).stdout == "the target");
    assert_eq!(names.asked(), [""; 0]);
}

#[test]
fn a_floor_holds_for_what_a_name_server_says() {
    let held = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let names = NameServer::start(&[
        ("denied.test", addresses("127.0.0.9")),
        ("metadata.test", addresses("169.254.169.254")),
        ("itself.test", addresses("127.0.0.1")),
        ("mixed.test", addresses("127.0.0.9 127.0.0.1")),
    ]);
    let floors = "[floors]\ndeny = [\"127.0.0.9\", \"169.254.0.0/16\"]\n";
    let gateway = Setup::allowing()
        .tables(&(floors.to_owned() + &asking(&names, "")))
        .start();
    let itself = gateway.address().port();
    for (host, port) in [("denied.test", port), ("metadata.test", 80), ("itself.test", itself)] {
        let target = format!("{host}:{port}");
        let answer = gateway.through(&target);
        assert!(
            answer.errors.contains("administratively prohibited"),
            "{target}: {answer:?}"
        );
        assert_eq!(gateway.decision(&target)["by"], "floor", "{target}");
    }
    held.set_nonblocking(true).unwrap();
    assert!(held.accept().is_err(), "nobody connected to a denied address");
    assert_eq!(gateway.events("tunnel-opened").len(), 0);
}

#[test]
fn a_reload_asks_other_servers_and_touches_nothing_that_is_open() {
    let [first, second] = [
        NameServer::start(&[("db.test", addresses("127.0.0.1"))]),
        NameServer::start(&[("web.test", addresses("127.0.0.1"))]),
    ];
    let (echo, target) = (Server::echo(), Server::named("the target"));
    let gateway = Setup::allowing().tables(&asking(&first, "")).start();
    let local = gateway.local(&format!("db.test:{}", echo.port));
    let mut tunnel = local.connect();
    assert!(ping(&mut tunnel));
    let web = format!("web.test:{}", target.port);
    assert!(gateway.through(&web).errors.contains("no such name"));

    edit(&gateway, &first.address.to_string(), &second.address.to_string());
    gateway.reload().unwrap();
    let line = gateway.event("config-reloaded");
    assert_eq!(line["applied"], serde_json::json!(["names.servers"]), "{line}");
    assert_eq!(gateway.through(&web).stdout, "the target", "the old answer is not kept");
    let db = format!("db.test:{}", echo.port);
    assert!(gateway.through(&db).errors.contains("no such name"));
    assert!(ping(&mut tunnel), "what is open stays open");
    assert_eq!(
        gateway.events("tunnel-closed").len(),
        1,
        "that of the target, which ended"
    );
    assert!(
        gateway
            .events("forward-decided")
            .iter()
            .all(|line| line["again"].is_null())
    );

    // The same servers: what they said is kept.
    second.says("web.test", Says::NoSuchName(60));
    edit(&gateway, "[names]", "[forwarding]\nremote = false\n[names]");
    gateway.reload().unwrap();
    assert_eq!(gateway.through(&web).stdout, "the target");
    // A fault leaves all as it is.
    let servers = second.address.to_string();
    edit(&gateway, &servers, "dns.example.com");
    let words = gateway.reload().unwrap_err();
    assert!(
        words.contains("names.servers[0]") && words.contains("must be an address"),
        "{words}"
    );
    assert_eq!(gateway.through(&web).stdout, "the target");
}

#[test]
fn silence_about_names_of_one_user_is_theirs_alone_and_ends_in_time() {
    let names = NameServer::start(&[("db.test", Says::Addresses(vec![Ipv4Addr::LOCALHOST.into()], 0))]);
    for number in 0..100 {
        names.says(&format!("n{number}.test"), Says::Silent);
    }
    let target = Server::named("the target");
    let setup = Setup::allowing();
    let key = fs::read_to_string(setup.path("id.pub")).unwrap();
    let bob = format!("[[user]]\nname = \"bob\"\nauthorized-keys = [{:?}]\n", key.trim());
    let limits = "[limits]\nlookup-timeout = \"3s\"\n";
    let silent = asking(&names, "timeout = \"30s\"");
    let gateway = setup.tables(&format!("{bob}{limits}{silent}")).start();
    let proxy = gateway.dynamic();
    let asked: Vec<_> = (0..100)
        .map(|number| proxy.ask5(&format!("n{number}.test"), target.port))
        .collect();
    // Until as many of them are asked for as one user may have asked at once.
    let mut seen = Vec::new();
    eventually("many questions", || {
        seen.extend(names.asked());
        (seen.len() >= 40).then_some(())
    });
    let to = format!("db.test:{}", target.port);
    let answer = gateway.ssh().to("bob@127.0.0.1").args(["-W", &to]).run(b"");
    assert_eq!(answer.stdout, "the target", "{answer:?}");
    let began = Instant::now();
    for stream in asked {
        assert!(proxy.granted5(stream).is_none());
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let answer = gateway.through(&format!("n0.test:{}", target.port));
    assert!(
        answer.errors.contains("the resolver did not answer in time"),
        "{answer:?}"
    );
    let line = gateway.decision(&format!("n0.test:{}", target.port));
    assert_ne!(line["verdict"], "deny", "no answer is no denial: {line}");
    assert_eq!(gateway.through(&to).stdout, "the target", "their places are free again");
}

#[test]
fn a_server_over_tls_is_known_by_its_certificate() {
    let certificate = Certificate::of("DNS:dns.test");
    let names = NameServer::with_tls(&certificate, &[("db.test", addresses("127.0.0.1"))]);
    let target = Server::named("the target");
    let to = format!("db.test:{}", target.port);
    for (name, known) in [("dns.test", true), ("other.test", false)] {
        let server = format!("[names]\nservers = [\"tls://{}#{name}\"]\nattempts = 1", names.address);
        let gateway = Setup::allowing()
            .tables(&server)
            .variable("SSL_CERT_FILE", certificate.path().to_str().unwrap())
            .start_program();
        let answer = gateway.through(&to);
        assert_eq!(answer.stdout == "the target", known, "{name}: {answer:?}");
        assert_eq!(answer.errors.contains("certificate"), !known, "{name}: {answer:?}");
        assert_eq!(names.asked().is_empty(), !known, "{name}");
    }
}

#[test]
fn without_authorities_there_is_no_server_over_tls() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let setup = Setup::allowing().tables(&format!("[names]\nservers = [\"tls://{nowhere}#dns.test\"]"));
    let file = setup.written();
    let check = |authorities: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
        command
            .args(["check", "--config"])
            .arg(&file)
            .env("SSL_CERT_FILE", authorities);
        command.env_remove("SSL_CERT_DIR").output().unwrap()
    };
    let certificate = Certificate::of("DNS:dns.test");
    let checked = check(certificate.path().to_str().unwrap());
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let checked = check("/dev/null");
    let words = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(2), "{words}");
    assert!(
        words.contains("names.servers") && words.contains("SSL_CERT_FILE"),
        "{words}"
    );
}
