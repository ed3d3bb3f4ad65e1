//! Connections move to the reactor that is to have them, once it is known what they are for.
//!
//! ```text
//!   accept ──▶ a reactor, in turns ──ICReq, Connect──▶ admin or I/O? ──▶ a reactor, in turns of their own ──▶ for life
//!                                                                         Arrival: socket, state machine, Connect
//! ```
//!
//! Hosts connect one admin queue and then their I/O queues. Dealt out as they come, all I/O queues of hosts with one of
//! them would be on every other reactor. Until its Connect is carried out, nobody but its own reactor knows of a
//! connection, so that it can be given away as it is.

use std::net::TcpStream;

use machine::clock::Coarse;
use wire::nvme::opcode::fabrics::CONNECT;
use wire::nvme::{ConnectCommand, Sqe, Status};
use wire::tcp::Slot;
use wire::tcp::controller::Controller as Wire;

use super::Connection;
use crate::connection::answer::Answer;
use crate::connection::command::{Command, Stage};
use crate::connection::end::End;
use crate::connection::session::Role;
use crate::limits::SETTLING;
use crate::shard::engine::Pass;

/// A Connect that is not carried out yet.
pub(crate) struct Waiting {
    pub(super) slot: Slot,
    pub(super) sqe: Sqe,
    pub(super) data: Vec<u8>,
}

/// A connection that comes to a reactor.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    /// How far it is, if it was another reactor's.
    pub(crate) progress: Option<Box<Progress>>,
}

/// How far a connection is that has left its reactor.
pub(crate) struct Progress {
    wire: Wire,
    connect: Box<Waiting>,
    /// What has come behind the Connect.
    held: Vec<u8>,
    opened: Coarse,
}

impl Connection {
    /// The reactor that is to carry out a command, if that is a Connect and not for this one.
    pub(super) fn place(&mut self, pass: &mut Pass<'_>, sqe: &Sqe) -> Option<usize> {
        let is_first = matches!(self.session.role(), Role::New(_)) && sqe.is_fabrics() && sqe.fctype() == CONNECT;
        // The answer to an ICReq that came along has to be gone: if it cannot go, the connection stays.
        if !is_first || self.flush(pass.now).is_err() || !self.pump.out.is_empty() {
            return None;
        }
        let reactor = pass.engine.target.deal(ConnectCommand::view(sqe).qid.get());
        reactor.filter(|&reactor| reactor != pass.engine.reactor)
    }

    /// Whether another reactor is to have it.
    pub(crate) fn moves(&self) -> bool {
        self.moving.is_some()
    }

    /// Leaves this reactor: for which one, and what goes there.
    pub(crate) fn depart(self) -> Result<(usize, Arrival), End> {
        let reactor = self.moving.expect("it was asked whether it moves");
        let connect = self.waiting.expect("its Connect is why it moves");
        let (stream, held) = self.pump.leave().map_err(End::Socket)?;
        let progress = Box::new(Progress { wire: self.wire, connect, held, opened: self.opened });
        Ok((reactor, Arrival { stream, progress: Some(progress) }))
    }

    /// Goes on where it was on another reactor: with its Connect.
    pub(crate) fn arrive(&mut self, pass: &mut Pass<'_>, progress: Progress) -> Result<(), End> {
        let Progress { wire, connect, held, opened } = progress;
        (self.wire, self.opened, self.heard) = (wire, opened, true);
        if !held.is_empty() {
            self.pump.hold(&held);
        }
        self.commands.resize_with(self.wire.slots(), Command::free);
        self.step(connect.slot, Stage::Held, pass);
        self.waiting = Some(connect);
        self.connect_again(pass)?;
        self.flush(pass.now)
    }

    /// Tries a Connect again that waits; with enough patience lost, the host is to do so itself.
    pub(super) fn connect_again(&mut self, pass: &mut Pass<'_>) -> Result<(), End> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let Waiting { slot, sqe, data } = &*waiting;
        let mut answer = self.session.execute(pass, *slot, sqe, data);
        if let Answer::Later = answer {
            if pass.now.since(self.opened) < SETTLING {
                self.waiting = Some(waiting);
                return Ok(());
            }
            answer = Status::CONNECT_CONTROLLER_BUSY.into();
        }
        self.answer(pass, *slot, sqe, answer)
    }
}
