//! What `explain` is told of who asks, and when.

use crate::program::Home;

/// Rules that ask how the user logged in, with which principal, and when.
const RULES: &str = r#"
[[rules]]
name = "certified"
principals = "ops"
outcome = "allow"

[[rules]]
name = "typed"
methods = "password"
outcome = "deny"

[[rules]]
name = "hours"
when = { days = "mon-fri", from = "08:00", to = "18:00" }
outcome = "allow"
"#;

#[test]
fn a_question_says_who_asks_how_and_when() {
    let home = Home::new();
    home.file("rules.toml", RULES);
    let file = home.file(
        "portreeve.toml",
        "[[user]]\nname = \"alice\"\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nsettings-file = \"rules.toml\"\n",
    );
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 7] = [
        // what is said                                              code  what is in the answer
        (&["--now", "2026-11-24T09:00:00Z"],                          0,   "hours"),
        (&["--now", "2026-11-24T19:00:00Z"],                          10,  "no-rule"),
        (&["--now", "2026-11-28T09:00:00Z"],                          10,  "no-rule"),
        (&["--now", "2026-11-28T09:00:00Z", "--principal", "ops"],    0,   "certified"),
        (&["--principal", "dev", "--principal", "ops"],               0,   "certified"),
        (&["--now", "2026-11-24T09:00:00Z", "--method", "password"],  10,  "typed"),
        (&["--method", "password", "--principal", "ops"],             0,   "certified"),
    ];
    for (said, code, words) in table {
        let arguments = [
            &["explain", "--json", "--config", &file, "--user", "alice"],
            said,
            &["connect", "192.0.2.1:1"],
        ];
        let ran = home.run(&arguments.concat());
        assert!(ran.code == code && ran.out.contains(words), "{said:?}: {ran:?}");
    }
    for said in [
        &["--now", "yesterday"][..],
        &["--claim", "team"],
        &["--method", "password", "--key", "SHA256:a"],
    ] {
        let arguments = [
            &["explain", "--config", &file, "--user", "alice"],
            said,
            &["connect", "192.0.2.1:1"],
        ];
        assert_eq!(home.run(&arguments.concat()).code, 2, "{said:?}");
    }
}

#[test]
fn a_claim_of_the_question_stands_in_for_the_configured_one() {
    let home = Home::new();
    // It answers with the request as it saw it.
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/0.1.0/rust.wasm");
    let file = home.file(
        "portreeve.toml",
        format!(
            "[[user]]\nname = \"alice\"\nclaims = {{ team = \"web\", site = \"north\" }}\n[[policy.plugin]]\nname = \"echo\"\n\
             component = {component:?}\ngrants = [\"names\", \"state\", \"view\"]\n"
        ),
    );
    let ran = home.run(&[
        "explain",
        "--json",
        "--config",
        &file,
        "--user",
        "alice",
        "--claim",
        "team=payments",
        "--claim",
        "level=3",
        "connect",
        "echo.test:22",
    ]);
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let reason = answer["reason"].as_str().unwrap_or_default();
    for words in [
        "\"team\"=text(\"payments\")",
        "\"site\"=text(\"north\")",
        "\"level\"=number(3)",
    ] {
        assert!(reason.contains(words), "{words}: {ran:?}");
    }
    assert!(!reason.contains("web"), "{reason}");
}
