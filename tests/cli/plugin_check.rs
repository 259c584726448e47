//! `portreeve plugin check`.

use crate::guests::{Does, Guest, allows};
use crate::program::Home;

#[test]
fn every_gate_is_told_with_its_mend() {
    let good = || Guest::that(allows());
    #[rustfmt::skip]
    let table: [(&str, Vec<u8>, i32, &[&str]); 11] = [
        // what it is               the component                            code  what is said
        ("good",                    good().build(),                          0, &["ok    trial", "ok    snapshot", "a gateway would accept this component"]),
        ("text",                    b"no wasm".to_vec(),                     1, &["FAIL  component  it is not WebAssembly", "-     world      not reached"]),
        ("core module",             good().core(),                           1, &["FAIL  component  it is a core module", "wasm-tools component new"]),
        ("of another version",      good().for_world("0.3.0").build(),       1, &["FAIL  world      it was built for portreeve:policy 0.3.0; this gateway speaks 0.2.0"]),
        ("not granted",             good().importing_names().build(),        1, &["ok    world", "FAIL  imports    it imports `portreeve:policy/names@0.2.0`", "add \"names\"", "-     compiles   not reached"]),
        ("imports a stranger",      good().importing_a_stranger().build(),   1, &["FAIL  imports    it imports `stranger`"]),
        ("traps at the trial",      Guest::that(Does::Traps).build(),        1, &["ok    settings", "FAIL  trial      the test decision failed: the policy trapped"]),
        ("traps in configure",      good().configuring(Does::Traps).build(), 1, &["ok    types", "FAIL  trial"]),
        ("spins at the trial",      Guest::that(Does::Spins).build(),        1, &["FAIL  trial", "deadline"]),
        ("hoards at the trial",     Guest::that(Does::Hoards).build(),       1, &["FAIL  trial", "more memory"]),
        ("cut short",               cut(good().build()),                     1, &["FAIL  component  it is damaged: ", "-     world      not reached"]),
    ];
    let home = Home::new();
    for (what, component, code, words) in table {
        let file = home.file("policy.wasm", component);
        let ran = home.run(&["plugin", "check", &file]);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.out, ran.err);
        for words in words {
            assert!(ran.out.contains(words), "{what}: {words}\n{}", ran.out);
        }
    }
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 100);
    bytes
}

#[test]
fn each_problem_of_the_settings_has_its_place() {
    let home = Home::new();
    let settings = home.file(
        "rules.toml",
        "[[rules]]\nprots = 1\noutcome = \"allow\"\n[[rules]]\noutcome = \"perhaps\"\n",
    );
    let ran = home.run(&["plugin", "check", "builtin:rules", "--settings", &settings]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("FAIL  settings   /rules/0/prots: unknown key `prots`"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("FAIL  settings   /rules/1/outcome: "), "{}", ran.out);
    let ran = home.run(&["plugin", "check", "--json", "builtin:rules", "--settings", &settings]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["ok"], false);
    let gate = report["gates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|gate| gate["gate"] == "settings");
    assert_eq!(gate.unwrap()["problems"][0]["at"], "/rules/0/prots");
}

#[test]
fn settings_that_cannot_be_read_are_told_with_line_and_column() {
    let home = Home::new();
    for (name, text, words) in [
        ("a.json", "{\n  \"rules\": [,]\n}", "a.json:2:13: expected value"),
        ("b.json", "[]", "b.json:1:1: must be an object"),
        ("c.toml", "rules = \n", "c.toml:1:9: "),
    ] {
        home.file(name, text);
        let ran = home.run(&["plugin", "check", "builtin:rules", "--settings", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.out);
        assert!(ran.err.contains(words), "{name}: {}", ran.err);
    }
}

#[test]
fn a_configuration_says_what_is_granted_and_pinned() {
    let home = Home::new();
    let component = Guest::that(allows()).importing_names().build();
    let config = home.asking(&component, "");
    let ran = home.run(&["plugin", "check", "policy.wasm", "--config", &config]);
    assert!(
        ran.code == 1 && ran.out.contains("add \"names\""),
        "{}{}",
        ran.out,
        ran.err
    );
    let granted = std::fs::read_to_string(&config).unwrap();
    let granted = granted.replace("rewrite = true", "rewrite = true\ngrants = [\"names\"]");
    let config = home.file("portreeve.toml", &granted);
    let ran = home.run(&["plugin", "check", "policy.wasm", "--config", &config]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let pinned = granted.replace(
        "rewrite = true",
        &format!("rewrite = true\nsha256 = \"{}\"", "0".repeat(64)),
    );
    let config = home.file("portreeve.toml", pinned);
    let ran = home.run(&["plugin", "check", "policy.wasm", "--config", &config]);
    assert!(
        ran.code == 1 && ran.out.contains("FAIL  bytes      its SHA-256 is "),
        "{}",
        ran.out
    );
    let ran = home.run(&[
        "plugin",
        "check",
        "policy.wasm",
        "--config",
        &config,
        "--plugin",
        "other",
    ]);
    assert!(
        ran.code == 2 && ran.err.contains("no plugin is called `other`"),
        "{}",
        ran.err
    );
}

#[test]
fn a_folder_without_a_project_is_told_apart() {
    let home = Home::new();
    let ran = home.run(&["plugin", "check", "."]);
    assert!(ran.code == 2 && ran.err.contains("no policy.toml"), "{}", ran.err);
    home.file("policy.toml", "name = \"x\"\ncomponents = \"x.wasm\"\n");
    let ran = home.run(&["plugin", "check", "."]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("policy.toml:2:1: components: unknown key; did you mean `component`?"),
        "{}",
        ran.err
    );
}

#[test]
fn a_signature_that_is_demanded_is_a_gate() {
    let home = Home::new();
    let config = home.asking(&Guest::that(allows()).build(), "");
    home.file("allowed_signers", "");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "[[policy.plugin]]",
        "[policy]\nallowed-signers = \"allowed_signers\"\n[[policy.plugin]]",
    );
    home.file("portreeve.toml", text);
    let ran = home.run(&["plugin", "check", "policy.wasm", "--config", &config]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("FAIL  signature  "), "{}", ran.out);
    assert!(ran.out.contains("-     trial      not reached"), "{}", ran.out);
}

#[test]
fn wrong_input_is_code_2_and_for_programs_one_object() {
    let home = Home::new();
    #[rustfmt::skip]
    let table: [&[&str]; 9] = [
        &["check", "gone.wasm"],
        &["inspect", "gone.wasm"],
        &["inspect", "builtin:rules", "gone.wasm"],
        &["run", "gone.wasm", "connect", "db:1"],
        &["run", "builtin:rules", "--audit", "gone.jsonl", "--forward", "f-1"],
        &["bench", "gone.wasm"],
        &["bench", "builtin:rulez"],
        &["replay", "builtin:rules", "--against", "gone.jsonl"],
        &["verify", "gone.wasm", "--allowed-signers", "gone"],
    ];
    for arguments in table {
        let all = [&["plugin"], arguments].concat();
        let told = home.run(&all);
        assert!(told.code == 2 && told.out.is_empty(), "{arguments:?}: {told:?}");
        let ran = home.run(&[&all[..], &["--json"]].concat());
        assert!(ran.code == 2 && ran.err.is_empty(), "{arguments:?}: {ran:?}");
        let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let words = answer["error"].as_str().unwrap();
        assert!(answer["ok"] == false && told.err.contains(words), "{answer} {told:?}");
    }
}
