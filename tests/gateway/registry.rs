//! Policies from a real registry: pushed, pulled, followed by a gateway, and kept while the registry is away.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::guests::{Does, Guest, allows, denies};
use crate::harness::{Server, Setup, eventually, make_key, ping, ssh_keygen};
use crate::registry_server::{Registry, portreeve};

/// Policies as files, to be pushed.
struct Author(TempDir);

impl Author {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, guest: &Guest) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, guest.build()).unwrap();
        path
    }

    /// Signs a component with a key that is made at the first time.
    fn sign(&self, component: &Path) {
        let key = self.path("signer");
        if !key.exists() {
            make_key(&key, "ed25519");
        }
        let [key, file] = [&key, component].map(|path| path.to_str().unwrap());
        ssh_keygen(&["-Y", "sign", "-n", "policy@portreeve", "-f", key, file]);
    }

    /// Lists that key as one that may sign.
    fn is_allowed_in(&self, setup: &Setup) {
        let key = fs::read_to_string(self.path("signer.pub")).unwrap();
        fs::write(setup.path("allowed"), format!("author@example.org {key}")).unwrap();
    }
}

fn refusing() -> Guest {
    Guest::that(denies("the new policy says no")).version("2.0.0")
}

/// A gateway with this image as its policy, and a folder of its own for what it keeps.
fn following(image: &str) -> Setup {
    let setup = Setup::allowing().component(image).tables("[oci]\npoll = \"1s\"\n");
    let directory = setup.path("policies");
    setup.directory(&directory)
}

fn fault(setup: Setup) -> String {
    setup
        .try_start()
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn what_is_pushed_is_pulled_the_same_and_with_its_signature() {
    let (registry, author) = (Registry::open(), Author::new());
    let file = author.write("office.wasm", &Guest::that(allows()).named("office").version("1.2.0"));
    author.sign(&file);
    let source = "https://example.org/policies";
    let image = registry.image("policies/office:1.2.0");
    let push = || {
        let file = file.to_str().unwrap();
        let pushed = portreeve(&[
            "plugin",
            "push",
            file,
            &image,
            "--plain-http",
            "--source",
            source,
            "--json",
        ]);
        assert_eq!(pushed.code, 0, "{pushed:?}");
        serde_json::from_str::<Value>(&pushed.out).unwrap()
    };
    let pushed = push();
    let digest = pushed["digest"].as_str().unwrap();

    let manifest = registry.manifest("policies/office", "1.2.0");
    assert_eq!(manifest, registry.manifest("policies/office", digest));
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    #[rustfmt::skip]
    let annotations = [
        ("org.opencontainers.image.title",   "office"),
        ("org.opencontainers.image.version", "1.2.0"),
        ("org.opencontainers.image.source",  source),
        ("portreeve.policy.world",           "portreeve:policy/policy@0.2.0"),
    ];
    for (key, expected) in annotations {
        let found = manifest["annotations"][key].as_str().unwrap_or_default();
        let world = |text: &str| {
            text.rsplit_once('@')
                .map_or(text.to_owned(), |(name, _)| name.to_owned())
        };
        assert_eq!(world(found), world(expected), "{key}");
    }
    let config = registry.blob("policies/office", manifest["config"]["digest"].as_str().unwrap());
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&"wasm".into(), &"wasip2".into())
    );
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    assert_eq!(
        config["component"]["target"],
        manifest["annotations"]["portreeve.policy.world"]
    );

    // This registry keeps no list of referrers, so there is one under a tag.
    let list = registry.manifest("policies/office", &digest.replace(':', "-"));
    assert_eq!(
        list["manifests"][0]["artifactType"],
        "application/vnd.portreeve.policy.signature.v1"
    );
    let referrer = registry.manifest("policies/office", list["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(referrer["subject"]["digest"], digest);

    for name in [format!("policies/office@{digest}"), "policies/office:1.2.0".to_owned()] {
        let copy = author.path("copy.wasm");
        let pulled = portreeve(&[
            "plugin",
            "pull",
            &registry.image(&name),
            "-o",
            copy.to_str().unwrap(),
            "--json",
        ]);
        assert_eq!(pulled.code, 0, "{pulled:?}");
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap());
        let signatures = [&copy, &file].map(|path| fs::read(path.with_extension("wasm.sig")).unwrap());
        assert_eq!(signatures[0], signatures[1]);
        assert_eq!(serde_json::from_str::<Value>(&pulled.out).unwrap()["digest"], digest);
        fs::remove_file(copy.with_extension("wasm.sig")).unwrap();
    }
    assert_eq!(push()["digest"], digest, "the same file again");
    let list = registry.manifest("policies/office", &digest.replace(':', "-"));
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1, "and the same signature");
}

