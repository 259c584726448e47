//! `portreeve plugin test`.

use crate::abi::V;
use crate::guests::{Does, Guest, When, allows_with, denies, rewrites};
use crate::program::Home;

/// Denies port 1, moves port 2, traps at port 3, spins at port 4, chatters at port 5, and allows all else for a minute.
fn guest() -> Vec<u8> {
    let tags = V::List(vec![V::Tuple(vec![V::text("rule"), V::text("rest")])]);
    let hints = V::List(vec![V::Tuple(vec![V::text("colour"), V::case("text", V::text("red"))])]);
    let network = V::Record(vec![
        ("cidr", V::text("10.0.0.0/8")),
        ("effect", V::Case("refuse", None)),
    ]);
    Guest::that(allows_with(vec![
        ("max-seconds", V::some(V::Number(60))),
        ("address-rules", V::List(vec![network])),
        ("tags", tags),
        ("hints", hints),
    ]))
    .on(When::Port(1), denies("ask the database team"))
    .on(When::Port(2), rewrites("127.0.0.1:5432"))
    .on(When::Port(3), Does::Traps)
    .on(When::Port(4), Does::Spins)
    .on(When::Port(5), Does::Chatters)
    .build()
}

fn project(cases: &str) -> Home {
    let home = Home::new();
    home.file("guest.wasm", guest());
    home.file(
        "policy.toml",
        "name = \"guest\"\nlanguage = \"rust\"\ncomponent = \"guest.wasm\"\nrewrite = true\n",
    );
    std::fs::create_dir(home.path("cases")).unwrap();
    home.file("cases/all.toml", cases);
    home
}

#[test]
fn a_wrong_target_is_one_fault() {
    let home = project("[[case]]\nname = \"wrong\"\nrequest = { target = \"db\" }\nexpect = { verdict = \"allow\" }\n");
    let ran = home.run(&["plugin", "test", "--json", "."]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let faults = report["faults"].as_array().unwrap();
    assert!(ran.code == 2 && faults.len() == 1, "{report:#}");
}

const RIGHT: &str = r#"
[request]
user = "bob"

[[case]]
name = "denied"
request = { target = "db:1" }
expect = { verdict = "deny", code = "test-rule", reason = "a rule of the test", tell-user = "ask the database team" }

[[case]]
name = "moved"
request = { target = "db:2" }
expect = { verdict = "rewrite", to = "127.0.0.1:5432", reason = "moved by the test", terms = {} }

[[case]]
name = "trapped"
request = { target = "db:3" }
expect = { verdict = "failed", code = "trap" }

[[case]]
name = "late"
request = { target = "db:4" }
expect = { verdict = "failed", code = "deadline" }

[[case]]
name = "on terms"
request = { target = "DB.Internal.:6" }
expect = { verdict = "allow", tags = { rule = "rest" }, log = [], calls = [], terms = { max-seconds = 60, address-rules = [{ cidr = "10.0.0.0/8", effect = "refuse" }], tags = { rule = "rest" }, hints = { colour = "red" } } }
fuel = 100000

[[case.then]]
after = "1h"
request = { action = "listen", target = "localhost:1" }
expect = { verdict = "deny" }
"#;

#[test]
fn what_a_policy_answers_is_compared_key_by_key() {
    let home = project(RIGHT);
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("policy guest 1.0.0 (sha256 "), "{}", ran.out);
    assert!(ran.out.contains("5 passed, 0 failed"), "{}", ran.out);
    assert!(!ran.out.contains('\x1b'), "no colour in a pipe: {}", ran.out);
}

