//! The configured proxies and defaults, ready to use.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::credentials::Credentials;
use crate::config::{self, Config, Fault, Names, ProxyKind};
use crate::request::{Host, Outbound, Via};

/// A proxy, with what it takes to use it.
#[derive(PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) kind: ProxyKind,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) names: Names,
    pub(super) credentials: Option<Credentials>,
}

impl Proxy {
    /// Whether a connection through one of them is a connection through the other, too.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (self.kind, &self.host, self.port) == (other.kind, &other.host, other.port)
    }
}

/// How targets are connected to, as configured.
#[derive(Default, PartialEq, Eq)]
pub struct Routes {
    configured: config::Outbound,
    proxies: Vec<Arc<Proxy>>,
}

impl Routes {
    /// Reads the credentials of all proxies.
    ///
    /// # Errors
    /// Every file of credentials that cannot be used.
    pub(crate) fn new(config: &Config, file: &Path) -> Result<Self, Vec<Fault>> {
        let (mut proxies, mut faults) = (Vec::new(), Vec::new());
        for proxy in &config.proxies {
            match proxy.credentials_file.as_deref().map(Credentials::read).transpose() {
                Ok(credentials) => proxies.push(Arc::new(Proxy {
                    name: proxy.name.clone(),
                    kind: proxy.kind,
                    host: proxy.host.clone(),
                    port: proxy.port,
                    names: proxy.names,
                    credentials,
                })),
                Err(words) => faults.push(Fault::of_key(file, "via.credentials-file", words)),
            }
        }
        match faults.is_empty() {
            true => Ok(Self {
                configured: config.outbound.clone(),
                proxies,
            }),
            false => Err(faults),
        }
    }

    /// How this host is connected to, of which these addresses may be dialled, if the policy demands these.
    pub(crate) fn to_host(&self, demanded: &Outbound, host: &Host, addresses: &[IpAddr]) -> Outbound {
        let exception = self.configured.exceptions.iter();
        let exception = exception.into_iter().find(|one| one.names(host, addresses));
        let demanded = match exception {
            Some(exception) => demanded.clone().or(&exception.manner),
            None => demanded.clone(),
        };
        demanded.or(&self.configured.default)
    }

    /// How a Unix socket is connected to: of the defaults it can have only the header.
    pub(crate) fn to_socket(&self, demanded: &Outbound) -> Outbound {
        demanded.clone().or(&Outbound {
            proxy_protocol: self.configured.default.proxy_protocol,
            ..Outbound::default()
        })
    }

    /// The proxy that this names; none where the target is connected to directly.
    ///
    /// # Errors
    /// The name, if no proxy has it.
    pub(crate) fn through(&self, outbound: &Outbound) -> Result<Option<&Arc<Proxy>>, String> {
        match &outbound.via {
            None | Some(Via::Direct) => Ok(None),
            Some(Via::Proxy(name)) => {
                let mut proxies = self.proxies.iter();
                let found = proxies.find(|proxy| proxy.name == *name);
                found.map(Some).ok_or_else(|| name.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(text: &str) -> Routes {
        let policy = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n";
        let file = Path::new("test.toml");
        let config = config::parse(&format!("{text}\n{policy}"), file).unwrap_or_else(|faults| panic!("{faults}"));
        Routes::new(&config, file).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn the_first_exception_that_names_a_target_counts_and_the_policy_wins() {
        let routes = routes(
            "[[via]]\nname = \"office\"\nsocks5 = \"proxy:1080\"\n[outbound]\nmark = 1\ndscp = \"cs1\"\n\
             [[outbound.for]]\ntargets = [\"10.0.0.0/8\", \"*.internal\"]\nvia = \"office\"\nmark = 2\n\
             [[outbound.for]]\ntargets = [\"db.internal\", \"two.test\"]\nmark = 3\n",
        );
        #[rustfmt::skip]
        let table: [(&str, &[&str], &str, &str); 9] = [
            ("192.0.2.1",   &["192.0.2.1"],              "{}",                r#"{"mark":1,"dscp":"cs1"}"#),
            ("10.1.1.1",    &["10.1.1.1"],               "{}",                r#"{"mark":2,"dscp":"cs1","via":"office"}"#),
            ("one.test",    &["10.1.1.1", "10.1.1.2"],   "{}",                r#"{"mark":2,"dscp":"cs1","via":"office"}"#),
            ("one.test",    &["10.1.1.1", "192.0.2.1"],  "{}",                r#"{"mark":1,"dscp":"cs1"}"#),
            ("db.internal", &[],                         "{}",                r#"{"mark":2,"dscp":"cs1","via":"office"}"#),
            ("internal",    &[],                         "{}",                r#"{"mark":1,"dscp":"cs1"}"#),
            ("two.test",    &["192.0.2.1"],              "{}",                r#"{"mark":3,"dscp":"cs1"}"#),
            ("db.internal", &[],                         r#"{"via":"direct"}"#, r#"{"mark":2,"dscp":"cs1","via":"direct"}"#),
            ("192.0.2.1",   &["192.0.2.1"],              r#"{"mark":0}"#,      r#"{"mark":0,"dscp":"cs1"}"#),
        ];
        for (host, addresses, demanded, expected) in table {
            let addresses: Vec<IpAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
            let demanded = serde_json::from_str(demanded).unwrap();
            let found = routes.to_host(&demanded, &Host::parse(host).unwrap(), &addresses);
            assert_eq!(
                serde_json::to_string(&found).unwrap(),
                expected,
                "{host} {addresses:?} {demanded:?}"
            );
        }
    }

    #[test]
    fn a_socket_has_of_the_defaults_only_the_header() {
        let routes = routes("[outbound]\nmark = 1\nproxy-protocol = \"v1\"\n");
        let found = routes.to_socket(&Outbound::default());
        assert_eq!(serde_json::to_string(&found).unwrap(), r#"{"proxy-protocol":"v1"}"#);
    }

    #[test]
    fn a_proxy_is_found_by_its_name() {
        let routes = routes("[[via]]\nname = \"office\"\nhttp-connect = \"[::1]:3128\"\n");
        let through = |name: &str| {
            let via = Some(name.parse().unwrap());
            let found = routes.through(&Outbound {
                via,
                ..Outbound::default()
            });
            found.map(|proxy| proxy.map(|proxy| proxy.name.clone()))
        };
        assert_eq!(through("office"), Ok(Some("office".to_owned())));
        assert_eq!(through("direct"), Ok(None));
        assert_eq!(through("other"), Err("other".to_owned()));
    }
}
