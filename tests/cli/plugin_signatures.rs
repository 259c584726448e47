//! Signing and verifying, each against the real ssh-keygen.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use crate::program::{Home, Ran};

const KINDS: [(&str, &[&str]); 3] = [("ed25519", &[]), ("ecdsa", &["-b", "384"]), ("rsa", &["-b", "2048"])];

/// A home with a component and a key of each kind, all of them allowed to sign.
fn signing() -> Home {
    let home = Home::new();
    home.file("policy.wasm", b"not really a component; a signature does not mind");
    let mut allowed = String::new();
    for (kind, more) in KINDS {
        let mut arguments = vec!["-q", "-t", kind, "-N", "", "-C", "", "-f", kind];
        arguments.extend(more);
        keygen(&home, &arguments);
        allowed.push_str(&format!("{kind}@example.org {}", public(&home, kind)));
    }
    home.file("allowed", allowed);
    home
}

fn public(home: &Home, key: &str) -> String {
    fs::read_to_string(home.path(&format!("{key}.pub"))).unwrap()
}

fn fingerprint(home: &Home, key: &str) -> String {
    let told = keygen(home, &["-l", "-f", &format!("{key}.pub")]);
    told.out.split(' ').nth(1).unwrap().to_owned()
}

fn keygen(home: &Home, arguments: &[&str]) -> Ran {
    let ran = ssh_keygen(home, arguments, None);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran
}

fn ssh_keygen(home: &Home, arguments: &[&str], input: Option<&str>) -> Ran {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).current_dir(home.0.path()).stdin(Stdio::null());
    if let Some(file) = input {
        command.stdin(File::open(home.path(file)).unwrap());
    }
    Ran::from(command.output().expect("ssh-keygen runs (Debian: openssh-client)"))
}

/// What ssh-keygen thinks of the signature.
fn keygen_verifies(home: &Home, who: &str) -> Ran {
    let arguments = [
        "-Y",
        "verify",
        "-f",
        "allowed",
        "-I",
        who,
        "-n",
        "policy@portreeve",
        "-s",
        "policy.wasm.sig",
    ];
    ssh_keygen(home, &arguments, Some("policy.wasm"))
}

fn keygen_signs(home: &Home, key: &str, namespace: &str) {
    let _ = fs::remove_file(home.path("policy.wasm.sig"));
    keygen(home, &["-Y", "sign", "-n", namespace, "-f", key, "policy.wasm"]);
}

fn verify(home: &Home, more: &[&str]) -> Ran {
    let mut arguments = vec!["plugin", "verify", "policy.wasm", "--allowed-signers", "allowed"];
    arguments.extend(more);
    home.run(&arguments)
}

#[test]
fn what_is_signed_here_is_verified_by_ssh_keygen() {
    let home = signing();
    for (kind, _) in KINDS {
        let signed = home.run(&["plugin", "sign", "policy.wasm", "--key", kind]);
        assert_eq!(signed.code, 0, "{}", signed.err);
        assert!(signed.out.contains(&fingerprint(&home, kind)), "{}", signed.out);
        let verified = keygen_verifies(&home, &format!("{kind}@example.org"));
        assert_eq!(verified.code, 0, "{kind}: {}{}", verified.out, verified.err);
        let ours = verify(&home, &[]);
        assert_eq!(ours.code, 0, "{}", ours.err);
    }
    home.file("policy.wasm", "something else");
    assert_ne!(
        keygen_verifies(&home, "rsa@example.org").code,
        0,
        "ssh-keygen tells the difference"
    );
}

#[test]
fn a_project_is_named_by_its_folder() {
    let home = signing();
    fs::create_dir(home.path("mine")).unwrap();
    home.file("mine/policy.toml", "name = \"mine\"\ncomponent = \"../policy.wasm\"\n");
    let signed = home.run(&["plugin", "sign", "mine", "--key", "ed25519"]);
    assert!(signed.code == 0 && home.path("policy.wasm.sig").is_file(), "{signed:?}");
    let verified = home.run(&["plugin", "verify", "mine", "--allowed-signers", "allowed"]);
    assert!(
        verified.code == 0 && verified.out.contains("signed by ed25519@example.org"),
        "{verified:?}"
    );
    home.file("mine/policy.toml", "name = \"mine\"\ncomponent = \"builtin:rules\"\n");
    for command in [
        &["plugin", "sign", "mine", "--key", "ed25519"][..],
        &["plugin", "verify", "mine", "--allowed-signers", "allowed"],
        &["plugin", "sign", ".", "--key", "ed25519"],
    ] {
        let ran = home.run(command);
        assert!(ran.code == 2 && !ran.err.is_empty(), "{command:?}: {ran:?}");
    }
}

