//! What clients show that is not as it should be, and what they learn from the answers.

use std::fs;
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use sha2::{Digest as _, Sha256};
use ssh_key::Signature;
use ssh_key::certificate::Builder;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{KeyData, SkEd25519};

use crate::harness::{Running, Setup, make_key, ssh_keygen, wire};

/// A FIDO key in software: what it says of touch and verification is up to whoever uses it.
struct Authenticator {
    keypair: Ed25519Keypair,
    flags: u8,
}

impl Authenticator {
    fn new(flags: u8) -> Self {
        let keypair = Ed25519Keypair::from_seed(&[7; 32]);
        Self { keypair, flags }
    }

    fn public(&self) -> PublicKey {
        KeyData::from(SkEd25519::new(self.keypair.public, "ssh:")).into()
    }

    fn line(&self) -> String {
        self.public().to_openssh().unwrap()
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

impl russh::Signer for Authenticator {
    type Error = russh::AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, russh::AgentAuthError> {
        let counter = 5u32.to_be_bytes();
        let told = [&[self.flags][..], &counter].concat();
        let signed = [&Sha256::digest(b"ssh:")[..], &told, &Sha256::digest(&to_sign)].concat();
        let signature: Signature = self.keypair.try_sign(&signed).unwrap();
        let blob = [
            string(b"sk-ssh-ed25519@openssh.com"),
            string(signature.as_bytes()),
            told,
        ]
        .concat();
        Ok([to_sign, string(&blob)].concat())
    }
}

/// A key of the usual kind that counts how often it is asked for a signature.
struct Asked {
    key: PrivateKey,
    times: usize,
}

impl russh::Signer for Asked {
    type Error = russh::AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, russh::AgentAuthError> {
        self.times += 1;
        let signature: Signature = self.key.try_sign(&to_sign).unwrap();
        let blob = Vec::<u8>::try_from(signature).unwrap();
        Ok([to_sign, string(&blob)].concat())
    }
}

/// Whether this key may log in as `user`, and how often it was asked for a signature.
fn tries(gateway: &Running, user: &str, key: &PrivateKey) -> (bool, usize) {
    gateway.block_on(async {
        let mut client = wire::connect(gateway).await;
        let mut asked = Asked {
            key: key.clone(),
            times: 0,
        };
        let public = key.public_key().clone();
        let answer = client.authenticate_publickey_with(user, public, None, &mut asked).await;
        (answer.expect("an answer").success(), asked.times)
    })
}

const TOUCHED: u8 = 1;
const VERIFIED: u8 = 4;

/// A gateway where alice's lines are those of a file, and where a list of revoked keys and an authority are known.
fn with_files() -> Setup {
    with_files_and("")
}

fn with_files_and(lines: &str) -> Setup {
    let files = "authorized-keys = [\"keys/%u\"]\ntrusted-user-ca-keys = [\"ca.pub\"]\nrevoked-keys = \"revoked\"";
    let setup = Setup::allowing()
        .without_listed_key()
        .tables(&format!("[auth]\n{files}\n{lines}"));
    fs::create_dir(setup.path("keys")).unwrap();
    fs::write(setup.path("revoked"), "").unwrap();
    make_key(&setup.path("ca"), "ed25519");
    make_key(&setup.path("ours"), "ed25519");
    setup
}

fn secret(gateway: &Running, name: &str) -> PrivateKey {
    load_secret_key(gateway.path(name), None).unwrap()
}

fn public(gateway: &Running, name: &str) -> String {
    fs::read_to_string(gateway.path(&format!("{name}.pub"))).unwrap()
}

fn list(gateway: &Running, lines: &str) {
    fs::write(gateway.path("keys/alice"), lines).unwrap();
}

#[test]
fn a_fido_signature_without_a_touch_lets_in_only_where_none_is_required() {
    let gateway = with_files().start();
    #[rustfmt::skip]
    let table = [
        // options                               flags               lets in
        ("",                                     0,                  false),
        ("",                                     VERIFIED,           false),
        ("touch-required",                       0,                  false),
        ("no-touch-required,touch-required",     0,                  false),
        ("no-touch-required",                    0,                  true),
        ("no-touch-required",                    TOUCHED,            true),
        ("no-touch-required,verify-required",    0,                  false),
        ("no-touch-required,verify-required",    TOUCHED,            false),
        ("verify-required",                      TOUCHED,            false),
    ];
    for (options, flags, lets_in) in table {
        let mut authenticator = Authenticator::new(flags);
        list(&gateway, format!("{options} {}", authenticator.line()).trim());
        let entered = gateway.block_on(async {
            let mut client = wire::connect(&gateway).await;
            let key = authenticator.public();
            let answer = client
                .authenticate_publickey_with("alice", key, None, &mut authenticator)
                .await;
            answer.expect("an answer").success()
        });
        assert_eq!(entered, lets_in, "{options} {flags}");
    }
    let refused = gateway.event("auth-failed");
    assert!(
        refused["reason"].as_str().unwrap().contains("no-touch-required"),
        "{refused}"
    );
}

#[test]
fn a_certificate_for_a_fido_key_lets_in_without_a_touch_only_where_all_say_so() {
    let gateway = with_files().start();
    let with = |authority: &str, extensions: &[&str], critical: &[&str]| -> Certificate {
        let key = Authenticator::new(0).public();
        let mut builder = Builder::new(vec![7; 32], key, 0, u64::from(u32::MAX)).unwrap();
        builder.key_id("the test").unwrap().valid_principal("alice").unwrap();
        for name in critical {
            builder.critical_option(*name, "").unwrap();
        }
        for name in extensions {
            builder.extension(*name, "").unwrap();
        }
        builder.sign(&secret(&gateway, authority)).unwrap()
    };
    let free: &[&str] = &["no-touch-required"];
    #[rustfmt::skip]
    #[expect(clippy::type_complexity, reason = "a row a line")]
    let table: [(&str, &str, &[&str], &[&str], bool); 7] = [
        // authority  options of its line                  extensions  critical options        lets in
        ("ca",        "",                                  &[],        &[],                    false),
        ("ca",        "",                                  free,       &[],                    true),
        ("ca",        "",                                  free,       &["verify-required"],   false),
        ("ours",      "cert-authority",                    free,       &[],                    false),
        ("ours",      "cert-authority,no-touch-required",  &[],        &[],                    false),
        ("ours",      "cert-authority,no-touch-required",  free,       &[],                    true),
        ("ours",      "cert-authority,no-touch-required",  free,       &["verify-required"],   false),
    ];
    for (authority, options, extensions, critical, lets_in) in table {
        let line = format!("{options} {}", public(&gateway, "ours"));
        list(&gateway, if options.is_empty() { "" } else { &line });
        let certificate = with(authority, extensions, critical);
        let entered = gateway.block_on(async {
            let mut client = wire::connect(&gateway).await;
            let signer = &mut Authenticator::new(0);
            let answer = client
                .authenticate_certificate_with("alice", certificate, None, signer)
                .await;
            answer.expect("an answer").success()
        });
        assert_eq!(entered, lets_in, "{authority} {options} {extensions:?} {critical:?}");
    }
}

#[test]
fn a_signature_with_sha1_proves_nothing() {
    let setup = with_files();
    make_key(&setup.path("rsa"), "rsa");
    let gateway = setup.start();
    list(&gateway, &public(&gateway, "rsa"));
    let key = Arc::new(secret(&gateway, "rsa"));
    for (hash, lets_in) in [
        (None, false),
        (Some(HashAlg::Sha256), true),
        (Some(HashAlg::Sha512), true),
    ] {
        let entered = gateway.block_on(async {
            let mut client = wire::connect(&gateway).await;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
            client
                .authenticate_publickey("alice", key)
                .await
                .expect("an answer")
                .success()
        });
        assert_eq!(entered, lets_in, "{hash:?}");
    }
    let refused = gateway.event("auth-failed");
    assert!(refused["reason"].as_str().unwrap().contains("ssh-rsa"), "{refused}");
}

#[test]
fn an_authority_that_signs_with_sha1_vouches_for_nobody() {
    let setup = with_files();
    fs::remove_file(setup.path("ca")).unwrap();
    fs::remove_file(setup.path("ca.pub")).unwrap();
    make_key(&setup.path("ca"), "rsa");
    let gateway = setup.start();
    let key = Arc::new(secret(&gateway, "ours"));
    for (algorithm, lets_in) in [("ssh-rsa", false), ("rsa-sha2-256", true), ("rsa-sha2-512", true)] {
        let [ca, user] = ["ca", "ours.pub"].map(|name| gateway.path(name).display().to_string());
        ssh_keygen(&["-q", "-s", &ca, "-t", algorithm, "-I", "the test", "-n", "alice", &user]);
        let certificate = Certificate::read_file(&gateway.path("ours-cert.pub")).unwrap();
        let entered = gateway.block_on(async {
            let mut client = wire::connect(&gateway).await;
            let answer = client
                .authenticate_openssh_cert("alice", Arc::clone(&key), certificate)
                .await;
            answer.expect("an answer").success()
        });
        assert_eq!(entered, lets_in, "{algorithm}");
    }
    let refused = gateway.audited("the refusal", |line| line["method"] == "certificate");
    assert!(refused["reason"].as_str().unwrap().contains("ssh-rsa"), "{refused}");
}

/// Where authorities are trusted, too: the answer says whether this key may log in, and a wrong one costs no touch.
#[test]
fn an_offered_key_is_answered_by_whether_it_may_log_in() {
    let setup = with_files();
    make_key(&setup.path("rsa"), "rsa");
    let gateway = setup.start();
    let [right, wrong] = ["id", "ours"].map(|name| secret(&gateway, name));
    let authority = format!("cert-authority {}", public(&gateway, "ca"));
    #[rustfmt::skip]
    let table = [
        // alice's lines                                            user       key       lets in   asked for a signature
        (public(&gateway, "id"),                                    "alice",   &right,   true,     1),
        (public(&gateway, "id"),                                    "alice",   &wrong,   false,    0),
        (authority.clone(),                                         "alice",   &wrong,   false,    0),
        (authority.clone(),                                         "bob",     &wrong,   false,    0),
        (authority.clone(),                                         "nobody",  &wrong,   false,    0),
        (format!("{authority}{}", public(&gateway, "id")),          "alice",   &right,   true,     1),
        (format!("{authority}{}", public(&gateway, "id")),          "alice",   &wrong,   false,    0),
        (format!("from=\"10.0.0.1\" {}", public(&gateway, "id")),   "alice",   &right,   false,    0),
    ];
    for (lines, user, key, lets_in, asked) in table {
        list(&gateway, &lines);
        assert_eq!(tries(&gateway, user, key), (lets_in, asked), "{user} {lines}");
    }
    list(&gateway, "");
    assert_eq!(tries(&gateway, "alice", &secret(&gateway, "rsa")), (false, 0));
}

#[test]
fn the_opening_question_is_no_attempt() {
    let gateway = with_files_and("max-attempts = 1").start();
    list(&gateway, &public(&gateway, "id"));
    assert_eq!(gateway.through("localhost:1").code, Some(255));
    assert_eq!(gateway.event("auth-succeeded")["method"], "publickey");
    assert!(
        gateway.events("auth-failed").is_empty(),
        "{:?}",
        gateway.events("auth-failed")
    );
}

/// OpenSSH offers the key alone before its certificate.
#[test]
fn a_login_with_a_certificate_leaves_no_failure() {
    let gateway = with_files().start();
    let [ca, user] = ["ca", "id.pub"].map(|name| gateway.path(name).display().to_string());
    ssh_keygen(&["-q", "-s", &ca, "-I", "the test", "-n", "alice", &user]);
    gateway.through("localhost:1");
    assert_eq!(gateway.event("auth-succeeded")["method"], "certificate");
    gateway.event("session-closed");
    assert!(
        gateway.events("auth-failed").is_empty(),
        "{:?}",
        gateway.events("auth-failed")
    );
}

/// The way in for clients that do not begin with the question.
#[test]
fn what_is_tried_after_the_last_attempt_is_refused_unheard() {
    let hash = crate::login::argon2_of("correct horse");
    let tables = |most: u32| format!("[auth]\nmax-attempts = {most}");
    for (most, wrong, asks, lets_in) in [
        (1, 0, false, true),
        (1, 1, false, false),
        (2, 1, false, true),
        (2, 1, true, true),
        (2, 2, true, false),
    ] {
        let gateway = Setup::allowing()
            .user(&format!("password-hash = \"{hash}\""))
            .tables(&tables(most))
            .start();
        let entered = gateway.block_on(async {
            let mut client = wire::connect(&gateway).await;
            if asks {
                assert!(!client.authenticate_none("alice").await.expect("an answer").success());
            }
            for _ in 0..wrong {
                assert!(
                    !client
                        .authenticate_password("alice", "wrong")
                        .await
                        .expect("an answer")
                        .success()
                );
            }
            let answer = client.authenticate_password("alice", "correct horse").await;
            answer.is_ok_and(|answer| answer.success())
        });
        assert_eq!(entered, lets_in, "{most} {wrong} {asks}");
    }
}

#[test]
fn each_line_of_an_authority_counts() {
    let gateway = with_files().start();
    let ours = public(&gateway, "ours");
    let line = |options: &str| format!("{options} {ours}");
    list(
        &gateway,
        &[
            line("cert-authority,principals=\"dev\""),
            line("cert-authority,principals=\"ops\""),
        ]
        .concat(),
    );
    let [ours, user] = ["ours", "id.pub"].map(|name| gateway.path(name).display().to_string());
    for (principals, lets_in) in [
        ("dev", true),
        ("ops", true),
        ("alice", false),
        ("sec", false),
        ("sec,ops", true),
    ] {
        ssh_keygen(&["-q", "-s", &ours, "-I", principals, "-n", principals, &user]);
        gateway.through("localhost:1");
        let told = gateway.audited(principals, |line| {
            line["certificate"]["key-id"] == principals || (!lets_in && line["event"] == "auth-failed")
        });
        assert_eq!(
            told["event"],
            if lets_in { "auth-succeeded" } else { "auth-failed" },
            "{told}"
        );
    }
}

#[test]
fn options_before_a_trusted_authority_apply() {
    let setup = with_files();
    let ca = fs::read_to_string(setup.path("ca.pub")).unwrap();
    let gateway = setup.start();
    let [key, user] = ["ca", "id.pub"].map(|name| gateway.path(name).display().to_string());
    ssh_keygen(&["-q", "-s", &key, "-I", "the test", "-n", "alice", &user]);
    let target = crate::harness::Server::named("x");
    #[rustfmt::skip]
    let table = [
        ("restrict".to_owned(),                                        true,    false),
        (format!("permitopen=\"127.0.0.1:{}\"", target.port),          true,    true),
        ("permitopen=\"127.0.0.1:1\"".to_owned(),                      true,    false),
        ("from=\"10.0.0.0/8\"".to_owned(),                             false,   false),
        ("expiry-time=\"20200101\"".to_owned(),                        false,   false),
    ];
    for (options, lets_in, forwards) in table {
        fs::write(gateway.path("ca.pub"), format!("{options} {ca}")).unwrap();
        gateway.reload().expect("it is read");
        let answer = gateway.through(&target.address());
        assert_eq!(
            !answer.errors.contains("Permission denied"),
            lets_in,
            "{options}: {answer:?}"
        );
        assert_eq!(answer.stdout == "x", forwards, "{options}: {answer:?}");
    }
    fs::write(gateway.path("ca.pub"), format!("principals=\"ops\" {ca}")).unwrap();
    let refused = gateway.reload().expect_err("it would let ops in as every user");
    assert!(refused.contains("ca.pub:1"), "{refused}");
}

#[test]
fn a_certificate_in_a_plain_list_is_revoked_and_nothing_else() {
    let gateway = with_files().start();
    let ca = gateway.path("ca").display().to_string();
    for name in ["id", "ours"] {
        let user = gateway.path(&format!("{name}.pub")).display().to_string();
        ssh_keygen(&["-q", "-s", &ca, "-I", name, "-n", "alice", &user]);
    }
    fs::copy(gateway.path("id-cert.pub"), gateway.path("revoked")).unwrap();
    for (name, lets_in) in [("id", false), ("ours", true)] {
        let answer = gateway
            .ssh_with_key(&gateway.path(name))
            .args(["-W", "localhost:1"])
            .run(b"");
        assert_eq!(
            !answer.errors.contains("Permission denied"),
            lets_in,
            "{name}: {answer:?}"
        );
    }
}

#[test]
fn a_key_file_in_a_folder_open_to_all_counts_only_where_modes_are_not_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    for (lines, lets_in) in [
        ("", false),
        ("strict-modes = true", false),
        ("strict-modes = false", true),
    ] {
        let gateway = with_files_and(lines).start();
        list(&gateway, &public(&gateway, "id"));
        fs::set_permissions(gateway.path("keys"), fs::Permissions::from_mode(0o777)).unwrap();
        let answer = gateway.through("localhost:1");
        assert_eq!(
            !answer.errors.contains("Permission denied"),
            lets_in,
            "{lines}: {answer:?}"
        );
    }
}
