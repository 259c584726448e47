//! `check`, `explain`, and what all commands have in common.

use std::net::TcpListener;

use crate::guests::{Does, Guest, When, allows, denies, rewrites};
use crate::program::Home;

fn guest() -> Vec<u8> {
    Guest::that(allows())
        .on(When::Port(1), denies("ask the database team"))
        .on(When::Port(2), rewrites("127.0.0.1:5432"))
        .on(When::Port(3), Does::Traps)
        .build()
}

#[test]
fn check_reports_all_faults_at_once_with_their_places() {
    let home = Home::new();
    let text = r#"[server]
listen = ["nowhere"]
colour = "red"

[forwarding]
gateway-ports = "maybe"

[limits]
dial-timeout = "soon"

[[policy.plugin]]
name = "rules"
component = "builtin:rulez"

[audit]
file = "audit.jsonl"
"#;
    let file = home.file("portreeve.toml", text);
    let ran = home.run(&["check", "--config", &file]);
    assert_eq!(ran.code, 2);
    #[rustfmt::skip]
    let places = [
        (2,  "server.listen[0]"),
        (3,  "server.colour"),
        (6,  "forwarding.gateway-ports"),
        (9,  "limits.dial-timeout"),
        (13, "policy.plugin[0].component"),
    ];
    for (line, key) in places {
        let found = ran
            .err
            .lines()
            .any(|text| text.contains(&format!("portreeve.toml:{line}:")) && text.contains(key));
        assert!(found, "line {line}, {key}:\n{}", ran.err);
    }
    let ran = home.run(&["check", "--json", "--config", &file]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["ok"]), (2, &false.into()));
    assert_eq!(report["faults"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&report["faults"][0]["line"], &report["faults"][0]["key"]),
        (&2.into(), &"server.listen[0]".into())
    );
}

#[test]
fn check_says_what_would_serve() {
    let home = Home::new();
    let file = home.asking(&guest(), "");
    let ran = home.run(&["check", "--config", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("the configuration is valid"), "{}", ran.out);
    assert!(ran.out.contains("policy test 1.0.0 (sha256 "), "{}", ran.out);
    let ran = home.run(&["check", "--json", "--config", &file]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["ok"], &report["policies"][0]["name"]),
        (&true.into(), &"test".into())
    );
}

