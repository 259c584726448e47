//! Recorded decisions asked again: what differs is found, exactly, and what cannot be read is said.

use std::fs;

use serde_json::{Value, json};

use crate::audit_log::{self, RULES, decision, login};
use crate::guests::{Does, Guest, When, allows, denies, denies_with};
use crate::program::{Home, Ran};

/// How many decisions the long log has; a million takes half a minute, which not every run needs.
fn decisions() -> u64 {
    std::env::var("PORTREEVE_REPLAY_DECISIONS").map_or(20_000, |count| count.parse().unwrap())
}

fn replay(home: &Home, file: &str, more: &[&str]) -> Ran {
    let mut arguments = vec!["plugin", "replay", file, "--against", "audit.jsonl"];
    arguments.extend(more);
    home.run(&arguments)
}

fn rules(home: &Home, more: &[&str]) -> (i32, Value, String) {
    let mut arguments = vec!["--json", "--rewrite", "--settings", "rules.toml"];
    arguments.extend(more);
    let ran = replay(home, "builtin:rules", &arguments);
    let answer = serde_json::from_str(&ran.out).unwrap_or(Value::Null);
    (ran.code, answer, ran.err)
}

/// A home with a log of these lines, and the rules by which they were decided.
fn logged(lines: &[Value]) -> Home {
    let home = Home::new();
    log(&home, "audit.jsonl", lines);
    home.file("rules.toml", RULES);
    home
}

fn log(home: &Home, name: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    home.file(name, text);
}

fn allowed(rule: &str) -> Value {
    json!({ "verdict": "allow", "terms": { "max-seconds": 28800 }, "tags": { "rule": rule } })
}

fn three() -> Vec<Value> {
    vec![
        login(0, "alice", &["dba"]),
        decision(1, 0, "alice", "db1.internal:5432", allowed("databases")),
        decision(2, 0, "alice", "db2.internal:5432", allowed("databases")),
        decision(
            3,
            0,
            "alice",
            "db3.internal:22",
            json!({ "verdict": "deny", "code": "no-rule" }),
        ),
    ]
}

