//! Every spelling of a host and a path, and what it means.

use super::*;

#[test]
fn every_spelling_of_a_host_becomes_one() {
    let table = [
        ("DB.Example.COM.", "db.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("_service.example", "_service.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("１２７.１", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:a00:1", "10.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
    ];
    for (sent, canonical) in table {
        assert_eq!(Host::parse(sent).unwrap().to_string(), canonical, "{sent}");
    }
}

#[test]
fn a_dot_at_the_end_is_asked_for_and_not_compared() {
    #[rustfmt::skip]
    let table = [
        // sent                compared            asked
        ("db.example.com.",    "db.example.com",   "db.example.com."),
        ("DB.Example.com.",    "db.example.com",   "db.example.com."),
        ("db.example.com。",   "db.example.com",   "db.example.com."),
        ("bücher.example.",    "xn--bcher-kva.example", "xn--bcher-kva.example."),
        ("db.example.com",     "db.example.com",   "db.example.com"),
        ("db.",                "db",               "db."),
        ("db",                 "db",               "db"),
    ];
    for (sent, compared, asked) in table {
        let Ok(Host::Name(name)) = Host::parse(sent) else {
            panic!("{sent}")
        };
        assert_eq!((name.as_str(), name.asked()), (compared, asked), "{sent}");
        assert_eq!(name.to_string(), compared);
        assert_eq!(Host::parse(compared), Ok(Host::Name(name)), "{sent}");
    }
    assert!(Host::parse("db..").is_err());
}

#[test]
fn what_was_asked_has_one_pair_of_brackets_around_an_address() {
    for (host, shown) in [
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("db", "db:80"),
        ("[db", "[db:80"),
    ] {
        let requested = Requested::Tcp {
            host: host.to_owned(),
            port: 80,
        };
        assert_eq!(requested.to_string(), shown);
    }
}

#[test]
fn what_is_no_host_is_refused() {
    for sent in [
        "",
        ".",
        "a..b",
        "a b",
        "a\0b",
        "a/b",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "08.1.1.1",
        "4294967296",
        "0xfffffffff",
        "foo.1",
        "fe80::1%eth0",
        "[::1",
        "::1]",
        ":::",
        "::ffff:1.2.3.256",
        "eth0%1",
        "*",
        "a*b",
        "-+-.1",
        "1.+2",
        "a@b",
        "\u{202e}db",
    ] {
        assert!(Host::parse(sent).is_err(), "{sent:?} became {:?}", Host::parse(sent));
    }
    assert!(Host::parse(&"a".repeat(64)).is_err());
    assert!(Host::parse(&["a"; 127].join(".")).is_ok());
    assert!(Host::parse(&["a"; 128].join(".")).is_err());
}

#[test]
fn a_port_is_parsed_and_never_cast() {
    assert_eq!(Endpoint::to_connect("db", 65536), Err(EndpointError::Port(65536)));
    assert_eq!(Endpoint::to_connect("db", 65536 + 22), Err(EndpointError::Port(65558)));
    assert_eq!(Endpoint::to_connect("db", 0), Err(EndpointError::PortZero));
    assert!(Endpoint::to_connect("db", 65535).is_ok());
    for text in ["db", "db:", "db:+22", "db:2 2", "::1:22", "[::1]22", "db:99999"] {
        assert!(text.parse::<Endpoint>().is_err(), "{text}");
    }
}

#[test]
fn an_endpoint_reads_what_it_prints() {
    for text in [
        "db:22",
        "10.0.0.1:5432",
        "[::1]:80",
        "unix:/run/app.sock",
        "unix:80",
        "*:0",
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn a_socket_path_that_is_not_plain_is_refused() {
    for path in [
        "",
        "run/x",
        "/",
        "/run//x",
        "/run/../etc/x",
        "/run/./x",
        "/run/x/",
        "/a\nb",
        "/a\0b",
    ] {
        assert!(SocketPath::parse(path).is_err(), "{path:?}");
    }
    assert!(SocketPath::parse(&format!("/{}", "a".repeat(106))).is_ok());
    assert!(SocketPath::parse(&format!("/{}", "a".repeat(107))).is_err());
}
