//! `portreeve top`: the live view of a running gateway, in a terminal.
//!
//! It is a client of the control socket, like `ctl`, and must not know how a gateway is built. `state` holds what is known and what
//! the user has chosen, `input` turns a key into an action, `draw` turns the state into a frame; these three do no I/O. `feed` asks the
//! gateway, each kind of request at most once a second, `screen` owns the terminal, and `watch` is the loop that joins them.
//! Text of the gateway becomes printable where it is read (`facts` and `row`), so no escape sequence can reach the terminal.

mod decision;
mod draw;
mod facts;
mod feed;
mod input;
mod list;
mod row;
mod screen;
mod state;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::ctl;
use crate::request::printable;
use crate::say::{FAILED, INVALID, fail};

/// Watch a running gateway in the terminal.
#[derive(Args)]
#[command(after_help = KEYS)]
pub(crate) struct Top {
    /// Control socket of the gateway [default: the configured one, else the standard path].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Configuration file to take `admin.socket` from.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
}

const KEYS: &str = "Keys:
  Tab                   tunnels or sessions
  arrows, PgUp, PgDn    select
  Home, End             first, last
  s, r                  sort by the next column, reverse
  /                     show only what contains a text: user, target, session
  k                     close the selected tunnel, or end the selected session; asks for a reason
  p                     pause
  ?                     help
  q, Esc, Ctrl-C        quit

Scripts use `portreeve ctl … --json` instead.";

/// Shows the gateway until the user leaves; the exit code.
pub(crate) async fn run(asked: Top) -> u8 {
    if !std::io::stdout().is_terminal() {
        let words = "standard output is not a terminal: use `portreeve ctl status --json`, `ctl sessions --json`, `ctl tunnels --json` or \
                     `ctl events --json`";
        return fail(INVALID, words);
    }
    let socket = match ctl::client::socket(asked.socket.as_deref(), asked.config.as_deref()) {
        Ok(socket) => socket,
        Err(words) => return fail(INVALID, &words),
    };
    let status = match feed::status(&socket).await {
        Ok(answer) if answer.ok => facts::Status::read(&answer.body),
        Ok(answer) => return fail(FAILED, &facts::error(&answer.body)),
        Err(failure) => return ctl::failed(&socket, failure, false),
    };
    watch::run(socket, status).await
}

/// A text of the gateway, short enough for a cell.
fn text(words: &str) -> String {
    printable(words, MAX_TEXT)
}

/// Bytes. No line of a terminal shows more.
const MAX_TEXT: usize = 300;
