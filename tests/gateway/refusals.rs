//! What is refused over and over, and what is allowed and not there: each decision is on record, in lines that are bounded.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use russh::client::{self, Handle, Handler, Session};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{ChannelId, ChannelOpenFailure};
use serde_json::Value;

use crate::guests::{Guest, denies};
use crate::harness::{Running, Server, Setup, eventually, free_port};

/// A client that keeps the sentences of its refusals.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<String>>>);

impl Handler for Hears {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.0.lock().unwrap().push(description.to_owned());
        Ok(())
    }
}

impl Hears {
    async fn log_in(&self, gateway: &Running) -> Handle<Self> {
        let config = Arc::new(client::Config::default());
        let mut client = client::connect(config, gateway.address(), self.clone()).await.unwrap();
        let key = load_secret_key(gateway.path("id"), None).unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        assert!(client.authenticate_publickey("alice", key).await.unwrap().success());
        client
    }

    /// The lines of the audit log that the user was told of.
    fn references(&self) -> Vec<String> {
        let sentences = self.0.lock().unwrap();
        let reference = |sentence: &String| {
            let (_, rest) = sentence.rsplit_once("[ref ")?;
            Some(rest.trim_end_matches(']').to_owned())
        };
        sentences
            .iter()
            .map(|sentence| reference(sentence).expect(sentence))
            .collect()
    }
}

/// Asks so often, for one port or for another each time, all at once.
fn ask(gateway: &Running, times: u32, port: impl Fn(u32) -> u32) -> Vec<String> {
    let client = Hears::default();
    gateway.block_on(async {
        let asking = client.log_in(gateway).await;
        let asked =
            (1..=times).map(|time| asking.channel_open_direct_tcpip("db.internal", port(time), "127.0.0.1", time));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_err));
    });
    // The last of them may be on its way to the handler.
    eventually("all references", || {
        Some(client.references()).filter(|all| all.len() == times as usize)
    })
}

/// How many decisions these lines stand for.
fn decisions(lines: &[Value]) -> u64 {
    let stands_for = |line: &Value| line.get("repeated").map_or(1, |count| count.as_u64().unwrap());
    lines
        .iter()
        .filter(|line| line["event"] == "forward-decided")
        .map(stands_for)
        .sum()
}

#[test]
fn what_is_refused_again_and_again_is_counted() {
    let gateway = Setup::asking(&Guest::that(denies("not here"))).start();
    let began = Instant::now();
    let references = ask(&gateway, 400, |_| 5432);
    let seconds = began.elapsed().as_secs() + 2;
    let lines = gateway.stop();
    assert_eq!(decisions(&lines), 400);
    let decided: Vec<_> = lines.iter().filter(|line| line["event"] == "forward-decided").collect();
    assert!(
        decided.len() as u64 <= 3 + seconds,
        "{} lines in {seconds} s",
        decided.len()
    );
    assert!(
        decided.iter().any(|line| line["repeated"].as_u64() > Some(1)),
        "{decided:?}"
    );
    // Each user who was refused was told of a line that is there.
    for reference in references {
        assert!(
            decided.iter().any(|line| line["forward"] == reference.as_str()),
            "{reference}"
        );
    }
}

#[test]
fn what_is_refused_for_each_of_many_targets_has_a_line_for_each() {
    let gateway = Setup::asking(&Guest::that(denies("not here"))).start();
    ask(&gateway, 200, |time| time);
    let mut asked: Vec<_> = gateway
        .stop()
        .into_iter()
        .filter(|line| line["event"] == "forward-decided")
        .map(|line| line["requested"].to_string())
        .collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 200);
}

#[test]
fn remote_forwards_that_are_refused_are_counted_too() {
    let gateway = Setup::asking(&Guest::that(denies("not here"))).start();
    gateway.block_on(async {
        let client = Hears::default().log_in(&gateway).await;
        for _ in 0..50 {
            assert!(client.tcpip_forward("localhost", 8080).await.is_err());
        }
    });
    let lines = gateway.stop();
    assert_eq!(decisions(&lines), 50);
    assert!(
        lines.iter().any(|line| line["repeated"].as_u64() > Some(1)),
        "{lines:?}"
    );
}

#[test]
fn what_is_allowed_and_cannot_be_reached_has_a_line_that_says_why() {
    let gateway = Setup::allowing().start();
    let port = free_port();
    let answer = gateway.through(&format!("127.0.0.1:{port}"));
    assert!(answer.errors.contains("Connection refused"), "{answer:?}");
    let failed = gateway.event("connect-failed");
    let decided = gateway.event("forward-decided");
    for key in ["session", "user", "client", "forward", "action", "requested", "target"] {
        assert_eq!(failed[key], decided[key], "{key}");
    }
    assert_eq!(failed["effective"], format!("127.0.0.1:{port}"));
    assert_eq!(failed["resolved"], serde_json::json!(["127.0.0.1"]));
    assert!(
        failed["reason"].as_str().unwrap().contains("Connection refused"),
        "{failed}"
    );
    assert!(failed["millis"].is_u64(), "{failed}");
    let socket = gateway.path("no-socket").display().to_string();
    let answer = gateway.local(&socket);
    assert_eq!(crate::harness::hear(answer.connect()), "");
    let failed = gateway.audited("a socket", |line| {
        line["event"] == "connect-failed" && line["target"] == format!("unix:{socket}")
    });
    assert!(failed["reason"].as_str().unwrap().contains("No such file"), "{failed}");
    drop(answer);
    let answer = gateway.through("no-such-name.invalid:80");
    assert!(answer.errors.contains("open failed: connect failed"), "{answer:?}");
    let failed = gateway.audited("a name", |line| {
        line["requested"] == "no-such-name.invalid:80" && line["event"] == "connect-failed"
    });
    assert!(
        failed["reason"].as_str().unwrap().contains("no-such-name.invalid"),
        "{failed}"
    );
    let lines = gateway.stop();
    assert!(!lines.iter().any(|line| line["event"] == "tunnel-opened"));
}

#[test]
fn the_first_line_has_the_version_of_the_program() {
    let target = Server::named("x");
    let gateway = Setup::allowing().start();
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    let lines = gateway.stop();
    assert_eq!(lines[0]["event"], "gateway-started");
    assert_eq!(lines[0]["version"], env!("CARGO_PKG_VERSION"));
    assert!(!lines.iter().any(|line| line["event"] == "connect-failed"));
}
