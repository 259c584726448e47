//! `import sshd`: what becomes of real files, and that the result answers as `sshd` would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine;
use serde_json::Value;

use crate::program::{Home, Ran};

/// A bastion as they are: groups with databases of their own, exceptions, networks, listeners, things without a meaning here.
const BASTION: &str = r#"# A bastion
Include sshd_config.d/*.conf
Port 2200
ListenAddress 127.0.0.1
HostKey HOME/host_key
PermitRootLogin no
PasswordAuthentication no
AllowStreamLocalForwarding no
AllowTcpForwarding = no
X11Forwarding no
Subsystem sftp internal-sftp
AuthorizedKeysFile .ssh/authorized_keys
DenyUsers mallory eve@10.9.0.0/16
AllowGroups dba ops web contractors tunnels

Match Group dba
    AllowTcpForwarding local
    PermitOpen db1.internal:5432 "db2.internal:5432" [2001:db8::5]:5432
Match Group ops,!contractors Address 10.0.0.0/8,!10.66.0.0/16
    AllowTcpForwarding yes
    PermitOpen any
    PermitListen localhost:8080 9000
Match User web*,!webmaster
    AllowTcpForwarding local
    PermitOpen web.internal:80 web.internal:443
Match Group tunnels
    AllowTcpForwarding remote
    PermitListen 127.0.0.1:7000
    ForceCommand /bin/false
"#;

/// Included first, so what it sets counts.
const HARDENING: &str =
    "LoginGraceTime 20\nMaxAuthTries 3\nRekeyLimit 1G 1h\nClientAliveInterval 15\nMaxStartups 10:30:20\n";

/// As in /etc/group.
const GROUPS: &str =
    "dba:x:1:alice,carol\nops:x:2:bob,carol\ncontractors:x:3:dave\nweb:x:4:webby,webmaster\ntunnels:x:5:tom\n";

/// An Ed25519 key as `authorized_keys` has it; nobody has its private half.
fn key(last: u8) -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([7; 31]);
    blob.push(last);
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

/// A home with a host key, an `sshd_config` and groups.
fn home(text: &str) -> Home {
    let home = Home::new();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(home.path("host_key"))
        .status()
        .unwrap();
    assert!(made.success());
    home.file(
        "sshd_config",
        text.replace("HOME", &home.path("").display().to_string()),
    );
    home.file("group", GROUPS);
    home
}

fn import(home: &Home, more: &[&str]) -> Ran {
    let arguments = [
        &["import", "sshd", "sshd_config", "--output", "out", "--groups", "group"],
        more,
    ]
    .concat();
    home.run(&arguments)
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The notes of a kind, as `line keyword`.
fn notes(document: &Value, kind: &str) -> Vec<String> {
    let notes = document["notes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|note| note["kind"] == kind);
    let said = notes.map(|note| format!("{} {}", note["line"], note["keyword"].as_str().unwrap()));
    said.collect()
}

/// One user with their groups and address asks for something.
fn explain(home: &Home, (user, group, client): (&str, &str, &str), action: &str, endpoint: &str) -> i32 {
    let mut arguments = vec![
        "explain",
        "--config",
        "out/portreeve.toml",
        "--user",
        user,
        "--client",
        client,
    ];
    if !group.is_empty() {
        arguments.extend(["--group", group]);
    }
    arguments.extend([action, endpoint]);
    home.run(&arguments).code
}

#[test]
fn a_bastion_becomes_rules_that_answer_as_sshd_does() {
    let home = home(BASTION);
    fs::create_dir(home.path("sshd_config.d")).unwrap();
    home.file("sshd_config.d/10-hardening.conf", HARDENING);
    home.file("sshd_config.d/.hidden.conf", "Colour red\n");
    home.file("sshd_config.d/note.txt", "Colour red\n");
    let ran = import(&home, &["--verify"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in [
        "written  out/portreeve.toml",
        "written  out/rules.toml",
        "read     sshd_config.d/10-hardening.conf",
        "stricter than before:",
        "no meaning here:\n  sshd_config:10: X11Forwarding: X11 is never forwarded",
        "sshd_config:29: ForceCommand: no command is ever run",
        ", 0 differences",
        "portreeve check --config out/portreeve.toml",
        "portreeve serve --config out/portreeve.toml",
    ] {
        assert!(ran.out.contains(words), "{words}:\n{}", ran.out);
    }
    let checked = home.run(&["check", "--config", "out/portreeve.toml"]);
    assert!(
        checked.code == 0 && !checked.err.contains("never reached"),
        "{checked:?}"
    );
    let outside = "192.0.2.1";
    #[rustfmt::skip]
    let table = [
        // who, with one group, from where      asks for                                     answer
        (("alice", "dba", outside),             "connect", "[2001:db8::5]:5432",              0),
        (("alice", "dba", outside),             "connect", "[2001:db8::5]:5433",              10),
        (("alice", "dba", outside),             "connect", "127.0.0.1:5432",                  10),
        (("alice", "dba", outside),             "listen",  "localhost:8080",                  10),
        (("bob", "ops", "10.1.1.1"),            "connect", "127.0.0.1:22",                    0),
        (("bob", "ops", "10.66.1.1"),           "connect", "127.0.0.1:22",                    10),
        (("bob", "ops", outside),               "connect", "127.0.0.1:22",                    10),
        (("bob", "contractors", "10.1.1.1"),    "connect", "127.0.0.1:22",                    10),
        (("bob", "ops", "10.1.1.1"),            "listen",  "localhost:8080",                  0),
        (("bob", "ops", "10.1.1.1"),            "accept",  "localhost:8080",                  0),
        (("bob", "ops", "10.1.1.1"),            "listen",  "127.0.0.1:8080",                  10),
        (("bob", "ops", "10.1.1.1"),            "listen",  "localhost:9000",                  0),
        (("bob", "ops", "10.1.1.1"),            "listen",  "localhost:9001",                  10),
        (("webmaster", "web", outside),         "connect", "127.0.0.1:80",                    10),
        (("tom", "tunnels", outside),           "listen",  "127.0.0.1:7000",                  0),
        (("tom", "tunnels", outside),           "listen",  "localhost:7000",                  10),
        (("tom", "tunnels", outside),           "connect", "127.0.0.1:7000",                  10),
        (("mallory", "ops", "10.1.1.1"),        "connect", "127.0.0.1:22",                    10),
        (("eve", "ops", "10.9.1.1"),            "connect", "127.0.0.1:22",                    10),
        (("eve", "ops", "10.8.1.1"),            "connect", "127.0.0.1:22",                    0),
        (("root", "ops", "10.1.1.1"),           "connect", "127.0.0.1:22",                    10),
        (("zoe", "staff", "10.1.1.1"),          "connect", "127.0.0.1:22",                    10),
        (("zoe", "", "10.1.1.1"),               "connect", "127.0.0.1:22",                    10),
        (("bob", "ops", "10.1.1.1"),            "connect", "unix:/run/app.sock",              10),
    ];
    for (who, action, endpoint, code) in table {
        assert_eq!(
            explain(&home, who, action, endpoint),
            code,
            "{who:?} {action} {endpoint}"
        );
    }
}

#[test]
fn the_configuration_has_what_sshd_says_of_the_server() {
    let home = home(BASTION);
    fs::create_dir(home.path("sshd_config.d")).unwrap();
    home.file("sshd_config.d/10-hardening.conf", HARDENING);
    home.file("banner", "Only for \"staff\".\nSecond line\n");
    let text = fs::read_to_string(home.path("sshd_config")).unwrap();
    home.file(
        "sshd_config",
        format!("Banner {}\n{text}", home.path("banner").display()),
    );
    let ran = import(&home, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let written = fs::read_to_string(home.path("out/portreeve.toml")).unwrap();
    let value: toml::Value = toml::from_str(&written).unwrap();
    let at = |path: &str| path.split('.').fold(value.clone(), |value, key| value[key].clone());
    for (key, expected) in [
        ("server.listen", "[\"127.0.0.1:2200\"]"),
        ("server.banner", "\"Only for \\\"staff\\\".\\nSecond line\\n\""),
        ("forwarding.local", "true"),
        ("forwarding.remote", "true"),
        ("forwarding.local-sockets", "false"),
        ("forwarding.gateway-ports", "\"no\""),
        ("auth.authorized-keys", "[\"%h/.ssh/authorized_keys\"]"),
        ("auth.login-grace", "\"20s\""),
        ("auth.max-attempts", "3"),
        ("limits.unauthenticated", "10"),
        ("limits.rekey-bytes", "1073741824"),
        ("limits.rekey-time", "\"1h\""),
        ("algorithms.preset", "\"compatible\""),
    ] {
        let expected: toml::Value = toml::from_str::<toml::Table>(&format!("x = {expected}")).unwrap()["x"].clone();
        assert_eq!(at(key), expected, "{key}:\n{written}");
    }
    assert_eq!(at("limits.keepalive")["interval"].as_str(), Some("15s"));
    assert!(
        written.contains("# sshd_config.d/10-hardening.conf:1: LoginGraceTime 20"),
        "{written}"
    );
    let document = document(&ran);
    assert_eq!(
        notes(&document, "no_meaning_here"),
        ["11 X11Forwarding", "12 Subsystem", "30 ForceCommand"]
    );
    let users = document["users"].as_array().unwrap();
    let alice = users.iter().find(|user| user["name"] == "alice").unwrap();
    assert_eq!(alice["groups"], serde_json::json!(["dba"]));
    assert_eq!(document["ok"], true);
    assert!(document["rules"].as_array().unwrap().len() > 8, "{document:#}");
}

#[test]
fn defaults_of_sshd_are_written_out() {
    let home = home("HostKey HOME/host_key\n");
    let ran = import(&home, &["--verify"]);
    assert!(ran.code == 0 && ran.out.contains(", 0 differences"), "{ran:?}");
    let anyone = ("anyone", "", "192.0.2.1");
    for (action, endpoint, code) in [
        ("connect", "127.0.0.1:25", 0),
        ("connect", "unix:/run/app.sock", 0),
        ("listen", "localhost:8080", 0),
        ("accept", "localhost:8080", 0),
        ("listen", "unix:/run/app.sock", 0),
        ("listen", "localhost:80", 10),
        ("connect", "169.254.169.254:80", 10),
    ] {
        assert_eq!(explain(&home, anyone, action, endpoint), code, "{action} {endpoint}");
    }
}

#[test]
fn every_option_of_a_key_goes_along() {
    let home = home("HostKey HOME/host_key\nAuthorizedKeysFile /etc/ssh/none/%u\n");
    fs::create_dir(home.path("keys")).unwrap();
    let options = [
        "from=\"10.0.0.0/8,!10.9.0.0/16\"",
        "restrict,port-forwarding,permitopen=\"127.0.0.1:5432\",permitopen=\"[::1]:*\"",
        "permitlisten=\"localhost:8080\",no-agent-forwarding,no-pty,no-user-rc,no-X11-forwarding",
        "no-port-forwarding,command=\"echo \\\"a,b\\\"\",environment=\"A=b\",tunnel=\"0\"",
        "cert-authority,principals=\"ops,dba\"",
        "expiry-time=\"20300101\"",
        "surprise",
    ];
    let lines: Vec<_> = (1..)
        .zip(options)
        .map(|(number, options)| format!("{options} {} key-{number}", key(number)))
        .collect();
    home.file("keys/alice", format!("# hers\n{}\n", lines.join("\n")));
    home.file("his", format!("{}\n", key(99)));
    let ran = import(&home, &["keys/alice", "bob=his", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let copied = fs::read_to_string(home.path("out/keys/alice")).unwrap();
    assert!(lines.iter().all(|line| copied.contains(line)), "{copied}");
    assert!(home.path("out/keys/bob").exists());
    let document = document(&ran);
    let unused = notes(&document, "no_meaning_here");
    for note in [
        "4 no-agent-forwarding",
        "4 no-pty",
        "4 no-user-rc",
        "4 no-x11-forwarding",
        "5 command",
        "5 environment",
        "5 tunnel",
    ] {
        assert!(unused.contains(&note.to_owned()), "{note}: {unused:?}");
    }
    assert!(
        notes(&document, "stricter_than_before").contains(&"8 surprise".to_owned()),
        "{document:#}"
    );
    // Read as the gateway reads them: each key has its own limits.
    let asked = |endpoint: &str| {
        home.run(&[
            "explain",
            "--json",
            "--config",
            "out/portreeve.toml",
            "--user",
            "alice",
            "connect",
            endpoint,
        ])
    };
    let answers: Value = serde_json::from_str(&asked("127.0.0.1:5432").out).unwrap();
    let by: Vec<_> = answers["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["by"].as_str().unwrap())
        .collect();
    assert_eq!(by.iter().filter(|by| **by == "key").count(), 1, "{answers:#}");
    let answers: Value = serde_json::from_str(&asked("127.0.0.1:5433").out).unwrap();
    let by: Vec<_> = answers["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["by"].as_str().unwrap())
        .collect();
    assert_eq!(by.iter().filter(|by| **by == "key").count(), 2, "{answers:#}");
    assert_eq!(home.run(&["check", "--config", "out/portreeve.toml"]).code, 0);
}

#[test]
fn whose_keys_a_file_has_is_asked_for() {
    let home = home("HostKey HOME/host_key\n");
    home.file("some_keys", key(1));
    let ran = import(&home, &["some_keys"]);
    assert!(ran.code == 2 && ran.err.contains("NAME=some_keys"), "{ran:?}");
    assert!(!home.path("out").exists());
    assert_eq!(import(&home, &["carol=some_keys"]).code, 0);
    assert!(home.path("out/keys/carol").exists());
}

#[test]
fn what_openssh_would_not_take_is_an_error_with_its_place() {
    let home = home("");
    home.file("more.conf", "Match Colour red\n");
    let text = "Port 22\n\nPermitOpne db:1\nAllowTcpForwarding maybe\nMatch User a\n  Port 23\nPermitOpen db\nInclude more.conf\nAllowUsers \"a\n";
    home.file("sshd_config", text);
    let ran = import(&home, &[]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in [
        "sshd_config:3: unknown keyword `PermitOpne`, did you mean `PermitOpen`?",
        "sshd_config:6: `Port` is not allowed within a Match block",
        "more.conf:1: unknown condition `Colour`",
        "sshd_config:9: a \" is not closed",
    ] {
        assert!(ran.err.contains(words), "{words}:\n{}", ran.err);
    }
    home.file("sshd_config", "AllowTcpForwarding maybe\nMatch User a\nPermitOpen db\n");
    let ran = import(&home, &["--json"]);
    let error = document(&ran)["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        error.contains("sshd_config:1: AllowTcpForwarding: `maybe` is none of"),
        "{error}"
    );
    assert!(
        error.contains("sshd_config:3: PermitOpen: `db` is no host with a port"),
        "{error}"
    );
    assert!(!home.path("out").exists());
    for (arguments, words) in [
        (&["import", "sshd", "--output", "out"][..], "FILE"),
        (&["import", "sshd", "sshd_config"], "--output"),
        (&["import", "sshd", "gone", "--output", "out"], "gone: cannot open"),
        (
            &["import", "sshd", "group", "sshd_config", "--output", "out"],
            "one sshd_config is expected",
        ),
        (&["import", "sshd", "sshd_config", "--json"], "--output"),
        (&["import", "ssh", "sshd_config", "--output", "out"], "sshd"),
    ] {
        let ran = home.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(words), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn no_file_is_overwritten_and_nothing_is_left_half_written() {
    let home = home("HostKey HOME/host_key\n");
    home.file("keys", key(1));
    fs::create_dir(home.path("out")).unwrap();
    home.file("out/rules.toml", "mine\n");
    let ran = import(&home, &["alice=keys"]);
    assert!(ran.code == 1 && ran.err.contains("out/rules.toml exists"), "{ran:?}");
    let entries: Vec<_> = fs::read_dir(home.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(entries, ["rules.toml"]);
    assert_eq!(fs::read_to_string(home.path("out/rules.toml")).unwrap(), "mine\n");
    fs::remove_file(home.path("out/rules.toml")).unwrap();
    assert_eq!(import(&home, &["alice=keys"]).code, 0);
    let ran = import(&home, &["alice=keys", "--json"]);
    assert!(
        ran.code == 1 && document(&ran)["error"].as_str().unwrap().contains("exists"),
        "{ran:?}"
    );
    let mut left: Vec<_> = fs::read_dir(home.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["keys", "portreeve.toml", "rules.toml"]);
}

#[test]
fn gateway_ports_and_listeners_keep_their_meaning() {
    let home = home(
        "HostKey HOME/host_key\nGatewayPorts clientspecified\nPermitListen localhost:8080 0.0.0.0:9000 192.0.2.*:*\nPermitOpen none\n",
    );
    let ran = import(&home, &["--verify"]);
    assert!(ran.code == 0 && ran.out.contains(", 0 differences"), "{ran:?}");
    let anyone = ("anyone", "", "192.0.2.1");
    for (action, endpoint, code) in [
        ("listen", "localhost:8080", 0),
        ("listen", "0.0.0.0:8080", 10),
        ("listen", "0.0.0.0:9000", 0),
        ("listen", "*:9000", 10),
        ("listen", "192.0.2.7:1234", 0),
        ("connect", "127.0.0.1:1", 10),
        ("connect", "unix:/run/x.sock", 10),
    ] {
        assert_eq!(explain(&home, anyone, action, endpoint), code, "{action} {endpoint}");
    }
}

#[test]
fn gateway_ports_for_some_are_stricter_and_said() {
    let home = home("HostKey HOME/host_key\nMatch Address 10.0.0.0/8\nGatewayPorts yes\n");
    let ran = import(&home, &["--verify", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = document(&ran);
    assert!(
        notes(&document, "stricter_than_before").contains(&"3 GatewayPorts".to_owned()),
        "{document:#}"
    );
    for (client, endpoint, code) in [
        ("10.1.1.1", "*:8080", 0),
        ("192.0.2.1", "*:8080", 10),
        ("192.0.2.1", "localhost:8080", 0),
    ] {
        assert_eq!(
            explain(&home, ("anyone", "", client), "listen", endpoint),
            code,
            "{client} {endpoint}"
        );
    }
}

#[test]
fn what_cannot_be_said_is_stricter_and_named() {
    let text = "HostKey HOME/host_key
UseDNS yes
AuthenticationMethods publickey,password any
Match Host *.example.com
PermitOpen db:1
Match LocalAddress 10.0.0.1
AllowTcpForwarding no
Match User git
AuthorizedKeysFile /srv/git/keys
Match User two
AuthenticationMethods publickey,keyboard-interactive
Match User cramped
MaxAuthTries 2
";
    let home = home(text);
    let ran = import(&home, &["--verify", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = document(&ran);
    let stricter = notes(&document, "stricter_than_before");
    for note in ["5 PermitOpen", "7 AllowTcpForwarding"] {
        assert!(stricter.contains(&note.to_owned()), "{note}: {stricter:?}");
    }
    let unsaid = notes(&document, "cannot_be_said");
    for note in ["11 AuthenticationMethods", "13 MaxAuthTries"] {
        assert!(unsaid.contains(&note.to_owned()), "{note}: {unsaid:?}");
    }
    for (user, endpoint, code) in [
        ("a", "127.0.0.1:1", 10),
        ("git", "unix:/run/x.sock", 10),
        ("two", "unix:/run/x.sock", 10),
    ] {
        assert_eq!(
            explain(&home, (user, "", "192.0.2.1"), "connect", endpoint),
            code,
            "{user} {endpoint}"
        );
    }
    assert_eq!(home.run(&["check", "--config", "out/portreeve.toml"]).code, 0);
}

#[test]
fn users_with_hosts_may_log_in_from_there_alone() {
    let home = home("HostKey HOME/host_key\nAllowUsers alice bob@10.0.0.0/8 *@192.0.2.* !carol\nDenyUsers dave\n");
    let ran = import(&home, &["--verify"]);
    assert!(ran.code == 0 && ran.out.contains(", 0 differences"), "{ran:?}");
    for (user, client, code) in [
        ("alice", "203.0.113.1", 0),
        ("bob", "10.1.1.1", 0),
        ("bob", "203.0.113.1", 10),
        ("bob", "192.0.2.9", 0),
        ("carol", "192.0.2.9", 0),
        ("carol", "203.0.113.1", 10),
        ("dave", "192.0.2.9", 10),
    ] {
        assert_eq!(
            explain(&home, (user, "", client), "connect", "127.0.0.1:9"),
            code,
            "{user} {client}"
        );
    }
}

#[test]
fn authorities_and_principals_come_along() {
    let home = home(
        "HostKey HOME/host_key\nTrustedUserCAKeys HOME/ca.pub\nRevokedKeys HOME/revoked\nAuthorizedPrincipalsFile HOME/principals/%u\n",
    );
    home.file("ca.pub", format!("{}\n", key(5)));
    home.file("revoked", format!("{}\n", key(6)));
    fs::create_dir(home.path("principals")).unwrap();
    home.file("principals/alice", "# hers\nops\nfrom=\"10.0.0.0/8\" dba\n");
    let ran = import(&home, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let keys = fs::read_to_string(home.path("out/keys/alice")).unwrap();
    assert!(
        keys.contains(&format!("cert-authority,principals=\"ops\" {}", key(5))),
        "{keys}"
    );
    assert!(
        keys.contains(&format!(
            "cert-authority,principals=\"dba\",from=\"10.0.0.0/8\" {}",
            key(5)
        )),
        "{keys}"
    );
    let written = fs::read_to_string(home.path("out/portreeve.toml")).unwrap();
    assert!(
        !written.contains("trusted-user-ca-keys") && written.contains("revoked-keys = "),
        "{written}"
    );
    let text = fs::read_to_string(home.path("sshd_config")).unwrap();
    home.file(
        "sshd_config",
        text.replace("AuthorizedPrincipalsFile", "# AuthorizedPrincipalsFile"),
    );
    fs::remove_dir_all(home.path("out")).unwrap();
    assert_eq!(import(&home, &[]).code, 0);
    let written = fs::read_to_string(home.path("out/portreeve.toml")).unwrap();
    assert!(written.contains("trusted-user-ca-keys = ["), "{written}");
    assert_eq!(home.run(&["check", "--config", "out/portreeve.toml"]).code, 0);
}

#[test]
fn a_file_that_is_not_on_this_machine_is_named() {
    let home = home("HostKey /nowhere/host_key\nTrustedUserCAKeys /nowhere/ca.pub\n");
    let ran = import(&home, &["--verify", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        notes(&document(&ran), "not_on_this_machine"),
        ["1 HostKey", "2 TrustedUserCAKeys"]
    );
}

#[test]
fn tunnels_without_traffic_end_as_channeltimeout_says() {
    let home =
        home("HostKey HOME/host_key\nChannelTimeout direct-tcpip=5m forwarded-*=1h\nUnusedConnectionTimeout 10m\n");
    assert_eq!(import(&home, &["--verify"]).code, 0);
    let rules = fs::read_to_string(home.path("out/rules.toml")).unwrap();
    assert!(
        rules.contains("terms = { idle-seconds = 300 }") && rules.contains("terms = { idle-seconds = 3600 }"),
        "{rules}"
    );
    let written = fs::read_to_string(home.path("out/portreeve.toml")).unwrap();
    assert!(
        written.contains("unused-connection-timeout = \"10m\"") && !written.contains("idle-timeout ="),
        "{written}"
    );
    home.file("sshd_config", "ChannelTimeout *=90\n");
    fs::remove_dir_all(home.path("out")).unwrap();
    assert_eq!(import(&home, &[]).code, 0);
    let written = fs::read_to_string(home.path("out/portreeve.toml")).unwrap();
    assert!(written.contains("\nidle-timeout = \"90s\""), "{written}");
}

/// Lines that count in an order that is easy to get wrong, each verified with every user, group, address and target in it.
#[test]
fn the_first_line_that_holds_counts() {
    #[rustfmt::skip]
    let table = [
        // A keyword counts by its own first block, not by the block of another.
        "AllowTcpForwarding no\nMatch User a*\nAllowTcpForwarding yes\nMatch User *b\nPermitOpen db:1\nMatch All\nPermitOpen web:80\n",
        // Two groups at once, which no rule can ask for.
        "AllowTcpForwarding no\nMatch Group dba\nAllowTcpForwarding yes\nMatch Group ops\nPermitOpen db:1\nDisableForwarding no\n",
        // The second line of a block, and of the file, does not count.
        "PermitOpen a:1\nPermitOpen b:2\nMatch Group dba\nPermitOpen c:3\nPermitOpen any\nMatch Group dba,ops\nPermitOpen none\n",
        // A block that never holds.
        "Match Invalid-User\nAllowTcpForwarding no\nMatch Address !10.0.0.0/8\nAllowStreamLocalForwarding no\nMatch LocalPort 23\nPermitOpen none\n",
        // Off for some, and lists for others.
        "DisableForwarding yes\nMatch Group dba,!ops\nDisableForwarding no\nAllowStreamLocalForwarding local\nPermitOpen [/run/a.sock]:* *:22\n",
        // Lists of users in blocks take the place of those outside.
        "AllowUsers alice bob\nMatch Address 10.0.0.0/8\nAllowUsers carol\nDenyUsers bob\nMatch Group dba\nDenyGroups ops\n",
    ];
    for text in table {
        let home = home(&format!("HostKey HOME/host_key\n{text}"));
        let ran = import(&home, &["--verify"]);
        assert!(ran.code == 0 && ran.out.contains(", 0 differences"), "{text}: {ran:?}");
        let checked = home.run(&["check", "--config", "out/portreeve.toml"]);
        assert_eq!(checked.code, 0, "{text}: {checked:?}");
    }
}

/// `sshd` itself as the judge: a program of that name that says something else is a difference.
#[test]
fn a_verification_finds_where_sshd_says_something_else() {
    let home = home("HostKey HOME/host_key\nMatch User alice\nAllowTcpForwarding no\n");
    fs::create_dir(home.path("bin")).unwrap();
    let program = home.file("bin/sshd", "#!/bin/sh\nprintf 'allowtcpforwarding yes\\nallowstreamlocalforwarding yes\\ndisableforwarding no\\ngatewayports no\\npermitopen any\\npermitlisten any\\n'\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = home.portreeve();
    command
        .env("PATH", path)
        .args(["import", "sshd", "sshd_config", "--output", "out", "--verify", "--json"]);
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    let differences = document(&ran)["verified"]["differences"].clone();
    let first = differences[0].clone();
    assert!(first["question"].as_str().unwrap().contains("alice"), "{differences:#}");
    assert_eq!(
        (&first["expected"], &first["found"]),
        (&"`no`".into(), &"`yes` from sshd -T".into())
    );
}

#[test]
fn the_installed_sshd_agrees() {
    let home = home(BASTION);
    fs::create_dir(home.path("sshd_config.d")).unwrap();
    home.file("sshd_config.d/10-hardening.conf", HARDENING);
    let ran = import(&home, &["--verify", "--json"]);
    let verified = document(&ran)["verified"].clone();
    let installed = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
        .iter()
        .any(|path| std::path::Path::new(path).exists());
    assert_eq!(verified["differences"], serde_json::json!([]));
    assert_eq!(
        verified["sshd"].as_u64().is_some_and(|number| number > 10),
        installed,
        "{verified:#}"
    );
}