#[test]
fn a_name_without_sense_is_refused_in_words() {
    let author = Author::new();
    let file = author.write("a.wasm", &Guest::that(allows()));
    let file = file.to_str().unwrap();
    fs::write(author.path("text.wasm"), "no component").unwrap();
    let text = author.path("text.wasm");
    #[rustfmt::skip]
    let table: [(&[&str], i32, &str); 6] = [
        (&["push", file, "registry.example.org/a:1"],         2, "write oci://registry/repository:tag"),
        (&["push", file, "oci://registry.example.org/a"],     2, "neither a tag nor a digest"),
        (&["push", file, "oci://registry.example.org/a:1@sha256:0"], 2, "is not a digest"),
        (&["pull", "oci://a:1"],                              2, "the repository is missing"),
        (&["pull", "oci://127.0.0.1:1/a:1"],                  1, "127.0.0.1:1 cannot be reached"),
        (&["push", text.to_str().unwrap(), "oci://127.0.0.1:1/a:1"], 1, "it is not a component"),
    ];
    for (arguments, code, said) in table {
        let done = portreeve(&[&["plugin"][..], arguments].concat());
        assert!(
            done.code == code && done.errors.contains(said),
            "{arguments:?}: {done:?}"
        );
        assert_eq!(done.errors.trim_end().lines().count(), 1, "{done:?}");
    }
}

#[test]
fn a_moved_tag_is_swapped_in_while_a_tunnel_stays_open() {
    let (registry, author) = (Registry::open(), Author::new());
    let first = author.write("first.wasm", &Guest::that(allows()).version("1.0.0"));
    registry.push(&first, "policies/test:stable");
    let gateway = following(&registry.image("policies/test:stable"))
        .policy("on-swap = \"keep\"")
        .start();
    assert!(gateway.allows_new());
    let target = Server::echo();
    let local = gateway.local(&target.address());
    let mut tunnel = local.connect();
    assert!(ping(&mut tunnel));

    let second = author.write("second.wasm", &refusing());
    let swapped = gateway.after_swap(|| drop(registry.push(&second, "policies/test:stable")));
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert_eq!(
        (&swapped["policy"]["version"], &swapped["previous"]["version"]),
        (&"2.0.0".into(), &"1.0.0".into())
    );
    assert!(!gateway.allows_new());
    assert!(ping(&mut tunnel), "what is open stays open");

    // One that loads nowhere is rejected once, and not tried again until the tag moves.
    let bad = author.write("bad.wasm", &Guest::that(allows()).version("3.0.0").importing_state());
    let rejected = gateway.after_swap(|| drop(registry.push(&bad, "policies/test:stable")));
    assert_eq!(rejected["event"], "policy-rejected", "{rejected}");
    assert!(
        rejected["reason"].as_str().unwrap().contains("which is not granted"),
        "{rejected}"
    );
    let looks = registry.looks();
    eventually("further looks", || (registry.looks() > looks + 2).then_some(()));
    assert_eq!(gateway.events("policy-rejected").len(), 1);
    assert!(!gateway.allows_new());

    // What is no component at all is not even kept.
    let image = ("application/vnd.oci.image.layer.v1.tar+gzip", &b"a layer"[..], 7);
    let rejected = gateway.after_swap(|| registry.put("policies/test", "stable", image));
    assert!(
        rejected["reason"]
            .as_str()
            .unwrap()
            .contains("not a component (`application/wasm`)"),
        "{rejected}"
    );
    let looks = registry.looks();
    eventually("further looks", || (registry.looks() > looks + 2).then_some(()));
    assert_eq!(gateway.events("policy-rejected").len(), 2);

    let swapped = gateway.after_swap(|| drop(registry.push(&first, "policies/test:stable")));
    assert_eq!(
        (&swapped["event"], &swapped["policy"]["version"]),
        (&"policy-swapped".into(), &"1.0.0".into())
    );
    assert!(ping(&mut tunnel));
    gateway.stop();
}

