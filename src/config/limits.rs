//! `[floors]` and `[limits]`: what no policy can allow, and how much of anything there may be.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::value::Value;
use super::walk::Table;

/// `[floors]`: what no policy can allow; judged on resolved addresses and on listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Networks that are never dialled. Naming any replaces the default: link-local with its metadata services, multicast,
    /// unspecified and broadcast. Loopback and private networks are the policy's business.
    pub deny: Vec<IpNet>,
    /// Whether the gateway's own sockets are never dialled. Default true.
    pub own_listeners: bool,
    /// Whether `-R` may listen below port 1024. Default false.
    pub privileged_listen_ports: bool,
}

impl Default for Floors {
    fn default() -> Self {
        Floors {
            deny: DENIED.to_vec(),
            own_listeners: true,
            privileged_listen_ports: false,
        }
    }
}

pub(super) fn floors(table: &mut Table<'_>) -> Floors {
    let default = Floors::default();
    Floors {
        deny: table.or("deny", default.deny, |value| value.list(|item| item.network())),
        own_listeners: table.or("own-listeners", default.own_listeners, |value| value.flag()),
        privileged_listen_ports: table.or("privileged-listen-ports", default.privileged_listen_ports, |value| {
            value.flag()
        }),
    }
}

/// `[limits]`: defaults and ceilings; a policy's terms can only tighten them. Counts go from 1 to a million, times from a
/// millisecond to a year, and if a time may be absent, `"0"` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once. Default 10000; further ones are refused.
    pub sessions: usize,
    /// Sessions of one user at once. Default 100; further ones are refused.
    pub sessions_per_user: usize,
    /// Connections at once that have not logged in. Default 100; past it refused at random, past twice as many all of them.
    pub unauthenticated: usize,
    /// Connections at once that have not logged in, of one address and its neighbours (the /24 of IPv4, the /64 of IPv6).
    /// Default 20; one more takes the place of the oldest.
    pub unauthenticated_per_source: usize,
    /// Tunnels of one session at once. Default 1000; further ones are refused.
    pub tunnels_per_session: usize,
    /// Listeners of one session at once. Default 64; further ones are refused.
    pub listeners_per_session: usize,
    /// Tunnels of one user at once, over all sessions. Default 4000; further ones are refused.
    pub tunnels_per_user: usize,
    /// Listeners of one user at once, over all sessions. Default 256; further ones are refused.
    pub listeners_per_user: usize,
    /// Connections to targets that are being made for one user at once. Default 1000; further ones are refused.
    pub dials_per_user: usize,
    /// Decisions on requests of one user in each second. Default 2000; as many may come at once, further ones wait for up to a
    /// second, and are then refused. A quarter and half of it, but at least 500 and 1,000, is how fast a session and a user get
    /// refusals.
    pub decisions_per_user_per_second: usize,
    /// How long a dial may take, up to 10m. Default 10s; the forward then fails.
    pub dial_timeout: Duration,
    /// How long one decision may wait for names, 100ms to 10m. Default 20s, so that a silent name server or a lost packet
    /// costs time and not the forward: the C library waits five seconds before it asks the next server, or again.
    pub lookup_timeout: Duration,
    /// How long a tunnel may carry nothing. Default `"0"`, none; it is then closed.
    pub idle_timeout: Option<Duration>,
    /// How long a session may have neither a tunnel nor a listener. Default `"0"`, for ever; it is then closed.
    pub unused_connection_timeout: Option<Duration>,
    /// Questions to a silent client. Default every 30s, three times; it is then disconnected, and so is one that something
    /// waits for and that neither takes nor sends anything for as long.
    pub keepalive: Option<Keepalive>,
    /// Bytes one tunnel may hold for a slow reader, 32KiB to 4GiB. Default 16MiB; the sender then waits.
    pub tunnel_buffer: u64,
    /// Bytes all tunnels together may hold, at least what one may, up to 16TiB. Default 1GiB; senders then wait, and where
    /// they were granted more, the tunnels that hold the most are closed.
    pub buffer_memory: u64,
    /// How long a reader may take nothing of what is held for it. Default 60s; the tunnel is then closed.
    pub stall_timeout: Option<Duration>,
    /// Bytes of a connection, each way, after which the gateway begins new keys, 1MiB to 16GiB. Default 16GiB; clients
    /// usually begin earlier.
    pub rekey_bytes: u64,
    /// Time after which the gateway begins new keys, 1s to 1d. Default 1h.
    pub rekey_time: Duration,
    /// How long open tunnels may go on after SIGTERM, up to 1d. Default 30s; `"0"` closes them at once.
    pub drain_timeout: Duration,
    /// How long a new program may take until it serves, after SIGUSR2, 1s to 1h. Default 5m; it is then ended, and the running one
    /// goes on. It compiles policies anew if its compiler is another one.
    pub upgrade_timeout: Duration,
}