#[test]
fn each_difference_fails_its_case_and_is_shown() {
    #[rustfmt::skip]
    let table = [
        // what is expected instead of what is answered   shown
        ("code = \"test-rule\"", "code = \"other\"",       "code       expected \"other\""),
        ("ask the database team", "ask somebody",          "tell-user  expected \"ask somebody\""),
        ("to = \"127.0.0.1:5432\"", "to = \"db:5432\"",    "to         expected \"db:5432\""),
        ("code = \"trap\"", "code = \"memory\"",           "code       expected \"memory\""),
        ("terms = {}", "terms = { idle-seconds = 1 }",     "terms      expected {\"idle-seconds\":1}"),
        ("{ max-seconds = 60", "{ max-seconds = 61",       "\"max-seconds\":61"),
        ("colour = \"red\"", "colour = \"blue\"",          "\"colour\":\"blue\""),
        ("effect = \"refuse\"", "effect = \"permit\"",     "\"effect\":\"permit\""),
        ("{ rule = \"rest\" }, log", "{ rule = \"x\" }, log", "tags       expected {\"rule\":\"x\"}"),
        ("log = []", "log = [\"info: hello\"]",            "log        expected info: hello"),
        ("fuel = 100000", "fuel = 10",                     "fuel       expected at most 10"),
        ("expect = { verdict = \"deny\" }", "expect = { verdict = \"allow\" }", "then[0] verdict expected allow"),
        ("expect = { verdict = \"deny\" }", "",            "let --update record this answer"),
    ];
    for (right, wrong, shown) in table {
        assert!(RIGHT.contains(right), "{right}");
        let home = project(&RIGHT.replacen(right, wrong, 1));
        let ran = home.run(&["plugin", "test", "."]);
        assert_eq!(ran.code, 1, "{wrong}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(shown), "{shown}: {}", ran.out);
        assert!(ran.out.contains("4 passed, 1 failed"), "{wrong}: {}", ran.out);
    }
}

/// Allows one at a time: an end makes room.
const ENDS: &str = r#"
grants = ["state"]
[request]
target = "db:5432"

[[case]]
name = "an end makes room for the next"
expect = { verdict = "allow" }
[[case.then]]
expect = { verdict = "deny" }
[[case.then]]
ended = { id = "f-2", cause = "idle", milliseconds = 1200, bytes-up = 10, bytes-down = 20, dialled = "10.0.0.5:5432" }
expect = { log = ["info: idle"], calls = ['state.add("requests", -1, 3600)'] }
[[case.then]]
ended = {}
[[case.then]]
expect = { verdict = "allow" }
[[case.then]]
after = "61m"
expect = { verdict = "allow" }

[[case]]
name = "an end of which nobody knows"
ended = { cause = "drained" }
expect = { log = ["info: drained"] }
"#;

fn hearing() -> Home {
    let home = project(ENDS);
    let guest = Guest::that(Does::CountsTo(1)).importing_state().hearing(Does::Uncounts);
    home.file("guest.wasm", guest.build());
    home
}

#[test]
fn an_end_is_told_to_the_policy_on_the_state_of_its_case() {
    let home = hearing();
    let ran = home.run(&["plugin", "test", "."]);
    assert!(
        ran.code == 0 && ran.out.contains("2 passed, 0 failed"),
        "{}{}",
        ran.out,
        ran.err
    );
    let ran = home.run(&["plugin", "test", "--json", "."]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let end = &report["cases"][0]["answers"][2];
    assert_eq!(end["verdict"], "told", "{report:#}");
    assert!(end["fuel"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn an_end_that_is_taken_otherwise_fails_its_case() {
    let home = hearing();
    #[rustfmt::skip]
    let table = [
        // in the place of                     this                          shown
        ("log = [\"info: idle\"]",             "log = [\"info: closed\"]",   "then[1] log expected info: closed"),
        ("{ log = [\"info: drained\"] }",      "{ verdict = \"failed\" }",   "verdict    expected failed"),
        ("ended = {}",                         "ended = {}\nfuel = 1",       "then[2] fuel expected at most 1"),
    ];
    for (right, wrong, shown) in table {
        assert!(ENDS.contains(right), "{right}");
        home.file("cases/all.toml", ENDS.replacen(right, wrong, 1));
        let ran = home.run(&["plugin", "test", "."]);
        assert!(
            ran.code == 1 && ran.out.contains(shown),
            "{shown}: {}{}",
            ran.out,
            ran.err
        );
    }
    let trap = Guest::that(Does::CountsTo(1)).importing_state().hearing(Does::Traps);
    home.file("guest.wasm", trap.build());
    home.file("cases/all.toml", ENDS);
    let ran = home.run(&["plugin", "test", "."]);
    assert!(ran.out.contains("then[2] verdict expected told"), "{}", ran.out);
    assert!(ran.out.contains("found    failed (trap: "), "{}", ran.out);
}

#[test]
fn a_component_that_is_not_told_of_ends_is_an_error_of_the_step() {
    let home = project("[[case]]\nname = \"a\"\nended = {}\n");
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 1);
    let words = "line 1: this component is not told when forwards end: build it with `on-ended` (world = \"observing-policy\" in policy.toml), or remove this step";
    assert!(ran.out.contains(words), "{}", ran.out);
}

#[test]
fn a_wrong_end_is_told_with_its_place_and_the_mend() {
    let text = "[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\nended = { milis = 1, cause = \"over\", dialled = \"db:1\" }\nexpect = { verdict = \"allow\", to = \"db:2\" }\n";
    let ran = project(text).run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 2);
    for words in [
        "all.toml:4:1: case[0].ended: `request` is also set: an end is a separate step, in a [[case.then]]",
        "all.toml:4:11: case[0].ended.milis: unknown key",
        "case[0].ended.cause: must be one of closed, idle, expired, byte-limit, revoked, stalled, killed, failed, drained, found \"over\"",
        "case[0].ended.dialled: must be an address and a port",
        "case[0].expect.verdict: must be one of told, failed, rejected, found \"allow\"",
        "case[0].expect.to: an end has no verdict: remove this key, and compare `log` or `calls`",
    ] {
        assert!(ran.err.contains(words), "{words}\n{}", ran.err);
    }
}

#[test]
fn a_wrong_key_is_named_with_its_place_and_what_was_meant() {
    let text = "[[case]]\nname = \"a\"\nrequest = { traget = \"db:1\" }\nexpects = {}\n\n[[case]]\nname = \"a\"\nrequest = { target = \"db:0\" }\nexpect = { verdict = \"denied\", terms = { max-second = 1 } }\n";
    let home = project(text);
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 2);
    for words in [
        "all.toml:3:13: case[0].request.traget: unknown key; did you mean `target`?",
        "all.toml:4:1: case[0].expects: unknown key; did you mean `expect`?",
        "all.toml:7:8: case[1].name: `a` is already used on line 2",
        "all.toml:8:1: case[1].request: cannot connect to db:0",
        "case[1].expect.verdict: must be one of allow, deny, rewrite, failed, rejected, found \"denied\"",
        "case[1].expect.terms.max-second: unknown key; did you mean `max-seconds`?",
    ] {
        assert!(ran.err.contains(words), "{words}\n{}", ran.err);
    }
    let ran = home.run(&["plugin", "test", "--json", "."]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["faults"][0]["line"]), (2, &3.into()));
}

#[test]
fn results_are_there_for_programs_and_build_servers() {
    let home = project(&RIGHT.replacen("code = \"trap\"", "code = \"<memory>\"", 1));
    let ran = home.run(&["plugin", "test", "--json", "--junit", "out.xml", "cases/all.toml"]);
    assert_eq!(ran.code, 1);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["ok"], &report["passed"], &report["failed"]),
        (&false.into(), &4.into(), &1.into())
    );
    let failed = &report["cases"][2];
    assert_eq!((&failed["name"], &failed["ok"]), (&"trapped".into(), &false.into()));
    assert_eq!(
        (&failed["differences"][0]["what"], &failed["differences"][0]["found"]),
        (&"code".into(), &"\"trap\"".into())
    );
    assert_eq!(report["cases"][4]["answers"][0]["terms"]["max-seconds"], 60);
    let xml = std::fs::read_to_string(home.path("out.xml")).unwrap();
    assert!(xml.contains("tests=\"5\" failures=\"1\""), "{xml}");
    assert!(
        xml.contains("<failure message=\"code: expected &quot;&lt;memory&gt;&quot;, found &quot;trap&quot;\">"),
        "{xml}"
    );
}

