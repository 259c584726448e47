//! A pseudo-terminal with a program in it: what its screen shows, what is typed, and how it is left.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use crate::harness::eventually;

/// A program in a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// The near end stays open, so that its state can be looked at when the program has gone.
    line: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<Screen>>,
}

impl Terminal {
    /// Starts it, in a terminal of this size.
    pub fn start(program: &str, arguments: &[&str], variables: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).expect("a pseudo-terminal");
        let before = tcgetattr(&pty.slave).expect("its state");
        let end = || Stdio::from(pty.slave.try_clone().expect("a copy"));
        // The terminal must be the one that the program controls: whoever runs the tests may have another one.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(arguments);
        command
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .env_remove("LINES");
        command.envs(variables.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let screen = Arc::new(Mutex::new(Screen::new(columns, rows)));
        let mut output = File::from(pty.master.try_clone().expect("a copy"));
        let seen = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                seen.lock().unwrap().take(&buffer[..length]);
            }
        });
        Self {
            child: child.expect("setsid runs (util-linux)"),
            keyboard: File::from(pty.master),
            line: pty.slave,
            before,
            screen,
        }
    }

    pub fn types(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Whether a colour was ever used.
    pub fn had_colour(&self) -> bool {
        self.screen.lock().unwrap().had_colour
    }

    /// Waits until the screen shows this.
    pub fn shows(&self, words: &str) -> String {
        self.until(words, |screen| screen.contains(words))
    }

    /// Waits until a line of the screen is this, and nothing else.
    pub fn has_line(&self, line: &str) -> String {
        self.until(line, |screen| screen.lines().any(|one| one == line))
    }

    /// Waits until the screen does not show this any more.
    pub fn hides(&self, words: &str) -> String {
        self.until(&format!("not {words}"), |screen| !screen.contains(words))
    }

    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let screen = Arc::clone(&self.screen);
        let last = move || screen.lock().unwrap().text();
        eventually(Shown(what, &last), || Some(last()).filter(|screen| fits(screen)))
    }

    /// Changes its size, as the window of a terminal does.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().resize(columns, rows);
        let mut stty = Command::new("stty");
        stty.args(["cols", &columns.to_string(), "rows", &rows.to_string()]);
        let changed = stty.stdin(Stdio::from(self.line.try_clone().expect("a copy"))).status();
        assert!(changed.expect("stty runs").success());
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end; the terminal must be as it was. Its exit code.
    pub fn left(mut self) -> Option<i32> {
        let ended = eventually("the end of the program", || self.child.try_wait().expect("its state"));
        eventually("the screen that was there before", || {
            let screen = self.screen.lock().unwrap();
            (!screen.is_alternate && screen.has_cursor).then_some(())
        });
        assert!(
            tcgetattr(&self.line).expect("its state") == self.before,
            "the terminal is not as it was"
        );
        ended.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was waited for, and what was there instead.
struct Shown<'a>(&'a str, &'a dyn Fn() -> String);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} on the screen:\n{}", self.0, (self.1)())
    }
}

/// As much of a terminal as programs here use; anything else is a failure, as text of others might have caused it.
struct Screen {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    is_alternate: bool,
    has_cursor: bool,
    had_colour: bool,
    /// Bytes that are not a whole character or sequence yet.
    rest: Vec<u8>,
}

impl Screen {
    fn new(columns: u16, rows: u16) -> Self {
        Self {
            cells: vec![vec![' '; columns.into()]; rows.into()],
            row: 0,
            column: 0,
            is_alternate: false,
            has_cursor: true,
            had_colour: false,
            rest: Vec::new(),
        }
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.cells = vec![vec![' '; columns.into()]; rows.into()];
    }

    fn text(&self) -> String {
        let lines = self.cells.iter().map(|row| row.iter().collect::<String>());
        lines.map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(self.rest[..whole].to_vec()).expect("it was checked");
        let mut left = text.as_str();
        while let Some(character) = left.chars().next() {
            left = match left.strip_prefix("\x1b[") {
                Some(sequence) => match sequence.find(|end: char| end.is_ascii_alphabetic()) {
                    Some(end) => {
                        self.obey(&sequence[..end], &sequence[end..=end]);
                        &sequence[end + 1..]
                    }
                    None => break,
                },
                None if left == "\x1b" => break,
                None => {
                    self.put(character);
                    &left[character.len_utf8()..]
                }
            };
        }
        let used = whole - left.len();
        self.rest.drain(..used);
    }

    fn put(&mut self, character: char) {
        match character {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            control if control.is_control() => panic!("an unexpected control character: {control:?}"),
            _ => {
                if let Some(cell) = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
                    *cell = character;
                }
                self.column += 1;
            }
        }
    }

    fn obey(&mut self, numbers: &str, end: &str) {
        match (numbers, end) {
            ("?1049", "h" | "l") => self.is_alternate = end == "h",
            ("?25", "h" | "l") => self.has_cursor = end == "h",
            ("", "K") => {
                let rest = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column..));
                rest.into_iter().flatten().for_each(|cell| *cell = ' ');
            }
            ("2" | "", "J") => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            (_, "H") => {
                let place = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(1_usize) - 1;
                let mut words = numbers.split(';');
                (self.row, self.column) = (place(words.next()), place(words.next()));
            }
            // Red, as `38;5;1` or `31`; `39` and `49` are none.
            (_, "m") => self.had_colour |= numbers.split(';').any(|word| matches!(word, "38" | "31" | "32" | "36")),
            _ => panic!("an unexpected sequence: {numbers:?} {end:?}"),
        }
    }
}
