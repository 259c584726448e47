//! What each event counts, and how the counts are written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::audit::Lines;
use crate::events::{ConnectFailed, Decided, TunnelEnd};
use crate::policy::{Installed, PolicyRef};
use crate::request::{Action, By, Cause, Endpoint, Host, Requested, Unreached, VerdictWord};
use crate::sessions::Totals;

/// Whatever a client asks for.
fn requested(port: u32) -> Requested {
    Requested::Tcp {
        host: format!("host-{port}"),
        port,
    }
}

fn decided(verdict: VerdictWord, by: By, repeated: Option<u64>) -> Decided {
    Decided {
        action: Action::Connect,
        requested: requested(1),
        target: None,
        effective: None,
        resolved: Vec::new(),
        names: BTreeMap::new(),
        originator: None,
        asked: None,
        verdict,
        code: Some("a-rule".to_owned()),
        reason: None,
        by,
        policy: None,
        micros: 0,
        terms: None,
        outbound: None,
        tags: BTreeMap::new(),
        again: None,
        repeated,
        told: None,
        times: vec![(Arc::from("rules"), Duration::from_micros(300))],
    }
}

fn decision(verdict: VerdictWord, by: By, repeated: Option<u64>) -> Event {
    Event::ForwardDecided(Box::new(decided(verdict, by, repeated)))
}

fn failed(why: Option<Unreached>) -> Event {
    let target = Endpoint::Tcp {
        host: Host::Address(Ipv4Addr::LOCALHOST.into()),
        port: 1,
    };
    Event::ConnectFailed(Box::new(ConnectFailed {
        action: Action::Connect,
        requested: requested(1),
        target: target.clone(),
        effective: target,
        resolved: Vec::new(),
        why,
        step: None,
        reason: "in words".to_owned(),
        millis: 0,
    }))
}

fn closed(cause: Cause) -> Event {
    Event::TunnelClosed(TunnelEnd {
        dialled: None,
        bytes_up: 3,
        bytes_down: 4,
        millis: 5,
        cause,
    })
}

fn login_failed(method: &'static str) -> Event {
    Event::AuthFailed {
        method,
        fingerprint: None,
        reason: String::new(),
        repeated: None,
    }
}

fn rejected(name: &str) -> Event {
    Event::PolicyRejected {
        name: name.to_owned(),
        sha256: None,
        reason: String::new(),
    }
}

fn started(name: &str) -> Event {
    let policy = PolicyRef {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        sha256: "00".to_owned(),
        settings_sha256: "11".to_owned(),
    };
    Event::GatewayStarted {
        process: 0,
        replaces: None,
        version: "0",
        listen: Vec::new(),
        policies: vec![Installed { policy, signer: None }],
    }
}

fn now(bytes_up: u64, bytes_down: u64) -> Now {
    Now {
        totals: Totals {
            sessions: 2,
            connects: 3,
            accepts: 4,
            listeners: 5,
            bytes_up,
            bytes_down,
        },
        buffered_bytes: 6,
        unauthenticated: 7,
        penalised_sources: 13,
        audit: Lines {
            written: 8,
            failed: 9,
            dropped: 10,
        },
        lookups: vec![("kept", 14), ("found", 15)],
        policies: vec![Component {
            plugin: "rules".to_owned(),
            name: "portreeve-\"rules\"".to_owned(),
            version: "1.2.3".to_owned(),
            sha256: "abc".to_owned(),
        }],
        redis: None,
    }
}

