//! `[server]`: where to listen, with which keys, and what is shown before login.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{Page, absolute, expect_file, list, quoted};
use crate::import::note::Notes;
use crate::import::sshd::{Sshd, text_of};

pub(super) fn server(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    page.section("server");
    listen(sshd, notes, page);
    host_keys(sshd, notes, page);
    banner(sshd, notes, page);
}

fn listen(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let family = sshd.global("AddressFamily");
    let wanted = family.map_or("any".to_owned(), |line| line.first().to_ascii_lowercase());
    let fits = |address: &IpAddr| match wanted.as_str() {
        "inet" => address.is_ipv4(),
        "inet6" => address.is_ipv6(),
        _ => true,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (line, host, port) in sshd.listens() {
        let hosts: Vec<IpAddr> = match host.as_deref() {
            None | Some("*") => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            Some(text) => text.parse().into_iter().collect(),
        };
        if let (true, Some(line)) = (hosts.is_empty(), line) {
            let words = format!(
                "`{}` is a name: write its addresses into `server.listen`",
                host.unwrap_or_default()
            );
            notes.unsaid(&line.place, "ListenAddress", words);
        }
        let new = hosts.into_iter().filter(fits).map(|host| SocketAddr::new(host, port));
        addresses.extend(new.filter(|one| !addresses.contains(one)).collect::<Vec<_>>());
    }
    for line in ["Port", "ListenAddress", "AddressFamily"]
        .iter()
        .flat_map(|keyword| sshd.all(keyword))
    {
        page.source(line);
    }
    if addresses.is_empty() {
        page.comment("no address is known: portreeve listens on port 2222 of every address");
        return;
    }
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    page.key("listen", &list(&texts));
}

fn host_keys(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let lines: Vec<_> = sshd
        .all("HostKey")
        .filter(|line| !line.first().eq_ignore_ascii_case("none"))
        .collect();
    let mut paths = Vec::new();
    for line in &lines {
        let path = absolute(line.first());
        page.source(line);
        expect_file(&path, line, notes);
        paths.push(path.display().to_string());
    }
    if lines.is_empty() {
        // `fill_default_server_options`, without RSA, which clients that take these do not need.
        let there = DEFAULT_KEYS.iter().filter(|path| Path::new(path).exists());
        paths = there.map(|path| (*path).to_owned()).collect();
        page.comment(&format!(
            "sshd's default: {}, and a key of RSA",
            DEFAULT_KEYS.join(", ")
        ));
    }
    if paths.is_empty() {
        page.comment("none of them is here, so portreeve makes a key of its own, which clients will not know");
        page.comment(&format!("host-keys = [{}]", quoted("/etc/ssh/ssh_host_ed25519_key")));
        return;
    }
    page.key("host-keys", &list(&paths));
}

fn banner(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let Some(line) = sshd
        .global("Banner")
        .filter(|line| !line.first().eq_ignore_ascii_case("none"))
    else {
        return;
    };
    match text_of(&absolute(line.first())) {
        Ok(text) => page.from(line, "banner", &quoted(&text)),
        Err(words) => {
            let words = format!("{}: {words}; put its text into `server.banner`", line.first());
            notes.unsaid(&line.place, "Banner", words);
        }
    }
}

const DEFAULT_KEYS: [&str; 2] = ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"];
