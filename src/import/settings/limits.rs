//! `[limits]`: how many, how long and how much.

use super::{DAY, From, Page, YEAR, duration};
use crate::import::note::Notes;
use crate::import::sshd::{Sshd, seconds};

pub(super) fn limits(from: &From<'_>, notes: &mut Notes, page: &mut Page) {
    page.section("limits");
    let sshd = from.sshd;
    startups(sshd, notes, page);
    alive(sshd, notes, page);
    if let Some(line) = sshd.global("UnusedConnectionTimeout") {
        let value = seconds(line.first()).unwrap_or(0);
        page.from(line, "unused-connection-timeout", &duration(value.min(YEAR)));
    }
    if let Some(time) = from.rules.idle_seconds {
        sshd.all("ChannelTimeout").for_each(|line| page.source(line));
        page.key("idle-timeout", &duration(time.min(YEAR)));
    }
    rekey(sshd, notes, page);
}

/// `start:rate:full`: refused at random past `start`, always past `full`; here always past twice as many.
fn startups(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    if let Some(line) = sshd.global("MaxStartups") {
        let numbers: Vec<u64> = line.first().split(':').filter_map(|one| one.parse().ok()).collect();
        let bounds = match numbers.as_slice() {
            [full] => Some((*full, *full)),
            [start, _, full] => Some((*start, *full)),
            _ => None,
        };
        match bounds {
            Some((start, full)) => {
                let here = start.min(full / 2).clamp(1, 1_000_000);
                page.from(line, "unauthenticated", &here.to_string());
                if here * 2 != full || here != start {
                    let words = format!(
                        "connections before login are refused at random past {here}, and always past {}",
                        here * 2
                    );
                    notes.stricter(&line.place, "MaxStartups", words);
                }
            }
            None => notes.unsaid(&line.place, "MaxStartups", "set `limits.unauthenticated`"),
        }
    }
    if let Some(line) = sshd.global("PerSourceMaxStartups") {
        match line.first().parse::<u64>() {
            Ok(most) => {
                page.from(
                    line,
                    "unauthenticated-per-source",
                    &most.clamp(1, 1_000_000).to_string(),
                );
                notes.stricter(
                    &line.place,
                    "PerSourceMaxStartups",
                    "counted by /24, and by /64 for IPv6, not by address",
                );
            }
            Err(_) => notes.unsaid(
                &line.place,
                "PerSourceMaxStartups",
                "set `limits.unauthenticated-per-source`",
            ),
        }
    }
}

fn alive(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let (interval, count) = (sshd.global("ClientAliveInterval"), sshd.global("ClientAliveCountMax"));
    let Some(line) = interval else {
        return;
    };
    page.source(line);
    count.into_iter().for_each(|line| page.source(line));
    let time = seconds(line.first()).unwrap_or(0).min(DAY);
    let number = count.map_or(3, |line| line.first().parse().unwrap_or(3));
    if number == 0 {
        let words = "with 0, sshd never ends a silent connection while it asks: here it ends after 1000 questions";
        notes.stricter(&count.unwrap_or(line).place, "ClientAliveCountMax", words);
    }
    let number: u32 = if number == 0 { 1000 } else { number.min(1000) };
    page.key(
        "keepalive",
        &format!("{{ interval = {}, count = {number} }}", duration(time)),
    );
}

fn rekey(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    let Some(line) = sshd.global("RekeyLimit") else {
        return;
    };
    page.source(line);
    match line.first() {
        text if text.eq_ignore_ascii_case("default") || text.eq_ignore_ascii_case("none") => {}
        text => match size(text) {
            Some(bytes) => {
                let here = bytes.clamp(1 << 20, 16 << 30);
                page.key("rekey-bytes", &here.to_string());
                if here != bytes {
                    notes.unsaid(
                        &line.place,
                        "RekeyLimit",
                        format!("new keys after {here} bytes: from 1 MiB to 16 GiB is possible"),
                    );
                }
            }
            None => notes.unsaid(
                &line.place,
                "RekeyLimit",
                format!("`{text}` is no size: set `limits.rekey-bytes`"),
            ),
        },
    }
    let time = line.arguments.get(1).filter(|text| !text.eq_ignore_ascii_case("none"));
    if let Some(time) = time.and_then(|text| seconds(text).ok()).filter(|time| *time > 0) {
        page.key("rekey-time", &duration(time.clamp(1, DAY)));
    }
}

/// `scan_scaled`: bytes with `K`, `M` or `G`.
fn size(text: &str) -> Option<u64> {
    let shift = match text.chars().last()?.to_ascii_lowercase() {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => return text.parse().ok(),
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    number.checked_mul(1 << shift)
}
