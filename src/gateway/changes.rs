//! Every key of the configuration, and what a reload makes of a change.

use crate::config::{
    Admin, Algorithms, Audit, Auth, Config, Fleet, Floors, Forwarding, Limits, Naming, Oci, Outbound, Policy, Server,
};

/// When a change of a key applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// What it takes away at once, what it gives with the policies of the same configuration.
    TakesAtOnce,
    /// With the policies of the same configuration.
    WithPolicies,
    /// At the next start.
    AfterRestart,
}

use Applies::{AfterRestart, TakesAtOnce, WithPolicies};

/// The keys that differ, in the order of the documentation. A whole table stands for its keys where they apply alike.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<(&'static str, Applies)> {
    // Every key is named here and none is left out with `..`, so that a new one does not compile until it has its row.
    let Config {
        server,
        forwarding,
        auth,
        users,
        policy,
        algorithms,
        floors,
        names,
        outbound,
        proxies,
        limits,
        audit,
        admin,
        fleet,
        oci,
    } = old;
    let Server {
        listen,
        host_keys,
        banner,
        proxy_protocol,
    } = server;
    let Forwarding {
        local,
        remote,
        local_sockets,
        remote_sockets,
        gateway_ports,
    } = forwarding;
    let Auth {
        authorized_keys,
        trusted_user_ca_keys,
        revoked_keys,
        strict_modes,
        login_grace,
        max_attempts,
    } = auth;
    let Policy {
        on_swap,
        on_doubt,
        deadline,
        memory,
        directory,
        facts,
        signatures,
        gates,
        generations,
        rollout,
        plugins,
    } = policy;
    let Algorithms { preset } = algorithms;
    let Floors {
        deny,
        own_listeners,
        privileged_listen_ports,
    } = floors;
    let Limits {
        sessions,
        sessions_per_user,
        unauthenticated,
        unauthenticated_per_source,
        tunnels_per_session,
        listeners_per_session,
        tunnels_per_user,
        listeners_per_user,
        dials_per_user,
        decisions_per_user_per_second,
        dial_timeout,
        lookup_timeout,
        idle_timeout,
        unused_connection_timeout,
        keepalive,
        tunnel_buffer,
        buffer_memory,
        stall_timeout,
        rekey_bytes,
        rekey_time,
        drain_timeout,
        upgrade_timeout,
    } = limits;
    let Naming {
        servers,
        search,
        ndots,
        timeout: name_timeout,
        attempts,
        cache,
    } = names;
    let Outbound { default, exceptions } = outbound;
    let Audit { file, required } = audit;
    let Admin {
        socket,
        group,
        http,
        token_file,
    } = admin;
    let Fleet {
        name,
        redis,
        redis_password_file,
        timeout,
        lease,
        when_cut_off,
    } = fleet;
    let Oci {
        credentials_file,
        plain_http,
        ca_file,
        poll,
        mirrors,
    } = oci;
    #[rustfmt::skip]
    let table = [
        // the key                              is as before                                          a change applies
        ("server.listen",                       *listen == new.server.listen,                         AfterRestart),
        ("server.host-keys",                    *host_keys == new.server.host_keys,                   WithPolicies),
        ("server.banner",                       *banner == new.server.banner,                         WithPolicies),
        ("server.proxy-protocol",               *proxy_protocol == new.server.proxy_protocol,         WithPolicies),
        ("forwarding.local",                    *local == new.forwarding.local,                       TakesAtOnce),
        ("forwarding.remote",                   *remote == new.forwarding.remote,                     TakesAtOnce),
        ("forwarding.local-sockets",            *local_sockets == new.forwarding.local_sockets,       TakesAtOnce),
        ("forwarding.remote-sockets",           *remote_sockets == new.forwarding.remote_sockets,     TakesAtOnce),
        ("forwarding.gateway-ports",            *gateway_ports == new.forwarding.gateway_ports,       TakesAtOnce),
        ("auth.authorized-keys",                *authorized_keys == new.auth.authorized_keys,         TakesAtOnce),
        ("auth.trusted-user-ca-keys",           *trusted_user_ca_keys == new.auth.trusted_user_ca_keys, TakesAtOnce),
        ("auth.revoked-keys",                   *revoked_keys == new.auth.revoked_keys,               TakesAtOnce),
        ("auth.strict-modes",                   *strict_modes == new.auth.strict_modes,               TakesAtOnce),
        ("auth.login-grace",                    *login_grace == new.auth.login_grace,                 WithPolicies),
        ("auth.max-attempts",                   *max_attempts == new.auth.max_attempts,               WithPolicies),
        ("user",                                *users == new.users,                                  TakesAtOnce),
        ("policy.on-swap",                      *on_swap == new.policy.on_swap,                       WithPolicies),
        ("policy.on-doubt",                     *on_doubt == new.policy.on_doubt,                     WithPolicies),
        ("policy.deadline",                     *deadline == new.policy.deadline,                     WithPolicies),
        ("policy.memory",                       *memory == new.policy.memory,                         WithPolicies),
        ("policy.directory",                    *directory == new.policy.directory,                   AfterRestart),
        ("policy.facts",                        *facts == new.policy.facts,                           WithPolicies),
        ("policy.allowed-signers",              *signatures == new.policy.signatures,                 WithPolicies),
        ("policy.gates",                        *gates == new.policy.gates,                           WithPolicies),
        ("policy.generations",                  *generations == new.policy.generations,               WithPolicies),
        ("policy.rollout",                      *rollout == new.policy.rollout,                       WithPolicies),
        ("policy.plugin",                       *plugins == new.policy.plugins,                       WithPolicies),
        ("algorithms.preset",                   *preset == new.algorithms.preset,                     WithPolicies),
        ("floors.deny",                         *deny == new.floors.deny,                             TakesAtOnce),
        ("floors.own-listeners",                *own_listeners == new.floors.own_listeners,           TakesAtOnce),
        ("floors.privileged-listen-ports",      *privileged_listen_ports == new.floors.privileged_listen_ports, TakesAtOnce),
        ("names.servers",                       *servers == new.names.servers,                        WithPolicies),
        ("names.search",                        *search == new.names.search,                          WithPolicies),
        ("names.ndots",                         *ndots == new.names.ndots,                            WithPolicies),
        ("names.timeout",                       *name_timeout == new.names.timeout,                   WithPolicies),
        ("names.attempts",                      *attempts == new.names.attempts,                      WithPolicies),
        ("names.cache",                         *cache == new.names.cache,                            WithPolicies),
        ("outbound",                            *default == new.outbound.default,                     WithPolicies),
        ("outbound.for",                        *exceptions == new.outbound.exceptions,               WithPolicies),
        ("via",                                 *proxies == new.proxies,                              WithPolicies),
        ("limits.sessions",                     *sessions == new.limits.sessions,                     TakesAtOnce),
        ("limits.sessions-per-user",            *sessions_per_user == new.limits.sessions_per_user,   TakesAtOnce),
        ("limits.unauthenticated",              *unauthenticated == new.limits.unauthenticated,       TakesAtOnce),
        ("limits.unauthenticated-per-source",   *unauthenticated_per_source == new.limits.unauthenticated_per_source, TakesAtOnce),
        ("limits.tunnels-per-session",          *tunnels_per_session == new.limits.tunnels_per_session, TakesAtOnce),
        ("limits.listeners-per-session",        *listeners_per_session == new.limits.listeners_per_session, TakesAtOnce),
        ("limits.tunnels-per-user",             *tunnels_per_user == new.limits.tunnels_per_user,     TakesAtOnce),
        ("limits.listeners-per-user",           *listeners_per_user == new.limits.listeners_per_user, TakesAtOnce),
        ("limits.dials-per-user",               *dials_per_user == new.limits.dials_per_user,         TakesAtOnce),
        ("limits.decisions-per-user-per-second", *decisions_per_user_per_second == new.limits.decisions_per_user_per_second, TakesAtOnce),
        ("limits.lookup-timeout",               *lookup_timeout == new.limits.lookup_timeout,         TakesAtOnce),
        ("limits.dial-timeout",                 *dial_timeout == new.limits.dial_timeout,             TakesAtOnce),
        ("limits.idle-timeout",                 *idle_timeout == new.limits.idle_timeout,             TakesAtOnce),
        ("limits.unused-connection-timeout",    *unused_connection_timeout == new.limits.unused_connection_timeout, WithPolicies),
        ("limits.keepalive",                    *keepalive == new.limits.keepalive,                   WithPolicies),
        ("limits.tunnel-buffer",                *tunnel_buffer == new.limits.tunnel_buffer,           WithPolicies),
        ("limits.buffer-memory",                *buffer_memory == new.limits.buffer_memory,           WithPolicies),
        ("limits.stall-timeout",                *stall_timeout == new.limits.stall_timeout,           TakesAtOnce),
        ("limits.rekey-bytes",                  *rekey_bytes == new.limits.rekey_bytes,               WithPolicies),
        ("limits.rekey-time",                   *rekey_time == new.limits.rekey_time,                 WithPolicies),
        ("limits.drain-timeout",                *drain_timeout == new.limits.drain_timeout,           TakesAtOnce),
        ("limits.upgrade-timeout",              *upgrade_timeout == new.limits.upgrade_timeout,       WithPolicies),
        ("audit.file",                          *file == new.audit.file,                              AfterRestart),
        ("audit.required",                      *required == new.audit.required,                      AfterRestart),
        ("admin.socket",                        *socket == new.admin.socket,                          AfterRestart),
        ("admin.group",                         *group == new.admin.group,                            AfterRestart),
        ("admin.http",                          *http == new.admin.http,                              AfterRestart),
        ("admin.token-file",                    *token_file == new.admin.token_file,                  AfterRestart),
        ("fleet.name",                          *name == new.fleet.name,                              AfterRestart),
        ("fleet.redis",                         *redis == new.fleet.redis,                            AfterRestart),
        ("fleet.redis-password-file",           *redis_password_file == new.fleet.redis_password_file, AfterRestart),
        ("fleet.timeout",                       *timeout == new.fleet.timeout,                        AfterRestart),
        ("fleet.lease",                         *lease == new.fleet.lease,                            AfterRestart),
        ("fleet.when-cut-off",                  *when_cut_off == new.fleet.when_cut_off,              AfterRestart),
        ("oci.credentials-file",                *credentials_file == new.oci.credentials_file,        WithPolicies),
        ("oci.plain-http",                      *plain_http == new.oci.plain_http,                    WithPolicies),
        ("oci.ca-file",                         *ca_file == new.oci.ca_file,                          WithPolicies),
        ("oci.poll",                            *poll == new.oci.poll,                                WithPolicies),
        ("oci.mirrors",                         *mirrors == new.oci.mirrors,                          WithPolicies),
    ];
    let changed = table.into_iter().filter(|(_, same, _)| !same);
    changed.map(|(key, _, applies)| (key, applies)).collect()
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
