//! Commands that ask a policy find what was compiled before, under the gateway's seal.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use crate::guests::{Guest, allows};
use crate::program::{Home, Ran};

fn home() -> Home {
    let home = Home::new();
    home.file("guest.wasm", Guest::that(allows()).build());
    home.file(
        "cases.toml",
        "component = \"guest.wasm\"\n[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\nexpect = { verdict = \"allow\" }\n",
    );
    home.file("audit.jsonl", LOG);
    home
}

/// A decision as the gateway writes it.
const LOG: &str = concat!(
    r#"{"v":1,"time":"2026-11-24T09:00:00.000000Z","event":"forward-decided","session":"s-1","user":"alice","client":"192.0.2.1:50000","forward":"f-1","action":"connect","requested":"db:1","target":"db:1","verdict":"allow","by":"policy","micros":5}"#,
    "\n"
);

const COMMANDS: [&[&str]; 4] = [
    &["test", "cases.toml"],
    &["run", "guest.wasm", "connect", "db:1"],
    &["bench", "guest.wasm", "--seconds", "1"],
    &["replay", "guest.wasm", "--against", "audit.jsonl"],
];

fn run(home: &Home, command: &[&str]) -> Ran {
    let mut program = home.portreeve();
    program.env("RUST_LOG", "portreeve=debug").arg("plugin").args(command);
    Ran::from(program.output().unwrap())
}

fn compiled(ran: &Ran) -> bool {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.err.contains(" compiled bytes=")
}

fn found(ran: &Ran) -> bool {
    ran.err.contains("compiled code was kept")
}

fn folder(home: &Home) -> PathBuf {
    home.path(".local/state/portreeve/policies")
}

fn entries(home: &Home) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder(home).join("compiled")).into_iter().flatten();
    listed.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_compiled_is_found_by_the_next_command() {
    for command in COMMANDS {
        let home = home();
        let first = run(&home, command);
        assert!(compiled(&first), "{command:?}: {first:?}");
        let again = run(&home, command);
        assert!(found(&again) && !compiled(&again), "{command:?}: {again:?}");
    }
}

#[test]
fn what_the_gateway_compiled_is_found_by_those_that_ask_as_it_does() {
    let home = home();
    let config = home.asking(&fs::read(home.path("guest.wasm")).unwrap(), "");
    let explained = home.run(&["explain", "--config", &config, "--user", "alice", "connect", "db:1"]);
    assert!(!entries(&home).is_empty(), "{explained:?}");
    let replayed = run(&home, COMMANDS[3]);
    assert!(found(&replayed) && !compiled(&replayed), "{replayed:?}");
}

#[test]
fn what_is_not_as_it_was_written_is_compiled_anew() {
    for command in COMMANDS {
        let home = home();
        run(&home, command);
        for entry in entries(&home) {
            let mut bytes = fs::read(&entry).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&entry, bytes).unwrap();
        }
        let again = run(&home, command);
        assert!(compiled(&again) && !found(&again), "{command:?}: {again:?}");
        assert!(!compiled(&run(&home, command)), "{command:?}: it is whole again");
    }
}

#[test]
fn a_folder_that_cannot_be_had_is_done_without() {
    let home = home();
    fs::create_dir_all(folder(&home)).unwrap();
    let reached_by_others = || fs::set_permissions(folder(&home), fs::Permissions::from_mode(0o777));
    let in_the_way = || {
        fs::remove_dir_all(folder(&home))?;
        fs::write(folder(&home), "")
    };
    let steps: [&dyn Fn() -> std::io::Result<()>; 2] = [&reached_by_others, &in_the_way];
    for step in steps {
        step().unwrap();
        for command in COMMANDS {
            let mut arguments = vec!["plugin"];
            arguments.extend(command);
            let ran = home.run(&arguments);
            assert!(ran.code == 0 && !ran.err.contains("compiled"), "{ran:?}");
            assert!(!ran.err.contains("policies"), "{ran:?}");
            assert!(entries(&home).is_empty());
        }
    }
}

#[test]
fn nothing_is_made_in_the_home_of_somebody_else() {
    let home = home();
    // Only root can give a folder away.
    if chown(home.0.path(), Some(65534), None).is_err() {
        return;
    }
    let ran = home.run(&["plugin", "test", "cases.toml"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
    assert!(!home.path(".local").exists());
}
