//! The last line of a terminal: how much the user has open, and how fast bytes pass. It is written over itself.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use crate::rates::{Rates, size};
use crate::sessions::Share;

/// What was counted so far, and what the terminal shows.
#[derive(Default)]
pub(super) struct Meter {
    rates: Rates,
    shown: String,
}

impl Meter {
    /// Takes what is counted at a time, and returns the line; empty where nothing is open.
    pub(super) fn line(&mut self, at: Duration, share: Share, columns: usize) -> String {
        self.rates.count(at, HashMap::from([(String::new(), share.bytes)]));
        if share.tunnels + share.listeners == 0 {
            return String::new();
        }
        let (up, down) = self.rates.total().unwrap_or_default();
        let mut line = counted(share.tunnels, "tunnel");
        if share.listeners > 0 {
            let _ = write!(line, ", {}", counted(share.listeners, "listener"));
        }
        let _ = write!(line, "  up {}/s  down {}/s  ", size(up), size(down));
        // The last column would begin a new line on some terminals.
        let room = columns.saturating_sub(1);
        let bars = room.saturating_sub(line.chars().count()).min(MOST_BARS);
        line.push_str(&self.rates.bars(bars));
        line.chars().take(room).collect::<String>().trim_end().to_owned()
    }

    /// What to send for these lines, each with its end, and the line that then is the last one; empty where the terminal shows
    /// it already.
    pub(super) fn over(&mut self, lines: &str, line: String) -> String {
        if lines.is_empty() && line == self.shown {
            return String::new();
        }
        let clear = if self.shown.is_empty() { "" } else { CLEAR };
        let text = format!("{clear}{lines}{line}");
        self.shown = line;
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

/// To the first column, and what is there is erased (ECMA-48: EL).
const CLEAR: &str = "\r\x1b[K";
/// Seconds that the bars go back.
const MOST_BARS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(tunnels: usize, listeners: usize, up: u64, down: u64) -> Share {
        Share {
            tunnels,
            listeners,
            bytes: (up, down),
        }
    }

    #[test]
    fn the_line_says_what_is_open_and_how_fast_bytes_pass_and_fits() {
        #[rustfmt::skip]
        let steps = [
            // second, what is open                columns  the line
            (1,        share(0, 0, 0, 0),          80,      ""),
            (2,        share(1, 0, 0, 0),          80,      "1 tunnel  up 0 B/s  down 0 B/s  ▁"),
            (3,        share(2, 1, 2048, 1),       80,      "2 tunnels, 1 listener  up 2.0 KiB/s  down 1 B/s  ▁█"),
            (5,        share(2, 0, 2048, 2049),    80,      "2 tunnels  up 0 B/s  down 1.0 KiB/s  ▁█▅▅"),
            (6,        share(2, 0, 2048, 2049),    24,      "2 tunnels  up 0 B/s  do"),
            (7,        share(2, 0, 2048, 2049),    1,       ""),
            (8,        share(2, 0, 2048, 2049),    0,       ""),
        ];
        let mut meter = Meter::default();
        for (second, share, columns, line) in steps {
            assert_eq!(
                meter.line(Duration::from_secs(second), share, columns),
                line,
                "at {second}"
            );
        }
    }

    #[test]
    fn it_is_written_over_itself_and_only_if_it_changes() {
        let mut meter = Meter::default();
        #[rustfmt::skip]
        let steps = [
            // lines        the last line  what is sent
            ("hello\r\n",   "",            "hello\r\n"),
            ("",            "1 tunnel",    "1 tunnel"),
            ("",            "1 tunnel",    ""),
            ("allowed\r\n", "1 tunnel",    "\r\x1b[Kallowed\r\n1 tunnel"),
            ("",            "2 tunnels",   "\r\x1b[K2 tunnels"),
            ("",            "",            "\r\x1b[K"),
            ("bye\r\n",     "",            "bye\r\n"),
        ];
        for (lines, line, sent) in steps {
            assert_eq!(meter.over(lines, line.to_owned()), sent, "{lines:?} {line:?}");
        }
    }
}
