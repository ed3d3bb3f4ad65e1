//! A completion port: what Windows has for a thread that waits for many things. One belongs to each ring of kind
//! `iocp`, and all that a ring waits for comes through it:
//!
//! ```text
//!   sockets   a poll request each, one-shot ─────────┐
//!   files     ReadFile, WriteFile with OVERLAPPED ───┼──▶ port ──▶ GetQueuedCompletionStatusEx, up to MAX_EVENTS
//!   wakers    PostQueuedCompletionStatus ────────────┘             packets at once, sorted by their keys
//! ```
//!
//! **Sockets** are called directly and never block, as everywhere. Only when a call has found nothing to do, the system
//! is asked to tell when another one is worth it, by a *poll request* to the driver below Winsock (`sockets.rs`), which
//! is also what `select`, `WSAPoll`, and the event loops of others come down to. Overlapped operations of the sockets
//! themselves (a receive without room, a send of a staged copy, `AcceptEx`) would need them associated with the port,
//! and for that there is no way back: a file object belongs to one port for life, while a connection of this program
//! moves to another ring once it has said what it is for. A poll request belongs to a handle of the driver, not to the
//! socket; it takes no bytes, so none are lost with it; and room to send is told of without a copy.
//!
//! Memory that the system writes to, and each operation's part in it, lies in slabs that neither move nor shrink
//! (`slab.rs`). A slot is used again only when the packet of its last operation is there, also when socket or task are
//! long gone; the port is closed after the last packet.
//!
//! Not yet run on a real Windows, only under Wine.

mod files;
mod port;
mod slab;
mod sockets;
mod trials;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::windows::io::RawSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;

use super::FileTask;
use super::interest::Happened;
use crate::region::RawBytes;
use files::Operations;
pub(super) use files::{End, OwnFile, Run, Step};
use port::{Completions, Key};
pub(super) use sockets::Watch;
use sockets::{Polls, Wanted};
pub(crate) use trials::TRIALS;

/// A ring's completion port, and what is under way there. It stays on the thread of its ring.
pub(super) struct Port {
    completions: Arc<Completions>,
    polls: RefCell<Polls>,
    operations: RefCell<Operations>,
    /// What has happened to sockets and was not taken.
    events: RefCell<Vec<(Token, Happened)>>,
    /// Packets that were taken at once last time.
    room: Cell<port::Packets>,
}

impl Port {
    pub(super) fn new() -> io::Result<Rc<Self>> {
        let completions = Arc::new(Completions::new()?);
        let polls = RefCell::new(Polls::default());
        let (operations, events, room) = (RefCell::default(), RefCell::default(), Cell::default());
        Ok(Rc::new(Self { completions, polls, operations, events, room }))
    }

    /// What other threads end a wait with.
    pub(super) fn signal(&self) -> PortSignal {
        PortSignal(Arc::clone(&self.completions))
    }