#[test]
fn what_ssh_keygen_signs_is_verified_here() {
    let home = signing();
    for (kind, _) in KINDS {
        keygen_signs(&home, kind, "policy@portreeve");
        let verified = verify(&home, &[]);
        let said = format!(
            "policy.wasm: signed by {kind}@example.org with {}\n",
            fingerprint(&home, kind)
        );
        assert_eq!((verified.code, verified.out), (0, said), "{}", verified.err);
    }
    let json = verify(&home, &["--json", "--signer", "rsa@example.org"]);
    let signer: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(signer["principal"], "rsa@example.org");
    assert_eq!(signer["fingerprint"], fingerprint(&home, "rsa"));
}

#[test]
fn a_certificate_signs_for_the_principals_that_its_authority_may_name() {
    let home = signing();
    keygen(&home, &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "authority"]);
    let certify = |principals: &str, validity: &str| {
        keygen(
            &home,
            &[
                "-q",
                "-s",
                "authority",
                "-I",
                "id",
                "-n",
                principals,
                "-V",
                validity,
                "ed25519.pub",
            ],
        );
    };
    let line = format!("*@example.org cert-authority {}", public(&home, "authority"));
    home.file("allowed", &line);
    certify("alice@example.org,alice@elsewhere.org", "-1h:+1h");
    keygen_signs(&home, "ed25519-cert.pub", "policy@portreeve");
    let verified = verify(&home, &[]);
    assert_eq!(verified.code, 0, "{}", verified.err);
    let said = format!("certified by {}", fingerprint(&home, "authority"));
    assert!(
        verified.out.contains("signed by alice@example.org with") && verified.out.contains(&said),
        "{verified:?}"
    );
    fs::remove_file(home.path("policy.wasm.sig")).unwrap();
    let signed = home.run(&["plugin", "sign", "policy.wasm", "--key", "ed25519-cert.pub"]);
    assert_eq!(signed.code, 0, "{}", signed.err);
    assert_eq!(keygen_verifies(&home, "alice@example.org").code, 0);
    assert_eq!(verify(&home, &["--signer", "alice@example.org"]).code, 0);
    let table = [
        (
            "mallory@elsewhere.org",
            "-1h:+1h",
            "the certificate has no principal that matches `*@example.org`",
        ),
        (
            "alice@example.org",
            "-2h:-1h",
            "the certificate is not valid at this time",
        ),
    ];
    for (principals, validity, why) in table {
        certify(principals, validity);
        let signed = home.run(&["plugin", "sign", "policy.wasm", "--key", "ed25519-cert.pub"]);
        assert_eq!(signed.code, 0, "{}", signed.err);
        let refused = verify(&home, &[]);
        assert!(refused.code == 1 && refused.err.contains(why), "{refused:?}");
    }
    // An authority does not sign itself, and a key that is listed as itself vouches for no other.
    home.run(&["plugin", "sign", "policy.wasm", "--key", "authority"]);
    assert!(verify(&home, &[]).err.contains("does not allow to sign"));
}

