//! Session channels: a shell shows the status, everything else is refused.

use std::sync::Arc;

use russh::server::{ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Answer, Client, PURPOSE, other};
use crate::ssh::channel::{Outgoing, halves};
use crate::ssh::status;

/// A session channel that has no request yet.
pub(super) struct Shell {
    screen: Outgoing,
    left: CancellationToken,
    terminal: bool,
    place: OwnedSemaphorePermit,
}

impl Client {
    pub(super) async fn open_shell(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return reply.reject(other(4, "too many session channels")).await;
        };
        let id = channel.id();
        let (keys, screen) = halves(channel);
        // What the client types is taken at once, or the session would wait for it.
        let left = CancellationToken::new();
        self.service
            .desk
            .tasks
            .spawn(status::wait_for_leaving(keys, left.clone()));
        let shell = Shell {
            screen,
            left,
            terminal: false,
            place,
        };
        self.shells.insert(id, shell);
        reply.accept().await;
    }

    pub(super) fn give_terminal(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        match self.shells.get_mut(&channel) {
            Some(shell) => {
                shell.terminal = true;
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    pub(super) fn show_status(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        let visit = self.visit()?;
        let Some(shell) = self.shells.remove(&channel) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let view = status::View {
            visit,
            registry: self.service.desk.registry.clone(),
            handle: session.handle(),
            channel,
            terminal: shell.terminal,
        };
        self.service.desk.tasks.spawn(async move {
            let _place = shell.place;
            view.show(shell.left, shell.screen).await;
        });
        Ok(())
    }

    pub(super) fn refuse_program(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        if self.shells.remove(&channel).is_none() {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.extended_data(channel, 1, format!("{PURPOSE}\r\n").into_bytes())?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }
}
