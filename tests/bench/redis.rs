//! A Redis that a benchmark starts, and what it has used so far.

#[allow(dead_code, reason = "the tests of the fleet use the rest")]
#[path = "../../src/fleet/server_tests.rs"]
mod server;

pub(crate) use server::Server;

/// What a Redis has used since it was started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    /// Processor time, in seconds: less disturbed by other programs than the clock.
    pub(crate) processor: f64,
    /// Scripts that were run.
    pub(crate) scripts: f64,
    /// Bytes that it received.
    pub(crate) received: f64,
    /// Bytes that it sent.
    pub(crate) sent: f64,
}

impl Used {
    pub(crate) fn so_far(server: &Server) -> Self {
        let cpu = server.cli(&["INFO", "cpu"]);
        let stats = server.cli(&["INFO", "stats"]);
        Self {
            processor: field(&cpu, "used_cpu_user:") + field(&cpu, "used_cpu_sys:"),
            scripts: scripts(server),
            received: field(&stats, "total_net_input_bytes:"),
            sent: field(&stats, "total_net_output_bytes:"),
        }
    }

    pub(crate) fn since(server: &Server, before: Self) -> Self {
        let now = Self::so_far(server);
        Self {
            processor: now.processor - before.processor,
            scripts: now.scripts - before.scripts,
            received: now.received - before.received,
            sent: now.sent - before.sent,
        }
    }
}

/// Bytes that Redis has allocated, connections and data.
pub(crate) fn memory(server: &Server) -> f64 {
    field(&server.cli(&["INFO", "memory"]), "used_memory:")
}

fn scripts(server: &Server) -> f64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    ["evalsha", "eval"]
        .iter()
        .map(|name| field(&stats, &format!("cmdstat_{name}:calls=")))
        .sum()
}

/// The number behind `name`, or zero.
fn field(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    let number = found.and_then(|rest| rest.split(',').next()?.trim().parse().ok());
    number.unwrap_or(0.0)
}