/// How a silent client is asked whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before each question, 100ms to 1d. Default 30s; `"0"` asks nothing.
    pub interval: Duration,
    /// Questions without an answer before the client is given up, 1 to 1000. Default 3.
    pub count: u32,
}

impl Keepalive {
    /// How long a client may be silent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval * (self.count + 1)
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive {
            interval: Duration::from_secs(30),
            count: 3,
        }
    }
}

impl Limits {
    /// The narrower of each: fewer, and sooner over. What is neither is as here.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let sooner = |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
        Self {
            sessions: self.sessions.min(other.sessions),
            sessions_per_user: self.sessions_per_user.min(other.sessions_per_user),
            unauthenticated: self.unauthenticated.min(other.unauthenticated),
            unauthenticated_per_source: self.unauthenticated_per_source.min(other.unauthenticated_per_source),
            tunnels_per_session: self.tunnels_per_session.min(other.tunnels_per_session),
            listeners_per_session: self.listeners_per_session.min(other.listeners_per_session),
            tunnels_per_user: self.tunnels_per_user.min(other.tunnels_per_user),
            listeners_per_user: self.listeners_per_user.min(other.listeners_per_user),
            dials_per_user: self.dials_per_user.min(other.dials_per_user),
            decisions_per_user_per_second: self
                .decisions_per_user_per_second
                .min(other.decisions_per_user_per_second),
            dial_timeout: self.dial_timeout.min(other.dial_timeout),
            lookup_timeout: self.lookup_timeout.min(other.lookup_timeout),
            idle_timeout: sooner(self.idle_timeout, other.idle_timeout),
            stall_timeout: sooner(self.stall_timeout, other.stall_timeout),
            drain_timeout: self.drain_timeout.min(other.drain_timeout),
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 10_000,
            sessions_per_user: 100,
            unauthenticated: 100,
            unauthenticated_per_source: 20,
            tunnels_per_session: 1_000,
            listeners_per_session: 64,
            tunnels_per_user: 4_000,
            listeners_per_user: 256,
            dials_per_user: 1_000,
            decisions_per_user_per_second: 2_000,
            dial_timeout: Duration::from_secs(10),
            lookup_timeout: Duration::from_secs(20),
            idle_timeout: None,
            unused_connection_timeout: None,
            keepalive: Some(Keepalive::default()),
            tunnel_buffer: 16 << 20,
            buffer_memory: 1 << 30,
            stall_timeout: Some(Duration::from_secs(60)),
            rekey_bytes: 16 << 30,
            rekey_time: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_secs(30),
            upgrade_timeout: Duration::from_secs(5 * 60),
        }
    }
}