#[test]
fn update_records_the_answers_and_keeps_the_rest_of_the_file() {
    let wrong = "# why this file is here\n[[case]]\nname = \"denied\" # so it is\nrequest = { target = \"db:1\" }\n\n[[case]]\nname = \"moved\"\nrequest = { target = \"db:2\" }\n[case.expect]\n# it was allowed once\nverdict = \"allow\"\n";
    let home = project(wrong);
    let ran = home.run(&["plugin", "test", "--update", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("(recorded)"), "{}", ran.out);
    let after = std::fs::read_to_string(home.path("cases/all.toml")).unwrap();
    assert_eq!(
        after,
        "# why this file is here\n[[case]]\nname = \"denied\" # so it is\nrequest = { target = \"db:1\" }\nexpect = { verdict = \"deny\", code = \"test-rule\", tell-user = \"ask the database team\" }\n\n[[case]]\nname = \"moved\"\nrequest = { target = \"db:2\" }\n[case.expect]\n# it was allowed once\nverdict = \"rewrite\"\nto = \"127.0.0.1:5432\"\n"
    );
    assert_eq!(home.run(&["plugin", "test", "."]).code, 0);
    assert_eq!(std::fs::read_to_string(home.path("cases/all.toml")).unwrap(), after);
}

#[test]
fn update_keeps_the_line_ends_of_the_file() {
    let before = "[[case]]\nname = \"a\"\n\n[case.request]\ntarget = \"db:1\"\n\n\
        [[case]]\nname = \"b\"\nrequest = { target = \"db:1\" }\n[case.expect]\n# why\nverdict = \"allow\"\nto = \"db:2\"\n";
    let unix = project(before);
    let dos = project(&before.replace('\n', "\r\n"));
    let updated = [unix, dos].map(|home| {
        let ran = home.run(&["plugin", "test", "--update", "."]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let ran = home.run(&["plugin", "test", "."]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        std::fs::read_to_string(home.path("cases/all.toml")).unwrap()
    });
    let [unix, dos] = updated;
    assert!(unix.contains("code = \"test-rule\""), "{unix}");
    assert_eq!(dos, unix.replace('\n', "\r\n"));
}

#[test]
fn update_leaves_a_file_that_passes_however_its_tables_are_written() {
    #[rustfmt::skip]
    let table = [
        // port  as it was                                                                       stays
        (6, "[case.expect.terms]\nmax-seconds = 1 # keep\n",                                      "max-seconds = 60 # keep\n"),
        (6, "[case.expect]\nverdict = \"allow\" # keep\n[case.expect.tags]\nrule = \"x\" # this\n", "rule = \"rest\" # this\n"),
        (6, "expect.terms.tags.x = \"y\" # keep\nfuel = 100000\n",                               "fuel = 100000\n"),
        (6, "[[case.expect.terms.address-rules]]\n# keep\ncidr = \"10.0.0.0/8\"\neffect = \"permit\"\n", "# keep\n"),
        (2, "[case.expect]\nverdict = \"deny\" # keep\ncode = \"gone\" # with it\n",            "# keep\n"),
        (1, "[case.expect]\nverdict = \"deny\"\nto = \"db:1\" # with it",                       "verdict = \"deny\"\n"),
        (2, "expect.verdict = \"deny\"\n",                                                      "expect.verdict = \"rewrite\"\n"),
        (1, "expect = {\n  verdict = \"allow\", # keep\n  to = \"db:1\",\n}\n",                  "  verdict = \"deny\", # keep\n"),
        (1, "expect = {\n  verdict = \"allow\" # keep\n}\n",                                    "  verdict = \"deny\", # keep\n"),
    ];
    for (port, expect, stays) in table {
        let home = project(&format!(
            "[[case]]\nname = \"a\"\nrequest = {{ target = \"db:{port}\" }}\n{expect}"
        ));
        let ran = home.run(&["plugin", "test", "--update", "."]);
        let after = std::fs::read_to_string(home.path("cases/all.toml")).unwrap();
        assert_eq!(ran.code, 0, "{expect}\n{after}\n{}{}", ran.out, ran.err);
        assert!(after.contains(stays), "{stays}\n{after}");
        let ran = home.run(&["plugin", "test", "."]);
        assert_eq!(ran.code, 0, "{expect}\n{after}\n{}{}", ran.out, ran.err);
    }
}

#[test]
fn a_file_that_is_named_twice_is_read_and_updated_once() {
    let home = project("[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\n");
    let ran = home.run(&["plugin", "test", "--update", ".", "cases", "cases/../cases/all.toml"]);
    assert!(
        ran.code == 0 && ran.out.contains("1 passed, 0 failed"),
        "{}{}",
        ran.out,
        ran.err
    );
    let after = std::fs::read_to_string(home.path("cases/all.toml")).unwrap();
    assert_eq!(after.matches("expect").count(), 1, "{after}");
}

#[test]
fn an_answer_that_no_case_file_can_hold_leaves_the_file_as_it_was() {
    let before = "[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\n";
    let home = project(before);
    let most = allows_with(vec![("max-bytes", V::some(V::Number(u64::MAX)))]);
    home.file("guest.wasm", Guest::that(most).build());
    let ran = home.run(&["plugin", "test", "--update", "."]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let words = "all.toml: nothing was recorded, the file is unchanged: case `a`: the answer has max-bytes = 18446744073709551615, but a case file can hold at most 9223372036854775807";
    assert!(ran.err.contains(words), "{}", ran.err);
    let after = std::fs::read_to_string(home.path("cases/all.toml")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn update_keeps_the_mode_of_a_file_and_the_link_to_it() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = project("");
    let case = "[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\n";
    let file = home.file("elsewhere", case);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::remove_file(home.path("cases/all.toml")).unwrap();
    symlink("../elsewhere", home.path("cases/all.toml")).unwrap();
    let ran = home.run(&["plugin", "test", "--update", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(home.path("cases/all.toml").is_symlink());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let after = std::fs::read_to_string(&file).unwrap();
    assert!(after.contains("expect = { verdict = \"deny\""), "{after}");
    assert_eq!(std::fs::read_dir(home.path("cases")).unwrap().count(), 1);
}

#[test]
fn only_the_cases_that_are_wanted_run() {
    let home = project(RIGHT);
    let ran = home.run(&["plugin", "test", "--filter", "mov", "."]);
    assert!(ran.code == 0 && ran.out.contains("1 passed, 0 failed"), "{}", ran.out);
    let ran = home.run(&["plugin", "test", "--filter", "nothing like it", "."]);
    assert!(ran.code == 2 && ran.err.contains("no case to run"), "{}", ran.err);
}

#[test]
fn what_does_not_load_is_said_once_with_the_mend() {
    let home = project(RIGHT);
    home.file(
        "guest.wasm",
        Guest::that(crate::guests::allows()).importing_names().build(),
    );
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.out.matches("add \"names\" to the plugin's `grants`").count(),
        1,
        "{}",
        ran.out
    );
    assert!(ran.out.contains("0 passed, 5 failed"), "{}", ran.out);
    std::fs::remove_file(home.path("guest.wasm")).unwrap();
    let ran = home.run(&["plugin", "test", "."]);
    assert!(
        ran.code == 2 && ran.out.contains("guest.wasm: No such file"),
        "{}",
        ran.out
    );
    std::fs::remove_dir_all(home.path("cases")).unwrap();
    let ran = home.run(&["plugin", "test", "."]);
    let words = "./cases: no case file: write one, as in cases/first.toml";
    assert!(ran.code == 2 && ran.err.contains(words), "{ran:?}");
}

#[test]
fn the_built_in_rules_tell_which_rules_never_decided() {
    let home = Home::new();
    let cases = r#"
component = "builtin:rules"
grants = ["names"]
[settings]
rules = [
  { name = "known", addresses = "10.0.0.0/8", outcome = "allow" },
  { name = "closed", hosts = "bad", code = "shut", outcome = "deny" },
  { ports = 7, outcome = "allow" },
]
[[case]]
name = "by address"
request = { target = "db:1" }
names = { db = ["10.0.0.1"] }
expect = { verdict = "allow", calls = ['names.resolve("db")'] }
[[case]]
name = "a name that is slow"
request = { target = "bad:1" }
names = { bad = "timed-out" }
expect = { verdict = "deny", code = "shut" }
[[case]]
name = "settings that are wrong"
settings = { rules = [{ outcome = "perhaps" }] }
expect = { verdict = "rejected", problems = [{ at = "/rules/0/outcome" }] }
request = { target = "db:1" }
"#;
    home.file("rules.toml", cases);
    let ran = home.run(&["plugin", "test", "rules.toml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("rules that decided: 2 of 3; never: rule-3"),
        "{}",
        ran.out
    );
}

#[test]
fn fuel_is_the_same_each_time() {
    let home = project(RIGHT);
    let fuel = || {
        let ran = home.run(&["plugin", "test", "--json", "--filter", "denied", "."]);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        report["cases"][0]["fuel"].as_u64().unwrap()
    };
    let first = fuel();
    assert!(first > 0);
    assert_eq!(first, fuel());
}

#[test]
fn state_keeps_the_time_of_the_case() {
    let home = Home::new();
    home.file("guest.wasm", Guest::that(Does::CountsTo(2)).importing_state().build());
    let cases = r#"
component = "guest.wasm"
grants = ["state"]
[request]
target = "db:1"
[[case]]
name = "the third of an hour is denied"
expect = { verdict = "allow", calls = ['state.add("requests", 1, 3600)'] }
[[case.then]]
after = "59m"
expect = { verdict = "allow" }
[[case.then]]
expect = { verdict = "deny" }
[[case.then]]
after = "1m"
expect = { verdict = "allow" }
[[case]]
name = "what is held at first"
state = { requests = 2 }
expect = { verdict = "deny" }
[[case]]
name = "and each case begins anew"
expect = { verdict = "allow" }
"#;
    home.file("cases.toml", cases);
    let ran = home.run(&["plugin", "test", "cases.toml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let wrong = cases
        .replace("after = \"1m\"", "after = \"0s\"")
        .replace("requests = 2", "requests = 1");
    home.file("cases.toml", wrong);
    let ran = home.run(&["plugin", "test", "cases.toml"]);
    assert!(ran.code == 1 && ran.out.contains("1 passed, 2 failed"), "{}", ran.out);
    assert!(ran.out.contains("then[2] verdict expected allow"), "{}", ran.out);
}

#[test]
fn a_policy_of_your_own_can_say_where_its_rules_are() {
    let home = Home::new();
    let tags = V::List(vec![V::Tuple(vec![V::text("rule"), V::text("rest")])]);
    let guest = Guest::that(allows_with(vec![("tags", tags)])).on(When::Port(1), denies("no"));
    let schema = r#"{ "type": "object", "x-portreeve-rules": "/access/list/*/id" }"#;
    home.file("guest.wasm", guest.schema(schema).build());
    let cases = r#"
component = "guest.wasm"
[settings]
access.list = [{ id = "rest" }, { id = "shut", code = "test-rule" }, { id = "canary" }, {}]
[[case]]
name = "one"
request = { target = "db:2" }
expect = { verdict = "allow" }
[[case.then]]
request = { target = "db:1" }
expect = { verdict = "deny" }
"#;
    home.file("cases.toml", cases);
    let ran = home.run(&["plugin", "test", "cases.toml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("rules that decided: 2 of 4; never: canary, rule-4"),
        "{}",
        ran.out
    );
}

#[test]
fn a_link_to_a_case_file_is_read_and_one_to_a_folder_is_not_followed() {
    use std::os::unix::fs::symlink;
    let home = project(RIGHT);
    symlink("..", home.path("cases/up")).unwrap();
    symlink(".", home.path("cases/again.toml")).unwrap();
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("5 passed, 0 failed"), "{}", ran.out);
    std::fs::rename(home.path("cases/all.toml"), home.path("elsewhere")).unwrap();
    symlink("../elsewhere", home.path("cases/all.toml")).unwrap();
    let ran = home.run(&["plugin", "test", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("5 passed, 0 failed"), "{}", ran.out);
}

#[test]
fn after_rejected_settings_every_step_is_compared() {
    let home = Home::new();
    let cases = r#"
component = "builtin:rules"
[[case]]
name = "settings that are wrong"
settings = { rules = 5 }
request = { target = "db:1" }
expect = { verdict = "rejected" }
[[case.then]]
expect = { verdict = "allow" }
[[case.then]]
expect = { verdict = "rejected" }
[[case.then]]
"#;
    home.file("rules.toml", cases);
    let ran = home.run(&["plugin", "test", "rules.toml"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("then[0] verdict expected allow"), "{}", ran.out);
    assert!(!ran.out.contains("then[1]"), "{}", ran.out);
    assert!(ran.out.contains("then[2] expect expected an `expect`"), "{}", ran.out);
}

#[test]
fn a_built_in_policy_that_is_not_there_is_wrong_usage() {
    let home = project(RIGHT);
    let ran = home.run(&["plugin", "test", "--component", "builtin:nope", "."]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let words = "unknown built-in policy `builtin:nope`: expected builtin:rules";
    assert!(ran.err.contains(words), "{}", ran.err);
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let home = project(RIGHT);
    let fifo = home.path("cases/fifo.toml");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, mend) in [
        (".", "remove it, or give it another name"),
        ("cases/fifo.toml", "name a case file or the folder of a project"),
    ] {
        // Nobody writes into the FIFO: a reader would wait for ever.
        let ran = home.run_for_a_while(&["plugin", "test", path]);
        assert_eq!(ran.code, 2, "{path}: {}{}", ran.out, ran.err);
        let words = format!("cases/fifo.toml: it is not a regular file: {mend}");
        assert!(ran.err.contains(&words), "{}", ran.err);
    }
}

#[test]
fn what_others_wrote_is_printed_without_what_a_terminal_would_obey() {
    let home = project("");
    let cases = r#"
component = "builtin:rules"
[settings]
rules = [{ name = "\u001b[31mnever", ports = 7, outcome = "allow" }]
[request]
target = "db:1"
[[case]]
name = "\u001b[31mgood"
expect = { verdict = "deny" }
[[case]]
name = "\u001b[31mbad"
expect = { verdict = "allow" }
[[case]]
name = "deaf"
state = { "\u001b[31m" = "long" }
expect = { verdict = "allow" }
"#;
    home.file(
        "\x1b[31m.toml",
        cases.replace("\"long\"", &format!("{:?}", "x".repeat(100_000))),
    );
    let gone = "component = \"\\u001b[31m.wasm\"\n[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\n";
    home.file("gone.toml", gone);
    let commands: [&[&str]; 4] = [
        &["plugin", "test", "\x1b[31m.toml", "gone.toml"],
        &["plugin", "new", "--lang", "go", "\x1b[31m/mine"],
        &["explain", "--user", "al\x1b[31mice", "connect", "\x1b[31m:1"],
        &["explain", "--user", "alice", "connect", "\x1b[31m"],
    ];
    for command in commands {
        let ran = home.run(command);
        assert!(
            ran.out.contains("[31m") || ran.err.contains("[31m"),
            "{command:?}: {ran:?}"
        );
        assert!(
            !ran.out.contains('\x1b') && !ran.err.contains('\x1b'),
            "{command:?}: {ran:?}"
        );
    }
}
