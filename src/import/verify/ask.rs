//! The result, loaded as the gateway would load it, and its answers.

use std::net::SocketAddr;
use std::path::Path;

use jiff::Timestamp;

use crate::auth::ForwardLimits;
use crate::config::{self, GatewayPorts};
use crate::gateway::Prepared;
use crate::import::sshd::{self, Permits, Sshd, Visitor};
use crate::judgement::{Asked, Connect, Judge, Listen, Supposed};
use crate::names::Resolver;
use crate::request::{
    Action, By, Connection, Credential, Endpoint, ForwardRequest, Host, Principal, Refusal, Requested,
};

/// The result.
pub(super) struct Gateway {
    judge: Judge,
    gateway_ports: GatewayPorts,
}

/// What it says.
pub(super) struct Answer {
    /// Whether the forward would be permitted, whatever its name means.
    pub(super) allowed: bool,
    /// Why not: the name of a rule, or another code.
    pub(super) code: String,
    /// Whether no rule could permit it.
    pub(super) by_floor: bool,
}

impl Gateway {
    /// Loads a configuration, without what this machine may lack: files of keys decide about logins, not about forwards.
    pub(super) async fn load(file: &Path) -> Result<Self, String> {
        let mut config = config::load(file).map_err(|faults| faults.to_string())?;
        config.server.host_keys.clear();
        config.auth.trusted_user_ca_keys.clear();
        config.auth.revoked_keys = None;
        let gateway_ports = config.forwarding.gateway_ports;
        let mut prepared = Prepared::new(config, file).await.map_err(|faults| faults.to_string())?;
        prepared.names = Resolver::silent();
        let (judge, _) = prepared.into_judge();
        Ok(Self { judge, gateway_ports })
    }

    /// Whether the result permits this.
    ///
    /// # Errors
    /// If the policy fails to decide.
    pub(super) async fn answer(&self, visitor: &Visitor, asked: &sshd::Asked) -> Result<Answer, String> {
        let explanation = self.judge.explain(supposed(visitor, asked)).await;
        let no = |code: &str, by_floor| Answer {
            allowed: false,
            code: code.to_owned(),
            by_floor,
        };
        match explanation.outcome() {
            Ok(_) | Err(Refusal::Unreachable { .. }) => Ok(Answer {
                allowed: true,
                code: String::new(),
                by_floor: false,
            }),
            Err(Refusal::Denied { by, code, .. }) => Ok(no(code, *by == By::Floor)),
            Err(refusal) => Err(format!("the result does not decide: {}", refusal.sentence())),
        }
    }

    /// Every way to ask for the same listener: `sshd` compares what is asked for, and binds what it means.
    pub(super) fn same(&self, asked: &sshd::Asked, sshd: &Sshd) -> Vec<sshd::Asked> {
        let sshd::Asked::Listen(host, port) = asked else {
            return vec![asked.clone()];
        };
        let lists = sshd
            .all("PermitListen")
            .filter_map(|line| sshd::permits("PermitListen", &line.arguments).ok());
        let named = lists.flat_map(|list| match list {
            Permits::Listed(entries) => entries.into_iter().map(|(host, _)| host).collect(),
            Permits::Any | Permits::Nothing => Vec::new(),
        });
        let usual = ["localhost", "127.0.0.1", "::1", "", "*", "0.0.0.0"].map(str::to_owned);
        let spellings = named.chain(usual).chain([host.clone()]);
        let meant = self.meant(host);
        spellings
            .filter(|other| self.meant(other) == meant)
            .map(|host| sshd::Asked::Listen(host, *port))
            .collect()
    }

    fn meant<'h>(&self, host: &'h str) -> &'h str {
        match (self.gateway_ports, host) {
            (GatewayPorts::Yes, _) | (GatewayPorts::ClientSpecified, "" | "*") => "*",
            (GatewayPorts::No, "127.0.0.1" | "::1") | (GatewayPorts::ClientSpecified, _) => host,
            (GatewayPorts::No, _) => "localhost",
        }
    }
}

fn supposed(visitor: &Visitor, asked: &sshd::Asked) -> Supposed {
    let tcp = |host: &String, port: &u16| Requested::Tcp {
        host: host.clone(),
        port: u32::from(*port),
    };
    let asked = match asked {
        sshd::Asked::Connect(host, port) => Asked::Connect(Connect::new(tcp(host, port), None)),
        sshd::Asked::ConnectSocket(path) => Asked::Connect(Connect::new(Requested::Socket(path.clone()), None)),
        sshd::Asked::Listen(host, port) => Asked::Listen(Listen {
            requested: tcp(host, port),
        }),
        sshd::Asked::ListenSocket(path) => Asked::Listen(Listen {
            requested: Requested::Socket(path.clone()),
        }),
    };
    let model = ForwardRequest::dry(
        &visitor.user,
        Action::Connect,
        Endpoint::Tcp {
            host: Host::Any,
            port: 0,
        },
    );
    Supposed {
        principal: Principal {
            user: visitor.user.clone(),
            groups: visitor.groups.clone(),
            credential: Credential {
                method: "publickey".to_owned(),
                fingerprint: None,
                certificate: None,
            },
            claims: Vec::new(),
        },
        limits: ForwardLimits::default(),
        connection: Connection {
            client: SocketAddr::new(visitor.address, 0),
            ..Connection::clone(&model.connection)
        },
        asked,
        now: Timestamp::now(),
    }
}
