//! Session channels: a shell shows the status, everything else is refused.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use russh::server::{ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId};
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Client, PURPOSE, other};
use crate::ssh::channel::{Outgoing, halves};
use crate::ssh::status::{self, Columns, Keys};

/// A session channel that has no request yet.
pub(super) struct Shell {
    screen: Outgoing,
    keys: Keys,
    terminal: Option<Columns>,
    place: OwnedSemaphorePermit,
}

impl Client {
    pub(super) async fn open_shell(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let littered = self.ours.as_ref().is_some_and(|ours| ours.is_littered());
        let Some(place) = place.ok().filter(|_| !littered) else {
            return reply.reject(other(4, "too many session channels")).await;
        };
        let id = channel.id();
        let (typed, screen) = halves(channel, &self.flows);
        // What the client types is taken at once, or the session would wait for it.
        let keys = Keys::default();
        self.service.serves.tasks.spawn(status::watch_keys(typed, keys.clone()));
        let shell = Shell {
            screen,
            keys,
            terminal: None,
            place,
        };
        self.shells.insert(id, shell);
        reply.accept().await;
    }

    pub(super) fn give_terminal(&mut self, channel: ChannelId, columns: u32, session: &mut Session) -> Answer<()> {
        match self.shells.get_mut(&channel) {
            Some(shell) => {
                let columns = Columns::new(columns.into());
                self.terminals.insert(channel, Arc::downgrade(&columns));
                shell.terminal = Some(columns);
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    /// The client's terminal is wider or narrower now; nothing is shown anew, the next line fits.
    pub(super) fn resize_terminal(&self, channel: ChannelId, columns: u32) {
        if let Some(terminal) = self.terminals.get(&channel).and_then(Weak::upgrade) {
            terminal.store(columns, Ordering::Relaxed);
        }
    }

    pub(super) fn show_status(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        let ours = self.ours()?;
        let Some(shell) = self.shells.remove(&channel) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let littering = Arc::clone(&ours);
        let view = status::View {
            session: ours,
            sessions: self.service.serves.sessions.clone(),
            events: self.service.serves.events.clone(),
            handle: session.handle(),
            channel,
            terminal: shell.terminal,
        };
        self.service.serves.tasks.spawn(async move {
            let _place = shell.place;
            view.show(shell.keys, shell.screen).await;
            littering.litter();
        });
        Ok(())
    }

    pub(super) async fn refuse_program(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        let ours = self.ours()?;
        let Some(shell) = self.shells.remove(&channel) else {
            return session.channel_failure(channel);
        };
        // It is closed from this side: who ran the program waits for that.
        ours.litter();
        session.channel_success(channel)?;
        let words = format!("{PURPOSE}\r\n").into_bytes();
        // While anything waits for room in one channel, the library takes nothing from any.
        if shell.screen.room().await >= words.len() {
            session.extended_data(channel, 1, words)?;
        }
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }
}
