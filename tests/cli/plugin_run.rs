//! `portreeve plugin run`.

use serde_json::json;

use crate::audit_log::{decision, login};
use crate::guests::{Does, Guest, When, allows, denies, rewrites};
use crate::program::Home;

fn guest(home: &Home) -> String {
    let guest = Guest::that(allows())
        .on(When::Port(1), denies("ask the database team"))
        .on(When::Port(2), rewrites("127.0.0.1:5432"))
        .on(When::Port(3), Does::Traps)
        .on(When::Port(5), Does::Chatters);
    home.file("policy.wasm", guest.build())
}

#[test]
fn the_exit_code_is_the_answer() {
    let home = Home::new();
    let file = guest(&home);
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 9] = [
        (&["connect", "db:4"],               0,  "allow: connect db:4"),
        (&["connect", "db:1"],               10, "tell-user ask the database team"),
        (&["connect", "db:2"],               11, "code      rewrite-not-granted"),
        (&["--rewrite", "connect", "db:2"],  0,  "to        127.0.0.1:5432"),
        (&["connect", "db:3"],               11, "code      trap"),
        (&["connect", "db:5"],               0,  "log       info: a line that nobody asked for"),
        (&["connect", "db"],                 2,  ""),
        (&["connect", "db:0"],               2,  ""),
        (&[],                                2,  ""),
    ];
    for (arguments, code, words) in table {
        let mut all = vec!["plugin", "run", &file];
        all.extend(arguments);
        let ran = home.run(&all);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.out.contains(words), "{arguments:?}: {}", ran.out);
    }
}