pub(super) fn limits(table: &mut Table<'_>) -> Limits {
    let default = Limits::default();
    let tunnel_buffer = table.or("tunnel-buffer", default.tunnel_buffer, |value| {
        value.size(TUNNEL_BUFFER)
    });
    Limits {
        sessions: table.or("sessions", default.sessions, count),
        sessions_per_user: table.or("sessions-per-user", default.sessions_per_user, count),
        unauthenticated: table.or("unauthenticated", default.unauthenticated, count),
        unauthenticated_per_source: table.or("unauthenticated-per-source", default.unauthenticated_per_source, count),
        tunnels_per_session: table.or("tunnels-per-session", default.tunnels_per_session, count),
        listeners_per_session: table.or("listeners-per-session", default.listeners_per_session, count),
        tunnels_per_user: table.or("tunnels-per-user", default.tunnels_per_user, count),
        listeners_per_user: table.or("listeners-per-user", default.listeners_per_user, count),
        dials_per_user: table.or("dials-per-user", default.dials_per_user, count),
        decisions_per_user_per_second: table.or(
            "decisions-per-user-per-second",
            default.decisions_per_user_per_second,
            count,
        ),
        dial_timeout: table.or("dial-timeout", default.dial_timeout, |value| {
            value.duration(MILLISECOND..=10 * MINUTE)
        }),
        lookup_timeout: table.or("lookup-timeout", default.lookup_timeout, |value| {
            value.duration(MILLISECOND * 100..=10 * MINUTE)
        }),
        idle_timeout: table.or("idle-timeout", default.idle_timeout, time_or_none),
        unused_connection_timeout: table.or(
            "unused-connection-timeout",
            default.unused_connection_timeout,
            time_or_none,
        ),
        keepalive: table.or("keepalive", default.keepalive, |value| value.table(keepalive)),
        tunnel_buffer,
        buffer_memory: table.or("buffer-memory", default.buffer_memory.max(tunnel_buffer), |value| {
            let memory = value.size(*TUNNEL_BUFFER.start()..=BUFFER_MEMORY)?;
            if memory < tunnel_buffer {
                return value.wrong("at least `tunnel-buffer`, which is what one tunnel may hold");
            }
            Some(memory)
        }),
        stall_timeout: table.or("stall-timeout", default.stall_timeout, time_or_none),
        rekey_bytes: table.or("rekey-bytes", default.rekey_bytes, |value| value.size(REKEY_BYTES)),
        rekey_time: table.or("rekey-time", default.rekey_time, |value| value.duration(SECOND..=DAY)),
        drain_timeout: table.or("drain-timeout", default.drain_timeout, |value| {
            value.duration(Duration::ZERO..=DAY)
        }),
        upgrade_timeout: table.or("upgrade-timeout", default.upgrade_timeout, |value| {
            value.duration(SECOND..=60 * MINUTE)
        }),
    }
}

fn keepalive(table: &mut Table<'_>) -> Option<Keepalive> {
    let default = Keepalive::default();
    let interval = table.or("interval", Some(default.interval), |value| {
        value.duration_or_none(MILLISECOND * 100..=DAY)
    });
    let count = table.or("count", default.count, |value| value.number(1..=1000));
    interval.map(|interval| Keepalive { interval, count })
}

fn count(value: &Value<'_>) -> Option<usize> {
    value.number(1..=1_000_000)
}

fn time_or_none(value: &Value<'_>) -> Option<Option<Duration>> {
    value.duration_or_none(MILLISECOND..=DAY * 365)
}

/// Where no forward has any business: metadata services and neighbours, groups, this host by another name, everyone.
const DENIED: [IpNet; 7] = [
    v4([169, 254, 0, 0], 16),
    v6(0xfe80, 10),
    v4([224, 0, 0, 0], 4),
    v6(0xff00, 8),
    v4([0, 0, 0, 0], 8),
    v6(0, 128),
    v4([255, 255, 255, 255], 32),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length))
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One tunnel must be able to hold the largest packet of a channel, 32KiB.
const TUNNEL_BUFFER: RangeInclusive<u64> = 32 << 10..=4 << 30;

const BUFFER_MEMORY: u64 = 16 << 40;

/// Far less than the 2^32 packets after which their numbers would repeat, however small these are.
const REKEY_BYTES: RangeInclusive<u64> = 1 << 20..=16 << 30;
