//! `portreeve plugin inspect`.

use crate::guests::{Guest, allows, denies};
use crate::program::Home;

#[test]
fn a_component_is_described_whole() {
    let home = Home::new();
    let component = Guest::that(allows()).importing_names().build();
    let file = home.file("policy.wasm", &component);
    let ran = home.run(&["plugin", "inspect", &file]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for words in [
        "policy      test 1.0.0",
        "summary     a policy of the tests",
        "world       portreeve:policy/policy@0.2.0 (track 0.2; this gateway speaks 0.2.0)",
        "imports     portreeve:policy/names@0.2.0 refused: ",
        "imports     portreeve:policy/log@0.2.0 granted (log)",
        "exports     portreeve:policy/decision@0.2.0",
        "resources   1 memory with 128.0 KiB at first, 1 table",
        "settings    no schema",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
    let ran = home.run(&["plugin", "inspect", "--json", "--grant", "names", &file]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["refused"]), (0, &serde_json::json!([])));
    assert_eq!(report["size"], component.len());
}

#[test]
fn an_older_track_is_named_with_the_way_on() {
    let home = Home::new();
    let component = Guest::that(allows()).of_track_0_1().importing_names().build();
    let file = home.file("policy.wasm", component);
    let ran = home.run(&["plugin", "inspect", "--grant", "names", &file]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for words in [
        "world       portreeve:policy/policy@0.1.0 (track 0.1: supported; this gateway speaks 0.2.0, \
         docs/versions.md says how to move)",
        "imports     portreeve:policy/names@0.1.0 granted (names)",
        "policy      test 1.0.0",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
}

#[test]
fn the_built_in_rules_have_a_schema() {
    let home = Home::new();
    let ran = home.run(&["plugin", "inspect", "--json", "builtin:rules"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["name"]), (0, &"rules".into()));
    assert!(report["settings-schema"]["properties"]["rules"].is_object());
}

#[test]
fn what_is_broken_is_still_described() {
    let home = Home::new();
    let good = Guest::that(allows());
    let mut cut = good.build();
    cut.truncate(cut.len() / 2);
    #[rustfmt::skip]
    let table = [
        ("a core module",     good.core(),                               "fault       it is a core module, not a component: convert it"),
        ("text",              b"hello".to_vec(),                         "fault       it is not WebAssembly"),
        ("of another version", Guest::that(allows()).for_world("0.9.0").build(), "fault       it was built for portreeve:policy 0.9.0; this gateway speaks 0.2.0"),
        ("cut",               cut,                                       "fault       it is damaged: "),
    ];
    for (what, component, words) in table {
        let file = home.file("policy.wasm", component);
        let ran = home.run(&["plugin", "inspect", &file]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.out);
        assert!(
            ran.out.contains(words) && ran.out.contains("sha256"),
            "{what}: {}",
            ran.out
        );
    }
    let ran = home.run(&["plugin", "inspect", "nowhere.wasm"]);
    assert!(
        ran.code == 2 && ran.err.contains("nowhere.wasm: No such file"),
        "{}",
        ran.err
    );
}

#[test]
fn two_components_are_compared() {
    let home = Home::new();
    let before = home.file("before.wasm", Guest::that(allows()).build());
    let after = Guest::that(denies("no")).version("1.1.0").importing_names().build();
    let after = home.file("after.wasm", after);
    let ran = home.run(&["plugin", "inspect", &before, &after]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for words in [
        "version     1.0.0 → 1.1.0",
        "sha256      ",
        "import      + portreeve:policy/names@0.2.0",
        "not granted portreeve:policy/names@0.2.0: ",
    ] {
        assert!(ran.out.contains(words), "{words}\n{}", ran.out);
    }
    let ran = home.run(&["plugin", "inspect", &before, &before]);
    assert!(ran.out.contains("nothing changed"), "{}", ran.out);
}

#[test]
fn the_newer_one_is_named_as_the_first_may_be() {
    let home = Home::new();
    home.file("guest.wasm", Guest::that(allows()).importing_names().build());
    std::fs::create_dir(home.path("mine")).unwrap();
    let rules = "name = \"mine\"\ncomponent = \"../guest.wasm\"\ngrants = [\"names\"]\n";
    home.file("mine/policy.toml", rules);
    #[rustfmt::skip]
    let table = [
        // the newer one     code  where         what is said
        ("builtin:rules",    0,    "name        test → rules"),
        ("mine",             0,    "guest.wasm → mine/../guest.wasm"),
        ("builtin:nope",     2,    "unknown built-in policy `builtin:nope`"),
        (".",                2,    ".: no policy.toml"),
    ];
    for (newer, code, words) in table {
        let ran = home.run(&["plugin", "inspect", "guest.wasm", newer]);
        assert_eq!(ran.code, code, "{newer}: {ran:?}");
        assert!(ran.out.contains(words) || ran.err.contains(words), "{newer}: {ran:?}");
    }
    let ran = home.run(&["plugin", "inspect", "guest.wasm", "mine"]);
    assert!(!ran.out.contains("not granted"), "its project grants it: {ran:?}");
}
