//! A configuration that demands signatures: what is loaded, what is refused, and what a swap of two files comes to.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use portreeve::config;
use portreeve::policy::{Component, Fresh, Generation, Meter, Offline, Passed, Policies, Workshop};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::guests::{Guest, denies};
use crate::harness::{Running, Setup, compiler, eventually, make_key, ssh_keygen};

/// A gateway whose policy must be signed, and is, by the key `signer`.
fn signed() -> Setup {
    let setup = Setup::allowing().policy("allowed-signers = \"allowed\"");
    for name in ["signer", "stranger"] {
        make_key(&setup.path(name), "ed25519");
    }
    allow(&setup, "");
    sign(&setup.path("policy.wasm"), &setup.path("signer"), "policy@portreeve");
    setup
}

/// Lists the key with these options.
fn allow(setup: &Setup, options: &str) {
    let key = fs::read_to_string(setup.path("signer.pub")).unwrap();
    fs::write(setup.path("allowed"), format!("security@example.org {options} {key}")).unwrap();
}

/// As its author would, beside the component.
fn sign(component: &Path, key: &Path, namespace: &str) {
    let signature = component.with_extension("wasm.sig");
    if signature.exists() {
        fs::remove_file(&signature).unwrap();
    }
    let [key, file] = [key, component].map(|path| path.to_str().unwrap());
    ssh_keygen(&["-Y", "sign", "-n", namespace, "-f", key, file]);
}

fn refusing() -> Guest {
    Guest::that(denies("the new policy says no"))
}

#[test]
fn a_signed_policy_serves_and_the_audit_log_says_who_signed_it() {
    let setup = signed();
    let fingerprint = {
        let key = fs::read_to_string(setup.path("signer.pub")).unwrap();
        let line = portreeve::auth::parse_line(&key).unwrap().unwrap();
        line.key.fingerprint()
    };
    let gateway = setup.start();
    assert!(gateway.allows_new());
    let signer = gateway.event("gateway-started")["policies"][0]["signer"].clone();
    let expected = serde_json::json!({ "principal": "security@example.org", "fingerprint": fingerprint });
    assert_eq!(signer, expected);
    let decided = gateway.audited("the decision", |line| line["event"] == "forward-decided");
    assert_eq!(
        decided["policy"].get("signer"),
        None,
        "a decision names its policy by the digest"
    );
    gateway.stop();
}

#[test]
fn what_is_not_signed_as_demanded_does_not_start() {
    type Spoil = fn(&Setup);
    #[rustfmt::skip]
    let table: [(&str, Spoil, &str, &str); 10] = [
        // what                 how                                                          the key                        said
        ("unsigned",            |s| fs::remove_file(s.path("policy.wasm.sig")).unwrap(),     "policy.plugin[0].component",  "it is not signed"),
        ("wrong key",           |s| sign(&s.path("policy.wasm"), &s.path("stranger"), "policy@portreeve"), "policy.plugin[0].component", "does not allow to sign"),
        ("wrong namespace",     |s| sign(&s.path("policy.wasm"), &s.path("signer"), "file"), "policy.plugin[0].component",  "it was made for `file`"),
        ("altered",             |s| fs::write(s.path("policy.wasm"), refusing().build()).unwrap(), "policy.plugin[0].component", "it does not match the file"),
        ("expired signer",      |s| allow(s, "valid-before=\"20200101\""),                   "policy.plugin[0].component",  "this key could sign only until"),
        ("another purpose",     |s| allow(s, "namespaces=\"git\""),                          "policy.plugin[0].component",  "this key may sign for `git`"),
        ("no list",             |s| fs::remove_file(s.path("allowed")).unwrap(),             "policy.allowed-signers",      "No such file"),
        ("an empty list",       |s| fs::write(s.path("allowed"), "# nobody\n").unwrap(),     "policy.allowed-signers",      "lists no signer"),
        ("a list with a fault", |s| fs::write(s.path("allowed"), "a@x ssh-new AAAA\n").unwrap(), "policy.allowed-signers",  "allowed:1: column 5"),
        ("no signature file",   |s| fs::write(s.path("policy.wasm.sig"), "hello").unwrap(),  "policy.plugin[0].component",  "it is not an SSH signature"),
    ];
    for (what, spoil, key, said) in table {
        let setup = signed();
        spoil(&setup);
        let error = setup
            .try_start()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(key) && error.contains(said), "{what}: {error}");
        assert_eq!(error.lines().count(), 1, "{what}: {error}");
    }
}

