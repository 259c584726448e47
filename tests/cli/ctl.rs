//! `portreeve ctl` with a gateway that runs, and with none.

use crate::program::Home;
use crate::serve::Served;

#[test]
fn no_gateway_on_the_socket_is_code_4() {
    let home = Home::new();
    let ran = home.run(&["ctl", "status"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(ran.err.contains("no gateway answers on"), "{}", ran.err);
    assert!(ran.err.contains(".local/state/portreeve/admin.sock"), "{}", ran.err);
    let ran = home.run(&["ctl", "--json", "status"]);
    assert_eq!(ran.code, 4);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(said["error"].as_str().unwrap().contains("no gateway answers"), "{said}");
}

#[test]
fn the_embedded_default_is_seen_and_drained_without_a_configuration() {
    let home = Home::new();
    let mut served = Served::start(&home, &["--listen", "127.0.0.1:0"], "who you are");
    let ran = home.run(&["ctl", "status"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let policy = ran.out.lines().find(|line| line.starts_with("policy "));
    assert!(policy.is_some_and(|line| line.contains(" rules 0.1.0 ")), "{}", ran.out);
    assert_eq!(home.run(&["ctl", "drain", "--timeout", "0s"]).out, "draining\n");
    assert_eq!(served.ended(), Some(0));
    assert_eq!(home.run(&["ctl", "status"]).code, 4);
}

/// What bash offers at a Tab after these words, options apart.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(portreeve completions bash)
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMPREPLY=()
        _clap_complete_portreeve portreeve "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let program = home.portreeve();
    let folder = std::path::Path::new(program.get_program()).parent().unwrap();
    let paths = std::env::join_paths([folder, "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    let mut bash = std::process::Command::new("bash");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    bash.env("PATH", paths)
        .args(["--norc", "-c", script, "bash"])
        .args(words);
    let ran = bash.output().unwrap();
    assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
    let found = String::from_utf8(ran.stdout).unwrap();
    let values = found.lines().filter(|line| !line.is_empty() && !line.starts_with('-'));
    values.map(str::to_owned).collect()
}

#[test]
fn the_shell_completes_what_the_gateway_has() {
    let home = Home::new();
    let ctl = ["portreeve", "ctl"];
    let after = |words: &[&str]| offered(&home, &[&ctl, words].concat());
    assert_eq!(after(&["unl"]), ["unlock"]);
    assert_eq!(after(&["unlock", ""]), [""; 0], "no gateway, and no word about it");
    let _served = Served::start(&home, &["--listen", "127.0.0.1:0"], "who you are");
    for user in ["wilhelmine", "walter", "w $(touch stolen)"] {
        assert_eq!(home.run(&["ctl", "lock", user, "--reason", "a test"]).code, 0, "{user}");
    }
    assert_eq!(
        after(&["unlock", ""]),
        ["walter", "wilhelmine"],
        "only what the shell reads as it is"
    );
    assert_eq!(after(&["unlock", "wi"]), ["wilhelmine"]);
    assert_eq!(after(&["policy", "rollback", "r"]), ["rules"]);
    assert_eq!(
        after(&["--socket", "/no/such", "unlock", ""]),
        [""; 0],
        "another gateway was named"
    );
}

#[test]
fn the_socket_is_found_in_a_file_that_is_being_edited() {
    let home = Home::new();
    let socket = "[admin]\nsocket = \"admin.sock\"\n";
    #[rustfmt::skip]
    let table = [
        // what else is in the file                        the exit code   said
        ("[server]\nlisten = 7\ncolour = 1\n",             4,              "no gateway answers on"),
        ("[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nsettings-file = \"gone.toml\"\n", 4, "admin.sock"),
        ("key with no value\n",                             2,              "--socket"),
    ];
    for (rest, code, said) in table {
        home.file("gw.toml", format!("{rest}{socket}"));
        let ran = home.run(&["ctl", "--config", "gw.toml", "status"]);
        assert!(ran.code == code && ran.err.contains(said), "{rest}: {ran:?}");
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_none() {
    let home = Home::new();
    // It accepts, and says nothing.
    let _mute = std::os::unix::net::UnixListener::bind(home.path("mute.sock")).unwrap();
    let ran = home.run(&["ctl", "--socket", "mute.sock", "status"]);
    assert!(ran.code == 4 && ran.err.contains("no answer within"), "{ran:?}");
}