#[test]
#[allow(clippy::print_stderr, reason = "the figure is worth seeing")]
fn a_changed_policy_is_asked_every_decision_and_each_difference_is_found() {
    let home = Home::new();
    let written = audit_log::write(&home.path("audit.jsonl"), decisions());
    assert!(written.denied > 0 && written.moved > 0);
    home.file("rules.toml", RULES);
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!((code, &answer["different"]), (0, &0.into()), "{answer:#}{errors}");
    assert_eq!(answer["asked"], written.asked);
    assert_eq!(answer["skipped"], json!({ "key": written.by_key }));

    home.file("rules.toml", audit_log::changed());
    let (code, answer, errors) = rules(&home, &["--limit-differences", "3"]);
    eprintln!("{} decisions: {} a second", answer["asked"], answer["per-second"]);
    assert_eq!((code, errors.as_str()), (10, ""), "{answer:#}");
    assert_eq!(answer["different"], written.denied + written.moved);
    let group = |change: &str| {
        let groups = answer["groups"].as_array().unwrap();
        groups.iter().find(|group| group["change"] == change).unwrap().clone()
    };
    let denied = group("allow → deny");
    assert_eq!(
        (&denied["count"], &denied["before"], &denied["after"]),
        (&written.denied.into(), &"databases".into(), &"no-contractors".into())
    );
    assert_eq!(group("another target")["count"], written.moved);
    let by_user: u64 = answer["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["count"].as_u64().unwrap())
        .sum();
    assert_eq!(by_user, written.denied + written.moved);
    let first: Vec<_> = answer["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["forward"].clone())
        .collect();
    let expected: Vec<_> = [3, 13, 18].map(|number| format!("f-{number:026}")).to_vec();
    assert_eq!(first, expected, "the first of the log, whichever thread found them");

    home.file("old.toml", RULES);
    let baseline = ["--baseline", "builtin:rules", "--baseline-settings", "old.toml"];
    let (code, against, _) = rules(&home, &baseline);
    assert_eq!((code, &against["different"]), (10, &answer["different"]));
    let same = ["--baseline", "builtin:rules", "--baseline-settings", "rules.toml"];
    assert_eq!(rules(&home, &same).0, 0);
}

#[test]
fn the_differences_are_told_in_words() {
    let home = logged(&three());
    home.file("rules.toml", RULES.replace("5432", "22"));
    let ran = replay(&home, "builtin:rules", &["--rewrite", "--settings", "rules.toml"]);
    assert_eq!(ran.code, 10, "{}", ran.err);
    for words in [
        "asked 3 of 3 decisions in ",
        " a second: 3 differ",
        "against  what the log says",
        "databases → no-rule",
        "no-rule → databases",
        "alice  (allow → deny: 2, deny → allow: 1)",
        "f-00000000000000000000000003  2026-11-01T00:00:00.411Z  alice  connect db3.internal:22",
        "  before  deny no-rule\n  after   allow by databases {\"max-seconds\":28800}",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
}

#[test]
fn what_a_log_says_commands_no_terminal() {
    let user = "al\u{1b}[2Jice\nbob";
    let denied = json!({ "verdict": "deny", "code": "no\u{1b}[31m-rule" });
    let home = logged(&[
        login(0, user, &["dba"]),
        decision(1, 0, user, "db1.internal:5432", denied),
    ]);
    let ran = replay(&home, "builtin:rules", &["--rewrite", "--settings", "rules.toml"]);
    assert!(ran.code == 10 && !ran.out.contains('\u{1b}'), "{ran:?}");
    assert!(ran.out.contains("al [2Jice bob"), "{}", ran.out);
    let (_, answer, _) = rules(&home, &[]);
    assert_eq!(answer["users"][0]["user"], user, "programs get it as it is");
    let ran = replay(&home, "gone\u{1b}[2J.wasm", &[]);
    assert!(ran.code == 2 && ran.err.contains("gone [2J.wasm"), "{ran:?}");
}

#[test]
fn a_log_that_is_cut_in_its_last_line_is_read_up_to_there() {
    let home = logged(&three());
    let text = fs::read_to_string(home.path("audit.jsonl")).unwrap();
    home.file("audit.jsonl", &text[..text.len() - 40]);
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!((code, &answer["asked"]), (0, &2.into()), "{errors}");
    assert!(
        errors.contains("warning: audit.jsonl:4: its last line is incomplete"),
        "{errors}"
    );
    home.file("audit.jsonl", text.trim_end());
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!(
        (code, &answer["asked"], errors.as_str()),
        (0, &3.into(), ""),
        "only the line feed is missing"
    );
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let mut other = three()[1].clone();
    other["v"] = 2.into();
    let mut odd = three()[1].clone();
    odd["target"] = "nowhere".into();
    #[rustfmt::skip]
    let table = [
        // the line                        said
        ("{\"v\":1,\"event\":".to_owned(), "audit.jsonl:2: it is not an audit log line"),
        ("hello".to_owned(),               "audit.jsonl:2: it is not an audit log line"),
        ("{}".to_owned(),                  "audit.jsonl:2: it is not an audit log line: it has no `v`"),
        (other.to_string(),                "audit.jsonl:2: its audit log version is 2; this program reads version 1"),
        (odd.to_string(),                  "audit.jsonl:2: `nowhere` is not an endpoint"),
    ];
    for (line, said) in table {
        let home = logged(&three());
        let text = fs::read_to_string(home.path("audit.jsonl")).unwrap();
        home.file("audit.jsonl", text.replacen('\n', &format!("\n{line}\n"), 1));
        let ran = replay(&home, "builtin:rules", &[]);
        assert!(ran.code == 2 && ran.err.contains(said), "{ran:?}");
        let (code, answer, errors) = rules(&home, &[]);
        let told = answer["error"].as_str().unwrap_or_default();
        assert!(
            code == 2 && told.contains(said) && errors.is_empty(),
            "{answer} {errors}"
        );
        let (code, answer, errors) = rules(&home, &["--skip-broken"]);
        assert_eq!(
            (code, &answer["asked"], &answer["broken"]),
            (0, &3.into(), &1.into()),
            "{errors}"
        );
        assert!(errors.contains("warning: audit.jsonl:2: skipped: "), "{errors}");
    }
}

#[test]
fn what_administrators_and_policies_did_is_passed_over() {
    let home = logged(&three());
    let text = fs::read_to_string(home.path("audit.jsonl")).unwrap();
    let others = [
        json!({ "event": "admin-action", "action": "lock", "uid": 0, "admin": "root", "detail": { "user": "bob" } }),
        json!({ "event": "policy-swapped", "by": "file", "generation": 2, "policy": { "name": "rules" }, "previous": null }),
        json!({ "event": "policy-swapped", "by": "root", "generation": 3, "policy": {}, "reason": "tried" }),
        json!({ "event": "policy-rejected", "name": "rules", "reason": "no", "by": "root" }),
        json!({ "event": "policy-differs", "action": "connect", "target": "nowhere", "verdict": 7, "terms": "none" }),
        json!({ "event": "gateway-upgraded", "ok": true, "process": 7, "names": [], "groups": 1, "certificate": "x" }),
        json!({ "event": "of-a-later-gateway", "resolved": "x", "method": {}, "again": 1 }),
    ];
    let others = others.map(|mut line| {
        line["v"] = 1.into();
        line["time"] = "2026-01-01T00:00:00.000000Z".into();
        format!("\n{line}\n")
    });
    home.file(
        "audit.jsonl",
        text.replacen('\n', &others.concat().replace("\n\n", "\n"), 1),
    );
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!(
        (code, &answer["asked"], &answer["broken"]),
        (0, &3.into(), &0.into()),
        "{answer} {errors}"
    );
}

#[test]
fn a_line_of_any_length_is_one() {
    let lines = three();
    let home = logged(&[]);
    let long = "x".repeat(40 << 20);
    let [first, second, third, last] = [0, 1, 2, 3].map(|number: usize| lines[number].to_string());
    let text = format!("{first}\n{second}\n{long}\n{third}\nhello\n{last}\n{long}");
    home.file("audit.jsonl", text);
    let (code, answer, errors) = rules(&home, &["--skip-broken"]);
    assert_eq!(
        (code, &answer["asked"], &answer["broken"]),
        (0, &3.into(), &3.into()),
        "{errors}"
    );
    for said in [
        "audit.jsonl:3: skipped: it is not an audit log line: it is longer than 16 MiB",
        "audit.jsonl:5: skipped: ",
        "audit.jsonl:7: ",
    ] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
    let forward = lines[3]["forward"].as_str().unwrap();
    let one = [
        "plugin",
        "run",
        "builtin:rules",
        "--audit",
        "audit.jsonl",
        "--forward",
        forward,
    ];
    let ran = home.run(&one);
    assert!(
        ran.code == 10 && ran.out.contains("recorded  deny (no-rule)"),
        "{ran:?}"
    );
}

#[test]
fn wrong_input_is_told_before_anything_is_asked() {
    let home = logged(&three());
    home.file("two.toml", "[[policy.plugin]]\nname = \"a\"\ncomponent = \"builtin:rules\"\n[[policy.plugin]]\nname = \"b\"\ncomponent = \"builtin:rules\"\n");
    #[rustfmt::skip]
    let table: [(&[&str], &str); 9] = [
        (&["builtin:rules", "--against", "/dev/zero"],                                           "/dev/zero: it is not a regular file"),
        (&["builtin:rules", "--against", "gone.jsonl"],                                          "gone.jsonl: No such file"),
        (&["builtin:rules", "--against", "."],                                                   ".: is a directory"),
        (&["builtin:rulez", "--against", "audit.jsonl"],                                         "builtin:rules"),
        (&["gone.wasm", "--against", "audit.jsonl"],                                             "gone.wasm: No such file"),
        (&["rules.toml", "--against", "audit.jsonl"],                                            "it is not WebAssembly"),
        (&["builtin:rules", "--against", "audit.jsonl", "--baseline-settings", "rules.toml"],    "needs --baseline"),
        (&["builtin:rules", "--against", "audit.jsonl", "--config", "two.toml"],                 "`--plugin` and one of a, b"),
        (&["builtin:rules", "--against", "audit.jsonl", "--config", "two.toml", "--plugin", "c"], "no plugin is called `c`; expected one of: a, b"),
    ];
    for (arguments, said) in table {
        let ran = home.run(&[&["plugin", "replay"], arguments].concat());
        assert!(ran.code == 2 && ran.err.contains(said), "{said}: {ran:?}");
    }
}

#[test]
fn a_log_without_a_decision_is_no_agreement() {
    let home = logged(&three()[..1]);
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!((code, &answer["asked"]), (1, &0.into()), "{errors}");
    assert!(
        errors.contains("the log contains no decisions: nothing was compared"),
        "{errors}"
    );
}

#[test]
fn several_logs_are_one() {
    let lines = three();
    let home = logged(&lines[..2]);
    log(&home, "later.jsonl", &lines[2..]);
    let (code, answer, errors) = rules(&home, &["--against", "later.jsonl"]);
    assert_eq!((code, &answer["asked"], errors.as_str()), (0, &3.into(), ""));
}

/// As logrotate and gzip leave them.
fn compressed(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_log_is_read_as_it_was() {
    let home = logged(&three());
    let text = fs::read(home.path("audit.jsonl")).unwrap();
    let half = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    #[rustfmt::skip]
    let table = [
        ("one",           compressed(&text)),
        // What `cat a.gz b.gz` gives.
        ("two in a row",  [compressed(&text[..half]), compressed(&text[half..])].concat()),
    ];
    for (what, bytes) in table {
        home.file("audit.jsonl", bytes);
        let (code, answer, errors) = rules(&home, &[]);
        assert_eq!((code, &answer["asked"], errors.as_str()), (0, &3.into(), ""), "{what}");
    }
    let whole = compressed(&text);
    home.file("audit.jsonl", &whole[..whole.len() - 12]);
    let ran = replay(&home, "builtin:rules", &["--settings", "rules.toml"]);
    assert!(ran.code == 1 && ran.err.contains("audit.jsonl"), "cut off: {ran:?}");
}

#[test]
fn without_the_login_the_groups_come_from_a_configuration() {
    let home = logged(&three()[1..]);
    let (code, answer, errors) = rules(&home, &[]);
    assert_eq!(
        (code, &answer["different"], &answer["incomplete"]),
        (10, &2.into(), &3.into())
    );
    assert!(errors.contains("3 decisions were replayed without groups"), "{errors}");
    let config = home.file(
        "portreeve.toml",
        "[[user]]\nname = \"alice\"\ngroups = [\"dba\"]\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nrewrite = true\nsettings-file = \"rules.toml\"\n",
    );
    let ran = replay(&home, "builtin:rules", &["--config", &config]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn a_name_is_what_it_was_and_nobody_is_asked_for_another() {
    let denied = json!({ "verdict": "deny", "code": "no-rule" });
    let mut known = decision(2, 0, "alice", "app.internal:80", denied.clone());
    known["names"] = json!({ "app.internal": ["10.0.0.1"], "slow.internal": "timed-out" });
    let home = logged(&[
        login(0, "alice", &["dba"]),
        decision(1, 0, "alice", "app.internal:81", denied.clone()),
        known,
        // A gateway makes no denial of one that may rest on a name without an answer, and neither does a replay.
        decision(
            3,
            0,
            "alice",
            "slow.internal:80",
            json!({ "verdict": "failed", "code": "name-unanswered" }),
        ),
        decision(4, 0, "alice", "unknown.internal:80", denied),
    ]);
    home.file(
        "rules.toml",
        "[default]\ncode = \"no-rule\"\n[[rules]]\nname = \"net\"\naddresses = \"10.0.0.0/8\"\noutcome = \"allow\"\n",
    );
    let (code, answer, errors) = rules(&home, &["--grant", "names"]);
    assert_eq!(code, 10, "{errors}");
    let asked: Vec<_> = answer["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["request"].clone())
        .collect();
    assert_eq!(asked, ["connect app.internal:81", "connect app.internal:80"]);
}

#[test]
fn a_policy_that_remembers_is_asked_in_the_order_and_by_the_clock_of_the_log() {
    let allow = json!({ "verdict": "allow", "terms": {} });
    let deny = json!({ "verdict": "deny", "code": "test-rule" });
    // The hour that begins with the first has room for three; after it the count begins anew.
    let hour = 3_600_000 / 137 + 1;
    let lines: Vec<_> = [
        (0, &allow),
        (1, &allow),
        (2, &allow),
        (3, &deny),
        (hour, &allow),
        (hour + 1, &allow),
    ]
    .into_iter()
    .map(|(number, decided)| decision(number, 0, "alice", "db:22", decided.clone()))
    .collect();
    let home = logged(&[vec![login(0, "alice", &[])], lines].concat());
    home.file("counts.wasm", Guest::that(Does::CountsTo(3)).importing_state().build());
    let ran = replay(&home, "counts.wasm", &["--grant", "state"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("one after the other"), "{}", ran.out);
    home.file("counts.wasm", Guest::that(Does::CountsTo(2)).importing_state().build());
    let ran = replay(&home, "counts.wasm", &["--grant", "state", "--json"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &answer["different"]), (10, &1.into()), "{answer:#}");
}

#[test]
fn a_policy_that_counts_in_no_dry_run_counts_where_it_is_told_that_it_is_none() {
    let allow = json!({ "verdict": "allow", "terms": {} });
    let deny = json!({ "verdict": "deny", "code": "test-rule" });
    let decided = [&allow, &allow, &deny];
    let lines = (1..)
        .zip(decided)
        .map(|(number, decided)| decision(number, 0, "alice", "db:22", decided.clone()));
    let home = logged(&std::iter::once(login(0, "alice", &[])).chain(lines).collect::<Vec<_>>());
    let guest = Guest::that(Does::CountsTo(2)).on(When::Dry, allows()).importing_state();
    home.file("counts.wasm", guest.build());
    let ran = replay(&home, "counts.wasm", &["--grant", "state"]);
    assert!(
        ran.code == 10 && ran.out.contains(": 1 differs"),
        "it looks and does not count: {ran:?}"
    );
    let ran = replay(&home, "counts.wasm", &["--grant", "state", "--no-dry-run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn a_failure_is_a_decision_and_a_change_of_it_a_difference() {
    let failed = json!({ "verdict": "failed", "code": "trap", "reason": "the policy trapped" });
    let refused = json!({ "verdict": "deny", "by": "floor", "code": "deny", "reason": "a floor" });
    let home = logged(&[
        login(0, "alice", &[]),
        decision(1, 0, "alice", "db:5", failed),
        decision(2, 0, "alice", "169.254.169.254:80", refused),
    ]);
    let answer = |guest: Guest| {
        home.file("policy.wasm", guest.build());
        let ran = replay(&home, "policy.wasm", &["--json"]);
        let answer: Value = serde_json::from_str(&ran.out).unwrap();
        let groups = answer["groups"].as_array().unwrap().clone();
        let changes: Vec<_> = groups
            .iter()
            .map(|group| group["change"].as_str().unwrap().to_owned())
            .collect();
        (ran.code, changes)
    };
    let changed = |change: &str| vec![change.to_owned()];
    assert_eq!(
        answer(Guest::that(allows())),
        (10, changed("failed → allow")),
        "the floor's own refusal is no change"
    );
    assert_eq!(
        answer(Guest::that(denies_with("no", "", ""))),
        (10, vec!["failed → deny".to_owned(), "allow → deny".to_owned()])
    );
    let traps_again = Guest::that(allows()).on(When::Port(5), Does::Traps);
    assert_eq!(answer(traps_again), (0, Vec::new()));
}

#[test]
fn a_project_says_itself_how_it_is_to_be_asked() {
    let home = logged(&three());
    fs::create_dir(home.path("project")).unwrap();
    let project =
        "name = \"rules\"\ncomponent = \"builtin:rules\"\nsettings-file = \"../rules.toml\"\nrewrite = true\n";
    home.file("project/policy.toml", project);
    let ran = replay(&home, "project", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    home.file("project/policy.toml", project.replace("component", "components"));
    let ran = replay(&home, "project", &[]);
    assert!(ran.code == 2 && ran.err.contains("project/policy.toml:2:"), "{ran:?}");
}

/// A project of this policy in a folder of its own.
fn project(home: &Home, folder: &str, text: &str) {
    fs::create_dir(home.path(folder)).unwrap();
    home.file(&format!("{folder}/policy.toml"), text);
}

#[test]
fn each_side_is_asked_with_the_grants_of_its_own_project() {
    let allow = json!({ "verdict": "allow", "terms": {}, "tags": { "rule": "net" } });
    let mut known = decision(2, 0, "alice", "app.internal:80", allow.clone());
    known["names"] = json!({ "app.internal": ["10.0.0.1"] });
    let first = decision(1, 0, "alice", "app.internal:80", allow);
    let home = logged(&[login(0, "alice", &[]), first, known]);
    for (folder, grants, matched) in [
        ("old", "[\"names\"]", "addresses = \"10.0.0.0/8\""),
        ("new", "[]", "hosts = \"app.internal\""),
    ] {
        let policy = "name = \"rules\"\ncomponent = \"builtin:rules\"\nsettings-file = \"rules.toml\"\n";
        project(&home, folder, &format!("{policy}grants = {grants}\n"));
        let rules = format!("[[rules]]\nname = \"net\"\n{matched}\noutcome = \"allow\"\n");
        home.file(&format!("{folder}/rules.toml"), rules);
    }
    let ran = replay(&home, "new", &["--baseline", "old"]);
    assert_eq!(ran.code, 0, "the old one knows names: {}{}", ran.out, ran.err);
    let ran = replay(&home, "old", &["--baseline", "new"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("one after the other"), "{}", ran.out);

    home.file("counts.wasm", Guest::that(Does::CountsTo(1)).importing_state().build());
    home.file("allows.wasm", Guest::that(allows()).build());
    let counts = "name = \"counts\"\ncomponent = \"../counts.wasm\"\ngrants = [\"state\"]\n";
    project(&home, "counts", counts);
    let ran = replay(&home, "allows.wasm", &["--baseline", "counts"]);
    assert!(
        ran.code == 10 && ran.out.contains("one after the other") && ran.out.contains(": 1 differs"),
        "the old one counts in the order of the log: {}{}",
        ran.out,
        ran.err
    );
}

#[test]
fn what_was_open_and_asked_again_is_told_so() {
    let mut again = decision(
        2,
        0,
        "alice",
        "db:22",
        json!({ "verdict": "deny", "code": "test-rule" }),
    );
    again["again"] = "recheck".into();
    let allow = json!({ "verdict": "allow", "terms": {} });
    let home = logged(&[login(0, "alice", &[]), decision(1, 0, "alice", "db:22", allow), again]);
    let guest = Guest::that(allows()).on(When::Again, denies("no more"));
    home.file("policy.wasm", guest.build());
    let ran = replay(&home, "policy.wasm", &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn a_component_in_its_project_is_asked_as_the_project_says() {
    let home = logged(&three());
    let guest = Guest::that(Does::CountsTo(2)).importing_state();
    fs::create_dir(home.path("project")).unwrap();
    home.file("project/counts.wasm", guest.build());
    let project = "name = \"counts\"\ncomponent = \"counts.wasm\"\ngrants = [\"state\"]\n";
    home.file("project/policy.toml", project);
    for file in ["project", "project/counts.wasm"] {
        let ran = replay(&home, file, &["--json"]);
        let answer: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        assert_eq!(answer["policies"][0]["name"], "counts", "{file}: {ran:?}");
    }
    home.file("project/policy.toml", project.replace("grants", "grant"));
    let ran = replay(&home, "project/counts.wasm", &[]);
    assert!(ran.code == 2 && ran.err.contains("project/policy.toml:3:"), "{ran:?}");
}