#[test]
fn a_plugin_can_name_who_must_have_signed_it() {
    let setup = signed().plugin("signers = [\"release@example.org\", \"security@example.org\"]");
    assert!(setup.start().allows_new());
    let setup = signed().plugin("signers = [\"release@example.org\"]");
    let error = setup.try_start().err().unwrap().to_string();
    assert!(
        error.contains("the key belongs to security@example.org, but release@example.org must sign"),
        "{error}"
    );
}

#[test]
fn a_key_that_is_revoked_for_logins_signs_nothing_either() {
    let setup = signed().tables("[auth]\nrevoked-keys = \"revoked\"");
    fs::copy(setup.path("signer.pub"), setup.path("revoked")).unwrap();
    let error = setup.try_start().err().unwrap().to_string();
    assert!(error.contains("which is revoked"), "{error}");
}

#[test]
fn what_is_built_in_needs_no_signature() {
    let setup = signed()
        .component("builtin:rules")
        .plugin("settings = { rules = [{ name = \"all\", outcome = \"allow\" }] }");
    assert!(setup.start().allows_new());
}

/// Puts a file in the place of another one, by rename, and answers what the audit log says of it.
fn replace(gateway: &Running, from: &str, to: &str) -> Value {
    gateway.after_swap(|| fs::rename(gateway.path(from), gateway.path(to)).unwrap())
}

/// The next policy and its signature, yet under other names.
fn prepare(gateway: &Running) {
    fs::write(gateway.path("next.wasm"), refusing().build()).unwrap();
    sign(&gateway.path("next.wasm"), &gateway.path("signer"), "policy@portreeve");
}

#[test]
fn a_component_that_comes_before_its_signature_waits_for_it() {
    let gateway = signed().start();
    prepare(&gateway);
    let rejected = replace(&gateway, "next.wasm", "policy.wasm");
    assert_eq!(rejected["event"], "policy-rejected");
    assert!(
        rejected["reason"]
            .as_str()
            .unwrap()
            .contains("it does not match the file"),
        "{rejected}"
    );
    assert_eq!(rejected["sha256"], portreeve::policy::digest(&refusing().build()));
    assert!(gateway.allows_new());
    let swapped = replace(&gateway, "next.wasm.sig", "policy.wasm.sig");
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert_eq!(swapped["policy"]["signer"]["principal"], "security@example.org");
    assert!(!gateway.allows_new());
    gateway.stop();
}

#[test]
fn a_signature_that_comes_before_its_component_waits_for_it() {
    let gateway = signed().start();
    prepare(&gateway);
    let rejected = replace(&gateway, "next.wasm.sig", "policy.wasm.sig");
    assert_eq!(rejected["event"], "policy-rejected", "{rejected}");
    assert!(gateway.allows_new());
    let swapped = replace(&gateway, "next.wasm", "policy.wasm");
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert!(!gateway.allows_new());
    gateway.stop();
}

#[test]
fn a_reload_looks_at_signatures_again() {
    let gateway = signed().start();
    let allowed = gateway.path("allowed");
    let good = fs::read_to_string(&allowed).unwrap();
    fs::remove_file(&allowed).unwrap();
    let error = gateway.reload().unwrap_err();
    assert!(
        error.contains("policy.allowed-signers") && error.contains("No such file"),
        "{error}"
    );
    assert!(gateway.allows_new(), "what serves goes on");
    allow(&gateway.setup, "valid-before=\"20200101\"");
    let error = gateway.reload().unwrap_err();
    assert!(error.contains("this key could sign only until"), "{error}");
    assert_eq!(gateway.event("policy-rejected")["name"], "test");
    fs::write(&allowed, good).unwrap();
    gateway.reload().unwrap();
    assert!(gateway.allows_new());
    gateway.stop();
}

/// Puts a component that is signed in the place of the policy.
fn put(setup: &Setup, guest: &Guest) {
    fs::write(setup.path("policy.wasm"), guest.build()).unwrap();
    sign(&setup.path("policy.wasm"), &setup.path("signer"), "policy@portreeve");
}

/// A configuration that demands a signature, with these keys of the plugin.
fn signed_policy(setup: &Setup, keys: &str) -> config::Policy {
    let text = format!(
        "[policy]\nallowed-signers = \"allowed\"\n[[policy.plugin]]\nname = \"test\"\ncomponent = \"policy.wasm\"\n{keys}\n"
    );
    config::parse(&text, &setup.path("some.toml")).unwrap().policy
}

