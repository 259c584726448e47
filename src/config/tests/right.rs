//! What a right configuration becomes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{LEAST, read, with_policy};
use crate::config::*;

fn meant(text: &str) -> Config {
    read(text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_least_configuration_means_the_defaults() {
    let config = meant(LEAST);

    assert_eq!(config.server, Server::default());
    assert_eq!(
        config.server.listen,
        ["0.0.0.0:2222".parse().unwrap(), "[::]:2222".parse().unwrap()]
    );
    assert_eq!(
        config.forwarding,
        Forwarding {
            local: true,
            remote: true,
            local_sockets: true,
            remote_sockets: true,
            gateway_ports: GatewayPorts::No
        }
    );
    assert_eq!(
        (config.auth.login_grace, config.auth.max_attempts),
        (Duration::from_secs(30), 6)
    );
    assert_eq!(config.users, []);
    assert_eq!(config.policy.on_swap, OnSwap::Reevaluate);
    assert_eq!(config.policy.on_doubt, OnDoubt::Keep);
    assert_eq!(
        (config.policy.deadline, config.policy.memory),
        (Duration::from_millis(50), 64 << 20)
    );
    assert_eq!(
        config.policy.plugins,
        [Plugin {
            name: "rules".to_owned(),
            component: Source::Builtin("rules".to_owned()),
            component_name: None,
            allow_downgrade: false,
            sha256: None,
            signers: Vec::new(),
            grants: vec![Grant::Log],
            rewrite: false,
            wasi: Wasi::Refuse,
            settings: json!({}),
            settings_file: None,
            settings_may_be_empty: false,
            watch: OnChange::Swap,
        }]
    );
    let denied: Vec<String> = config.floors.deny.iter().map(ToString::to_string).collect();
    assert_eq!(
        denied,
        [
            "169.254.0.0/16",
            "fe80::/10",
            "224.0.0.0/4",
            "ff00::/8",
            "0.0.0.0/8",
            "::/128",
            "255.255.255.255/32"
        ]
    );
    assert!(config.floors.own_listeners && !config.floors.privileged_listen_ports);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(
        config.audit,
        Audit {
            file: AuditFile::Stdout,
            required: true
        }
    );
}

#[test]
fn the_example_of_the_contract_means_what_it_says() {
    let config = meant(CONTRACT);

    assert_eq!(
        config.server.host_keys,
        [PathBuf::from("/etc/portreeve/ssh_host_ed25519_key")]
    );
    assert_eq!(config.server.proxy_protocol, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(
        config.auth.authorized_keys,
        ["/etc/portreeve/keys/%u", "%h/.ssh/authorized_keys"]
    );
    assert_eq!(
        config.auth.revoked_keys.as_deref(),
        Some(Path::new("/etc/portreeve/revoked"))
    );
    let [alice] = config.users.as_slice() else {
        panic!("{:?}", config.users)
    };
    assert_eq!(alice.groups, ["dba"]);
    assert_eq!(alice.claims, [("team".to_owned(), Claim::Text("payments".to_owned()))]);
    assert_eq!(
        alice.password_hash.as_ref().map(Secret::expose),
        Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
    );
    let [key] = alice.authorized_keys.as_slice() else {
        panic!("{alice:?}")
    };
    assert_eq!(
        (key.line, key.column, key.key.as_str()),
        (24, 20, "user[0].authorized-keys[0]")
    );
    let [rules] = config.policy.plugins.as_slice() else {
        panic!("{:?}", config.policy)
    };
    assert_eq!(rules.grants, [Grant::Log, Grant::Names, Grant::State]);
    assert_eq!(rules.sha256, Some([0xab; 32]));
    assert_eq!(rules.settings, json!({ "rules": [{ "allow": "*:443" }] }));
    assert_eq!(config.floors, Floors::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(
        config.audit.file,
        AuditFile::Path("/var/log/portreeve/audit.jsonl".into())
    );
}

#[test]
fn zero_means_none_where_a_time_may_be_absent() {
    let limits = meant(&with_policy(
        "[limits]\nidle-timeout = \"0\"\nunused-connection-timeout = \"0\"\nstall-timeout = \"0\"\nkeepalive = { interval = \
         \"0\" }\ndrain-timeout = \"0\"",
    ))
    .limits;

    assert_eq!(
        (
            limits.idle_timeout,
            limits.unused_connection_timeout,
            limits.stall_timeout
        ),
        (None, None, None)
    );
    assert_eq!(limits.keepalive, None);
    assert_eq!(limits.drain_timeout, Duration::ZERO);
}

#[test]
fn half_a_keepalive_keeps_the_other_default() {
    let limits = meant(&with_policy("[limits]\nkeepalive = { interval = \"1m\" }")).limits;

    assert_eq!(
        limits.keepalive,
        Some(Keepalive {
            interval: Duration::from_secs(60),
            count: 3
        })
    );
}

#[test]
fn a_tunnel_buffer_above_the_default_memory_raises_it() {
    let limits = meant(&with_policy("[limits]\ntunnel-buffer = \"2GiB\"")).limits;

    assert_eq!((limits.tunnel_buffer, limits.buffer_memory), (2 << 30, 2 << 30));
}

#[test]
fn sizes_may_be_plain_bytes() {
    let limits = meant(&with_policy(
        "[limits]\ntunnel-buffer = 1_048_576\nbuffer-memory = \"16 MiB\"",
    ))
    .limits;

    assert_eq!((limits.tunnel_buffer, limits.buffer_memory), (1 << 20, 16 << 20));
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let text = "[server]\nhost-keys = [\"key\", \"/abs/key\"]\n[auth]\nauthorized-keys = [\"keys/%u\", \"%h/k\"]\n\
                [audit]\nfile = \"a.jsonl\"\n[[policy.plugin]]\nname = \"p\"\ncomponent = \"p.wasm\"";
    let config = parse(text, Path::new("/etc/100%/portreeve.toml")).unwrap();

    assert_eq!(
        config.server.host_keys,
        [PathBuf::from("/etc/100%/key"), "/abs/key".into()]
    );
    assert_eq!(config.auth.authorized_keys, ["/etc/100%%/keys/%u", "%h/k"]);
    assert_eq!(config.audit.file, AuditFile::Path("/etc/100%/a.jsonl".into()));
    assert!(matches!(&config.policy.plugins[..], [p] if p.component == Source::File("/etc/100%/p.wasm".into())));
}

#[test]
fn a_file_named_without_a_folder_keeps_relative_paths_as_they_are() {
    let text = with_policy("[server]\nhost-keys = [\"key\"]\n[auth]\nauthorized-keys = [\"keys/%u\"]");
    let config = parse(&text, Path::new("portreeve.toml")).unwrap();

    assert_eq!(config.server.host_keys, [PathBuf::from("key")]);
    assert_eq!(config.auth.authorized_keys, ["keys/%u"]);
}

#[test]
fn patterns_that_are_still_relative_start_at_the_folder_of_the_process() {
    let text = with_policy("[auth]\nauthorized-keys = [\"keys/%u\", \"/etc/keys/%u\", \"%h/k\", \"%u\"]");
    let mut config = parse(&text, Path::new("conf/portreeve.toml")).unwrap();
    config.auth.start_at(Path::new("/100%"));
    assert_eq!(
        config.auth.authorized_keys,
        ["/100%%/conf/keys/%u", "/etc/keys/%u", "%h/k", "/100%%/conf/%u"]
    );
}

#[test]
fn claims_and_facts_keep_their_shape_and_order() {
    let facts = meant(&with_policy(
        "[policy.facts]\nzone = [\"a\", \"b\"]\nlevel = -3\nfrozen = true\nname = \"x\"",
    ))
    .policy
    .facts;

    assert_eq!(
        facts,
        [
            ("zone".to_owned(), Claim::Texts(vec!["a".to_owned(), "b".to_owned()])),
            ("level".to_owned(), Claim::Number(-3)),
            ("frozen".to_owned(), Claim::Flag(true)),
            ("name".to_owned(), Claim::Text("x".to_owned())),
        ]
    );
}

#[test]
fn inline_settings_become_json() {
    let text = format!(
        "{LEAST}settings = {{ at = 2026-01-02 03:04:05Z, day = 2026-01-02, n = 0x1F, f = 1_000.5, l = [1, [true]] }}"
    );

    assert_eq!(
        meant(&text).policy.plugins[0].settings,
        json!({ "at": "2026-01-02T03:04:05Z", "day": "2026-01-02", "n": 31, "f": 1000.5, "l": [1, [true]] })
    );
}

#[test]
fn a_network_of_mapped_addresses_is_the_network_of_ipv4() {
    let text = "[server]\nproxy-protocol = [\"::ffff:10.0.0.0/104\", \"::ffff:192.0.2.1\"]\n[floors]\ndeny = [\"::ffff:0:0/96\"]\n";
    let config = meant(&with_policy(text));
    let shown = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&config.server.proxy_protocol), ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(shown(&config.floors.deny), ["0.0.0.0/0"]);
}

#[test]
fn settings_files_are_toml_or_json_by_their_ending() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), "[[rule]]\nallow = \"*:443\"\n").unwrap();
    fs::write(
        folder.path().join("b.json"),
        r#"{ "rule": [null, { "allow": "*:443" }, -1, 2.5] }"#,
    )
    .unwrap();
    let plugin = |name| format!("[[policy.plugin]]\nname = \"{name}\"\ncomponent = \"x.wasm\"\n");
    let text = format!(
        "{}settings-file = \"a.toml\"\n{}settings-file = \"b.json\"",
        plugin("a"),
        plugin("b")
    );
    let file = folder.path().join("portreeve.toml");
    fs::write(&file, text).unwrap();

    let plugins = load(&file).unwrap().policy.plugins;

    assert_eq!(plugins[0].settings, json!({ "rule": [{ "allow": "*:443" }] }));
    assert_eq!(plugins[0].settings_file, Some(folder.path().join("a.toml")));
    assert_eq!(
        plugins[1].settings,
        json!({ "rule": [null, { "allow": "*:443" }, -1, 2.5] })
    );
}

