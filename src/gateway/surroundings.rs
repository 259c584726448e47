//! Checks for `check` what the machine must have before the gateway can serve, without opening a socket or creating a file.
//!
//! `serve` does not use this: it binds and opens, and reports the system's errors.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use super::fleet::PASSWORD_KEY;
use super::prepare::locks_of;
use crate::admin::{Admins, Token};
use crate::config::{AuditFile, Config, Fault, Floors};
use crate::fleet;
use crate::locks::Locks;
use crate::outbound::can_mark;

/// What would prevent a gateway with this configuration from starting, besides the configuration itself.
#[must_use]
pub fn missing(config: &Config, file: &Path) -> Vec<Fault> {
    let addresses = config.server.listen.iter().filter_map(|address| {
        let there = Machine::of_this_process().has(address.ip());
        (!there).then(|| {
            let words = format!("no interface on this machine has the address {}", address.ip());
            Fault::of_key(file, "server.listen", words)
        })
    });
    let log = match &config.audit.file {
        AuditFile::Path(path) if config.audit.required => unwritable(path),
        _ => None,
    };
    let log = log.map(|words| Fault::of_key(file, "audit.file", words));
    let token = config
        .admin
        .token_file
        .as_deref()
        .and_then(|path| Token::read(path).err());
    let token = token.map(|words| Fault::of_key(file, "admin.token-file", words));
    let password = config.fleet.redis_password_file.as_deref();
    let password = password.and_then(|path| fleet::password(path).err());
    let password = password.map(|words| Fault::of_key(file, PASSWORD_KEY, words));
    let locks = Locks::read(locks_of(config)).err();
    let locks = locks.map(|error| Fault::of_key(file, "policy.directory", error));
    let manners = outbound(config, file);
    let files = log.into_iter().chain(token).chain(locks).chain(password);
    addresses
        .chain(files)
        .chain(admin(config, file))
        .chain(manners)
        .collect()
}

/// What the sockets of the administration need.
fn admin(config: &Config, file: &Path) -> Vec<Fault> {
    let admin = &config.admin;
    let group = Admins::new(admin.group.as_deref()).err();
    let group = group.map(|words| Fault::of_key(file, "admin.group", words));
    let path = admin
        .socket
        .as_deref()
        .filter(|path| path.as_os_str().len() > LONGEST_SOCKET);
    let path = path.map(|path| {
        let length = path.as_os_str().len();
        let words = format!("the path has {length} bytes, and that of a socket at most {LONGEST_SOCKET} (unix(7))");
        Fault::of_key(file, "admin.socket", words)
    });
    let taken = |http: &SocketAddr| http.port() != 0 && config.server.listen.contains(http);
    let http = admin.http.filter(taken);
    let http = http.map(|address| Fault::of_key(file, "admin.http", format!("{address} is in server.listen, too")));
    group.into_iter().chain(path).chain(http).collect()
}

/// What is valid, and hardly meant.
pub(super) fn doubts(config: &Config) -> Option<String> {
    let covered = |net: &&IpNet| config.floors.deny.iter().any(|ours| ours.contains(*net));
    let default = Floors::default().deny;
    let left_out: Vec<_> = default
        .iter()
        .filter(|net| !covered(net))
        .map(ToString::to_string)
        .collect();
    let words = "`floors.deny` replaces the default list, and leaves out";
    (!left_out.is_empty()).then(|| {
        let networks = left_out.join(", ");
        format!("{words} {networks}: add them, unless policies are to decide about them")
    })
}

/// What `[outbound]` demands and this machine or this user cannot do.
fn outbound(config: &Config, file: &Path) -> Vec<Fault> {
    let exceptions = config.outbound.exceptions.iter().enumerate();
    let exceptions = exceptions.map(|(index, one)| (format!("outbound.for[{index}]"), &one.manner));
    let all = std::iter::once(("outbound".to_owned(), &config.outbound.default)).chain(exceptions);
    let mut faults = Vec::new();
    for (key, manner) in all {
        let source = manner.source_address;
        if let Some(address) = source.filter(|address| !Machine::of_this_process().has(*address)) {
            let words = format!("no interface on this machine has the address {address}");
            faults.push(Fault::of_key(file, &format!("{key}.source-address"), words));
        }
        let mark = manner.mark.filter(|mark| *mark != 0);
        if let Some(Err(error)) = mark.map(can_mark) {
            let words = format!(
                "this user cannot mark sockets ({error}), and a connection that cannot be marked is refused: give the gateway \
                 CAP_NET_ADMIN, as with `AmbientCapabilities=CAP_NET_ADMIN` in its unit"
            );
            faults.push(Fault::of_key(file, &format!("{key}.mark"), words));
        }
    }
    faults
}

