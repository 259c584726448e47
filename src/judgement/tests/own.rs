//! The gateway never dials itself.

use super::*;
use crate::machine;

/// A judge whose gateway listens there.
async fn judge_of(listen: &[&str], text: &str) -> Judge {
    let own = OwnListeners::default();
    for address in listen {
        own.add(address.parse().unwrap());
    }
    let config = configured(text);
    judge_in(House::new(config.forwarding, config.floors, own), policies().await)
}

#[tokio::test]
async fn no_address_of_its_own_sockets_is_dialled() {
    let open = "[floors]\ndeny = []";
    let lifted = "[floors]\nown-listeners = false";
    let own = "deny floor own-listeners";
    #[rustfmt::skip]
    let table = [
        // listens on             the configuration  asked                     what comes of it
        ("127.0.0.1:2222",        "",      "127.0.0.1:2222",         own),
        ("127.0.0.1:2222",        "",      "localhost:2222",         own),
        ("127.0.0.1:2222",        "",      "self.test:2222",         own),
        ("127.0.0.1:2222",        "",      "::ffff:127.0.0.1:2222",  own),
        // One loopback address is as good as another.
        ("127.0.0.1:2222",        "",      "127.9.9.9:2222",         own),
        ("127.0.0.1:2222",        "",      "::1:2222",               own),
        ("[::1]:2222",            "",      "127.0.0.1:2222",         own),
        ("127.0.0.1:2222",        "",      "127.0.0.1:2223",         "allow 127.0.0.1:2223"),
        ("127.0.0.1:2222",        "",      "192.0.2.7:2222",         "allow 192.0.2.7:2222"),
        ("127.0.0.1:2222",        open,    "0.0.0.0:2222",           own),
        ("127.0.0.1:2222",        open,    ":::2222",                own),
        ("192.0.2.7:2222",        "",      "192.0.2.7:2222",         own),
        ("192.0.2.7:2222",        "",      "many.test:2222",         "allow 10.0.0.1:2222"),
        ("192.0.2.7:2222",        "",      "127.0.0.1:2222",         "allow 127.0.0.1:2222"),
        ("[::ffff:192.0.2.7]:2222", "",    "192.0.2.7:2222",         own),
        // On every address: what is this machine's, the system says.
        ("0.0.0.0:2222",          "",      "127.0.0.1:2222",         own),
        ("[::]:2222",             "",      "127.0.0.1:2222",         own),
        ("0.0.0.0:2222",          "",      "192.0.2.7:2222",         "allow 192.0.2.7:2222"),
        ("0.0.0.0:2222",          "",      "192.0.2.7:80",           "allow 192.0.2.7:80"),
        // A policy that leads there.
        ("127.0.0.1:2222",        "",      "ten.test:7003",          own),
        ("127.0.0.1:2222",        lifted,  "127.0.0.1:2222",         "allow 127.0.0.1:2222"),
    ];
    for (listen, text, endpoint, expected) in table {
        let judge = judge_of(&[listen], text).await;
        assert_eq!(
            judge.says("connect", endpoint).await,
            expected,
            "{listen} {text}: {endpoint}"
        );
    }
}

#[tokio::test]
async fn of_several_listeners_the_specific_one_is_found_beside_the_wildcard() {
    for listen in [["0.0.0.0:2222", "192.0.2.7:2222"], ["192.0.2.7:2222", "0.0.0.0:2222"]] {
        let judge = judge_of(&listen, "").await;
        let found = judge.says("connect", "192.0.2.7:2222").await;
        assert_eq!(found, "deny floor own-listeners", "{listen:?}");
    }
}

#[tokio::test]
async fn no_listener_takes_a_port_of_the_gateway_on_another_address() {
    let own = "deny floor own-listeners";
    let open = "[forwarding]\ngateway-ports = \"client-specified\"";
    #[rustfmt::skip]
    let table = [
        // listens on        asked                what comes of it
        ("127.0.0.1:2222",   "localhost:2222",    own),
        ("[::1]:2222",       "127.0.0.1:2222",    own),
        ("0.0.0.0:2222",     "::1:2222",          own),
        ("127.0.0.1:2222",   "0.0.0.0:2222",      own),
        ("127.0.0.1:2222",   "localhost:2223",    "allow 127.0.0.1:2223 [::1]:2223"),
        ("127.0.0.1:2222",   "localhost:0",       "allow 127.0.0.1:0 [::1]:0"),
        ("127.0.0.1:2222",   "192.0.2.7:2222",    "allow 192.0.2.7:2222"),
    ];
    for (listen, endpoint, expected) in table {
        let judge = judge_of(&[listen], open).await;
        assert_eq!(judge.says("listen", endpoint).await, expected, "{listen}: {endpoint}");
    }
}

#[tokio::test]
async fn no_name_of_its_own_socket_is_dialled() {
    let folder = tempfile::tempdir().unwrap();
    let [socket, link, other] = ["admin.sock", "link", "other.sock"].map(|name| folder.path().join(name));
    let bind = |path: &Path| std::os::unix::net::UnixListener::bind(path).unwrap();
    let _listeners = [bind(&socket), bind(&other)];
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let own = OwnListeners::default();
    own.add_socket(&socket);
    for (text, lifted) in [("", false), ("[floors]\nown-listeners = false", true)] {
        let config = configured(text);
        let judge = judge_in(
            House::new(config.forwarding, config.floors, own.clone()),
            policies().await,
        );
        let root = Path::new("/proc/self/root").join(socket.strip_prefix("/").unwrap());
        for path in [&socket, &link, &root] {
            let found = judge.says("connect", &format!("unix:{}", path.display())).await;
            assert_eq!(
                found.starts_with("deny floor own-listeners"),
                !lifted,
                "{}: {found}",
                path.display()
            );
        }
        let found = judge.says("connect", &format!("unix:{}", other.display())).await;
        assert!(found.starts_with("allow"), "{found}");
    }
}

#[test]
fn the_system_knows_which_addresses_are_this_machines() {
    for (address, owned) in [
        ("127.0.0.1", true),
        ("127.1.2.3", true),
        ("192.0.2.7", false),
        ("2001:db8::7", false),
    ] {
        assert_eq!(machine::owns(address.parse().unwrap()), owned, "{address}");
    }
}
