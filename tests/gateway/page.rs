//! The status page of a running gateway, as a browser without JavaScript gets it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::guests::{Guest, When, allows, denies_with};
use crate::harness::{PATIENCE, Running, Setup, eventually, free_port};
use crate::terms::target;

const MONITORED: &str = "[admin]\nhttp = \"127.0.0.1:0\"\n";

/// A policy that allows all but two ports; one of its codes says too much.
fn picky() -> Guest {
    Guest::that(allows())
        .on(
            When::Port(9),
            denies_with("closed-port", "alice asked for 9", "not that one"),
        )
        .on(
            When::Port(10),
            denies_with("not-for-alice", "alice asked for 10", "not that one"),
        )
}

fn monitored(guest: &Guest) -> Running {
    Setup::asking(guest).tables(MONITORED).start()
}

/// The head and the body of an answer.
fn ask(address: SocketAddr, path: &str, header: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn look(gateway: &Running) -> String {
    let (head, body) = ask(gateway.monitored().unwrap(), "/", "");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body
}

#[test]
fn a_site_whose_name_resolves_to_this_machine_reads_nothing() {
    let gateway = monitored(&picky());
    let address = gateway.monitored().unwrap();
    for (path, status) in [
        ("/", 403),
        ("/metrics", 403),
        ("/data", 403),
        ("/healthz", 200),
        ("/readyz", 200),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: rebound.example:9464\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {text}");
    }
}

/// Looks until the page has all of these.
fn until(gateway: &Running, parts: &[&str]) -> String {
    eventually(format!("a page with {parts:?}"), || {
        let page = look(gateway);
        parts.iter().all(|part| page.contains(part)).then_some(page)
    })
}

/// The number in one of the boxes on top.
fn figure(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("id=\"figure-{name}\"")).unwrap();
    let (_, rest) = rest.split_once("class=\"value\">").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

/// A row of the table of outcomes: outcome, code, who decided, in five minutes, since the start.
fn row(cells: [&str; 5]) -> String {
    let [what, code, by, recent, total] = cells;
    let numbers = format!("<td class=\"number\">{recent}</td><td class=\"number\">{total}</td>");
    format!("<th scope=\"row\">{what}</th><td>{code}</td><td>{by}</td>{numbers}")
}

#[test]
fn the_page_shows_what_is_open_decided_and_relayed() {
    let gateway = monitored(&picky());
    // Its essential tasks begin one after the other.
    let page = until(&gateway, &["Ready for new clients"]);
    assert!(page.contains("No request to forward so far."));
    assert!(
        page.contains("<th scope=\"row\">test</th>"),
        "the policy in force: {page}"
    );

    let (port, far) = target(|mut stream: TcpStream| {
        stream.read_exact(&mut [0; 5000]).unwrap();
        stream
    });
    let local = gateway.local(&format!("127.0.0.1:{port}"));
    let mut near = local.connect();
    near.write_all(&[7; 5000]).unwrap();
    let _far = far.recv_timeout(PATIENCE).unwrap();
    let _remote = gateway.remote(&format!("{}:127.0.0.1:9", free_port()));
    gateway.through("127.0.0.1:9");
    gateway.through("127.0.0.1:10");
    gateway.through(&format!("127.0.0.1:{}", free_port()));
    let page = until(
        &gateway,
        &[
            &row(["allowed", "–", "policy", "3", "3"]),
            &row(["denied", "closed-port", "policy", "1", "1"]),
            &row(["denied", "other", "policy", "1", "1"]),
            &row(["allowed, not connected", "refused", "target", "1", "1"]),
        ],
    );
    assert_eq!(
        (figure(&page, "tunnels"), figure(&page, "listeners")),
        ("1".to_owned(), "1".to_owned())
    );
    // The samples follow within seconds.
    let page = eventually("bytes in the chart", || {
        let page = look(&gateway);
        let (_, told) = page.split_once("aria-label=\"Relayed bytes in the last").unwrap();
        let up = told.split("down:").next().unwrap();
        (!up.contains("at most 0") && !up.contains("at most –")).then_some(page)
    });
    assert_ne!(figure(&page, "median"), "–");
    for word in ["alice", "127.0.0.1", &format!("{port}")] {
        assert!(!page.contains(word), "{word} is on the page");
    }
}

#[test]
fn swaps_and_rejected_candidates_are_marked_in_all_charts_and_listed() {
    let gateway = monitored(&Guest::that(allows()));
    gateway.swap(&Guest::that(allows()).version("2.0.0"));
    let page = until(&gateway, &["test was swapped: now version 2.0.0"]);
    assert_eq!(
        page.matches("<g class=\"mark good\">").count(),
        4 * 2,
        "the start and a swap: {page}"
    );
    assert_eq!(page.matches("<g class=\"mark bad\">").count(), 0);
    gateway.swap_bytes(b"not a component");
    let page = until(&gateway, &["a new version of test was rejected"]);
    assert_eq!(page.matches("<g class=\"mark bad\">").count(), 4);
    let policies = page.split("id=\"policies\"").nth(1).unwrap();
    assert!(
        policies.contains("<td class=\"number\">1</td><td class=\"number\">1</td>"),
        "{policies}"
    );
    let (_, hour) = ask(gateway.monitored().unwrap(), "/?span=hour", "");
    assert_eq!(hour.matches("<g class=\"mark bad\">").count(), 4);
}

#[test]
fn every_part_has_a_strict_policy_and_is_not_stored() {
    let gateway = monitored(&Guest::that(allows()));
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/?span=no&span=such", "text/html; charset=utf-8"),
        ("/page/live", "text/html; charset=utf-8"),
        ("/page/live?span=hour", "text/html; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/script.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let (head, body) = ask(gateway.monitored().unwrap(), path, "");
        assert!(
            head.starts_with("HTTP/1.1 200 OK") && !body.is_empty(),
            "{path}: {head}"
        );
        for line in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; ",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(line), "{path} lacks {line}: {head}");
        }
        assert!(!head.contains("unsafe"), "{path}: {head}");
    }
}

#[test]
fn the_page_needs_the_token_and_says_how_a_browser_gets_by() {
    let setup = Setup::allowing().tables(&format!("{MONITORED}token-file = \"token\"\n"));
    fs::write(setup.path("token"), "0123456789abcdef").unwrap();
    fs::set_permissions(setup.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = setup.start();
    let address = gateway.monitored().unwrap();
    for path in [
        "/",
        "/page/live",
        "/page/style.css",
        "/page/script.js",
        "/page/icon.svg",
    ] {
        let (head, body) = ask(address, path, "");
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized"), "{path}: {head}");
        assert!(head.contains("www-authenticate: Bearer"), "{path}: {head}");
        assert!(body.contains("reverse proxy"), "{path}: {body}");
        let (head, _) = ask(address, path, "Authorization: Bearer 0123456789abcdef\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{path}: {head}");
    }
}