#[test]
fn check_says_what_would_change_and_when() {
    let home = Home::new();
    let running = home.asking(&guest(), "");
    let text = std::fs::read_to_string(&running).unwrap();
    let next = home.file(
        "next.toml",
        text.replace("127.0.0.1:0", "127.0.0.1:2")
            + "required = false\n[forwarding]\nremote = false\n[limits]\nrekey-time = \"2h\"\n",
    );
    let check = |options: &[&str]| home.run(&[&["check", "--config", &next, "--diff", &running], options].concat());
    let ran = check(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let changes = "changes:\n\
        \x20 server.listen      after a restart or an upgrade\n\
        \x20 forwarding.remote  after a reload; restrictions even if a policy is faulty\n\
        \x20 limits.rekey-time  after a reload\n\
        \x20 audit.required     after a restart or an upgrade\n";
    assert!(ran.out.ends_with(changes), "{}", ran.out);
    let report: serde_json::Value = serde_json::from_str(&check(&["--json"]).out).unwrap();
    assert_eq!(
        report["changes"][2],
        serde_json::json!({ "key": "limits.rekey-time", "applies": "reload" })
    );
    let ran = home.run(&["check", "--config", &running, "--diff", &running]);
    assert!(ran.code == 0 && ran.out.ends_with("no key changes\n"), "{ran:?}");
    let faulty = home.file("faulty.toml", "[server]\nlisten = 3\n");
    let ran = home.run(&["check", "--config", &running, "--diff", &faulty]);
    assert!(ran.code == 2 && ran.err.contains("faulty.toml:2:10"), "{ran:?}");
}

#[test]
fn a_log_format_and_a_log_level_are_as_asked_for() {
    let home = Home::new();
    let file = home.file("portreeve.toml", "[server]\nlisten = 3\n");
    let ran = home.run(&["serve", "--config", &file, "--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&ran.err).expect("one JSON object");
    assert_eq!((ran.code, &line["level"]), (2, &"error".into()));
    assert!(
        line["message"].as_str().unwrap().contains("portreeve.toml:2:10"),
        "{line}"
    );
    let ran = home.run(&["serve", "--config", &file]);
    assert!(ran.code == 2 && !ran.err.starts_with('{'), "{ran:?}");
    for (option, wrong, words) in [
        (
            "--log-level",
            "inof",
            "`inof` is no log level: expected one of off, error, warn, info, debug, trace",
        ),
        ("--log-format", "xml", "[possible values: text, json]"),
    ] {
        let ran = home.run(&["serve", "--config", &file, option, wrong]);
        assert!(ran.code == 2 && ran.err.contains(words), "{ran:?}");
    }
}

#[test]
fn check_finds_what_the_machine_does_not_have() {
    let home = Home::new();
    home.file("policy.wasm", guest());
    home.file("file", "");
    std::fs::create_dir(home.path("folder")).unwrap();
    for (listen, log, key, words) in [
        ("127.0.0.1:0", "none/audit.jsonl", "audit.file", "none/audit.jsonl"),
        ("127.0.0.1:0", "file/audit.jsonl", "audit.file", "file is not a folder"),
        ("127.0.0.1:0", "folder", "audit.file", "folder"),
        ("198.51.100.7:2222", "audit.jsonl", "server.listen", "198.51.100.7"),
        ("[2001:db8::7]:2222", "audit.jsonl", "server.listen", "2001:db8::7"),
    ] {
        let text = format!(
            "[server]\nlisten = [\"{listen}\"]\n[[policy.plugin]]\nname = \"test\"\ncomponent = \"policy.wasm\"\n[audit]\nfile = \"{log}\"\n"
        );
        let file = home.file("portreeve.toml", text);
        let ran = home.run(&["check", "--config", &file]);
        assert_eq!(ran.code, 2, "{listen} {log}: {}", ran.err);
        assert!(
            ran.err.contains(key) && ran.err.contains(words),
            "{listen} {log}: {}",
            ran.err
        );
        let served = home.run_for_a_while(&["serve", "--config", &file]);
        assert!(served.code == 1 || served.code == 3, "{listen} {log}: {served:?}");
        assert!(
            served.err.contains(words.trim_end_matches(" is not a folder")),
            "{}",
            served.err
        );
        assert_eq!(served.out, "");
    }
}

#[test]
fn an_audit_log_that_is_a_pipe_without_a_reader_is_an_error_at_once() {
    let home = Home::new();
    let file = home.asking(&guest(), "");
    let pipe = home.path("audit.jsonl");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let ran = home.run_for_a_while(&["serve", "--config", &file]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("audit.jsonl: no process reads this pipe"),
        "{}",
        ran.err
    );
}

#[test]
fn check_tries_the_policy_too() {
    let home = Home::new();
    let file = home.asking(b"garbage", "");
    let ran = home.run(&["check", "--config", &file]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("policy.plugin[0].component") && ran.err.contains("it is not WebAssembly"),
        "{}",
        ran.err
    );
}

#[test]
fn explain_answers_with_its_exit_code() {
    let home = Home::new();
    let file = home.asking(&guest(), "");
    #[rustfmt::skip]
    let table = [
        // asked                             code  words
        (["connect", "127.0.0.1:4"],         0,    "allow: connect 127.0.0.1:4 (decided by: policy)"),
        (["connect", "db:2"],                0,    "effective 127.0.0.1:5432"),
        (["connect", "db:1"],                10,   "user sees ask the database team"),
        (["connect", "db:3"],                11,   "code      trap"),
        (["connect", "169.254.169.254:80"],  10,   "decided by: floor"),
        (["listen", "localhost:8080"],       0,    "binds     127.0.0.1:8080"),
        (["connect", "unix:/run/app.sock"],  0,    "allow: connect unix:/run/app.sock"),
        (["connect", "db:65536"],            10,   "port 65536 is above 65535"),
        (["connect", "db"],                  2,    ""),
        (["dance", "db:1"],                  2,    ""),
    ];
    for ([action, endpoint], code, words) in table {
        let ran = home.run(&["explain", "--config", &file, "--user", "alice", action, endpoint]);
        assert_eq!(ran.code, code, "{action} {endpoint}: {ran:?}");
        assert!(ran.out.contains(words), "{action} {endpoint}: {}", ran.out);
    }
}

#[test]
fn explain_prints_its_record_as_json() {
    let home = Home::new();
    let file = home.asking(&guest(), "");
    let ran = home.run(&[
        "explain", "--json", "--config", &file, "--user", "alice", "connect", "DB.:1",
    ]);
    assert_eq!(ran.code, 10);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&report["ok"], &report["answers"][1]), (&true.into(), &().into()));
    let record = &report["answers"][0];
    assert_eq!(report["verdict"], record["verdict"]);
    assert_eq!(
        (&record["requested"], &record["target"]),
        (&"DB.:1".into(), &"db:1".into())
    );
    assert_eq!(
        (&record["verdict"], &record["sentence"]),
        (&"deny".into(), &"ask the database team".into())
    );
    assert_eq!(record["policy"]["name"], "test");
}

#[test]
fn explain_prints_one_document_whatever_comes_of_it() {
    let home = Home::new();
    let keys: Vec<_> = [1, 2].into_iter().map(public_key).collect();
    let user = format!("[[user]]\nname = \"alice\"\nauthorized-keys = {keys:?}\n");
    let file = home.asking(&guest(), &user);
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 7] = [
        // asked                                                              code  error
        (&["--config", &file, "--user", "alice", "connect", "db:4"],                0,  ""),
        (&["--config", &file, "--user", "alice", "connect", "db"],                  2,  "`db` is not an endpoint"),
        (&["--config", &file, "--user", "alice", "accept", "db:70000"],                 2,  "port"),
        (&["--config", &file, "--user", "alice", "--key", "SHA256:x", "connect", "db:4"], 2, "SHA256:x is not listed for alice"),
        (&["--config", "gone.toml", "--user", "alice", "connect", "db:4"],          2,  "gone.toml: cannot be read"),
        (&["--config", &file, "--user", "alice", "dance", "db:4"],                  2,  "invalid value 'dance'"),
        (&["--config", &file, "connect", "db:4"],                                   2,  "--user"),
    ];
    for (arguments, code, error) in table {
        let ran = home.run(&[&["explain", "--json"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(report["ok"], code == 0, "{arguments:?}: {report:#}");
        let words = report["error"].as_str().unwrap_or_default();
        assert!(words.contains(error), "{arguments:?}: {report:#}");
        let answers = report["answers"].as_array().map_or(0, Vec::len);
        assert_eq!(answers, if code == 0 { 2 } else { 0 }, "{arguments:?}: {report:#}");
    }
}

/// An Ed25519 key as `authorized_keys` has it; nobody has its private half.
fn public_key(last: u8) -> String {
    use base64::Engine;
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([7; 31]);
    blob.push(last);
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

#[test]
fn explain_that_cannot_print_its_answer_fails() {
    let home = Home::new();
    let file = home.asking(&guest(), "");
    for json in [&["--json"][..], &[]] {
        let mut command = home.portreeve();
        command
            .arg("explain")
            .args(json)
            .args(["--config", &file, "--user", "alice", "connect", "db:4"]);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(
            command.stdout(full).output().unwrap().status.code(),
            Some(1),
            "{json:?}"
        );
    }
}

#[test]
fn explain_knows_the_embedded_default() {
    let home = Home::new();
    let user = home.run(&["explain", "--user", "anybody", "connect", "localhost:8000"]);
    assert_eq!(user.code, 0, "{user:?}");
    assert_eq!(
        home.run(&["explain", "--user", "anybody", "connect", "localhost:25"])
            .code,
        10
    );
    assert_eq!(
        home.run(&["explain", "--user", "anybody", "connect", "example.com:443"])
            .code,
        10
    );
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = home.asking(&guest(), "");
    let unwritable = home.file(
        "other.toml",
        std::fs::read_to_string(&file).unwrap().replace("audit.jsonl", "."),
    );
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 6] = [
        (&["--version"],                                           0, ""),
        (&["serve", "--config", &unwritable],                      1, "cannot write the audit log"),
        (&["serve", "--config", "no-such-file.toml"],              2, "no-such-file.toml"),
        (&["serve", "--colour"],                                   2, "--colour"),
        (&[],                                                      2, "Usage"),
        (&["serve", "--config", &file, "--listen", &address],      3, &format!("cannot listen on {address}")),
    ];
    for (arguments, code, words) in table {
        let ran = home.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}");
        assert!(ran.out.contains("portreeve") && ran.out.contains("explain"), "{shell}");
    }
}

#[test]
fn the_manual_page_is_printed() {
    let home = Home::new();
    let ran = home.run(&["man"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains(".TH portreeve 1"), "{}", ran.out);
    for command in ["serve", "check", "explain", "plugin", "ctl", "top", "import"] {
        assert!(
            ran.out.contains(&format!("portreeve\\-{command}(1)")),
            "{command}: {}",
            ran.out
        );
    }
    assert_eq!(home.run(&["completions", "man"]).out, ran.out);
}

#[test]
fn a_password_is_hashed_for_the_configuration() {
    use std::io::Write;
    let home = Home::new();
    let hashed = |typed: &str| {
        let mut child = home
            .portreeve()
            .arg("hash-password")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        crate::program::Ran::from(child.wait_with_output().unwrap())
    };
    let ran = hashed("correct horse\n");
    assert!(ran.code == 0 && ran.out.starts_with("$argon2id$v=19$"), "{ran:?}");
    let configuration = home.file(
        "portreeve.toml",
        format!(
            "[[user]]\nname = \"alice\"\npassword-hash = \"{}\"\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n",
            ran.out.trim()
        ),
    );
    let checked = home.run(&["check", "--config", &configuration]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let ran = hashed("\n");
    assert!(ran.code == 2 && ran.err.contains("the password is empty"), "{ran:?}");
}

#[test]
fn wasi_is_said_in_one_way_everywhere() {
    let home = Home::new();
    let component = home.file("policy.wasm", Guest::that(allows()).build());
    home.file("audit.jsonl", "");
    for said in [&["--wasi", "inert"][..], &["--wasi", "refuse"], &["--wasi-inert"]] {
        let checked = home.run(&[&["plugin", "check", &component], said].concat());
        assert_eq!(checked.code, 0, "{said:?}: {checked:?}");
        let replayed = home.run(&[&["plugin", "replay", &component, "--against", "audit.jsonl"], said].concat());
        assert_ne!(replayed.code, 2, "{said:?}: {replayed:?}");
    }
    for command in [
        &["plugin", "check"][..],
        &["plugin", "replay", "--against", "audit.jsonl"],
    ] {
        let ran = home.run(&[command, &[&component, "--wasi", "some"]].concat());
        assert!(
            ran.code == 2 && ran.err.contains("expected `refuse` or `inert`"),
            "{ran:?}"
        );
    }
}