#[test]
fn secrets_do_not_print() {
    let config = meant(&with_policy(
        "[[user]]\nname = \"a\"\npassword-hash = \"$argon2id$hidden\"",
    ));

    assert!(!format!("{config:?}").contains("hidden"));
}

/// Section 4 of the contract, with its ellipses filled in.
pub(super) const CONTRACT: &str = r#"
[server]
listen = ["0.0.0.0:2222", "[::]:2222"]
host-keys = ["/etc/portreeve/ssh_host_ed25519_key"]       # OpenSSH format, mode checked
banner = "..."                                            # optional
proxy-protocol = ["10.0.0.0/8"]                           # trusted sources of a PROXY v1/v2 header

[forwarding]                                              # switches above any policy; default all true
local = true            # direct-tcpip
remote = true           # tcpip-forward
local-sockets = true
remote-sockets = true
gateway-ports = "no"    # no | yes | client-specified, as OpenSSH

[auth]
authorized-keys = ["/etc/portreeve/keys/%u", "%h/.ssh/authorized_keys"]   # %u user, %h home
trusted-user-ca-keys = ["/etc/portreeve/user_ca.pub"]
revoked-keys = "/etc/portreeve/revoked"                   # OpenSSH KRL or key list
login-grace = "30s"
max-attempts = 6
[[user]]
name = "alice"
groups = ["dba"]
authorized-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA alice"]
password-hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"                             # optional; absent: no password login
claims = { team = "payments" }

