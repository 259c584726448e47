//! What `sshd` would do for one connection: the values that count, and what may be forwarded. This is the truth that an import
//! is held against; the rules are made in another way, from the same lines.
//!
//! Read from `match_cfg_line` and `copy_set_server_options` (`servconf.c`), `allowed_user` (`auth.c`), `match_user`
//! (`match.c`), `channel_connect_to_port`, `channel_connect_to_path` and `check_rfwd_permission` (`channels.c`) and
//! `server_input_global_request` (`serverloop.c`).

use super::{Criterion, Directive, Forwards, Patterns, Permits, Scope, Sshd, Surroundings, Visitor, values};
use crate::auth::matches;

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A connection to a host.
    Connect(String, u16),
    /// A connection to a socket.
    ConnectSocket(String),
    /// A listener on an address, as the client sends it.
    Listen(String, u16),
    /// A listener on a socket.
    ListenSocket(String),
}

/// Whether conditions hold that cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// They do.
    Met,
    /// They do not.
    Unmet,
}

/// Whom a question is about, and what is around.
pub(crate) type Connection<'a> = (&'a Visitor, &'a Surroundings, World);

impl Sshd {
    /// What the file says of the server as a whole.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let mut ports: Vec<_> = self.listens().into_iter().map(|(_, _, port)| port).collect();
        ports.sort_unstable();
        ports.dedup();
        Surroundings {
            use_dns: self
                .global("UseDNS")
                .is_some_and(|line| values::flag(line.first()) == Ok(true)),
            ports,
        }
    }

    /// The line that counts: the first in a Match block that holds, or else the first outside of all.
    pub(crate) fn effective(&self, keyword: &'static str, connection: Connection<'_>) -> Option<&Directive> {
        let mut scoped = self.all(keyword).filter(|line| line.scope.is_some());
        scoped
            .find(|line| self.holds(line, connection))
            .or_else(|| self.all(keyword).find(|line| line.scope.is_none()))
    }

    /// `AllowUsers` and its like: all lines in Match blocks that hold, together, or else all others.
    fn list(&self, keyword: &'static str, connection: Connection<'_>) -> Vec<&String> {
        let all = |scoped: bool| {
            let lines = self.all(keyword).filter(move |line| line.scope.is_some() == scoped);
            let lines = lines.filter(|line| !scoped || self.holds(line, connection));
            lines.flat_map(|line| &line.arguments).collect::<Vec<_>>()
        };
        let within = all(true);
        if within.is_empty() { all(false) } else { within }
    }

    fn holds(&self, line: &Directive, (visitor, around, world): Connection<'_>) -> bool {
        let Some(scope) = line.scope.and_then(|scope| self.scopes.get(scope)) else {
            return true;
        };
        let mut criteria = scope.criteria.iter();
        criteria.all(|one| one.holds(visitor, around).unwrap_or(world == World::Met))
    }

    /// Whether a forward is permitted.
    pub(crate) fn permits(&self, asked: &Asked, connection: Connection<'_>) -> bool {
        let forwards = |keyword| {
            let line = self.effective(keyword, connection);
            let all = Forwards {
                local: true,
                remote: true,
            };
            line.and_then(|line| values::forwards(line.first()).ok()).unwrap_or(all)
        };
        let switch = match asked {
            Asked::Connect(..) => forwards("AllowTcpForwarding").local,
            Asked::Listen(..) => forwards("AllowTcpForwarding").remote,
            Asked::ConnectSocket(_) => forwards("AllowStreamLocalForwarding").local,
            Asked::ListenSocket(_) => forwards("AllowStreamLocalForwarding").remote,
        };
        let list = match asked {
            Asked::Connect(host, port) => self.opens(connection, |(allowed, any)| {
                (allowed == "*" || allowed == host) && any.is_none_or(|one| one == *port)
            }),
            Asked::ConnectSocket(path) => self.opens(connection, |(allowed, any)| {
                (allowed == "*" || allowed == path) && any.is_none()
            }),
            Asked::Listen(host, port) => self.listed("PermitListen", connection, |(allowed, any)| {
                any.is_none_or(|one| one == *port) && matches(allowed, &host.to_ascii_lowercase())
            }),
            // `remote_open_match` lets every path pass.
            Asked::ListenSocket(_) => true,
        };
        let on = |keyword| self.is_on(keyword, connection);
        switch && list && !on("DisableForwarding") && !on("RefuseConnection") && self.admits(connection)
    }

    fn opens(&self, connection: Connection<'_>, fits: impl Fn((&String, Option<u16>)) -> bool) -> bool {
        self.listed("PermitOpen", connection, fits)
    }

    fn listed(
        &self,
        keyword: &'static str,
        connection: Connection<'_>,
        fits: impl Fn((&String, Option<u16>)) -> bool,
    ) -> bool {
        let line = self.effective(keyword, connection);
        match line.and_then(|line| values::permits(keyword, &line.arguments).ok()) {
            None | Some(Permits::Any) => true,
            Some(Permits::Nothing) => false,
            Some(Permits::Listed(entries)) => entries.iter().any(|(host, port)| fits((host, *port))),
        }
    }

    fn is_on(&self, keyword: &'static str, connection: Connection<'_>) -> bool {
        let line = self.effective(keyword, connection);
        line.is_some_and(|line| values::flag(line.first()) == Ok(true))
    }

    /// `allowed_user`, for an account that exists, and `PermitRootLogin` for a login with a key.
    fn admits(&self, connection: Connection<'_>) -> bool {
        let (visitor, around, world) = connection;
        let user = |pattern: &&String| user_matches(pattern, visitor, around, world);
        let group = |pattern: &&String| visitor.groups.iter().any(|group| matches(pattern, group));
        let allowed = |keyword, fits: &dyn Fn(&&String) -> bool| {
            let list = self.list(keyword, connection);
            list.is_empty() || list.iter().any(fits)
        };
        let denied = |keyword, fits: &dyn Fn(&&String) -> bool| self.list(keyword, connection).iter().any(fits);
        let root = self
            .effective("PermitRootLogin", connection)
            .map_or("", Directive::first)
            .to_ascii_lowercase();
        let root = visitor.user != "root" || !matches!(root.as_str(), "no" | "forced-commands-only");
        root && !denied("DenyUsers", &user)
            && allowed("AllowUsers", &user)
            && !denied("DenyGroups", &group)
            && allowed("AllowGroups", &group)
    }
}

