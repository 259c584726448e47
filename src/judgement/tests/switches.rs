//! `[forwarding]`: each switch closes what it is for, nothing else, and comes before all else.

use super::*;

#[tokio::test]
async fn a_switch_closes_one_kind_of_forward() {
    let (on, off) = ("allow", |key: &str| format!("deny switch {key}"));
    let asked = [
        ("connect", "ten.test:80"),
        ("connect", "unix:/nowhere"),
        ("listen", "localhost:8080"),
        ("listen", "unix:/nowhere"),
        ("accept", "localhost:8080"),
        ("accept", "unix:/nowhere"),
    ];
    #[rustfmt::skip]
    let table = [
        // switched off     connect: tcp, socket    listen: tcp, socket    accept: tcp, socket
        ("local",           [true,  false,          false, false,          false, false]),
        ("local-sockets",   [false, true,           false, false,          false, false]),
        ("remote",          [false, false,          true,  false,          true,  false]),
        ("remote-sockets",  [false, false,          false, true,           false, true]),
    ];
    for (key, closed) in table {
        let judge = judge(&format!("[forwarding]\n{key} = false")).await;
        for ((action, endpoint), closed) in asked.into_iter().zip(closed) {
            let expected = if closed { off(key) } else { on.to_owned() };
            let found = judge.says(action, endpoint).await;
            assert!(found.starts_with(&expected), "{key}: {action} {endpoint}: {found}");
        }
    }
}

#[tokio::test]
async fn no_rewrite_goes_around_a_switch() {
    #[rustfmt::skip]
    let table = [
        // switched off     asked             rewritten to      what comes of it
        ("local-sockets",   "ten.test:7012",  "a socket",       "deny switch local-sockets"),
        ("local",           "unix:/rewritten", "ten.test:80",   "deny switch local"),
        ("remote",          "ten.test:7012",  "a socket",       "rewrite unix:/nowhere"),
        ("remote",          "unix:/rewritten", "ten.test:80",   "rewrite ten.test:80 10.0.0.1:80"),
    ];
    for (key, endpoint, place, expected) in table {
        let judge = judge(&format!("[forwarding]\n{key} = false")).await;
        let found = judge.says("connect", endpoint).await;
        assert_eq!(found, expected, "{key}: {endpoint} to {place}");
    }
}

#[tokio::test]
async fn the_first_refusal_wins() {
    #[rustfmt::skip]
    let table = [
        // the configuration         the key      asked                       refused by
        ("",                         "",          "ten.test:80",              "allow 10.0.0.1:80"),
        ("[forwarding]\nlocal = false", "restrict", "ten.test:70000",         "deny switch local"),
        ("",                         "restrict",  "ten.test:23",              "deny key no-port-forwarding"),
        ("",                         "restrict",  "a b:80",                   "deny key no-port-forwarding"),
        ("",                         "restrict",  "ten.test:70000",           "deny floor bad-endpoint"),
        ("",                         "",          "169.254.1.1:23",           "deny policy closed"),
        ("",                         "",          "169.254.1.1:80",           "deny floor deny"),
        // An address rule of the policy before the floors.
        ("",                         "",          "169.254.1.1:7005",         "deny policy address-rule"),
    ];
    for (text, options, endpoint, expected) in table {
        let judge = judge(text).await;
        let limits = if options.is_empty() {
            ForwardLimits::default()
        } else {
            limits(options)
        };
        let explanation = judge.explain(supposed("connect", endpoint, limits)).await;
        assert_eq!(told(&explanation), expected, "{text} {options} {endpoint}");
    }
}