[policy]
on-swap = "re-evaluate"      # keep | re-evaluate: what a swap does to what is open
deadline = "50ms"            # one decision, in the guest
memory = "64MiB"             # one instance, all memories and tables
directory = "/var/lib/portreeve/policies"                 # last-good copies and the compiled cache

[[policy.plugin]]            # a chain: the first deny wins, a rewrite is what the next one sees
name = "rules"
component = "builtin:rules"  # or a path, or "oci://registry/repo:tag"
sha256 = "abababababababababababababababababababababababababababababababab"                 # optional pin
grants = ["names", "state"]  # host interfaces the plugin may import; unset: log only
rewrite = true               # may it rewrite? default false
wasi = "refuse"              # refuse | inert: WASI imports are refused, or linked with nothing behind them
settings = { rules = [{ allow = "*:443" }] }             # or settings-file = "rules.toml" (TOML or JSON by extension, handed over as JSON)
watch = true                 # swap when the file changes

[algorithms]
preset = "modern"            # modern | compatible (adds aes-ctr with encrypt-then-MAC and ECDH on NIST curves)

[floors]                     # no policy can lift these; judged on resolved addresses and on listeners
deny = ["169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8", "0.0.0.0/8", "::/128", "255.255.255.255/32"]
own-listeners = true         # never dial the gateway's own SSH, admin and metrics sockets
privileged-listen-ports = false

[limits]                     # defaults and ceilings; a policy's terms can only tighten them
sessions = 10000
sessions-per-user = 100
unauthenticated-per-source = 20   # before login, by address and by prefix (v4 /24, v6 /64)
unauthenticated = 100        # start refusing at random past this many, all past twice as many
tunnels-per-session = 1000
listeners-per-session = 64
dial-timeout = "10s"
idle-timeout = "0"           # 0: none
unused-connection-timeout = "0"      # as OpenSSH: never; a session that holds a listener is in use
tunnels-per-user = 4000              # over all sessions of a user, as listeners-per-user and dials-per-user
listeners-per-user = 256
keepalive = { interval = "30s", count = 3 }
tunnel-buffer = "16MiB"
buffer-memory = "1GiB"
stall-timeout = "60s"

[audit]
file = "/var/log/portreeve/audit.jsonl"                   # reopened on SIGHUP; "-" is stdout

[admin]
socket = "/run/portreeve/admin.sock"                      # HTTP over a Unix socket, mode 0600
http = "127.0.0.1:9464"                                   # /metrics /healthz /readyz and the status page
"#;

