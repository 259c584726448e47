//! Each key by itself: a change of it is found, is called by its name, and applies when the table says.

use std::path::Path;

use super::*;
use crate::config;

const POLICY: &str = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n";

fn configured(text: &str) -> Config {
    let text = format!("{text}\n{POLICY}");
    config::parse(&text, Path::new("/test/portreeve.toml")).unwrap_or_else(|faults| panic!("{text}: {faults}"))
}

#[test]
fn a_change_of_one_key_is_found_alone_and_applies_in_its_time() {
    #[rustfmt::skip]
    let table = [
        // the key                                the other value                                                   applies
        ("server.listen",                         "[server]\nlisten = [\"127.0.0.1:1\"]",                           AfterRestart),
        ("server.host-keys",                      "[server]\nhost-keys = [\"other\"]",                              WithPolicies),
        ("server.banner",                         "[server]\nbanner = \"hello\"",                                   WithPolicies),
        ("server.proxy-protocol",                 "[server]\nproxy-protocol = [\"10.0.0.0/8\"]",                    WithPolicies),
        ("forwarding.local",                      "[forwarding]\nlocal = false",                                    TakesAtOnce),
        ("forwarding.remote",                     "[forwarding]\nremote = false",                                   TakesAtOnce),
        ("forwarding.local-sockets",              "[forwarding]\nlocal-sockets = false",                            TakesAtOnce),
        ("forwarding.remote-sockets",             "[forwarding]\nremote-sockets = false",                           TakesAtOnce),
        ("forwarding.gateway-ports",              "[forwarding]\ngateway-ports = \"yes\"",                          TakesAtOnce),
        ("auth.authorized-keys",                  "[auth]\nauthorized-keys = [\"%u\"]",                             TakesAtOnce),
        ("auth.trusted-user-ca-keys",             "[auth]\ntrusted-user-ca-keys = [\"ca\"]",                        TakesAtOnce),
        ("auth.revoked-keys",                     "[auth]\nrevoked-keys = \"revoked\"",                             TakesAtOnce),
        ("auth.strict-modes",                     "[auth]\nstrict-modes = false",                                   TakesAtOnce),
        ("auth.login-grace",                      "[auth]\nlogin-grace = \"7s\"",                                   WithPolicies),
        ("auth.max-attempts",                     "[auth]\nmax-attempts = 3",                                       WithPolicies),
        ("user",                                  "[[user]]\nname = \"alice\"",                                     TakesAtOnce),
        ("policy.on-swap",                        "[policy]\non-swap = \"keep\"",                                   WithPolicies),
        ("policy.on-doubt",                       "[policy]\non-doubt = \"close\"",                                 WithPolicies),
        ("policy.deadline",                       "[policy]\ndeadline = \"20ms\"",                                  WithPolicies),
        ("policy.memory",                         "[policy]\nmemory = \"32MiB\"",                                   WithPolicies),
        ("policy.directory",                      "[policy]\ndirectory = \"policies\"",                             AfterRestart),
        ("policy.facts",                          "[policy]\nfacts = { site = \"here\" }",                          WithPolicies),
        ("policy.allowed-signers",                "[policy]\nallowed-signers = \"signers\"",                        WithPolicies),
        ("policy.plugin",                         "[[policy.plugin]]\nname = \"two\"\ncomponent = \"builtin:rules\"", WithPolicies),
        ("algorithms.preset",                     "[algorithms]\npreset = \"compatible\"",                          WithPolicies),
        ("floors.deny",                           "[floors]\ndeny = []",                                            TakesAtOnce),
        ("floors.own-listeners",                  "[floors]\nown-listeners = false",                                TakesAtOnce),
        ("floors.privileged-listen-ports",        "[floors]\nprivileged-listen-ports = true",                       TakesAtOnce),
        ("names.servers",                         "[names]\nservers = [\"10.0.0.53\"]",                          WithPolicies),
        ("outbound",                              "[outbound]\nmark = 7",                                           WithPolicies),
        ("outbound.for",                          "[[outbound.for]]\ntargets = [\"*.internal\"]\ndscp = \"ef\"",      WithPolicies),
        ("via",                                   "[[via]]\nname = \"office\"\nsocks5 = \"proxy:1080\"",            WithPolicies),
        ("limits.sessions",                       "[limits]\nsessions = 7",                                         TakesAtOnce),
        ("limits.sessions-per-user",              "[limits]\nsessions-per-user = 7",                                TakesAtOnce),
        ("limits.unauthenticated",                "[limits]\nunauthenticated = 7",                                  TakesAtOnce),
        ("limits.unauthenticated-per-source",     "[limits]\nunauthenticated-per-source = 7",                       TakesAtOnce),
        ("limits.tunnels-per-session",            "[limits]\ntunnels-per-session = 7",                              TakesAtOnce),
        ("limits.listeners-per-session",          "[limits]\nlisteners-per-session = 7",                            TakesAtOnce),
        ("limits.tunnels-per-user",               "[limits]\ntunnels-per-user = 7",                                 TakesAtOnce),
        ("limits.listeners-per-user",             "[limits]\nlisteners-per-user = 7",                               TakesAtOnce),
        ("limits.dials-per-user",                 "[limits]\ndials-per-user = 7",                                   TakesAtOnce),
        ("limits.decisions-per-user-per-second",  "[limits]\ndecisions-per-user-per-second = 7",                    TakesAtOnce),
        ("limits.lookup-timeout",                 "[limits]\nlookup-timeout = \"7s\"",                              TakesAtOnce),
        ("limits.dial-timeout",                   "[limits]\ndial-timeout = \"7s\"",                                TakesAtOnce),
        ("limits.idle-timeout",                   "[limits]\nidle-timeout = \"7s\"",                                TakesAtOnce),
        ("limits.unused-connection-timeout",      "[limits]\nunused-connection-timeout = \"7s\"",                   WithPolicies),
        ("limits.keepalive",                      "[limits]\nkeepalive = { interval = \"7s\" }",                    WithPolicies),
        ("limits.keepalive",                      "[limits]\nkeepalive = { count = 7 }",                            WithPolicies),
        ("limits.tunnel-buffer",                  "[limits]\ntunnel-buffer = \"8MiB\"",                             WithPolicies),
        ("limits.buffer-memory",                  "[limits]\nbuffer-memory = \"2GiB\"",                             WithPolicies),
        ("limits.stall-timeout",                  "[limits]\nstall-timeout = \"7s\"",                               TakesAtOnce),
        ("limits.rekey-bytes",                    "[limits]\nrekey-bytes = \"2GiB\"",                               WithPolicies),
        ("limits.rekey-time",                     "[limits]\nrekey-time = \"7m\"",                                  WithPolicies),
        ("limits.drain-timeout",                  "[limits]\ndrain-timeout = \"7s\"",                               TakesAtOnce),
        ("audit.file",                            "[audit]\nfile = \"audit.jsonl\"",                                AfterRestart),
        ("audit.required",                        "[audit]\nrequired = false",                                      AfterRestart),
        ("admin.socket",                          "[admin]\nsocket = \"admin.sock\"",                               AfterRestart),
        ("admin.group",                           "[admin]\ngroup = \"wheel\"",                                     AfterRestart),
        ("admin.http",                            "[admin]\nhttp = \"127.0.0.1:9464\"",                             AfterRestart),
        ("admin.token-file",                      "[admin]\ntoken-file = \"token\"",                                AfterRestart),
        ("fleet.name",                            "[fleet]\nname = \"gw-1\"",                                      AfterRestart),
        ("fleet.redis",                           "[fleet]\nredis = \"redis://redis.internal\"",                   AfterRestart),
        ("oci.credentials-file",                  "[oci]\ncredentials-file = \"docker.json\"",                      WithPolicies),
        ("oci.plain-http",                        "[oci]\nplain-http = [\"10.0.0.1:5000\"]",                         WithPolicies),
        ("oci.ca-file",                           "[oci]\nca-file = \"ca.pem\"",                                    WithPolicies),
        ("oci.poll",                              "[oci]\npoll = \"1m\"",                                           WithPolicies),
        ("oci.mirrors",                           "[oci]\nmirrors = { \"ghcr.io\" = [\"10.0.0.1:5000\"] }",           WithPolicies),
    ];
    let before = configured("");
    assert_eq!(changes(&before, &before), []);
    for (key, text, applies) in table {
        let after = configured(text);
        assert_eq!(changes(&before, &after), [(key, applies)], "{text}");
        assert_eq!(changes(&after, &before), [(key, applies)], "{text}: taken back");
    }
}