#[test]
fn calls_of_the_host_are_shown_with_their_answers() {
    let home = Home::new();
    let settings = home.file(
        "rules.toml",
        "[[rules]]\naddresses = \"10.0.0.0/8\"\ngroups = \"dba\"\noutcome = \"allow\"\nterms = { max-seconds = 9 }\n",
    );
    let mut arguments = vec!["plugin", "run", "builtin:rules", "--settings", &settings];
    arguments.extend(["--name", "db=10.0.0.1,10.0.0.2", "--group", "dba", "connect", "DB:1"]);
    let ran = home.run(&arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for words in [
        "call      names.resolve(\"db\") = [\"10.0.0.1\", \"10.0.0.2\"]",
        "terms     max-seconds = 9",
        " fuel, ",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
    arguments.push("--json");
    let report: serde_json::Value = serde_json::from_str(&home.run(&arguments).out).unwrap();
    assert_eq!(
        (&report["verdict"], &report["terms"]["max-seconds"]),
        (&"allow".into(), &9.into())
    );
    assert!(report["fuel"].as_u64().unwrap() > 0 && report["memory"].as_u64().unwrap() >= 65536);
}

#[test]
fn what_the_audit_log_recorded_is_asked_again() {
    let home = Home::new();
    let log = concat!(
        r#"{"v":1,"time":"2026-11-22T09:11:25.346909Z","session":"s-1","user":"alice","client":"192.0.2.9:34860","event":"auth-succeeded","method":"publickey","fingerprint":"SHA256:OYw4SyOuUJRHTHWJJ2ZOg5f6Tlp9x2vM0bWlQ3CqL5c"}"#,
        "\n",
        r#"{"v":1,"time":"2026-11-22T09:11:26.361318Z","session":"s-1","user":"alice","client":"192.0.2.9:34860","forward":"f-1","event":"forward-decided","action":"connect","requested":"DB.:7","target":"db:7","resolved":["10.0.0.1"],"verdict":"allow","by":"policy","micros":4}"#,
        "\n{\"v\":1,\"forward\":\"f-2\",\"event\":\"forw",
    );
    let log = home.file("audit.jsonl", log);
    let settings = home.file(
        "rules.toml",
        "[[rules]]\naddresses = \"10.0.0.1\"\nkeys = \"SHA256:OYw4SyOuUJRHTHWJJ2ZOg5f6Tlp9x2vM0bWlQ3CqL5c\"\nclients = \"192.0.2.9\"\nusers = \"alice\"\nexpires = \"2026-11-23\"\noutcome = \"allow\"\n",
    );
    let ask = |forward: &str, more: &[&str]| {
        let mut arguments = vec![
            "plugin",
            "run",
            "builtin:rules",
            "--grant",
            "names",
            "--settings",
            &settings,
        ];
        arguments.extend(["--audit", &log, "--forward", forward]);
        arguments.extend(more);
        home.run(&arguments)
    };
    let ran = ask("f-1", &[]);
    assert!(
        ran.code == 0 && ran.out.contains("recorded  allow"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = ask("f-1", &["--user", "bob"]);
    assert_eq!(
        ran.code, 10,
        "a flag goes over what the log says: {}{}",
        ran.out, ran.err
    );
    let ran = ask("f-2", &[]);
    assert!(
        ran.code == 2 && ran.err.contains("audit.jsonl:3: it is not a complete audit log line"),
        "{}",
        ran.err
    );
    let ran = ask("f-2", &["--json"]);
    let wrong: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&wrong["file"], &wrong["line"]), (&log.as_str().into(), &3.into()));
    let ran = ask("f-3", &[]);
    assert!(
        ran.code == 2 && ran.err.contains("it contains no decision about f-3"),
        "{}",
        ran.err
    );
}

#[test]
fn a_login_by_certificate_is_that_of_the_log_for_run_and_for_replay() {
    let home = Home::new();
    let mut by_certificate = login(0, "alice", &[]);
    by_certificate["method"] = "certificate".into();
    by_certificate["certificate"] = json!({
        "key-id": "alice@example.com", "serial": 7, "issuer": "SHA256:h2+bJ7xL7SExq1WbrRH3uHVELh6ub0gwmTZzs8Qbatk",
        "principals": ["ops"], "valid-after": 0, "valid-before": 4102444800u64,
    });
    let allow = json!({ "verdict": "allow", "terms": {}, "tags": { "rule": "ops" } });
    let decided = decision(1, 0, "alice", "db:22", allow);
    home.file("audit.jsonl", format!("{by_certificate}\n{decided}\n"));
    home.file(
        "rules.toml",
        "[[rules]]\nname = \"ops\"\nprincipals = [\"ops\"]\noutcome = \"allow\"\n",
    );
    let forward = decided["forward"].as_str().unwrap();
    let rules = ["builtin:rules", "--settings", "rules.toml"];
    for (command, more) in [
        ("replay", &["--against", "audit.jsonl"][..]),
        ("run", &["--audit", "audit.jsonl", "--forward", forward]),
    ] {
        let ran = home.run(&[&["plugin", command], &rules[..], more].concat());
        assert_eq!(ran.code, 0, "{command}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_line_is_of_a_decision_and_is_asked_as_it_was() {
    let home = Home::new();
    let guest = Guest::that(allows()).on(When::Again, denies("no more"));
    home.file("policy.wasm", guest.build());
    let mut again = decision(1, 0, "alice", "db:22", json!({ "verdict": "allow" }));
    again["again"] = "recheck".into();
    let mut other = again.clone();
    other["v"] = 2.into();
    #[rustfmt::skip]
    let table = [
        // the line                                      code  said
        (again.to_string(),                              10,  "recorded  allow"),
        (login(0, "alice", &[]).to_string(),             2,   "the audit line: it is not a decision: expected a line with \"event\":\"forward-decided\""),
        ("{\"v\":1,\"event\":\"forw".to_owned(),            2,   "the audit line: it is not a complete audit log line: "),
        (other.to_string(),                              2,   "the audit line: its audit log version is 2; this program reads version 1"),
    ];
    for (line, code, said) in table {
        let ran = home.run(&["plugin", "run", "policy.wasm", "--audit", &line]);
        let told = ran.out.contains(said) || ran.err.contains(said);
        assert!(ran.code == code && told, "{said}: {ran:?}");
    }
}

#[test]
fn a_bench_is_short_and_says_what_it_measured() {
    let home = Home::new();
    let file = guest(&home);
    let ran = home.run(&[
        "plugin",
        "bench",
        "--json",
        "--seconds",
        "1",
        "--deadline",
        "20ms",
        &file,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let figures: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&figures["verdict"], &figures["deadline-millis"]),
        (&"allow".into(), &20.0.into())
    );
    for name in [
        "p50-micros",
        "p99-micros",
        "max-micros",
        "fuel",
        "memory",
        "per-second-per-core",
        "largest-rate",
    ] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}: {figures:#}");
    }
    let broken = home.file("broken.wasm", b"hello");
    let ran = home.run(&["plugin", "bench", &broken]);
    assert!(
        ran.code == 1 && ran.err.contains("it is not WebAssembly"),
        "{}",
        ran.err
    );
}