#[test]
fn a_shared_redis_has_series_of_its_own() {
    let metrics = Metrics::default();
    let mut now = now(0, 0);
    assert!(!metrics.text(now.clone()).contains("redis"));
    now.redis = Some(Redis {
        connected: true,
        connections: 3,
        calls: vec![("ok", 7), ("timed-out", 1)],
    });
    let text = metrics.text(now);
    for line in [
        "portreeve_redis_connected 1",
        "portreeve_redis_connections_total 3",
        "portreeve_redis_calls_total{result=\"ok\"} 7",
        "portreeve_redis_calls_total{result=\"timed-out\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

/// The names of all series, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

#[test]
fn each_fact_counts_where_it_belongs() {
    use VerdictWord::{Allow, Deny, Failed, Rewrite};
    #[rustfmt::skip]
    let table = [
        (decision(Allow, By::Policy, None),      "portreeve_decisions_total{action=\"connect\",verdict=\"allow\",by=\"policy\"} 1"),
        (decision(Rewrite, By::Policy, None),    "portreeve_decisions_total{action=\"connect\",verdict=\"rewrite\",by=\"policy\"} 1"),
        (decision(Failed, By::Policy, None),     "portreeve_decisions_total{action=\"connect\",verdict=\"failed\",by=\"policy\"} 1"),
        (decision(Deny, By::Floor, None),        "portreeve_decisions_total{action=\"connect\",verdict=\"deny\",by=\"floor\"} 1"),
        (decision(Deny, By::Limit, Some(997)),   "portreeve_decisions_total{action=\"connect\",verdict=\"deny\",by=\"limit\"} 997"),
        (decision(Allow, By::Policy, None),      "portreeve_decision_seconds_count{plugin=\"rules\"} 1"),
        (decision(Allow, By::Policy, None),      "portreeve_decision_seconds_bucket{plugin=\"rules\",le=\"0.0005\"} 1"),
        (decision(Allow, By::Policy, None),      "portreeve_decision_seconds_bucket{plugin=\"rules\",le=\"0.00025\"} 0"),
        (login_failed("password"),               "portreeve_auth_total{method=\"password\",result=\"failed\"} 1"),
        (login_failed("riddle"),                 "portreeve_auth_total{method=\"other\",result=\"failed\"} 1"),
        (failed(Some(Unreached::Refused)),       "portreeve_dial_failures_total{reason=\"refused\"} 1"),
        (failed(Some(Unreached::TimedOut)),      "portreeve_dial_failures_total{reason=\"timed-out\"} 1"),
        (failed(None),                           "portreeve_dial_failures_total{reason=\"other\"} 0"),
        (closed(Cause::ByteLimit),               "portreeve_tunnel_closes_total{cause=\"byte-limit\"} 1"),
        (rejected("rules"),                      "portreeve_policy_swaps_total{plugin=\"rules\",result=\"rejected\"} 1"),
        (rejected("rules"),                      "portreeve_policy_swaps_total{plugin=\"rules\",result=\"swapped\"} 0"),
        (started("first"),                       "portreeve_policy_swaps_total{plugin=\"first\",result=\"rejected\"} 0"),
        (started("first"),                       "portreeve_decision_seconds_count{plugin=\"first\"} 0"),
        (Event::GatewayStopped { process: 0 },   "portreeve_auth_total{method=\"publickey\",result=\"succeeded\"} 0"),
    ];
    for (event, line) in table {
        let metrics = Metrics::default();
        metrics.hear(&Subject::default(), &event);
        let text = metrics.text(Now::default());
        assert!(has(&text, line), "{event:?}: {line}\n{text}");
    }
}

#[test]
fn a_scrape_says_what_the_gateway_is_at_that_moment() {
    let text = Metrics::default().text(now(11, 12));
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &format!("portreeve_build_info{{version=\"{version}\"}} 1"),
        "portreeve_sessions 2",
        "portreeve_tunnels{action=\"connect\"} 3",
        "portreeve_tunnels{action=\"accept\"} 4",
        "portreeve_listeners 5",
        "portreeve_buffered_bytes 6",
        "portreeve_unauthenticated 7",
        "portreeve_penalised_sources 13",
        "portreeve_audit_lines_total{result=\"written\"} 8",
        "portreeve_audit_lines_total{result=\"failed\"} 9",
        "portreeve_audit_lines_total{result=\"dropped\"} 10",
        "portreeve_name_lookups_total{result=\"kept\"} 14",
        "portreeve_name_lookups_total{result=\"found\"} 15",
        "portreeve_relayed_bytes_total{direction=\"up\"} 11",
        "portreeve_relayed_bytes_total{direction=\"down\"} 12",
        "portreeve_policy_info{plugin=\"rules\",name=\"portreeve-\\\"rules\\\"\",version=\"1.2.3\",sha256=\"abc\"} 1",
    ] {
        assert!(has(&text, line), "{line}\n{text}");
    }
}

#[test]
fn relayed_bytes_never_go_backwards() {
    let metrics = Metrics::default();
    for (counted, shown) in [((5, 100), (5, 100)), ((6, 90), (6, 100)), ((7, 101), (7, 101))] {
        let text = metrics.text(now(counted.0, counted.1));
        for (direction, bytes) in [("up", shown.0), ("down", shown.1)] {
            let line = format!("portreeve_relayed_bytes_total{{direction=\"{direction}\"}} {bytes}");
            assert!(has(&text, &line), "{line}\n{text}");
        }
    }
}

#[test]
fn what_clients_choose_makes_no_series() {
    let metrics = Metrics::default();
    let mut before = BTreeSet::new();
    for number in 0..5000 {
        let subject = Subject {
            user: Some(format!("user-{number}")),
            ..Subject::from_client(SocketAddr::from(([10, 0, (number / 256) as u8, number as u8], 1)))
        };
        let decided = Decided {
            requested: requested(number),
            code: Some(format!("code-{number}")),
            ..decided(VerdictWord::Deny, By::Policy, None)
        };
        for event in [
            Event::ForwardDecided(Box::new(decided)),
            failed(Some(Unreached::Name)),
            closed(Cause::Closed),
            login_failed("publickey"),
        ] {
            metrics.hear(&subject, &event);
        }
        if number == 0 {
            before = series(&metrics.text(now(0, 0)));
        }
    }
    assert_eq!(series(&metrics.text(now(1, 1))), before);
}

#[test]
fn every_metric_has_a_help_and_a_type() {
    let text = Metrics::default().text(now(0, 0));
    let comments = |kind: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect()
    };
    let (helps, types) = (comments("# HELP "), comments("# TYPE "));
    assert_eq!(helps, types);
    for name in series(&text) {
        let family = name.split('{').next().unwrap();
        assert!(helps.contains(family), "{family}\n{text}");
    }
}
