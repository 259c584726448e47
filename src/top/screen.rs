//! The terminal: taken over at the start, given back on every way out, and read by a thread of its own.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, execute};
use tokio::sync::mpsc;

/// What frames are drawn on.
pub(super) type Canvas = Terminal<CrosstermBackend<Stdout>>;

/// The terminal is this program's until it is dropped.
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal over: raw keys, and a screen of its own. A panic gives it back before the panic is reported.
    ///
    /// # Errors
    /// If it is none, or has gone.
    pub(super) fn open() -> io::Result<(Self, Canvas)> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        let screen = Self(());
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok((screen, Terminal::new(CrosstermBackend::new(stdout()))?))
    }

    /// Gives only the keys back: a terminal that reads nothing would keep what is written to it waiting.
    pub(super) fn abandon(self) {
        TAKEN.store(false, Ordering::SeqCst);
        let _ = disable_raw_mode();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once only: a second time it would move the cursor over what was printed since.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
    }
}

/// Whether there is something to give back. A panic has no other way to know.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Reads keys and changes of size, until the terminal or the receiver is gone. Reading blocks, so a thread does it; it ends
/// with the process.
///
/// # Errors
/// If the system has no thread.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (tell, heard) = mpsc::channel(KEYS);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let is_release = matches!(event, Event::Key(key) if key.kind == KeyEventKind::Release);
            if !is_release && tell.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(heard)
}

/// Keys that wait while a frame is drawn.
const KEYS: usize = 64;