#[test]
fn a_component_may_be_in_a_registry_and_is_kept_below_the_folder_of_policies() {
    let text = "[policy]\ndirectory = \"kept\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"oci://ghcr.io/a/b:1\"\n\
                [[policy.plugin]]\nname = \"b\"\ncomponent = \"oci://ghcr.io/a/b:1\"\n\
                [oci]\ncredentials-file = \"docker.json\"\nplain-http = [\"127.0.0.1:5000\"]\npoll = \"5s\"\n\
                mirrors = { \"ghcr.io\" = [\"10.0.0.1:5000\"] }";
    let config = read(text).unwrap();
    let files: Vec<_> = config
        .policy
        .plugins
        .iter()
        .filter_map(|plugin| plugin.component.file())
        .collect();
    assert!(
        files.iter().all(|file| file.starts_with("/etc/portreeve/kept/pulled")),
        "{files:?}"
    );
    assert_ne!(files[0], files[1], "each plugin has its own");
    assert_eq!(config.oci.poll, std::time::Duration::from_secs(5));
    assert_eq!(config.oci.plain_http, ["127.0.0.1:5000"]);
    assert_eq!(
        config.oci.mirrors,
        [("ghcr.io".to_owned(), vec!["10.0.0.1:5000".to_owned()])]
    );
    assert!(config.oci.credentials_file.unwrap().ends_with("docker.json"));
}

#[test]
fn signatures_are_demanded_and_revoked_keys_count_for_them() {
    let text = "[auth]\nrevoked-keys = \"revoked\"\n[policy]\nallowed-signers = \"allowed\"\n[[policy.plugin]]\nname = \"a\"\ncomponent = \"a.wasm\"\nsigners = [\"a@x\", \"b@x\"]\n";
    let policy = read(text).unwrap().policy;
    let signatures = policy.signatures.unwrap();
    assert!(signatures.allowed_signers.ends_with("allowed"));
    assert!(signatures.revoked_keys.unwrap().ends_with("revoked"));
    assert_eq!(policy.plugins[0].signers, ["a@x", "b@x"]);
}

#[test]
fn a_name_server_is_an_address_with_what_is_spoken_there() {
    let plain = |address: &str| (address.to_owned(), None);
    let tls = |address: &str, name: &str| (address.to_owned(), Some(name.to_owned()));
    #[rustfmt::skip]
    let table = [
        ("10.0.0.53",                              plain("10.0.0.53:53")),
        ("10.0.0.53:5353",                         plain("10.0.0.53:5353")),
        ("2001:db8::53",                           plain("[2001:db8::53]:53")),
        ("[2001:db8::53]",                         plain("[2001:db8::53]:53")),
        ("[2001:db8::53]:5353",                    plain("[2001:db8::53]:5353")),
        ("::ffff:10.0.0.53",                       plain("10.0.0.53:53")),
        ("tls://10.0.0.53#dns.example.com",        tls("10.0.0.53:853", "dns.example.com")),
        ("tls://10.0.0.53:8853#DNS.example.com.",  tls("10.0.0.53:8853", "dns.example.com")),
        ("tls://10.0.0.53",                        tls("10.0.0.53:853", "10.0.0.53")),
        ("tls://[2001:db8::53]:8853",              tls("[2001:db8::53]:8853", "2001:db8::53")),
        ("tls://10.0.0.53#2001:db8::53",           tls("10.0.0.53:853", "2001:db8::53")),
    ];
    for (text, expected) in table {
        let config = meant(&with_policy(&format!("[names]\nservers = [\"{text}\"]")));
        let [server] = config.names.servers.as_slice() else {
            panic!("{text}");
        };
        let name = match &server.transport {
            NameTransport::Plain => None,
            NameTransport::Tls(name) => Some(name.clone()),
        };
        assert_eq!((server.address.to_string(), name), expected, "{text}");
        let again = meant(&with_policy(&format!("[names]\nservers = [\"{server}\"]")));
        assert_eq!(again.names, config.names, "{server} is printed as it may be written");
    }
}

#[test]
fn names_are_looked_up_by_the_system_unless_servers_are_named() {
    assert_eq!(meant(LEAST).names, Naming::default());
    assert_eq!(Naming::default().servers, []);
    let text = "[names]\nservers = [\"10.0.0.53\"]\nsearch = [\"Corp.Example.\", \"bücher.example\"]\nndots = 2\ntimeout = \"1s\"\n\
                attempts = 3\ncache = { entries = 7, min-ttl = \"1s\", max-ttl = \"1m\", max-negative-ttl = \"0\" }";
    let names = meant(&with_policy(text)).names;
    assert_eq!(names.search, ["corp.example", "xn--bcher-kva.example"]);
    assert_eq!(
        (names.ndots, names.timeout, names.attempts),
        (2, Duration::from_secs(1), 3)
    );
    assert_eq!(
        names.cache,
        NameCache {
            entries: 7,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(60),
            max_negative_ttl: Duration::ZERO,
        }
    );
}
