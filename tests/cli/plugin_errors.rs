//! What a program reads where a command of `plugin` cannot do what it should.

use serde_json::Value;

use crate::guests::{Guest, allows};
use crate::program::{Home, Ran};

fn project() -> Home {
    let home = Home::new();
    home.file("guest.wasm", Guest::that(allows()).build());
    home.file("policy.toml", "name = \"guest\"\ncomponent = \"guest.wasm\"\n");
    std::fs::create_dir(home.path("cases")).unwrap();
    home.file(
        "cases/all.toml",
        "[[case]]\nname = \"a\"\nrequest = { target = \"db:1\" }\nexpect = { verdict = \"allow\" }\n",
    );
    home.file(
        "wrong.toml",
        "[[case]]\nname = \"a\"\n\nrequest = { traget = \"db:1\" }\n",
    );
    home.file(
        "broken.jsonl",
        "{\"v\":1,\"event\":\"gateway-started\"}\nnot json\n{}\n",
    );
    home.file("empty.jsonl", "");
    home.file("allowed", "nobody\n");
    home.file("guest.wasm.sig", "no signature");
    home
}

fn ran(home: &Home, arguments: &[&str]) -> (Ran, Value) {
    let ran = home.run(arguments);
    match serde_json::from_str(&ran.out) {
        Ok(value) => (ran, value),
        Err(error) => panic!("{arguments:?}: {error}: {ran:?}"),
    }
}

#[test]
fn each_error_is_an_object_on_stdout_with_its_place() {
    let home = project();
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str, Option<u64>); 22] = [
        // the command                                                           code  file            line
        (&["test", "nowhere"],                                                   2, "nowhere",         None),
        (&["test", "."],                                                         0, "",                None),
        (&["test", "cases/all.toml", "--filter", "none"],                        2, "",                None),
        (&["test", "cases/all.toml", "--junit", "nowhere/junit.xml"],            1, "nowhere/junit.xml", None),
        (&["test", "wrong.toml"],                                                2, "wrong.toml",      Some(4)),
        (&["test"],                                                              2, "",                None),
        (&["build", "nowhere"],                                                  2, "nowhere/policy.toml", None),
        (&["build", "."],                                                        2, "./policy.toml",   None),
        (&["inspect", "nowhere.wasm"],                                           2, "nowhere.wasm",    None),
        (&["inspect", "guest.wasm", "nowhere.wasm"],                             2, "nowhere.wasm",    None),
        (&["check", "nowhere.wasm"],                                             2, "nowhere.wasm",    None),
        (&["check", "guest.wasm", "--config", "nowhere.toml"],                   2, "nowhere.toml",    None),
        (&["run", "nowhere.wasm", "connect", "db:1"],                            2, "nowhere.wasm",    None),
        (&["run", "guest.wasm", "--audit", "nowhere.jsonl", "--forward", "f-1"], 2, "nowhere.jsonl",   None),
        (&["run", "guest.wasm", "connect", "nonsense"],                          2, "",                None),
        (&["bench", "nowhere.wasm"],                                             2, "nowhere.wasm",    None),
        (&["replay", "guest.wasm", "--against", "nowhere.jsonl"],                2, "nowhere.jsonl",   None),
        (&["replay", "guest.wasm", "--against", "broken.jsonl"],                 2, "broken.jsonl",    Some(2)),
        (&["replay", "guest.wasm", "--against", "empty.jsonl"],                  1, "",                None),
        (&["replay", "guest.wasm", "--against", "empty.jsonl", "--config", "nowhere.toml"], 2, "nowhere.toml", None),
        (&["verify", "nowhere.wasm", "--allowed-signers", "allowed"],            2, "nowhere.wasm",    None),
        (&["verify", "guest.wasm", "--allowed-signers", "allowed"],              2, "allowed",         Some(1)),
    ];
    for (command, code, file, line) in table {
        let mut arguments = vec!["plugin"];
        arguments.extend(command);
        let plain = home.run(&arguments);
        arguments.push("--json");
        let (told, value) = ran(&home, &arguments);
        assert_eq!((plain.code, told.code), (code, code), "{command:?}: {plain:?} {told:?}");
        if code == 0 {
            continue;
        }
        let words = value["error"].as_str().unwrap_or_default();
        assert!(!words.is_empty(), "{command:?}: {value:#}");
        assert_eq!(
            value["file"].as_str().unwrap_or_default(),
            file,
            "{command:?}: {value:#}"
        );
        assert_eq!(value["line"].as_u64(), line, "{command:?}: {value:#}");
    }
}
