//! The passphrase of a key that signs.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Asks for a passphrase on the terminal of this process, without showing it; none where there is no terminal.
///
/// # Errors
/// If the terminal fails, or the question is answered by Ctrl-C or Ctrl-D.
pub(super) fn ask(question: &str) -> io::Result<Option<String>> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    let before = tcgetattr(&terminal)?;
    let mut quiet = before.clone();
    // Signals, too: an interrupt must not leave a terminal that shows nothing.
    quiet
        .local_flags
        .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &quiet)?;
    write!(terminal, "{question}")?;
    let typed = read_line(&mut terminal);
    restore(&terminal, &before);
    writeln!(terminal)?;
    typed.map(Some)
}

fn restore(terminal: &impl AsFd, before: &Termios) {
    let _ = tcsetattr(terminal, SetArg::TCSAFLUSH, before);
}

fn read_line(terminal: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        terminal.read_exact(&mut byte)?;
        match byte {
            [b'\n' | b'\r'] => break,
            [INTERRUPT | END] => return Err(io::ErrorKind::Interrupted.into()),
            [BACKSPACE | DELETE] => drop(line.pop()),
            [other] => line.push(other),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::other("the passphrase is not UTF-8"))
}

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;