/// `match_user`: `USER` or `USER@HOST`.
fn user_matches(pattern: &str, visitor: &Visitor, around: &Surroundings, world: World) -> bool {
    match pattern.rsplit_once('@') {
        None => matches(pattern, &visitor.user),
        Some((user, hosts)) => {
            matches(user, &visitor.user) && host_matches(&Patterns::list(hosts), visitor, around, world)
        }
    }
}

/// `match_host_and_ip`: without `UseDNS` the name of a client is its address as text.
fn host_matches(hosts: &Patterns, visitor: &Visitor, around: &Surroundings, world: World) -> bool {
    let named = |list: &[String]| around.use_dns && list.iter().any(|one| crate::request::loose_network(one).is_err());
    let everywhere = Patterns {
        any: vec!["*".to_owned()],
        none: hosts.none.clone(),
    };
    match world {
        World::Met if named(&hosts.any) => everywhere.admits_address(visitor.address),
        World::Unmet if named(&hosts.none) => false,
        _ => hosts.admits_address(visitor.address),
    }
}

impl Scope {
    /// The first condition that cannot be known here.
    pub(crate) fn unknown(&self, around: &Surroundings) -> Option<&'static str> {
        self.criteria.iter().find_map(|one| match one {
            Criterion::Unknown(name) => Some(*name),
            Criterion::Host(_) if around.use_dns => Some("Host with UseDNS"),
            Criterion::LocalPort(port) if around.local_port(*port).is_none() => Some("LocalPort"),
            _ => None,
        })
    }

    /// Whether no connection that forwards anything meets it.
    pub(crate) fn never(&self, around: &Surroundings) -> bool {
        self.criteria.iter().any(|one| match one {
            Criterion::InvalidUser => true,
            Criterion::LocalPort(port) => around.local_port(*port) == Some(false),
            _ => false,
        })
    }
}
