//! Unix sockets by each of their paths: what is judged is what is connected to.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::abi::V;
use crate::guests::{Does, Guest, When, allows, allows_with};
use crate::harness::{Server, Setup, eventually, hear};

/// A gateway with the built-in rules: `denied.sock` is closed to all, and every other path is open. A listener may be put in the
/// place of a socket that was left behind.
fn closing_one() -> Setup {
    let setup = Setup::allowing().component("builtin:rules");
    let denied = fs::canonicalize(setup.path("")).unwrap().join("denied.sock");
    let rules = format!(
        "{{ name = \"closed\", sockets = \"{}\", outcome = \"deny\", tell-user = \"closed to all\" }}, \
         {{ name = \"open\", outcome = \"allow\" }}",
        denied.display()
    );
    setup.plugin(&format!("settings = {{ rules = [{rules}] }}"))
}

#[test]
fn no_path_leads_to_a_socket_that_is_denied() {
    let gateway = closing_one().start();
    let denied = gateway.path("denied.sock");
    let open = gateway.path("open.sock");
    Server::at(&denied, "denied");
    Server::at(&open, "open");
    symlink(&denied, gateway.path("link")).unwrap();
    symlink(gateway.path(""), gateway.path("folder")).unwrap();
    symlink(&open, gateway.path("fine")).unwrap();
    let shown = |name: &str| gateway.path(name).display().to_string();
    let rooted = format!("/proc/self/root{}", denied.display());
    #[rustfmt::skip]
    let table = [
        // the path                    heard   said
        (shown("denied.sock"),         "",     "closed to all"),
        (shown("link"),                "",     "closed to all"),
        (shown("folder/link"),         "",     "closed to all"),
        (rooted,                       "",     "closed to all"),
        (shown("fine"),                "open", ""),
    ];
    for (path, heard, said) in table {
        if path.len() > 107 {
            continue;
        }
        let local = gateway.local(&path);
        assert_eq!(hear(local.connect()), heard, "{path}");
        local.client.says(said);
        let decided = gateway.decision(&format!("unix:{path}"));
        let target = decided["target"].as_str().unwrap();
        assert!(
            target.ends_with(if heard.is_empty() { "/denied.sock" } else { "/open.sock" }),
            "{decided}"
        );
    }
    fs::hard_link(&denied, gateway.path("hard.sock")).unwrap();
    let local = gateway.local(&shown("hard.sock"));
    assert_eq!(hear(local.connect()), "");
    local.client.says("has 2 names (hard links)");
}

#[test]
fn a_listener_takes_the_place_only_of_a_socket_that_was_left_behind() {
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Listen, replaces())).start();
    let target = Server::named("the target");
    let [served, left] = ["served.sock", "left.sock"].map(|name| gateway.path(name));
    let _serving = UnixListener::bind(&served).unwrap();
    drop(UnixListener::bind(&left).unwrap());
    let refused = gateway
        .ssh()
        .args(["-v", "-N", "-R", &format!("{}:{}", served.display(), target.address())])
        .start();
    refused.says("Address already in use");
    assert!(
        UnixStream::connect(&served).is_ok(),
        "it is still served by who served it"
    );
    let _client = gateway.remote(&format!("{}:{}", left.display(), target.address()));
    assert_eq!(hear(UnixStream::connect(&left).unwrap()), "the target");
}

#[test]
fn a_listener_is_judged_by_the_folder_that_it_is_made_in() {
    let gateway = closing_one().start();
    let target = Server::named("the target");
    symlink(gateway.path(""), gateway.path("folder")).unwrap();
    let refused = gateway
        .ssh()
        .args(["-v", "-N", "-R"])
        .args([format!("{}:{}", gateway.path("folder/denied.sock").display(), target.address()).as_str()])
        .start();
    refused.says("closed to all");
    assert!(!gateway.path("denied.sock").exists());
    let mut client = gateway.remote(&format!(
        "{}:{}",
        gateway.path("folder/new.sock").display(),
        target.address()
    ));
    let path = gateway.path("new.sock");
    assert_eq!(hear(UnixStream::connect(&path).unwrap()), "the target");
    client.kill();
    eventually("the end of the socket file", || (!path.exists()).then_some(()));
}

/// Allows, and lets a listener take the place of a socket.
fn replaces() -> Does {
    let duty = V::Tuple(vec![V::text("replace-socket"), V::case("flag", V::Flag(true))]);
    allows_with(vec![("obligations", V::List(vec![duty]))])
}
