//! Asks the gateway: for a snapshot once a second, for its events, and to close something. Each in a task of its own, so that a slow
//! answer delays neither keys nor the other two.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::decision::Line;
use super::facts::{Status, array, error};
use super::list::Kind;
use super::state::{News, Request, Snapshot};
use super::text;
use crate::ctl::client::{self, Failure, Response, Told};
use crate::say::DONE;

/// The state of the gateway, or why there is none.
pub(super) async fn status(socket: &Path) -> Result<Response, Failure> {
    ask(socket, "/v1/status").await
}

/// Asks for a snapshot each second that is not paused, until the receiver is gone.
pub(super) async fn snapshots(socket: PathBuf, paused: watch::Receiver<bool>, news: mpsc::Sender<News>) -> u8 {
    let begin = Instant::now();
    let mut seconds = interval(EACH);
    // After a slow answer the next one is asked for a second later, and not at once.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        if *paused.borrow() {
            continue;
        }
        let told = match snapshot(&socket, begin).await {
            Ok(snapshot) => News::Snapshot(Box::new(snapshot)),
            Err(words) => News::Gone(words),
        };
        if news.send(told).await.is_err() {
            return DONE;
        }
    }
}

async fn snapshot(socket: &Path, begin: Instant) -> Result<Snapshot, String> {
    let (status, sessions, tunnels) = tokio::join!(
        ask(socket, "/v1/status"),
        ask(socket, "/v1/sessions"),
        ask(socket, "/v1/tunnels")
    );
    Ok(Snapshot {
        status: Status::read(&usable(status)?),
        sessions: usable(sessions)?,
        tunnels: usable(tunnels)?,
        at: begin.elapsed(),
    })
}

/// Follows decisions. If the stream ends, it is asked for again and continues where it was.
pub(super) async fn decisions(socket: PathBuf, news: mpsc::Sender<News>) -> u8 {
    let mut last = None;
    let mut left_out = 0;
    while !news.is_closed() {
        let tell = |told: Told| heard(&news, &told, &mut left_out);
        let reading = client::events(&socket, &[], &mut last, tell);
        tokio::pin!(reading);
        let ended = tokio::select! {
            ended = &mut reading => ended,
            // A stream that has not failed by now has begun.
            () = sleep(EACH) => {
                let _ = news.send(News::Following(Ok(()))).await;
                reading.await
            }
        };
        let words = ended.map_or_else(words, |()| "the stream ended".to_owned());
        let _ = news.send(News::Following(Err(words))).await;
        sleep(EACH).await;
    }
    DONE
}

/// Passes a decision on. False once the receiver is gone. The stream never waits for the screen: if that is too slow, lines are left
/// out and counted.
fn heard(news: &mpsc::Sender<News>, told: &Told, left_out: &mut u64) -> bool {
    if let Some(line) = Line::read(&told.name, &told.data) {
        if *left_out > 0 && news.try_send(News::Line(Line::Missed(*left_out))).is_ok() {
            *left_out = 0;
        }
        if news.try_send(News::Line(line)).is_err() {
            *left_out += 1;
        }
    }
    !news.is_closed()
}

/// Closes what the user has chosen, one after the other.
pub(super) async fn closings(socket: PathBuf, mut wanted: mpsc::Receiver<Request>, news: mpsc::Sender<News>) -> u8 {
    while let Some(request) = wanted.recv().await {
        let Request::Close { kind, id, reason } = request else {
            continue;
        };
        let closed = close(&socket, kind, &id, &reason).await;
        let _ = news.send(News::Closed(closed)).await;
    }
    DONE
}

async fn close(socket: &Path, kind: Kind, id: &str, reason: &str) -> Result<String, String> {
    let body = json!({ kind.one(): id, "reason": reason });
    let answer = timeout(PATIENCE, client::post(socket, "/v1/close", &body)).await;
    let closed = usable(answer.unwrap_or_else(|_| Err(late())))?;
    let (tunnels, sessions) = (array(&closed, "closed").len(), array(&closed, "sessions").len());
    Ok(match (kind, tunnels, sessions) {
        (Kind::Tunnels, 0, _) => "the tunnel had already ended".to_owned(),
        (Kind::Tunnels, ..) => "the tunnel is closed".to_owned(),
        (Kind::Sessions, _, 0) => "the session had already ended".to_owned(),
        (Kind::Sessions, tunnels, _) => format!("the session has ended, and with it {tunnels} tunnels and listeners"),
    })
}

async fn ask(socket: &Path, path: &str) -> Result<Response, Failure> {
    let asked = timeout(PATIENCE, client::get(socket, path, &[])).await;
    asked.unwrap_or_else(|_| Err(late()))
}

fn late() -> Failure {
    Failure::Unanswered(format!("no answer within {} seconds", PATIENCE.as_secs()))
}

fn usable(answer: Result<Response, Failure>) -> Result<Value, String> {
    match answer {
        Ok(Response { ok: true, body }) => Ok(body),
        Ok(Response { body, .. }) => Err(error(&body)),
        Err(failure) => Err(words(failure)),
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Unanswered(words) | Failure::Refused(words) => text(&words),
        Failure::Garbled(words) => text(&format!("cannot read the answer: {words}")),
    }
}

/// Between two requests of the same kind.
const EACH: Duration = Duration::from_secs(1);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);