#[test]
fn what_is_not_as_it_must_be_is_refused_with_the_reason() {
    let home = signing();
    let line = |options: &str| format!("who@example.org {options} {}", public(&home, "ed25519"));
    let revoked = fingerprint(&home, "ed25519");
    home.file("revoked", format!("{revoked}\n"));
    type Row<'a> = (&'a str, String, &'a str, &'a [&'a str], i32, &'a str);
    #[rustfmt::skip]
    let table: [Row<'_>; 12] = [
        // signed for          allowed                                       altered   more                                  code  said
        ("policy@portreeve",   line(""),                                     "",       &[],                                    0, ""),
        ("policy@portreeve",   line(""),                                     "more",   &[],                                    1, "it does not match the file: the file changed"),
        ("file",               line(""),                                     "",       &[],                                    1, "it was made for `file`, not for `policy@portreeve`"),
        ("policy@portreeve",   format!("x@y {}", public(&home, "rsa")),      "",       &[],                                    1, "does not allow to sign"),
        ("policy@portreeve",   line("namespaces=\"git\""),                   "",       &[],                                    1, "this key may sign for `git`"),
        ("policy@portreeve",   line("valid-before=\"20200101\""),            "",       &[],                                    1, "this key could sign only until 20"),
        ("policy@portreeve",   line("valid-after=\"20990101Z\""),            "",       &[],                                    1, "this key may not sign before 2099-01-01T00:00:00Z"),
        ("policy@portreeve",   line("cert-authority"),                       "",       &[],                                    1, "does not allow to sign"),
        ("policy@portreeve",   line(""),                                     "",       &["--signer", "other@example.org"],     1, "the key belongs to who@example.org, but other@example.org must sign"),
        ("policy@portreeve",   line(""),                                     "",       &["--revoked-keys", "revoked"],         1, "which is revoked"),
        ("policy@portreeve",   "# nobody\n".to_owned(),                      "",       &[],                                    2, "lists no signer"),
        ("policy@portreeve",   "a@x ssh-dss AAAA\n".to_owned(),              "",       &[],                                    2, "allowed:1: column 5: DSA keys"),
    ];
    for (namespace, allowed, altered, more, code, said) in table {
        home.file("policy.wasm", "a component");
        keygen_signs(&home, "ed25519", namespace);
        home.file("policy.wasm", format!("a component{altered}"));
        home.file("allowed", &allowed);
        let ran = verify(&home, more);
        assert_eq!(ran.code, code, "{allowed}: {}", ran.err);
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[test]
fn a_signature_that_is_none_is_told_from_one_that_does_not_fit() {
    let home = signing();
    keygen_signs(&home, "ed25519", "policy@portreeve");
    let good = fs::read_to_string(home.path("policy.wasm.sig")).unwrap();
    let cut = good
        .lines()
        .take(2)
        .chain(["-----END SSH SIGNATURE-----"])
        .collect::<Vec<_>>()
        .join("\n");
    let table = [
        ("hello".to_owned(), "it is not an SSH signature"),
        (
            good.replace("SSH SIGNATURE", "PGP SIGNATURE"),
            "it is not an SSH signature",
        ),
        (cut, "it is damaged"),
        (good.replacen("U1NI", "U1NJ", 1), "it is damaged"),
    ];
    for (text, said) in table {
        home.file("policy.wasm.sig", text);
        let ran = verify(&home, &[]);
        assert!(ran.code == 1 && ran.err.contains(said), "{said}: {ran:?}");
    }
    fs::remove_file(home.path("policy.wasm.sig")).unwrap();
    let ran = verify(&home, &[]);
    assert!(
        ran.code == 1 && ran.err.contains("it is not signed: policy.wasm.sig is missing"),
        "{ran:?}"
    );
    for signature in ["gone.sig", "."] {
        assert_eq!(verify(&home, &["--signature", signature]).code, 2, "{signature}");
    }
    home.file("elsewhere.sig", good);
    assert_eq!(verify(&home, &["--signature", "elsewhere.sig"]).code, 0);
}

#[test]
fn a_key_that_is_none_is_wrong_input() {
    let home = signing();
    home.file("empty", "");
    home.file("damaged", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
    for key in ["gone", ".", "empty", "damaged"] {
        let ran = home.run(&["plugin", "sign", "policy.wasm", "--key", key]);
        assert!(ran.code == 2 && !ran.err.is_empty(), "{key}: {ran:?}");
    }
}

/// An ssh-agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_agent_signs_where_only_the_public_key_is_given() {
    let home = signing();
    let socket = home.path("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a", socket.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh-agent runs (Debian: openssh-client)");
    // Its first word comes when it listens.
    let mut word = [0];
    agent.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let _agent = Agent(agent);
    for (kind, _) in KINDS {
        let added = Command::new("ssh-add")
            .arg(home.path(kind))
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        fs::remove_file(home.path(kind)).unwrap();
        let key = format!("{kind}.pub");
        let sign = |agent: bool| {
            let mut command = home.portreeve();
            command
                .args(["plugin", "sign", "policy.wasm", "--key", &key])
                .env_remove("SSH_AUTH_SOCK");
            if agent {
                command.env("SSH_AUTH_SOCK", &socket);
            }
            Ran::from(command.output().unwrap())
        };
        let alone = sign(false);
        assert!(
            alone.code == 1 && alone.err.contains("SSH_AUTH_SOCK is not set"),
            "{alone:?}"
        );
        let signed = sign(true);
        assert_eq!(signed.code, 0, "{}", signed.err);
        assert_eq!(keygen_verifies(&home, &format!("{kind}@example.org")).code, 0, "{kind}");
    }
}

#[test]
fn a_passphrase_is_asked_for_on_the_terminal() {
    let home = signing();
    keygen(&home, &["-q", "-p", "-P", "", "-N", "open sesame", "-f", "ed25519"]);
    let alone = Command::new("setsid")
        .args([
            "-w",
            env!("CARGO_BIN_EXE_portreeve"),
            "plugin",
            "sign",
            "policy.wasm",
            "--key",
            "ed25519",
        ])
        .current_dir(home.0.path())
        .output();
    let alone = Ran::from(alone.expect("setsid runs (Debian: util-linux)"));
    assert!(
        alone.code == 1 && alone.err.contains("there is no terminal to ask for it"),
        "{alone:?}"
    );
    for (typed, code, said) in [
        ("open sesame\n", 0, "signed by SHA256:"),
        ("wrong\n", 1, "the passphrase is wrong"),
    ] {
        let line = format!(
            "{} plugin sign policy.wasm --key ed25519",
            env!("CARGO_BIN_EXE_portreeve")
        );
        let mut terminal = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(home.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs (Debian: bsdutils)");
        let mut shown = Vec::new();
        let mut byte = [0];
        let out = terminal.stdout.as_mut().unwrap();
        while !shown.ends_with(b"passphrase for ed25519: ") {
            out.read_exact(&mut byte).unwrap();
            shown.push(byte[0]);
        }
        terminal.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        let ended = terminal.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{shown}");
        assert!(shown.contains(said) && !shown.contains("sesame"), "{shown}");
    }
    assert_eq!(keygen_verifies(&home, "ed25519@example.org").code, 0);
}

#[test]
fn a_folder_in_the_place_of_a_file_is_said_with_the_mend() {
    let home = signing();
    fs::create_dir(home.path("folder")).unwrap();
    keygen_signs(&home, "ed25519", "policy@portreeve");
    let allowed = ["--allowed-signers", "allowed"];
    #[rustfmt::skip]
    let table: [(&[&str], &str); 6] = [
        (&["sign", "policy.wasm", "--key", "folder"],                "folder is a folder: name the key in it, as in folder/id_ed25519"),
        (&["sign", "folder", "--key", "ed25519"],                    "folder: no policy.toml: name the component's file, or a project folder"),
        (&["verify", "policy.wasm", "--allowed-signers", "folder"],  "folder is a folder: name the file in it, as in folder/allowed_signers"),
        (&["verify", "folder", allowed[0], allowed[1]],              "folder: no policy.toml: name the component's file, or a project folder"),
        (&["verify", "policy.wasm", allowed[0], allowed[1], "--signature", "folder"],    "folder is a folder: name the signature in it, as in folder/policy.wasm.sig"),
        (&["verify", "policy.wasm", allowed[0], allowed[1], "--revoked-keys", "folder"], "folder is a folder: name the list in it, as in folder/revoked_keys"),
    ];
    for (command, words) in table {
        let mut arguments = vec!["plugin"];
        arguments.extend(command);
        let ran = home.run(&arguments);
        assert!(ran.code == 2 && ran.err.contains(words), "{words}: {ran:?}");
    }
}

#[test]
fn a_signature_takes_the_place_of_nothing_but_a_file() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let home = signing();
    let fifo = home.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("fifo", home.path("link")).unwrap();
    fs::create_dir(home.path("folder")).unwrap();
    for output in ["fifo", "link", "folder"] {
        let ran = home.run(&["plugin", "sign", "policy.wasm", "--key", "ed25519", "--output", output]);
        assert_eq!(ran.code, 1, "{output}: {ran:?}");
        let words = format!("{output}: it is not a regular file and is not overwritten: name a file, or - for");
        assert!(ran.err.contains(&words), "{output}: {}", ran.err);
    }
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    assert!(home.path("link").is_symlink());
}