#[test]
fn what_was_pulled_serves_while_the_registry_is_away() {
    let (mut registry, author) = (Registry::open(), Author::new());
    registry.push(
        &author.write("first.wasm", &Guest::that(allows())),
        "policies/test:stable",
    );
    let image = registry.image("policies/test:stable");
    let mut gateway = following(&image).start_program();
    let target = Server::named("the target");
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
    registry.kill();
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
    gateway.killed_and_started();
    assert_eq!(
        gateway.through(&target.address()).stdout,
        "the target",
        "started without the registry"
    );
    let config = gateway.path("portreeve.toml");
    let checked = portreeve(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.contains("warning: test: oci://"), "{checked:?}");
    assert!(checked.out.contains("what was pulled before serves"), "{checked:?}");

    let error = fault(following(&image));
    assert!(
        error.contains("policy.plugin[0].component") && error.contains("cannot be reached"),
        "{error}"
    );
    assert!(error.contains(&image), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");

    // It moved meanwhile, and that is seen once the registry is back.
    registry.start();
    let swapped =
        gateway.after_swap(|| drop(registry.push(&author.write("second.wasm", &refusing()), "policies/test:stable")));
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
}

#[test]
fn a_pinned_digest_stays_what_it_is() {
    let (mut registry, author) = (Registry::open(), Author::new());
    let pushed = registry.push(
        &author.write("first.wasm", &Guest::that(allows())),
        "policies/test:stable",
    );
    let digest = pushed["digest"].as_str().unwrap();
    let image = registry.image(&format!("policies/test:stable@{digest}"));
    let mut gateway = following(&image).start_program();
    registry.push(&author.write("second.wasm", &refusing()), "policies/test:stable");
    let before = (registry.looks(), registry.downloads("policies/test"));
    assert!(before.1 > 0);
    let target = Server::named("the target");
    gateway.killed_and_started();
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
    let after = (registry.looks(), registry.downloads("policies/test"));
    assert_eq!(after, before, "what is kept is not looked up");
    registry.kill();
    let config = gateway.path("portreeve.toml");
    let checked = portreeve(&["check", "--config", config.to_str().unwrap()]);
    assert!(checked.code == 0 && !checked.out.contains("warning"), "{checked:?}");

    // A component that was spoilt on disk is not believed.
    gateway.kill();
    let kept = eventually("what is kept", || {
        let mut folders = fs::read_dir(gateway.path("policies/pulled")).ok()?;
        Some(folders.next()?.ok()?.path().join("current/component.wasm"))
    });
    fs::write(&kept, refusing().build()).unwrap();
    registry.start();
    gateway.start_again();
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
}

#[test]
fn a_registry_with_a_login_gives_nothing_without_it() {
    let (registry, author) = (Registry::with_a_login(), Author::new());
    let file = author.write("first.wasm", &Guest::that(allows()));
    let image = registry.image("policies/test:stable");
    let credentials = |name: &str, auth: &str| {
        let path = author.path(name);
        let text = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", registry.address());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    // ann:secret, and ann:wrong.
    let (right, wrong) = (
        credentials("right", "YW5uOnNlY3JldA=="),
        credentials("wrong", "YW5uOndyb25n"),
    );
    let push = |with: &[&str]| portreeve(&[&["plugin", "push", file.to_str().unwrap(), &image], with].concat());
    let denied = push(&[]);
    assert!(
        denied.code == 1 && denied.errors.contains("demands a login"),
        "{denied:?}"
    );
    let denied = push(&["--credentials-file", wrong.to_str().unwrap()]);
    assert!(
        denied.code == 1 && denied.errors.contains("does not accept the credentials"),
        "{denied:?}"
    );
    assert!(
        !denied.errors.contains("wrong:") && !denied.errors.contains("YW5u"),
        "{denied:?}"
    );
    let pushed = push(&["--credentials-file", right.to_str().unwrap()]);
    assert_eq!(pushed.code, 0, "{pushed:?}");

    let with = |path: &Path| following(&image).tables(&format!("credentials-file = {path:?}"));
    assert!(with(&right).start().allows_new());
    let error = fault(with(&wrong));
    assert!(error.contains("does not accept the credentials"), "{error}");
    let error = fault(with(Path::new("/nonexistent/config.json")));
    assert!(error.contains("/nonexistent/config.json: cannot be read"), "{error}");
    fs::set_permissions(&right, fs::Permissions::from_mode(0o644)).unwrap();
    let error = fault(with(&right));
    assert!(error.contains("has mode 0644"), "{error}");
}

#[test]
fn a_private_authority_is_trusted_where_it_is_named() {
    let (registry, author) = (Registry::with_tls(), Author::new());
    let file = author.write("first.wasm", &Guest::that(allows()));
    let (image, authority) = (registry.image("policies/test:stable"), registry.authority());
    let [file, authority] = [&file, &authority].map(|path| path.to_str().unwrap());
    let strange = portreeve(&["plugin", "push", file, &image]);
    assert!(
        strange.code == 1 && strange.errors.contains("certificate"),
        "{strange:?}"
    );
    let pushed = portreeve(&["plugin", "push", file, &image, "--ca-file", authority]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    assert!(
        following(&image)
            .tables(&format!("ca-file = {authority:?}"))
            .start()
            .allows_new()
    );
    let error = fault(following(&image).tables(&format!("ca-file = {file:?}")));
    assert!(error.contains("oci.ca-file"), "{error}");
}

#[test]
fn a_mirror_is_asked_first_and_may_be_away() {
    let (mirror, mut away, author) = (Registry::open(), Registry::open(), Author::new());
    mirror.push(
        &author.write("first.wasm", &Guest::that(allows())),
        "policies/test:stable",
    );
    away.kill();
    let image = away.image("policies/test:stable");
    let mirrors = format!(
        "mirrors = {{ \"{}\" = [\"127.0.0.1:1\", \"{}\"] }}",
        away.address(),
        mirror.address()
    );
    assert!(following(&image).tables(&mirrors).start().allows_new());
}

#[test]
fn what_is_no_component_does_not_start_a_gateway() {
    let (registry, author) = (Registry::open(), Author::new());
    let component = fs::read(author.write("first.wasm", &Guest::that(allows()))).unwrap();
    let wasm = "application/wasm";
    type Row<'a> = (&'a str, (&'a str, &'a [u8], usize), &'a str);
    #[rustfmt::skip]
    let table: [Row<'_>; 5] = [
        ("image",    ("application/vnd.oci.image.layer.v1.tar+gzip", b"x", 1), "push the component with `portreeve plugin push`"),
        ("huge",     (wasm, &component, (64 << 20) + 1),                       "the limit is 64 MiB"),
        ("short",    (wasm, &component, component.len() + 1),                  "does not match its digest or size"),
        ("long",     (wasm, &component, component.len() - 1),                  "does not match its digest or size"),
        ("text",     (wasm, b"no component", 12),                              "it is not WebAssembly"),
    ];
    for (tag, layer, said) in table {
        registry.put("policies/test", tag, layer);
        let error = fault(following(&registry.image(&format!("policies/test:{tag}"))));
        assert!(error.contains(said), "{tag}: {error}");
        assert_eq!(error.lines().count(), 1, "{tag}: {error}");
    }
    let error = fault(following(&registry.image("policies/test:absent")));
    assert!(error.contains("no such repository, tag or digest"), "{error}");
    registry.put("policies/test", "whole", (wasm, &component, component.len()));
    assert!(
        following(&registry.image("policies/test:whole")).start().allows_new(),
        "pushed by another tool"
    );
    let other = portreeve::policy::digest(&component);
    let pinned = following(&registry.image("policies/test:whole"));
    assert!(pinned.plugin(&format!("sha256 = \"{other}\"")).start().allows_new());
    let error =
        fault(following(&registry.image("policies/test:whole")).plugin(&format!("sha256 = \"{}\"", "0".repeat(64))));
    assert!(error.contains("is pinned"), "{error}");
}

#[test]
fn a_signature_travels_with_its_component_or_comes_later() {
    let (registry, author) = (Registry::open(), Author::new());
    let first = author.write("first.wasm", &Guest::that(allows()).named("test").version("1.0.0"));
    author.sign(&first);
    registry.push(&first, "policies/test:stable");
    let image = registry.image("policies/test:stable");
    let setup = || {
        let setup = following(&image).policy("allowed-signers = \"allowed\"");
        author.is_allowed_in(&setup);
        setup
    };
    let gateway = setup().start();
    assert!(gateway.allows_new());
    let signer = gateway.event("gateway-started")["policies"][0]["signer"]["principal"].clone();
    assert_eq!(signer, "author@example.org");

    let second = author.write("second.wasm", &refusing().named("test"));
    let rejected = gateway.after_swap(|| drop(registry.push(&second, "policies/test:stable")));
    assert_eq!(rejected["event"], "policy-rejected", "{rejected}");
    assert!(
        rejected["reason"].as_str().unwrap().contains("it is not signed"),
        "{rejected}"
    );
    assert!(gateway.allows_new());
    let error = fault(setup());
    assert!(error.contains("it is not signed"), "{error}");

    author.sign(&second);
    let swapped = gateway.after_swap(|| drop(registry.push(&second, "policies/test:stable")));
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert!(!gateway.allows_new());
    gateway.stop();
}

#[test]
fn an_unsigned_artifact_keeps_no_gateway_from_its_start() {
    let (registry, author) = (Registry::open(), Author::new());
    let first = author.write("first.wasm", &Guest::that(allows()).named("test").version("1.0.0"));
    author.sign(&first);
    registry.push(&first, "policies/test:stable");
    let setup = following(&registry.image("policies/test:stable")).policy("allowed-signers = \"allowed\"");
    author.is_allowed_in(&setup);
    let mut gateway = setup.start_program();
    gateway.kill();
    registry.push(
        &author.write("second.wasm", &refusing().named("test")),
        "policies/test:stable",
    );
    gateway.start_again();
    let target = Server::named("the target");
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
    let rejected = gateway.event("policy-rejected");
    assert!(
        rejected["reason"].as_str().unwrap().contains("it is not signed"),
        "{rejected}"
    );
}

#[test]
fn a_silent_registry_holds_up_nothing_else() {
    let (mut registry, author) = (Registry::open(), Author::new());
    registry.push(
        &author.write("first.wasm", &Guest::that(allows())),
        "policies/test:stable",
    );
    let setup = following(&registry.image("policies/test:stable"))
        .tables("[[policy.plugin]]\nname = \"other\"\ncomponent = \"policy.wasm\"\n");
    let gateway = setup.start();
    assert!(gateway.allows_new());
    registry.kill();
    // It takes every connection, and says nothing.
    let silent = TcpListener::bind(registry.address()).unwrap();
    let (asked, was_asked) = channel();
    thread::spawn(move || {
        let mut taken = Vec::new();
        for stream in silent.incoming() {
            taken.push(stream);
            let _ = asked.send(());
        }
    });
    was_asked.recv().unwrap();
    let swapped = gateway.swap(&refusing());
    assert_eq!(
        (&swapped["event"], &swapped["policy"]["name"]),
        (&"policy-swapped".into(), &"other".into())
    );
    assert!(!gateway.allows_new());
    gateway.stop();
}

/// Answers each request by what the path is; what was asked is heard with its headers.
fn answering(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let own = address.clone();
    let (heard, hear) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(asked) = head(&mut stream) {
                let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = heard.send(asked.clone());
                let _ = stream.write_all(&answer(&path, &own));
            }
        }
    });
    (address, hear)
}

fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn respond(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    let mut whole = head.into_bytes();
    whole.extend_from_slice(body);
    whole
}

#[test]
fn a_redirect_to_another_host_carries_no_credentials() {
    let component = Guest::that(allows()).build();
    let sent = component.clone();
    let (elsewhere, heard_elsewhere) = answering(move |_, _| respond("200 OK", "", &sent));
    let digest = |bytes: &[u8]| format!("sha256:{}", portreeve::policy::digest(bytes));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(b"{}"), "size": 2 },
        "layers": [{ "mediaType": "application/wasm", "digest": digest(&component), "size": component.len() }],
    })
    .to_string();
    let named = digest(manifest.as_bytes());
    let (registry, heard) = answering(move |path, _| match path {
        "/v2/" => respond("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", b""),
        path if path.contains("/blobs/") => respond(
            "307 Temporary Redirect",
            &format!("Location: http://{elsewhere}/blob\r\n"),
            b"",
        ),
        path if path.contains("/manifests/sha256-") || path.contains("/referrers/") => {
            respond("404 Not Found", "", b"")
        }
        _ => respond(
            "200 OK",
            &format!("Docker-Content-Digest: {named}\r\n"),
            manifest.as_bytes(),
        ),
    });
    let author = Author::new();
    let (credentials, copy) = (author.path("credentials"), author.path("copy.wasm"));
    let text = format!("{{\"auths\":{{\"{registry}\":{{\"auth\":\"YW5uOnNlY3JldA==\"}}}}}}");
    fs::write(&credentials, text).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    let image = format!("oci://{registry}/policies/test:1");
    let [credentials, output] = [&credentials, &copy].map(|path| path.to_str().unwrap());
    let pulled = portreeve(&[
        "plugin",
        "pull",
        &image,
        "--plain-http",
        "--credentials-file",
        credentials,
        "-o",
        output,
    ]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert_eq!(fs::read(&copy).unwrap(), component);
    let with_login = |heard: &Receiver<String>| {
        let all: Vec<_> = heard.try_iter().map(|head| head.to_lowercase()).collect();
        assert!(!all.is_empty());
        all.iter().filter(|head| head.contains("authorization")).count()
    };
    assert!(with_login(&heard) > 0, "the registry is told who asks");
    assert_eq!(with_login(&heard_elsewhere), 0);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let Some(asked) = head(&mut stream) else { return };
                if asked.contains(" /v2/ ") {
                    let _ = stream.write_all(&respond("200 OK", "", b""));
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                let spaces = vec![b' '; 1 << 20];
                while !asked.starts_with("HEAD") && stream.write_all(&spaces).is_ok() {}
            });
        }
    });
    let pulled = portreeve(&[
        "plugin",
        "pull",
        &format!("oci://{registry}/policies/test:1"),
        "--plain-http",
    ]);
    assert_eq!(pulled.code, 1, "{pulled:?}");
    assert!(pulled.errors.contains("MiB of memory"), "{pulled:?}");
}

#[test]
fn a_policy_that_configures_badly_is_described_all_the_same() {
    let (registry, author) = (Registry::open(), Author::new());
    let file = author.write(
        "first.wasm",
        &Guest::that(allows()).configuring(Does::Traps).named("odd"),
    );
    assert_eq!(registry.push(&file, "policies/odd:1")["name"], "odd");
}
