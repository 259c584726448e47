//! Where a remote forward listens: `gateway-ports` and the floors of listeners.

use super::*;

#[tokio::test]
async fn gateway_ports_says_where_a_listener_is() {
    let (both, every) = ("allow 127.0.0.1:8080 [::1]:8080", "allow 0.0.0.0:8080 [::]:8080");
    #[rustfmt::skip]
    let table = [
        // asked         no                          yes    client-specified
        ("",             both,                       every, every),
        ("*",            both,                       every, every),
        ("localhost",    both,                       every, both),
        ("LOCALHOST",    both,                       every, both),
        ("127.0.0.1",    "allow 127.0.0.1:8080",     every, "allow 127.0.0.1:8080"),
        ("::1",          "allow [::1]:8080",         every, "allow [::1]:8080"),
        ("0.0.0.0",      both,                       every, "allow 0.0.0.0:8080"),
        ("::",           both,                       every, "allow [::]:8080"),
        ("10.0.0.1",     both,                       every, "allow 10.0.0.1:8080"),
        ("many.test",    both,                       every, "allow 10.0.0.1:8080 192.0.2.7:8080"),
        ("169.254.1.1",  both,                       every, "deny floor deny"),
        // One address that the floors refuse is enough.
        ("mixed.test",   both,                       every, "deny floor deny"),
        ("nowhere.test", both,                       every, "allow, unreachable"),
        ("a b",          both,                       every, "deny floor bad-endpoint"),
    ];
    for (number, ports) in ["no", "yes", "client-specified"].into_iter().enumerate() {
        let judge = judge(&format!("[forwarding]\ngateway-ports = \"{ports}\"")).await;
        for (host, no, yes, specified) in table {
            let expected = [no, yes, specified][number];
            let found = judge.says("listen", &format!("{host}:8080")).await;
            assert_eq!(found, expected, "gateway-ports = {ports}: {host:?}");
        }
    }
}

#[tokio::test]
async fn listeners_have_floors_after_any_rewrite() {
    #[rustfmt::skip]
    let table = [
        // the configuration                             asked               what comes of it
        ("",                                             "localhost:0",      "allow 127.0.0.1:0 [::1]:0"),
        ("",                                             "localhost:1",      "deny floor privileged-listen-ports"),
        ("",                                             "localhost:1023",   "deny floor privileged-listen-ports"),
        ("",                                             "localhost:1024",   "allow 127.0.0.1:1024 [::1]:1024"),
        ("[floors]\nprivileged-listen-ports = true",     "localhost:80",     "allow 127.0.0.1:80 [::1]:80"),
        ("",                                             "localhost:7008",   "deny floor privileged-listen-ports"),
        ("[floors]\nprivileged-listen-ports = true",     "localhost:7008",   "rewrite localhost:80 127.0.0.1:80 [::1]:80"),
        // Where the policy leads to must be permitted by the switch, too.
        ("",                                             "localhost:7007",   "deny switch gateway-ports"),
        ("[forwarding]\ngateway-ports = \"yes\"",        "localhost:7007",   "rewrite 10.0.0.1:7017 10.0.0.1:7017"),
    ];
    for (text, endpoint, expected) in table {
        let found = judge(text).await.says("listen", endpoint).await;
        assert_eq!(found, expected, "{text}: {endpoint}");
    }
}
