//! A permit comes out of recording what was allowed, and of nothing else.

use super::*;
use crate::audit::Audit;
use crate::events::Events;

fn log(path: &Path) -> Events {
    let config = config::Audit {
        file: config::AuditFile::Path(path.to_owned()),
        required: true,
    };
    Events::new(Audit::open(&config).unwrap(), Vec::new())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_is_allowed_is_permitted_once_its_line_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        // asked             permitted   the line: verdict, code
        ("ten.test:80",      true,       "allow",    None),
        ("ten.test:7001",    true,       "rewrite",  None),
        ("ten.test:23",      false,      "deny",     Some("closed")),
        ("meta.test:80",     false,      "deny",     Some("deny")),
        ("ten.test:0",       false,      "deny",     Some("bad-endpoint")),
        ("nowhere.test:80",  false,      "allow",    None),
    ];
    for (number, (endpoint, permitted, verdict, code)) in table.into_iter().enumerate() {
        let path = folder.path().join(number.to_string());
        let events = log(&path);
        let question = connect(endpoint);
        let id = question.id().to_owned();
        let recorded = judge.judge(&judge.current(), question).await.record(&events).await;
        if recorded.is_ok() {
            // It is there already.
            assert_eq!(lines(&path).len(), 1, "{endpoint}");
        }
        assert_eq!(recorded.is_ok(), permitted, "{endpoint}");
        events.audit().finish();
        let lines = lines(&path);
        let [line] = lines.as_slice() else {
            panic!("{endpoint}: {lines:?}")
        };
        assert_eq!(line["event"], "forward-decided", "{endpoint}");
        assert_eq!(line["forward"], id.as_str(), "{endpoint}");
        assert_eq!(line["user"], "alice", "{endpoint}");
        assert_eq!(line["verdict"], verdict, "{endpoint}");
        assert_eq!(line.get("code").and_then(Value::as_str), code, "{endpoint}");
    }
}

/// It waits as long as any request does for its line.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_permitted() {
    let judge = judge("").await;
    let events = log(Path::new("/dev/full"));
    let judgement = judge.judge(&judge.current(), connect("ten.test:80")).await;
    assert_eq!(judgement.refusal(), None);
    let recorded = judgement.record(&events).await;
    assert_eq!(recorded.err(), Some(unrecorded()));
}

#[tokio::test]
async fn what_is_too_much_is_refused_after_it_was_allowed() {
    let judge = judge("").await;
    let full = Refusal::Exhausted {
        code: "dials-per-user",
        reason: "too many".to_owned(),
    };
    #[rustfmt::skip]
    let table = [
        ("ten.test:80",  "deny", "limit",  "dials-per-user"),
        // What was refused already stays refused for its own reason.
        ("ten.test:23",  "deny", "policy", "closed"),
    ];
    for (endpoint, verdict, by, code) in table {
        let mut judgement = judge.judge(&judge.current(), connect(endpoint)).await;
        judgement.refuse(full.clone());
        let line = serde_json::to_value(judgement.line()).unwrap();
        assert_eq!(
            (&line["verdict"], &line["by"], &line["code"]),
            (&verdict.into(), &by.into(), &code.into()),
            "{endpoint}"
        );
        assert!(line.get("terms").is_none(), "{endpoint}");
    }
}

#[tokio::test]
async fn what_is_not_decided_in_time_is_a_failure_to_decide() {
    // The name is never answered.
    let judge = judge_asking(
        Resolver::answering_only("db.test"),
        configured(""),
        house(""),
        policies().await,
    );
    let (current, patience) = (judge.current(), Duration::from_millis(20));
    let late = judge
        .judge_within(&current, connect("silent.test:7020"), patience)
        .await;
    let line = serde_json::to_value(late.line()).unwrap();
    assert_eq!(
        (&line["verdict"], &line["code"]),
        (&"failed".into(), &"deadline".into())
    );
    assert_eq!(line["target"], "silent.test:7020", "it is known what it was about");
}
