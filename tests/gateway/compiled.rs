//! Compiling in a process of its own, and what is kept of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use portreeve::policy::Compiler;
use tempfile::TempDir;

use crate::guests::{Guest, allows, denies};
use crate::harness::{Running, Server, Setup, compiler, install_script, ping};

/// A compiler that cannot compile anything, so that what starts was compiled before.
fn none() -> Compiler {
    Compiler::program("/bin/false")
}

fn kept_in(path: &Path) -> Setup {
    Setup::allowing().directory(path)
}

fn entries(path: &Path) -> Vec<std::path::PathBuf> {
    let listed = fs::read_dir(path.join("compiled")).unwrap();
    listed.map(|entry| entry.unwrap().path()).collect()
}

fn serves(gateway: &Running) {
    let target = Server::named("the target");
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
}

#[test]
fn a_second_start_compiles_nothing() {
    let folder = TempDir::new().unwrap();
    let words = kept_in(folder.path())
        .compiler(none())
        .try_start()
        .err()
        .unwrap()
        .to_string();
    assert!(
        words.contains("it does not compile: the compiler exited with code 1"),
        "{words}"
    );
    kept_in(folder.path()).start().stop();
    let gateway = kept_in(folder.path()).compiler(none()).start();
    serves(&gateway);
    // What is new has to be compiled all the same.
    let rejected = gateway.swap(&Guest::that(denies("no")));
    assert_eq!(rejected["event"], "policy-rejected");
    serves(&gateway);
}

#[test]
fn compiled_code_that_was_touched_is_compiled_anew() {
    let folder = TempDir::new().unwrap();
    kept_in(folder.path()).start().stop();
    let good: Vec<_> = entries(folder.path())
        .into_iter()
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    assert!(!good.is_empty());
    type Spoil = fn(&mut Vec<u8>);
    let spoiled: [(&str, Spoil); 4] = [
        ("the seal", |bytes| bytes[0] ^= 1),
        ("the code", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
    ];
    for (what, spoil) in spoiled {
        for (bytes, path) in &good {
            let mut bytes = bytes.clone();
            spoil(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        let started = kept_in(folder.path()).compiler(none()).try_start();
        assert!(started.is_err(), "{what}: it was loaded");
        serves(&kept_in(folder.path()).start());
        kept_in(folder.path()).compiler(none()).start().stop();
    }
}

#[test]
fn compiled_code_of_another_gateway_is_not_taken() {
    let [ours, theirs] = [(); 2].map(|()| TempDir::new().unwrap());
    kept_in(theirs.path()).start().stop();
    assert!(kept_in(ours.path()).compiler(none()).try_start().is_err());
    for path in entries(theirs.path()) {
        fs::copy(&path, ours.path().join("compiled").join(path.file_name().unwrap())).unwrap();
    }
    assert!(kept_in(ours.path()).compiler(none()).try_start().is_err());
    kept_in(ours.path()).start().stop();
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_mend() {
    let folder = TempDir::new().unwrap();
    kept_in(folder.path()).start().stop();
    let key = folder.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let words = kept_in(folder.path()).try_start().err().unwrap().to_string();
    for part in ["policy.directory", "read or written by other users (mode 644)", "chmod"] {
        assert!(words.contains(part), "{words}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    kept_in(folder.path()).start().stop();
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused_while_others_are_served() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let target = Server::echo();
    let gateway = Setup::allowing().compiler(compiler().within(PATIENCE)).start();
    let proxy = gateway.dynamic();
    let began = Instant::now();
    let next = gateway.path("policy.next");
    fs::write(&next, Guest::that(allows()).hard_to_compile().build()).unwrap();
    fs::rename(&next, gateway.path("policy.wasm")).unwrap();
    let mut served = 0;
    while gateway.events("policy-rejected").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing ends it");
        assert!(ping(&mut proxy.socks5("127.0.0.1", target.port).unwrap()));
        served += 1;
    }
    assert!(served > 10, "only {served} forwards meanwhile");
    let rejected = gateway.event("policy-rejected");
    // Or four times that, where the machine gave the compiler no more of its time.
    let reason = rejected["reason"].as_str().unwrap();
    let (cpu, wall) = ("3 s of processor time", "12 s");
    let words = [cpu, wall].map(|bound| format!("it does not compile: compiling took longer than {bound}"));
    assert!(words.iter().any(|words| reason == words), "{reason}");
    assert_eq!(
        gateway.swap(&Guest::that(allows()).version("3.0.0"))["event"],
        "policy-swapped"
    );
}

#[test]
fn a_compiler_that_is_killed_rejects_the_policy() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("compiler");
    let program = env!("CARGO_BIN_EXE_portreeve");
    let text = format!(
        "[ -e {0}/kill ] && kill -9 $$\nexec {program} \"$@\"",
        folder.path().display()
    );
    install_script(&text, &script);
    let gateway = kept_in(&folder.path().join("policies"))
        .compiler(Compiler::program(script))
        .start();
    fs::write(folder.path().join("kill"), "").unwrap();
    let rejected = gateway.swap(&Guest::that(denies("no")));
    assert_eq!(rejected["event"], "policy-rejected");
    let reason = rejected["reason"].as_str().unwrap();
    assert!(reason.contains("the compiler was killed by signal 9"), "{reason}");
    serves(&gateway);
}