/// Its policies, as a gateway would load them at its start.
fn load(setup: &Setup, runtime: &Runtime, keys: &str) -> Result<(Policies, Arc<Generation>, config::Policy), String> {
    let config = signed_policy(setup, keys);
    let workshop = Workshop::keeping(compiler(), &setup.path("policies"), &setup.path("some.toml")).unwrap();
    let loaded = runtime.block_on(Policies::load_in(workshop, &config, Arc::new(|_| 0)));
    let (policies, generation) = loaded.map_err(|errors| errors[0].1.to_string())?;
    Ok((policies, generation, config))
}

#[test]
fn a_signed_component_is_the_policy_that_is_meant_and_no_older_than_what_served() {
    let setup = signed();
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let version = |version: &str| refusing().version(version);
    let record = || fs::read(setup.path("policies/served/test.sealed")).ok();
    let (policies, mut generation, config) = load(&setup, &runtime, "").unwrap();
    let first = eventually("the record of what serves", record);
    let plugin = |downgrade: bool| config::Plugin {
        allow_downgrade: downgrade,
        ..config.plugins[0].clone()
    };
    #[rustfmt::skip]
    let table = [
        // the next component             going back is meant   said
        (version("0.9.0"),                false,                "it is signed as version 0.9.0, which is not newer than 1.0.0"),
        (refusing().named("other"),       false,                "it is signed as `other`, but `test` is expected here"),
        (refusing().named("other"),       true,                 "it is signed as `other`"),
        (version("1.2.0"),                false,                ""),
        (version("1.1.9"),                false,                "which is not newer than 1.2.0"),
        (version("1.2.0-rc.1"),           false,                "which is not newer than 1.2.0"),
        (version("1.1.9"),                true,                 ""),
        (version("1.2.0"),                false,                ""),
    ];
    for (guest, downgrade, said) in table {
        put(&setup, &guest);
        let plugin = plugin(downgrade);
        let fresh = runtime.block_on(Fresh::read(vec![plugin], config.signatures.clone()));
        let error = match runtime.block_on(policies.prepare_some(&generation, fresh)) {
            Ok(next) => {
                generation.give_way_to(&next);
                generation = next;
                String::new()
            }
            Err(errors) => errors[0].1.to_string(),
        };
        assert_eq!(error.is_empty(), said.is_empty(), "{error}");
        assert!(error.contains(said), "{error}");
    }
    // What served is known after a restart.
    eventually("the record of the last version", || {
        let record = record()?;
        (record != first && record.ends_with(b"\"1.2.0\"}")).then_some(())
    });
    drop((policies, generation));
    put(&setup, &version("1.1.9"));
    let error = load(&setup, &runtime, "").err().unwrap();
    assert!(error.contains("which is not newer than 1.2.0"), "{error}");
    assert!(load(&setup, &runtime, "allow-downgrade = true").is_ok());
    put(&setup, &version("2.0.0").named("renamed"));
    assert!(
        load(&setup, &runtime, "")
            .err()
            .unwrap()
            .contains("set `component-name = \"renamed\"`")
    );
    assert!(load(&setup, &runtime, "component-name = \"renamed\"").is_ok());
}

#[test]
fn an_unsigned_component_is_not_held_against_what_served() {
    let gateway = Setup::allowing().start();
    let swapped = gateway.swap(&refusing().named("other").version("0.1.0"));
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
}

/// A file may be replaced between the check of its signature and the load.
#[test]
fn the_bytes_whose_signature_is_checked_are_those_that_are_loaded() {
    let setup = signed();
    let config = signed_policy(&setup, "");
    let (plugin, signatures) = (&config.plugins[0], config.signatures.as_ref());
    let path = setup.path("policy.wasm");
    let good = fs::read(&path).unwrap();
    let bench = |runtime: &Runtime| {
        let _entered = runtime.enter();
        Offline::with(Workshop::new(compiler()), config.memory, config.deadline, Meter::Off).unwrap()
    };
    let runtime = Runtime::new().unwrap();
    #[rustfmt::skip]
    let table = [
        // is read               lies there when it is checked    what comes of it
        (good.clone(),           refusing().build(),              Ok(portreeve::policy::digest(&good))),
        (refusing().build(),     good.clone(),                    Err("signature")),
    ];
    for (read, then, expected) in table {
        fs::write(&path, read).unwrap();
        let component = Component::read(&plugin.component).unwrap();
        fs::write(&path, then).unwrap();
        let (gates, candidate) = runtime.block_on(bench(&runtime).gates(plugin, component, signatures));
        let failed = gates.iter().find(|gate| matches!(gate.result, Passed::No(_)));
        let came = match (candidate, failed) {
            (Some(candidate), None) => Ok(candidate.reference().sha256.clone()),
            (None, Some(gate)) => Err(gate.name.as_str()),
            _ => panic!("neither passed nor refused"),
        };
        assert_eq!(came, expected);
    }
}
