//! What is said of a wrong configuration: the place, the fault and the fix.

use std::fs;

use super::right::CONTRACT;
use super::{LEAST, read, with_policy};
use crate::config::{Fault, Faults, load};

fn faults(text: &str) -> Faults {
    read(text).err().unwrap_or_else(|| panic!("no fault in:\n{text}"))
}

/// `LINE:COLUMN key message`.
fn short(fault: &Fault) -> String {
    format!("{}:{} {} {}", fault.line, fault.column, fault.key, fault.message)
}

#[test]
fn every_wrong_value_is_said_with_its_place() {
    for (text, expected) in WRONG {
        let found = faults(&with_policy(text)).faults;
        assert_eq!(found.iter().map(short).collect::<Vec<_>>(), [*expected], "{text}");
    }
}

/// One fault each, before a policy that is right.
const WRONG: &[(&str, &str)] = &[
    ("server = 3", "1:10 server must be a table, found 3"),
    (
        "[oci]\nplain-http = [\"http://10.0.0.1:5000\"]",
        "2:15 oci.plain-http[0] `http://10.0.0.1:5000` is not a registry: expected a host name or IPv4 address, with a port where it \
         is not the usual one, as in `registry.example.org` or `127.0.0.1:5000`",
    ),
    (
        "[oci]\npoll = \"100ms\"",
        "2:8 oci.poll must be a duration from 1s to 1d, found \"100ms\"",
    ),
    (
        "colour = 1",
        "1:1 colour unknown key; expected one of: server, forwarding, auth, user, fleet, policy, algorithms, floors, names, via, outbound, limits, audit, admin, oci",
    ),
    ("[servers]", "1:2 servers unknown key; did you mean `server`?"),
    (
        "\"a\\nb\" = 1",
        "1:1 \"a\\nb\" unknown key; expected one of: server, forwarding, auth, user, fleet, policy, algorithms, floors, names, via, outbound, limits, audit, admin, oci",
    ),
    (
        "[policy.gates]\nmax-closed = \"5\"",
        "2:14 policy.gates.max-closed must be a share from \"0%\" to \"100%\", with at most two decimals, found \"5\"",
    ),
    (
        "[policy.gates]\nreplay = { decisions = 0, max-differences = \"5%\" }",
        "2:45 policy.gates.replay.max-differences no decision is kept that could differ: set `decisions`, or remove this key",
    ),
    (
        "[policy.gates]\nburn-in = { for = \"0\" }",
        "2:19 policy.gates.burn-in.for must be a duration from 1s to 1d, found \"0\"",
    ),
    (
        "[names]\nservers = []",
        "2:11 names.servers must name at least one server; leave the key out for the system's resolver",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\", \"dns.example.com\"]",
        "2:25 names.servers[1] must be an address, because a name would need a server first: write \"10.0.0.53\", \
         \"10.0.0.53:5353\", \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"",
    ),
    (
        "[names]\nservers = [\"https://10.0.0.53/dns-query\"]",
        "2:12 names.servers[0] has the unknown scheme `https`: write \"10.0.0.53\", \"10.0.0.53:5353\", \
         \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"",
    ),
    (
        "[names]\nservers = [\"10.0.0.53#dns.example.com\"]",
        "2:12 names.servers[0] only a server with tls:// has a name after `#`: write \"10.0.0.53\", \"10.0.0.53:5353\", \
         \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"",
    ),
    (
        "[names]\nservers = [\"tls://10.0.0.53#\"]",
        "2:12 names.servers[0] after `#` must be the name in the server's certificate",
    ),
    (
        "[names]\nservers = [\"0.0.0.0\"]",
        "2:12 names.servers[0] `0.0.0.0:53` is not the address of one server: write \"10.0.0.53\", \"10.0.0.53:5353\", \
         \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"",
    ),
    (
        "[names]\nservers = [\"10.0.0.53:0\"]",
        "2:12 names.servers[0] `10.0.0.53:0` is not the address of one server: write \"10.0.0.53\", \"10.0.0.53:5353\", \
         \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\", \"10.0.0.53:53\"]",
        "2:25 names.servers[1] `10.0.0.53:53` is already used on line 2",
    ),
    (
        "[names]\nsearch = [\"corp.example\"]",
        "2:1 names.search needs `servers`, the name servers to ask",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\"]\nsearch = [\"10.0.0.1\"]",
        "3:11 names.search[0] must be a domain, as in \"corp.example\", found \"10.0.0.1\"",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\"]\nndots = 16",
        "3:9 names.ndots must be a whole number from 0 to 15, found 16",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\"]\ntimeout = \"1ms\"",
        "3:11 names.timeout must be a duration from 50ms to 30s, found \"1ms\"",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\"]\nattempts = 0",
        "3:12 names.attempts must be a whole number from 1 to 5, found 0",
    ),
    (
        "[names]\nservers = [\"10.0.0.53\"]\ncache = { min-ttl = \"1m\", max-ttl = \"1s\" }",
        "3:11 names.cache.min-ttl must not be longer than `max-ttl`",
    ),
    (
        "[names]\nserver = [\"10.0.0.53\"]",
        "2:1 names.server unknown key; did you mean `servers`?",
    ),
    (
        "[outbound]\nvia = \"office\"",
        "2:7 outbound.via no [[via]] has the name `office`: add one, or use one of: direct",
    ),
    (
        "[outbound]\nproxy-protocol = \"v3\"",
        "2:18 outbound.proxy-protocol must be one of \"v1\", \"v2\", \"none\"",
    ),
    (
        "[outbound]\nsource-address = \"::\"",
        "2:18 outbound.source-address must be an IP address of this machine, as in \"10.0.0.5\"",
    ),
    (
        "[outbound]\nmark = -1",
        "2:8 outbound.mark must be a whole number from 0 to 4294967295, found -1",
    ),
    (
        "[outbound]\ndscp = 64",
        "2:8 outbound.dscp must be a number from 0 to 63 or a name such as \"ef\", \"cs1\" or \"af41\"",
    ),
    (
        "[[outbound.for]]\ndscp = 1",
        "1:1 outbound.for[0].targets missing: the targets, as in [\"10.0.0.0/8\", \"*.internal\"]",
    ),
    (
        "[[outbound.for]]\ntargets = []",
        "2:11 outbound.for[0].targets must name at least one target",
    ),
    (
        "[[outbound.for]]\ntargets = [\"10.0.0.1/8\"]",
        "2:12 outbound.for[0].targets[0] \"10.0.0.1/8\" has address bits beyond its prefix: write \"10.0.0.0/8\" for the network or \"10.0.0.1\" for the address",
    ),
    (
        "[[outbound.for]]\ntargets = [\"a*.internal\"]",
        "2:12 outbound.for[0].targets[0] must be a network, a name or names below one, as in \"10.0.0.0/8\", \"db.internal\" or \"*.internal\", found \"a*.internal\"",
    ),
    (
        "[[via]]\nname = \"direct\"\nsocks5 = \"proxy:1080\"",
        "2:8 via[0].name `direct` stands for no proxy: choose another name",
    ),
    (
        "[[via]]\nname = \"office\"",
        "1:1 via[0].socks5 missing: where the proxy is, as `socks5` or `http-connect`",
    ),
    (
        "[[via]]\nname = \"office\"\nsocks5 = \"a:1\"\nhttp-connect = \"a:1\"",
        "4:1 via[0].http-connect a proxy has either `socks5` or `http-connect`, not both",
    ),
    (
        "[[via]]\nname = \"office\"\nsocks5 = \"proxy\"",
        "3:10 via[0].socks5 must be a host and a port, as in \"proxy.internal:1080\" or \"[2001:db8::1]:1080\", found \"proxy\"",
    ),
    (
        "[policy.rollout]\ncanary = [\"gw-1\"]",
        "1:1 policy.rollout needs fleet.redis: gateways tell each other through it how they are with a policy",
    ),
    (
        "[fleet]\nredis = \"redis://r\"\n[policy.rollout]\nwait = \"10m\"",
        "3:1 policy.rollout.canary missing: the names of the gateways that are first",
    ),
    (
        "[fleet]\nredis = \"redis://r\"\n[policy.rollout]\ncanary = []",
        "4:10 policy.rollout.canary must name 1 to 64 gateways",
    ),
    (
        "[fleet]\nredis = \"redis://r\"\n[policy.rollout]\ncanary = [\"gw 1\"]",
        "4:11 policy.rollout.canary[0] must be at most 64 letters, digits, `.`, `_` or `-`, found \"gw 1\"",
    ),
    (
        "[fleet]\nredis = \"redis://r\"\n[policy.rollout]\ncanary = [\"gw-1\"]\nwait = \"0\"",
        "5:8 policy.rollout.wait must be a duration from 1s to 30d, found \"0\"",
    ),
    (
        "[policy.generations]\nkeep = 0",
        "2:8 policy.generations.keep must be a whole number from 1 to 1000, found 0",
    ),
    (
        "[admin]\nhttp = \"0.0.0.0:9464\"",
        "2:8 admin.http must be a loopback address, or name a bearer token in admin.token-file",
    ),
    (
        "[admin]\nhttp = \"9464\"",
        "2:8 admin.http must be an address and a port, as in \"0.0.0.0:2222\" or \"[::]:2222\", found \"9464\"",
    ),
    ("[admin]\ngroup = \"\"", "2:9 admin.group must not be empty"),
    (
        "[server]\nhost_keys = []",
        "2:1 server.host_keys unknown key; did you mean `host-keys`?",
    ),
    (
        "[server]\nlisten = \"0.0.0.0:1\"",
        "2:10 server.listen must be an array, as in [\"…\"], found \"0.0.0.0:1\"",
    ),
    (
        "[server]\nlisten = []",
        "2:10 server.listen must name at least one address",
    ),
    (
        "[server]\nlisten = [\"localhost:22\"]",
        "2:11 server.listen[0] must be an address and a port, as in \"0.0.0.0:2222\" or \"[::]:2222\", found \"localhost:22\"",
    ),
    (
        "[server]\nlisten = [\"[::]:22\", \"[::]:22\"]",
        "2:22 server.listen[1] `[::]:22` is already used on line 2",
    ),
    (
        "[server]\nhost-keys = [\"~/key\"]",
        "2:14 server.host-keys[0] `~` is not expanded in this file: write the whole path",
    ),
    (
        "[server]\nhost-keys = [\"\"]",
        "2:14 server.host-keys[0] must not be empty",
    ),
    (
        "[server]\nproxy-protocol = [\"10.0.0.0/33\"]",
        "2:19 server.proxy-protocol[0] must be a network, as in \"10.0.0.0/8\" or \"fe80::/10\", found \"10.0.0.0/33\"",
    ),
    (
        "[server]\nproxy-protocol = [\"10.0.0.5/8\"]",
        "2:19 server.proxy-protocol[0] \"10.0.0.5/8\" has address bits beyond its prefix: write \"10.0.0.0/8\" for the network or \"10.0.0.5\" for the address",
    ),
    (
        "[floors]\ndeny = [\"::ffff:10.0.0.5/104\"]",
        "2:9 floors.deny[0] \"::ffff:10.0.0.5/104\" has address bits beyond its prefix: write \"10.0.0.0/8\" for the network or \"10.0.0.5\" for the address",
    ),
    (
        "[forwarding]\nlocal = \"yes\"",
        "2:9 forwarding.local must be true or false, found \"yes\"",
    ),
    (
        "[forwarding]\ngateway-ports = \"clientspecified\"",
        "2:17 forwarding.gateway-ports must be one of no, yes, client-specified, found \"clientspecified\"; did you mean \
         \"client-specified\"?",
    ),
    (
        "[forwarding]\ngateway-ports = true",
        "2:17 forwarding.gateway-ports must be one of no, yes, client-specified, found true",
    ),
    (
        "[auth]\nauthorized-keys = [\"/keys/%d\"]",
        "2:20 auth.authorized-keys[0] unknown escape `%d`: expected %u (user), %h (home folder) or %% (percent sign)",
    ),
    (
        "[auth]\nlogin-grace = 30",
        "2:15 auth.login-grace must be a duration from 1s to 1h, in quotes and with a unit, as in \"30s\", found 30",
    ),
    (
        "[auth]\nlogin-grace = \"30\"",
        "2:15 auth.login-grace \"30\" has no unit: use ms, s, m, h or d",
    ),
    (
        "[auth]\nlogin-grace = \"0\"",
        "2:15 auth.login-grace must be a duration from 1s to 1h, found \"0\"",
    ),
    (
        "[auth]\nmax-attempts = 0",
        "2:16 auth.max-attempts must be a whole number from 1 to 100, found 0",
    ),
    (
        "[auth]\nmax-attempts = 6.5",
        "2:16 auth.max-attempts must be a whole number from 1 to 100, found 6.5",
    ),
    (
        "[user]\nname = \"a\"",
        "1:1 user must be an array of tables: write [[user]], found a table",
    ),
    (
        "[[user]]\ngroups = []",
        "1:1 user[0].name missing: the name to log in with",
    ),
    ("[[user]]\nname = \" \"", "2:8 user[0].name must not be empty"),
    (
        "[[user]]\nname = \"a/b\"",
        "2:8 user[0].name must be a name that can be part of a path, found \"a/b\"",
    ),
    (
        "[[user]]\nname = \"..\"",
        "2:8 user[0].name must be a name that can be part of a path, found \"..\"",
    ),
    (
        "[[user]]\nname = \"a\\u0007\"",
        "2:8 user[0].name must be text without control characters, found \"a\\u{7}\"",
    ),
    (
        "[[user]]\nname = \"a\"\n[[user]]\nname = \"a\"",
        "4:8 user[1].name `a` is already used on line 2",
    ),
    (
        "[[user]]\nname = \"é\" # é\ngroups = [\"é\", \"é\"]",
        "3:16 user[0].groups[1] `é` is already used on line 3",
    ),
    (
        "[[user]]\nname = \"a\"\nauthorized-keys = [\"\"\"\nssh-ed25519 A\"\"\", \"k\\n\"]",
        "4:19 user[0].authorized-keys[1] must be text without control characters, found \"k\\n\"",
    ),
    (
        "[[user]]\nname = \"a\"\npassword-hash = \"hunter2\"",
        "3:17 user[0].password-hash must be an Argon2 hash in quotes that begins with `$argon2`",
    ),
    (
        "[[user]]\nname = \"a\"\nclaims = { height = 1.8 }",
        "3:21 user[0].claims.height must be text, an array of texts, a whole number, or true or false, found 1.8",
    ),
    (
        "[[user]]\nname = \"a\"\nclaims = { t = [\"x\", 1] }",
        "3:22 user[0].claims.t[1] must be text in quotes, found 1",
    ),
    (
        "[policy]\non-doubt = \"closes\"",
        "2:12 policy.on-doubt must be one of keep, close, found \"closes\"; did you mean \"close\"?",
    ),
    (
        "[policy]\non-swap = \"reevaluate\"",
        "2:11 policy.on-swap must be one of keep, re-evaluate, found \"reevaluate\"; did you mean \"re-evaluate\"?",
    ),
    (
        "[policy]\ndeadline = \"20s\"",
        "2:12 policy.deadline must be a duration from 1ms to 10s, found \"20s\"",
    ),
    (
        "[policy]\ndeadline = \"5 weeks\"",
        "2:12 policy.deadline \"5 weeks\" has the unknown unit `weeks`: use ms, s, m, h or d",
    ),
    (
        "[policy]\nmemory = \"64MB\"",
        "2:10 policy.memory \"64MB\" has the unknown unit `MB`: use B, KiB, MiB, GiB or TiB",
    ),
    (
        "[policy]\nmemory = 1024",
        "2:10 policy.memory must be a size from 1MiB to 4GiB, found 1024",
    ),
    (
        "[policy.facts]\nx = { y = 1 }",
        "2:5 policy.facts.x must be text, an array of texts, a whole number, or true or false, found a table",
    ),
    (
        "[floors]\ndeny = [\"example.org\"]",
        "2:9 floors.deny[0] must be a network, as in \"10.0.0.0/8\" or \"fe80::/10\", found \"example.org\"",
    ),
    (
        "[algorithms]\npreset = \"ancient\"",
        "2:10 algorithms.preset must be one of modern, compatible, found \"ancient\"",
    ),
    (
        "[limits]\nsessions = 0",
        "2:12 limits.sessions must be a whole number from 1 to 1000000, found 0",
    ),
    (
        "[limits]\nsessions = -99999999999999999999",
        "2:12 limits.sessions must be a whole number from 1 to 1000000, found -99999999999999999999",
    ),
    (
        "[limits]\nidle-timeout = 0",
        "2:16 limits.idle-timeout must be a duration from 1ms to 365d, or \"0\" for none, in quotes and with a unit, as in \
         \"30s\", found 0",
    ),
    (
        "[limits]\nkeepalive = { interval = \"30s\", cuont = 3 }",
        "2:33 limits.keepalive.cuont unknown key; did you mean `count`?",
    ),
    (
        "[limits]\ntunnel-buffer = \"2MiB\"\nbuffer-memory = \"1MiB\"",
        "3:17 limits.buffer-memory must be at least `tunnel-buffer`, which is what one tunnel may hold, found \"1MiB\"",
    ),
    ("[audit]\nfile = \"\"", "2:8 audit.file must not be empty"),
];