#[test]
fn a_change_of_what_is_shared_applies_after_a_restart() {
    let redis = |text: &str| configured(&format!("[fleet]\nredis = \"redis://redis.internal\"\n{text}"));
    for (key, text) in [
        ("fleet.redis-password-file", "redis-password-file = \"password\""),
        ("fleet.timeout", "timeout = \"7ms\""),
        ("fleet.lease", "lease = \"7s\""),
        ("fleet.when-cut-off", "when-cut-off = \"refuse-new\""),
    ] {
        assert_eq!(changes(&redis(""), &redis(text)), [(key, AfterRestart)], "{text}");
    }
    let staged = redis("[policy.rollout]\ncanary = [\"gw-1\"]");
    assert_eq!(changes(&redis(""), &staged), [("policy.rollout", WithPolicies)]);
}

#[test]
fn a_change_of_how_names_are_looked_up_applies_with_the_policies() {
    let asked = |text: &str| configured(&format!("[names]\nservers = [\"10.0.0.53\"]\n{text}"));
    for (key, text) in [
        ("names.search", "search = [\"corp.example\"]"),
        ("names.ndots", "ndots = 7"),
        ("names.timeout", "timeout = \"7s\""),
        ("names.attempts", "attempts = 3"),
        ("names.cache", "cache = { entries = 7 }"),
    ] {
        assert_eq!(changes(&asked(""), &asked(text)), [(key, WithPolicies)], "{text}");
    }
}

#[test]
fn all_that_changed_is_named_in_the_order_of_the_documentation() {
    let after = configured("[server]\nbanner = \"hello\"\n[floors]\ndeny = []\n[audit]\nrequired = false");
    let found: Vec<_> = changes(&configured(""), &after)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(found, ["server.banner", "floors.deny", "audit.required"]);
}
