//! The limits of the key or certificate, on what the client sent.

use super::*;

#[tokio::test]
async fn a_key_permits_what_its_options_list() {
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        // options                         action     asked               what comes of it
        ("restrict",                       "connect", "ten.test:80",      "deny key no-port-forwarding"),
        ("restrict",                       "connect", "unix:/nowhere",    "deny key no-port-forwarding"),
        ("restrict",                       "listen",  "localhost:8080",   "deny key no-port-forwarding"),
        ("no-port-forwarding",             "listen",  "unix:/nowhere",    "deny key no-port-forwarding"),
        ("restrict,port-forwarding",       "connect", "ten.test:80",      "allow 10.0.0.1:80"),
        ("permitopen=\"ten.test:80\"",     "connect", "ten.test:80",      "allow 10.0.0.1:80"),
        ("permitopen=\"ten.test:80\"",     "connect", "ten.test:81",      "deny key permitopen"),
        // As in OpenSSH, byte for byte: the same place by another spelling is another place.
        ("permitopen=\"ten.test:80\"",     "connect", "TEN.test:80",      "deny key permitopen"),
        ("permitopen=\"ten.test:80\"",     "connect", "ten.test.:80",     "deny key permitopen"),
        ("permitopen=\"ten.test:80\"",     "connect", "10.0.0.1:80",      "deny key permitopen"),
        ("permitopen=\"*:80\"",            "connect", "ten.test:80",      "allow 10.0.0.1:80"),
        ("permitopen=\"ten.test:80\"",     "connect", "unix:/nowhere",    "deny key permitopen"),
        ("permitopen=\"[/nowhere]:*\"",    "connect", "unix:/nowhere",    "allow"),
        // One kind of list says nothing of the other.
        ("permitopen=\"ten.test:80\"",     "listen",  "localhost:8080",   "allow 127.0.0.1:8080 [::1]:8080"),
        ("permitlisten=\"8080\"",          "connect", "ten.test:80",      "allow 10.0.0.1:80"),
        ("permitlisten=\"8080\"",          "listen",  "localhost:8080",   "allow 127.0.0.1:8080 [::1]:8080"),
        ("permitlisten=\"8080\"",          "listen",  "localhost:8081",   "deny key permitlisten"),
        ("permitlisten=\"localhost:8080\"","listen",  "0.0.0.0:8080",     "deny key permitlisten"),
        ("permitlisten=\"8080\"",          "listen",  "unix:/nowhere",    "allow"),
        // A listener may be older than the limits of its key.
        ("permitlisten=\"8080\"",          "accept",  "localhost:8080",   "allow"),
        ("permitlisten=\"8080\"",          "accept",  "localhost:9",      "deny key permitlisten"),
        ("restrict",                       "accept",  "localhost:8080",   "deny key no-port-forwarding"),
        ("restrict",                       "accept",  "unix:/nowhere",    "deny key no-port-forwarding"),
        // What a key permits, the policy may still refuse.
        ("permitopen=\"ten.test:23\"",     "connect", "ten.test:23",      "deny policy closed"),
    ];
    for (options, action, endpoint, expected) in table {
        let explanation = judge.explain(supposed(action, endpoint, limits(options))).await;
        assert_eq!(told(&explanation), expected, "{options}: {action} {endpoint}");
    }
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_before_any_policy() {
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        ("connect", "ten.test:0"),
        ("connect", "ten.test:65536"),
        ("connect", "ten.test:4294967295"),
        ("connect", ":80"),
        ("connect", "a b:80"),
        ("connect", "1.2.3.4.5:80"),
        ("connect", "fe80::1%eth0:80"),
        ("connect", "unix:relative"),
        ("connect", "unix:/run/../etc"),
        ("listen",  "localhost:65536"),
        ("listen",  "unix:/run//app"),
    ];
    for (action, endpoint) in table {
        let explanation = judge
            .explain(supposed(action, endpoint, ForwardLimits::default()))
            .await;
        assert_eq!(told(&explanation), "deny floor bad-endpoint", "{action} {endpoint}");
        assert!(
            explanation.line().asked.is_none(),
            "{action} {endpoint}: no policy was asked"
        );
    }
}
