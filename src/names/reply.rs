//! What the answer of a name server means: addresses, no such name, or nothing that could be relied on.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::NameError;

/// What a server said about one kind of addresses of a name, and for how long that holds; zero: not beyond this look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It has these.
    Addresses(Vec<IpAddr>, Duration),
    /// It has none of this kind.
    None(Duration),
    /// There is no such name, so it has none of any kind (RFC 8020).
    NoSuchName(Duration),
}

/// Reads the answer to the question for addresses of this kind, `A` or `AAAA`.
///
/// Only an answer that says so means that there is no such name. A server that fails, refuses, refers to others or answers with
/// garbage says nothing about it.
pub(super) fn read(answer: Result<Lookup, NetError>, name: &Name, kind: RecordType) -> Result<Reply, NameError> {
    match answer {
        Ok(lookup) => Ok(addresses(lookup.answers(), name, kind)),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => absent(&none),
        Err(NetError::Dns(DnsError::ResponseCode(code))) => failed(&format!("the name server answered \"{code}\"")),
        Err(NetError::Timeout) => Err(NameError::TimedOut),
        Err(NetError::Io(error)) => failed(&format!("the name server cannot be reached: {error}")),
        Err(error) => failed(&format!("the answer of the name server cannot be used: {error}")),
    }
}

/// The addresses of the name and of those that it is an alias of. The library leaves other records in an answer, which are nobody's
/// business.
fn addresses(records: &[Record], name: &Name, kind: RecordType) -> Reply {
    let mut names = vec![name];
    let mut ttl = u32::MAX;
    // Each name on the way is there once, so this ends.
    let mut seen = 0;
    while let Some(owner) = names.get(seen).copied() {
        seen += 1;
        for record in records.iter().filter(|record| record.name == *owner) {
            if let RData::CNAME(CNAME(alias)) = &record.data {
                // The answer holds no longer than any alias on the way.
                ttl = ttl.min(record.ttl);
                if !names.contains(&alias) {
                    names.push(alias);
                }
            }
        }
    }
    let fits = |record: &&Record| record.record_type() == kind && names.contains(&&record.name);
    let fitting: Vec<_> = records.iter().filter(fits).collect();
    let addresses: Vec<_> = fitting.iter().filter_map(|record| record.data.ip_addr()).collect();
    match fitting.iter().map(|record| record.ttl).min() {
        Some(least) if !addresses.is_empty() => Reply::Addresses(addresses, seconds(Some(ttl.min(least)))),
        _ => Reply::None(Duration::ZERO),
    }
}

fn absent(none: &NoRecords) -> Result<Reply, NameError> {
    // Without an SOA record nothing says for how long (RFC 2308 section 5).
    let ttl = seconds(none.negative_ttl);
    match none.response_code {
        ResponseCode::NXDomain => Ok(Reply::NoSuchName(ttl)),
        ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => {
            failed("the name server only refers to other servers: it must look names up itself")
        }
        ResponseCode::NoError => Ok(Reply::None(ttl)),
        code => failed(&format!("the name server answered \"{code}\"")),
    }
}

fn seconds(ttl: Option<u32>) -> Duration {
    Duration::from_secs(ttl.unwrap_or(0).into())
}

/// Parts of the words may be the server's: they are made fit for a line.
fn failed<T>(words: &str) -> Result<T, NameError> {
    const LONGEST: usize = 200;
    let fit: String = words.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Err(NameError::Failed(fit))
}
