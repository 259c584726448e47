//! `[forwarding]`, and the rules for those whom a keyword switches something off that it leaves on for others.

use super::{Denial, Maker};
use crate::config::GatewayPorts;
use crate::import::note::Notes;
use crate::import::regions::regions;
use crate::import::sshd::{Directive, Forwards, Sshd, Surroundings, flag, forwards};
use crate::import::targets::{EVERY_HOST, EVERY_SOCKET};

/// `[forwarding]`: what is on for anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switches {
    /// Connections.
    pub(crate) local: bool,
    /// Listeners.
    pub(crate) remote: bool,
    /// Connections to sockets.
    pub(crate) local_sockets: bool,
    /// Listeners on sockets.
    pub(crate) remote_sockets: bool,
    /// Where listeners may be.
    pub(crate) gateway_ports: GatewayPorts,
}

impl Switches {
    /// What no line switches on for anybody is off for all.
    pub(super) fn of(sshd: &Sshd, around: &Surroundings, notes: &mut Notes) -> Self {
        let someone = |keyword: &'static str, on: fn(Forwards) -> bool| {
            let global = sshd.global(keyword).is_none_or(|line| on(value(line)));
            let scoped = sshd
                .scoped(keyword)
                .any(|(scope, line)| !scope.never(around) && on(value(line)));
            global || scoped
        };
        let disabled = |line: &Directive| flag(line.first()) == Ok(true);
        let anything = !sshd.global("DisableForwarding").is_some_and(disabled)
            || sshd
                .scoped("DisableForwarding")
                .any(|(scope, line)| !scope.never(around) && !disabled(line));
        Self {
            local: anything && someone("AllowTcpForwarding", |one| one.local),
            remote: anything && someone("AllowTcpForwarding", |one| one.remote),
            local_sockets: anything && someone("AllowStreamLocalForwarding", |one| one.local),
            remote_sockets: anything && someone("AllowStreamLocalForwarding", |one| one.remote),
            gateway_ports: gateway_ports(sshd, around, notes),
        }
    }
}

/// One value if all have the same; else the one that leaves the address to the client, with rules for the others.
fn gateway_ports(sshd: &Sshd, around: &Surroundings, notes: &mut Notes) -> GatewayPorts {
    let global = sshd.global("GatewayPorts").map_or(GatewayPorts::No, gateway_ports_of);
    let scoped = sshd.scoped("GatewayPorts").filter(|(scope, _)| !scope.never(around));
    let others: Vec<_> = scoped
        .map(|(_, line)| line)
        .filter(|line| gateway_ports_of(line) != global)
        .collect();
    let Some(first) = others.first() else {
        return global;
    };
    notes.stricter(
        &first.place,
        "GatewayPorts",
        "one value holds for all: `client-specified`, so a listener is where the client asks for it. A request for another \
         address than loopback is refused where the value was `no`, and is not turned into loopback; one for loopback stays \
         there where it was `yes`",
    );
    GatewayPorts::ClientSpecified
}

fn gateway_ports_of(line: &Directive) -> GatewayPorts {
    match line.first().to_ascii_lowercase().as_str() {
        "yes" => GatewayPorts::Yes,
        "clientspecified" => GatewayPorts::ClientSpecified,
        _ => GatewayPorts::No,
    }
}

/// A direction of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The client connects to something.
    Connect,
    /// The client listens.
    Listen,
}

impl Way {
    /// Whether a line permits it.
    pub(super) fn is_on(self, line: &Directive) -> bool {
        let forwards = value(line);
        match self {
            Self::Connect => forwards.local,
            Self::Listen => forwards.remote,
        }
    }
}

/// What a line of `AllowTcpForwarding` or `AllowStreamLocalForwarding` permits.
fn value(line: &Directive) -> Forwards {
    forwards(line.first()).unwrap_or(Forwards {
        local: false,
        remote: false,
    })
}

impl Maker<'_> {
    /// Denies what is off for some.
    pub(super) fn switched_off(&mut self, switches: &Switches) {
        let on = |line: &Directive| flag(line.first()) == Ok(true);
        if switches.local || switches.remote || switches.local_sockets || switches.remote_sockets {
            self.switch(
                "DisableForwarding",
                on,
                &Denial {
                    name: "disable-forwarding",
                    tell_user: "forwarding is switched off for you",
                    ..Denial::default()
                },
            );
        }
        if switches.remote {
            self.loopback_only();
        }
    }

    /// Denies connections, or listeners, to those for whom they are off, by rules that stand before all that allow.
    pub(super) fn off(&mut self, keyword: &'static str, direction: Way) {
        let (name, every, tell_user) = match keyword {
            "AllowTcpForwarding" => ("allow-tcp-forwarding", EVERY_HOST, TCP_IS_OFF),
            _ => ("allow-stream-local-forwarding", EVERY_SOCKET, SOCKETS_ARE_OFF),
        };
        let actions: &[&str] = match direction {
            Way::Connect => &["connect"],
            Way::Listen => &["listen", "accept"],
        };
        self.switch(
            keyword,
            |line| !direction.is_on(line),
            &Denial {
                name,
                actions,
                targets: vec![every.to_owned()],
                tell_user,
                ..Denial::default()
            },
        );
    }

    fn switch(&mut self, keyword: &'static str, forbids: impl Fn(&Directive) -> bool, denial: &Denial) {
        for region in regions(self.sshd, &self.around, keyword, false, forbids) {
            self.deny(&region, denial);
        }
    }

    /// Where `GatewayPorts` differs: those for whom it is `no` get loopback, or nothing.
    fn loopback_only(&mut self) {
        if self.gateway_ports != GatewayPorts::ClientSpecified {
            return;
        }
        let no = |line: &Directive| gateway_ports_of(line) == GatewayPorts::No;
        let targets = [EVERY_HOST, "!localhost:*", "!127.0.0.1:*", "![::1]:*"];
        let denial = Denial {
            name: "gateway-ports",
            actions: &["listen", "accept"],
            targets: targets.map(str::to_owned).to_vec(),
            tell_user: "you may listen on loopback only",
            stricter: true,
        };
        for region in regions(self.sshd, &self.around, "GatewayPorts", true, no) {
            self.deny(&region, &denial);
        }
    }
}

/// To those for whom `AllowTcpForwarding` switches it off.
pub(super) const TCP_IS_OFF: &str = "TCP forwarding is not permitted for you";
/// To those for whom `AllowStreamLocalForwarding` switches it off.
pub(super) const SOCKETS_ARE_OFF: &str = "forwarding of sockets is not permitted for you";