    /// Waits for packets, if nothing is there to be taken; `None` is for ever. May return early.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let there = !self.events.borrow().is_empty() || self.operations.borrow().has_ended();
        self.collect(if there { Some(Duration::ZERO) } else { timeout })
    }

    /// Takes packets from the port, and notes what they say.
    fn collect(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut packets = self.room.take();
        let taken = self.completions.take(&mut packets, timeout);
        for packet in packets.iter() {
            match packet.key() {
                Key::Wake => {}
                Key::Poll => {
                    let event = self.polls.borrow_mut().came_back(&packet);
                    self.events.borrow_mut().extend(event);
                }
                Key::File => self.operations.borrow_mut().came_back(&packet),
            }
        }
        self.room.set(packets);
        taken
    }

    /// Tells what has happened to sockets since this was last called.
    pub(super) fn take_events(&self, mut note: impl FnMut(Token, Happened)) {
        self.events.borrow_mut().drain(..).for_each(|(token, happened)| note(token, happened));
    }

    /// Watches a socket from now on: what there is to receive is told of once, and that there is room to send.
    pub(super) fn watch(&self, socket: RawSocket, token: Token) -> io::Result<Watch> {
        let watch = self.polls.borrow_mut().watch(&self.completions, socket, token)?;
        // As epoll has it. It is not asked: a socket that is new has room.
        self.events.borrow_mut().push((token, Happened { writable: true, ..Happened::default() }));
        Ok(watch)
    }

    /// The next that comes to be received or accepted is told of. False: there is something.
    pub(super) fn await_readable(&self, watch: &Watch) -> bool {
        self.ask(watch, Wanted::Readable)
    }

    /// When there is room to send again is told of.
    pub(super) fn await_writable(&self, watch: &Watch) {
        self.ask(watch, Wanted::Writable);
    }

    fn ask(&self, watch: &Watch, wanted: Wanted) -> bool {
        let asked = self.polls.borrow_mut().ask(&self.completions, watch, wanted);
        asked.unwrap_or_else(|error| {
            // The next call of the socket says what is wrong with it, or else this is tried again.
            tracing::debug!(%error, "a socket cannot be watched");
            let happened = Happened { readable: true, writable: true, closing: true };
            self.events.borrow_mut().push((watch.token(), happened));
            false
        })
    }

    /// The socket is not of interest any more. What is under way for it is given up, and its packets tell nobody.
    pub(super) fn forget(&self, watch: &Watch) {
        self.polls.borrow_mut().forget(watch);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // All sockets are gone, as each keeps the port: what is left has been given up and only has to come back. The
        // ring has waited for its files.
        while self.polls.borrow().pending() + self.operations.borrow().pending() > 0 {
            if let Err(error) = self.collect(None) {
                tracing::error!(%error, "cannot wait for what is under way: its memory is lost");
                std::mem::forget((self.polls.take(), self.operations.take()));
            }
        }
    }
}

/// A port as the files of its ring have it.
pub(super) struct Iocp(Rc<Port>);

impl Iocp {
    pub(super) fn of(port: &Rc<Port>) -> Self {
        Self(Rc::clone(port))
    }

    /// A file object of this ring's own for a file that is open.
    ///
    /// # Errors
    /// It cannot be opened again.
    pub(super) fn open(&self, file: &File) -> io::Result<OwnFile> {
        self.0.operations.borrow_mut().prepare();
        OwnFile::open(file, &self.0.completions)
    }

    /// Begins a call for the task in this slot.
    ///
    /// # Safety
    /// The task's file and buffers stay as they are, and nobody uses the bytes, until [`Self::pop`] gives `user_data`
    /// back.
    pub(super) unsafe fn push(
        &mut self,
        slot: u32,
        run: Run,
        task: &mut FileTask,
        pieces: &mut Vec<RawBytes>,
        user_data: u64,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.0.operations.borrow_mut().push(slot, run, task, pieces, user_data) };
    }

    /// Asks for the end of what the task in this slot has under way. It still comes.
    pub(super) fn cancel(&self, slot: u32, file: &OwnFile) {
        self.0.operations.borrow().cancel(slot, file);
    }

    /// Collects what has ended. Without a call if nothing is under way.
    pub(super) fn look(&self) {
        let due = {
            let operations = self.0.operations.borrow();
            operations.pending() > 0 && !operations.has_ended()
        };
        if due {
            self.0.collect(Some(Duration::ZERO)).expect("a ring's own port");
        }
    }

    /// The end of a call.
    pub(super) fn pop(&mut self) -> Option<End> {
        self.0.operations.borrow_mut().pop()
    }

    /// Waits for all calls of tasks. After an error the system may still use their buffers.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        while self.0.operations.borrow().pending() > 0 {
            self.0.collect(None)?;
        }
        Ok(())
    }
}

/// Ends the wait of a port, from any thread.
pub(super) struct PortSignal(Arc<Completions>);

impl PortSignal {
    pub(super) fn wake(&self) -> io::Result<()> {
        self.0.post(Key::Wake)
    }
}
#[cfg(test)]
mod tests;
