//! The loop: keys and news change the state, and the state is drawn.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use ratatui::crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::draw::{self, Colours};
use super::facts::Status;
use super::feed;
use super::input;
use super::screen::{self, Canvas, Screen};
use super::state::{News, Request, State};
use crate::say::{DONE, FAILED, Paint, fail};

/// Shows the gateway until the user, a signal or a fault ends it; the exit code.
pub(super) async fn run(socket: PathBuf, status: Status) -> u8 {
    // Before the terminal is taken over, so that no signal leaves it so.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(FAILED, &format!("cannot listen for signals: {error}")),
    };
    let opened = Screen::open().and_then(|(screen, terminal)| Ok((screen, terminal, screen::keys()?)));
    let (screen, terminal, keys) = match opened {
        Ok(opened) => opened,
        Err(error) => return fail(FAILED, &format!("cannot use the terminal: {error}")),
    };
    let stop = CancellationToken::new();
    let mut tasks = tasks(socket, status, terminal, keys, &stop);
    let code = ended(&mut tasks, signals, &stop).await;
    // Nothing draws any more once all tasks have ended.
    match timeout(LAST_FRAME, tasks.shutdown()).await {
        Ok(()) => drop(screen),
        Err(_) => screen.abandon(),
    }
    code
}

fn tasks(
    socket: PathBuf,
    status: Status,
    terminal: Canvas,
    keys: mpsc::Receiver<Event>,
    stop: &CancellationToken,
) -> JoinSet<u8> {
    let (tell, news) = mpsc::channel(NEWS);
    let (close, wanted) = mpsc::channel(1);
    let (pause, paused) = watch::channel(false);
    let view = View {
        state: State::new(status, Timestamp::now()),
        terminal,
        colours: Colours::new(Paint::of_stdout().is_coloured()),
        close,
        pause,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(feed::snapshots(socket.clone(), paused, tell.clone()));
    tasks.spawn(feed::decisions(socket.clone(), tell.clone()));
    tasks.spawn(feed::closings(socket, wanted, tell));
    tasks.spawn(view.show(keys, news, stop.clone()));
    tasks
}

/// The first task that ends decides; one that panics has failed.
async fn ended(tasks: &mut JoinSet<u8>, mut signals: Signals, stop: &CancellationToken) -> u8 {
    tokio::select! {
        () = signals.next() => stop.cancel(),
        code = first(tasks) => return code,
    }
    timeout(LAST_FRAME, first(tasks)).await.unwrap_or(DONE)
}

async fn first(tasks: &mut JoinSet<u8>) -> u8 {
    match tasks.join_next().await {
        Some(Ok(code)) => code,
        _ => FAILED,
    }
}

/// The state, and where it is shown.
struct View {
    state: State,
    terminal: Canvas,
    colours: Colours,
    close: mpsc::Sender<Request>,
    pause: watch::Sender<bool>,
}

impl View {
    /// Shows it until the user leaves, the terminal has gone or `stop` is cancelled.
    async fn show(
        mut self,
        mut keys: mpsc::Receiver<Event>,
        mut news: mpsc::Receiver<News>,
        stop: CancellationToken,
    ) -> u8 {
        let mut next_frame = Instant::now();
        let mut next_second = Instant::now() + SECOND;
        let mut is_old = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return DONE,
                event = keys.recv() => {
                    let Some(event) = event else { return FAILED };
                    if self.obey(&event) {
                        return DONE;
                    }
                    // A key is answered at once.
                    (is_old, next_frame) = (true, Instant::now());
                }
                () = sleep_until(next_frame), if is_old => {
                    if self.draw().is_err() {
                        return FAILED;
                    }
                    (is_old, next_frame) = (false, Instant::now() + FRAME);
                }
                () = sleep_until(next_second) => {
                    self.state.tick(Timestamp::now());
                    (is_old, next_second) = (true, Instant::now() + SECOND);
                }
                Some(told) = news.recv() => {
                    self.state.hear(told);
                    is_old = true;
                }
            }
        }
    }

    /// True if the user leaves.
    fn obey(&mut self, event: &Event) -> bool {
        let Event::Key(key) = event else { return false };
        let Some(action) = input::action(&self.state.mode, *key) else {
            return false;
        };
        let request = self.state.act(action);
        self.pause.send_replace(self.state.pause.is_some());
        match request {
            Some(Request::Quit) => true,
            Some(close) => {
                if self.close.try_send(close).is_err() {
                    self.state.hear(News::Closed(Err(
                        "the gateway still closes something else: try again".to_owned()
                    )));
                }
                false
            }
            None => false,
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.state.page = draw::page(size, &self.state);
        let colours = self.colours;
        self.terminal.draw(|frame| draw::draw(frame, &self.state, colours))?;
        Ok(())
    }
}

/// The signals that ask a program in a terminal to end.
struct Signals([Signal; 4]);

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them.
    async fn next(&mut self) {
        let Self([terminate, interrupt, quit, hangup]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// News that wait while a frame is drawn.
const NEWS: usize = 1024;
/// Between two frames that no key asks for.
const FRAME: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// How long the end waits for a terminal that reads nothing.
const LAST_FRAME: Duration = Duration::from_secs(2);