#[test]
fn every_wrong_key_of_a_plugin_is_said_with_its_place() {
    for (text, expected) in WRONG_PLUGIN {
        let found = faults(text).faults;
        assert_eq!(found.iter().map(short).collect::<Vec<_>>(), [*expected], "{text}");
    }
}

const WRONG_PLUGIN: &[(&str, &str)] = &[
    (
        "",
        "1:1 policy.plugin missing: no policy, so nothing could be allowed: add [[policy.plugin]] with name = \"rules\" and component \
         = \"builtin:rules\", or your own",
    ),
    (
        "\n[policy]\nplugin = []",
        "3:10 policy.plugin no policy, so nothing could be allowed: add [[policy.plugin]] with name = \"rules\" and component = \
         \"builtin:rules\", or your own",
    ),
    (
        "[server]\n[policy]\ndeadline = \"1s\"",
        "2:1 policy.plugin missing: no policy, so nothing could be allowed: add [[policy.plugin]] with name = \"rules\" and component \
         = \"builtin:rules\", or your own",
    ),
    ("policy = 1", "1:10 policy must be a table, found 1"),
    (
        "[policy.plugin]\nname = \"a\"",
        "1:1 policy.plugin must be an array of tables: write [[policy.plugin]], found a table",
    ),
    (
        "[policy]\nplugin = [1]",
        "2:11 policy.plugin[0] must be a table, found 1",
    ),
    (
        "[[policy.plugin]]\ncomponent = \"a.wasm\"",
        "1:1 policy.plugin[0].name missing: the plugin's name in the audit log",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"",
        "1:1 policy.plugin[0].component missing: \"builtin:rules\", the path of a file, or \"oci://registry/repository:tag\"",
    ),
    (
        "[[policy.plugin]]\nname = \"a b\"\ncomponent = \"a.wasm\"",
        "2:8 policy.plugin[0].name must be letters, digits, `-`, `_` and `.`, found \"a b\"",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"builtin:acl\"",
        "3:13 policy.plugin[0].component must be \"builtin:rules\" (the only built-in policy) or the path of a file, found \
         \"builtin:acl\"",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"oci://ghcr.io/a/b\"",
        "3:13 policy.plugin[0].component neither a tag nor a digest: append `:TAG` or `@sha256:DIGEST`",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"https://x/a.wasm\"",
        "3:13 policy.plugin[0].component must be \"builtin:rules\", the path of a file, or \"oci://registry/repository:tag\", found \
         \"https://x/a.wasm\"",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"b\"",
        "5:8 policy.plugin[1].name `a` is already used on line 2",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsha256 = \"abc\"",
        "4:10 policy.plugin[0].sha256 must be 64 hexadecimal digits, found \"abc\"",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsigners = [\"a@x\"]",
        "4:11 policy.plugin[0].signers signatures are not checked: set policy.allowed-signers to a file that lists the signers",
    ),
    (
        "[policy]\nallowed-signers = \"x\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsigners = [\"*@x\"]",
        "6:12 policy.plugin[0].signers[0] must be one principal, without wildcards, found \"*@x\"",
    ),
    (
        "[policy]\nallowed-signers = \"x\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsigners = []",
        "6:11 policy.plugin[0].signers no signer, so nothing could be loaded: name at least one, or remove this key",
    ),
    (
        "[policy]\nallowed-signers = \"x\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"builtin:rules\"\nsigners = [\"a@x\"]",
        "6:11 policy.plugin[0].signers a built-in policy is part of the program and has no signature: remove this key",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\ngrants = [\"names\", \"veiw\"]",
        "4:20 policy.plugin[0].grants[1] must be one of log, names, state, view, found \"veiw\"; did you mean \"view\"?",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsettings = { a = [1, nan] }",
        "4:22 policy.plugin[0].settings.a[1] must be a number that JSON can hold, found nan",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsettings = {}\nsettings-file = \"a.toml\"",
        "5:17 policy.plugin[0].settings-file `settings` is also set: keep only one of them",
    ),
    (
        "[[policy.plugin]]\nname = \"a\"\ncomponent = \"a\"\nsettings-file = \"a.yaml\"",
        "4:17 policy.plugin[0].settings-file must be a file whose name ends in .toml or .json, found \"a.yaml\"",
    ),
];

#[test]
fn a_file_that_is_not_toml_has_one_fault() {
    for (text, expected) in [
        ("[server\nlisten = 3", "1:8  unclosed table, expected `]`"),
        (
            "[server]\nlisten = [] x",
            "2:13  unexpected key or value, expected newline, `#`",
        ),
        ("[audit]\nrequired = true\nrequired = true", "3:1  duplicate key"),
        ("[audit]\n[audit]", "2:2  duplicate key"),
    ] {
        let found = faults(text).faults;
        assert_eq!(found.iter().map(short).collect::<Vec<_>>(), [expected], "{text}");
    }
}

#[test]
fn all_faults_of_a_file_are_reported_at_once_in_its_order() {
    let text = r#"[limits]
sessions = "many"
[server]
listen = ["somewhere"]
lisen = []
[[user]]
name = "alice"
password-hash = "hunter2"
[admin]
http = "[::]:9464"
[[user]]
name = "alice"
[[policy.plugin]]
name = "rules"
component = "builtin:acl"
[policy.facts]
x = nan
[auth]
login-grace = "2h"
"#;

    assert_eq!(
        faults(text).to_string(),
        r#"/etc/portreeve/portreeve.toml:2:12: limits.sessions: must be a whole number from 1 to 1000000, found "many"
/etc/portreeve/portreeve.toml:4:11: server.listen[0]: must be an address and a port, as in "0.0.0.0:2222" or "[::]:2222", found "somewhere"
/etc/portreeve/portreeve.toml:5:1: server.lisen: unknown key; did you mean `listen`?
/etc/portreeve/portreeve.toml:8:17: user[0].password-hash: must be an Argon2 hash in quotes that begins with `$argon2`
/etc/portreeve/portreeve.toml:10:8: admin.http: must be a loopback address, or name a bearer token in admin.token-file
/etc/portreeve/portreeve.toml:12:8: user[1].name: `alice` is already used on line 7
/etc/portreeve/portreeve.toml:15:13: policy.plugin[0].component: must be "builtin:rules" (the only built-in policy) or the path of a file, found "builtin:acl"
/etc/portreeve/portreeve.toml:17:5: policy.facts.x: must be text, an array of texts, a whole number, or true or false, found nan
/etc/portreeve/portreeve.toml:19:15: auth.login-grace: must be a duration from 1s to 1h, found "2h""#
    );
}

#[test]
fn faults_of_a_settings_file_name_that_file_and_their_place_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portreeve.toml");
    for (name, settings, expected) in [
        (
            "a.toml",
            "a = 1\nb = inf\n",
            "2:5 b must be a number that JSON can hold, found inf",
        ),
        (
            "a.toml",
            "a = \n",
            "1:5  string values must be quoted, expected literal string",
        ),
        ("a.json", "{\n  \"a\": }", "2:8  expected value"),
        ("a.json", "[]", "1:1  must be an object: { … }"),
        ("a.json", "{ \"a\": 1,\n \"a\": 2 }", "2:4  duplicate key `a`"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, settings).unwrap();
        fs::write(
            &file,
            format!("[auth]\nmax-attempts = 0\n{LEAST}settings-file = \"{name}\"\nwatch = 1"),
        )
        .unwrap();

        let found = load(&file).unwrap_err().faults;

        let [before, inside, after] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((before.line, after.line), (2, 7));
        assert_eq!(
            (&inside.file, short(inside)),
            (&path, expected.to_owned()),
            "{settings}"
        );
    }
}

#[test]
fn a_settings_file_without_a_setting_is_a_fault_unless_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portreeve.toml");
    #[rustfmt::skip]
    let table = [
        // name      text                                may be empty  is it a fault?
        ("a.toml",   "",                                 "",           true),
        ("a.toml",   " \n\t\n",                          "",           true),
        ("a.toml",   "# [[rules]]\n# outcome = 'deny'\n", "",          true),
        ("a.toml",   "\u{feff}",                         "",           true),
        ("a.json",   "{}",                               "",           true),
        ("a.json",   " {\n} ",                           "",           true),
        ("a.json",   "",                                 "",           true),
        ("a.json",   "",                                 "true",       true),
        ("a.toml",   "",                                 "false",      true),
        ("a.toml",   "",                                 "true",       false),
        ("a.toml",   "# none\n",                         "true",       false),
        ("a.json",   "{}",                               "true",       false),
        ("a.toml",   "rules = []\n",                     "",           false),
        ("a.json",   "{ \"rules\": [] }",                "",           false),
    ];
    for (name, text, meant, is_fault) in table {
        fs::write(folder.path().join(name), text).unwrap();
        let meant = if meant.is_empty() {
            String::new()
        } else {
            format!("settings-may-be-empty = {meant}\n")
        };
        fs::write(&file, format!("{LEAST}settings-file = \"{name}\"\n{meant}")).unwrap();
        let loaded = load(&file);
        assert_eq!(loaded.is_err(), is_fault, "{name} {text:?} {meant}: {loaded:?}");
        if let Err(faults) = loaded {
            assert_eq!(faults.faults[0].file, folder.path().join(name));
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.toml");

    let message = load(&file).unwrap_err().to_string();

    assert!(
        message.starts_with(&format!("{}: cannot be read: ", file.display())),
        "{message}"
    );
}

#[test]
fn a_file_that_is_not_utf8_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.toml");
    fs::write(&file, b"[server]\nbanner = \"caf\xe9\"").unwrap();

    let message = load(&file).unwrap_err().to_string();

    assert_eq!(message, format!("{}:2:14: not UTF-8 from here on", file.display()));
}

#[test]
fn a_file_cut_short_anywhere_is_answered() {
    for (end, _) in CONTRACT.char_indices() {
        if let Err(faults) = read(&CONTRACT[..end]) {
            assert!(!faults.faults.is_empty(), "up to byte {end}");
        }
    }
}

#[test]
fn faults_are_data_too() {
    let json = serde_json::to_value(faults(&with_policy("[audit]\nrequired = 1"))).unwrap();

    assert_eq!(
        json,
        serde_json::json!({
            "file": "/etc/portreeve/portreeve.toml",
            "faults": [{
                "file": "/etc/portreeve/portreeve.toml",
                "line": 2,
                "column": 12,
                "key": "audit.required",
                "message": "must be true or false, found 1",
            }],
        })
    );
}