/// Why no user of this machine can write lines to this file. Who may is left to `serve`: it may run as another user.
fn unwritable(path: &Path) -> Option<String> {
    let shown = path.display();
    if path.is_dir() {
        return Some(format!("{shown} is a folder: name a file"));
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""))?;
    match folder.metadata() {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!("{} is not a folder", folder.display())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(format!(
            "cannot create {shown}: its folder cannot be used ({error}): run `mkdir -p {}`",
            folder.display()
        )),
    }
}

/// The addresses of a machine, as the kernel lists them; none where it does not.
struct Machine {
    routes: Option<String>,
    interfaces: Option<String>,
    /// An address may be bound that is not there.
    lenient: bool,
}

impl Machine {
    fn of_this_process() -> Self {
        let lenient = |path| fs::read_to_string(path).is_ok_and(|text| text.trim() != "0");
        Self {
            routes: fs::read_to_string("/proc/net/fib_trie").ok(),
            interfaces: fs::read_to_string("/proc/net/if_inet6").ok(),
            lenient: lenient("/proc/sys/net/ipv4/ip_nonlocal_bind") || lenient("/proc/sys/net/ipv6/ip_nonlocal_bind"),
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        if self.lenient || address.is_unspecified() || address.is_loopback() {
            return true;
        }
        match (address, &self.routes, &self.interfaces) {
            (IpAddr::V4(_), Some(routes), _) => local_networks(routes).any(|network| network.contains(&address)),
            (IpAddr::V6(address), _, Some(interfaces)) => {
                let written = interfaces.lines().filter_map(|line| line.split_whitespace().next());
                written
                    .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
                    .any(|bits| Ipv6Addr::from_bits(bits) == address)
            }
            // Nothing is known.
            _ => true,
        }
    }
}

/// The networks that the trie of routes has as `LOCAL`: each stands below its address.
fn local_networks(trie: &str) -> impl Iterator<Item = IpNet> {
    let mut address = None;
    trie.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        match words.next()? {
            "|--" => {
                address = words.next()?.parse::<Ipv4Addr>().ok();
                None
            }
            prefix if line.trim_end().ends_with("host LOCAL") => {
                let length = prefix.strip_prefix('/')?.parse().ok()?;
                Some(Ipv4Net::new(address?, length).ok()?.into())
            }
            _ => None,
        }
    })
}

/// `sun_path` of unix(7), without the zero at its end.
const LONGEST_SOCKET: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.2.0/24 2 0 2
        |-- 10.1.2.0
           /24 link UNICAST
        |-- 10.1.2.3
           /32 host LOCAL
        |-- 10.1.2.255
           /32 link BROADCAST
Local:
     |-- 192.0.2.0
        /24 host LOCAL
";

    #[test]
    fn an_address_is_there_if_the_kernel_lists_it() {
        let mut machine = Machine {
            routes: Some(TRIE.to_owned()),
            interfaces: Some("fe80000000000000021122fffe334455 02 40 20 80     eth0\n".to_owned()),
            lenient: false,
        };
        for (address, there) in [
            ("0.0.0.0", true),
            ("::", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.1.2.255", false),
            ("192.0.2.77", true),
            ("198.51.100.1", false),
            ("fe80::211:22ff:fe33:4455", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(machine.has(address.parse().unwrap()), there, "{address}");
        }
        machine.lenient = true;
        assert!(machine.has("10.1.2.4".parse().unwrap()));
        let silent = Machine {
            routes: None,
            interfaces: None,
            lenient: false,
        };
        assert!(silent.has("10.1.2.4".parse().unwrap()) && silent.has("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_log_needs_a_folder_and_a_file_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").unwrap();
        for (name, words) in [
            ("file", None),
            ("new", None),
            ("none/audit.jsonl", Some("mkdir -p")),
            ("file/audit.jsonl", Some("is not a folder")),
            ("file/folder/audit.jsonl", Some("cannot be used")),
            ("", Some("is a folder")),
        ] {
            let found = unwritable(&path(name));
            match words {
                None => assert_eq!(found, None, "{name}"),
                Some(words) => assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{found:?}"),
            }
        }
        assert_eq!(unwritable(Path::new("audit-of-a-test.jsonl")), None);
    }
}
