//! The thread of a path: keeps the association alive, and makes a new one when it breaks.
//!
//! An ordinary thread, never on a reactor: connecting and admin commands block. Every half of KATO it sends a Keep
//! Alive; the target ends the association when none comes for KATO. If it cannot be sent or is not answered, if the
//! admin connection closes, or if a queue says that its connection broke, the association is over:
//!
//! ```text
//!   1. the old controller is disabled, if it can be reached: its commands are then over
//!   2. the queues are told, and hold what is to be sent again (fate.rs)
//!   3. wait a little longer each time (backoff.rs)
//!   4. connect, enable, identify: is it the same namespace? ── no: lost ── could not: 3, until the time is up: lost
//!   5. connect a queue for each seat, leave it there, and all is as before
//! ```
//!
//! It also counts the ticks by which the queues know that a command takes too long, sends the Abort for it, and keeps a
//! request for events at the controller: a namespace that grows is as large as it is from then on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};
use wire::nvme::Sqe;

use super::admin::Admin;
use super::association::{Offer, Path, PathState, Seat};
use super::backoff::BackOff;
use super::describe::Trouble;
use super::error::AdminError;
use super::limits::{ADMIN_TIMEOUT, FENCE_TIMEOUT, LOOK_INTERVAL, MAX_IO_QUEUES};
use super::namespace::Namespace;
use crate::Transfer;

/// What the thread of a path is asked.
pub(super) enum Ask {
    /// Connect a queue, or, while there is no controller, when there is one again.
    Connect { seat: Arc<Seat>, reply: SyncSender<Result<(), AdminError>> },
    /// A connection of this generation broke.
    Broken { generation: u32 },
    /// A command of a queue of this generation is not wanted any more, or took too long.
    Abort { generation: u32, qid: u16, cid: u16 },
    /// Look at the admin connection now.
    Look,
    /// Shut the controller down and end.
    Stop { reply: SyncSender<Result<(), AdminError>> },
}

/// How a time of being Live or of waiting ended.
enum End {
    /// The association broke, and why.
    Broken(String),
    /// The user wants to stop.
    Stop(SyncSender<Result<(), AdminError>>),
    /// The time is over.
    Waited,
}

/// Why there is no association.
enum GivenUp {
    Stop(SyncSender<Result<(), AdminError>>),
    Lost(String),
}

pub(super) struct Keeper {
    path: Arc<Path>,
    asks: Receiver<Ask>,
    /// As the present controller has it.
    namespace: Namespace,
    generation: u32,
    /// When ticks began to count.
    begun: Instant,
}

impl Keeper {
    pub(super) fn new(path: Arc<Path>, asks: Receiver<Ask>, namespace: Namespace) -> Self {
        Self { path, asks, namespace, generation: 1, begun: Instant::now() }
    }

    /// Until the path is lost or closed.
    pub(super) fn run(mut self) {
        loop {
            let given_up = match self.once() {
                Ok(()) => continue,
                Err(given_up) => given_up,
            };
            match given_up {
                GivenUp::Stop(reply) => return self.stop(&reply),
                GivenUp::Lost(why) => {
                    warn!(target = self.path.name(), "given up: {why}");
                    self.path.note(&why);
                    return self.path.enter(PathState::Lost);
                }
            }
        }
    }

    /// The life of an association, and the way to the next one.
    fn once(&mut self) -> Result<(), GivenUp> {
        let mut why = "there was no controller".to_owned();
        if self.path.state() == PathState::Live {
            why = match self.live() {
                End::Stop(reply) => return Err(GivenUp::Stop(reply)),
                End::Broken(why) => why,
                End::Waited => unreachable!("being live has no time limit"),
            };
            warn!(target = self.path.name(), "the association broke: {why}");
            self.part(&why);
        }
        self.reconnect(why)
    }

    fn stop(&self, reply: &SyncSender<Result<(), AdminError>>) {
        let result = self.path.admin().take().map_or(Ok(()), |mut admin| admin.shut_down());
        self.path.enter(PathState::Closed);
        self.path.end(self.generation);
        let _ = reply.send(result);
    }

    /// Keeps the association alive until it breaks or nobody wants it any more.
    fn live(&mut self) -> End {
        let pause = self.path.uri.kato / 2;
        let mut due = Instant::now() + pause;
        let tick = self.path.patience.tick;
        let look = if pause.is_zero() { tick } else { tick.min(pause) };
        loop {
            self.path.common.live();
            self.path.tick((self.begun.elapsed().as_nanos() / tick.as_nanos()) as u32);
            match self.asks.recv_timeout(look) {
                Ok(Ask::Connect { seat, reply }) => {
                    let connected = self.connect_seat(&seat);
                    let _ = reply.send(connected);
                }
                Ok(Ask::Broken { generation }) if generation < self.generation => {}
                Ok(Ask::Broken { .. }) => return End::Broken("an I/O connection broke".to_owned()),
                Ok(Ask::Abort { generation, qid, cid }) if generation == self.generation => {
                    if let Err(error) = self.abort(qid, cid) {
                        return End::Broken(error.to_string());
                    }
                }
                Ok(Ask::Abort { .. } | Ask::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Ask::Stop { reply }) => return End::Stop(reply),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the sender says Stop before it goes"),
            }
            let mut checked = self.look();
            if checked.is_ok() && !pause.is_zero() && Instant::now() >= due {
                due = Instant::now() + pause;
                let limit = self.path.uri.kato.min(ADMIN_TIMEOUT);
                let sent = self.path.command("Keep Alive", Sqe::keep_alive(), Transfer::None, limit);
                checked = sent.map(drop).map_err(Trouble::from);
            }
            if let Err(trouble) = checked {
                return End::Broken(trouble.why());
            }
        }
    }

    /// Takes what the controller has to say of itself. A namespace that is another one now breaks the association:
    /// making it anew finds that out as well, and says so for good.
    fn look(&self) -> Result<(), Trouble> {
        let mut admin = self.path.admin();
        let admin = admin.as_mut().ok_or(AdminError::Broken)?;
        if admin.look()? { self.path.identify(admin).map(drop) } else { Ok(()) }
    }

    fn abort(&self, qid: u16, cid: u16) -> Result<(), AdminError> {
        let limit = ADMIN_TIMEOUT.min(self.path.uri.io_timeout.max(LOOK_INTERVAL));
        let mut admin = self.path.admin();
        let ended = admin.as_mut().ok_or(AdminError::Broken)?.abort(qid, cid, limit)?;
        debug!(target = self.path.name(), qid, cid, ended, "Abort");
        Ok(())
    }

    /// Ends the association that broke.
    fn part(&self, why: &str) {
        self.path.enter(PathState::Reconnecting);
        self.path.note(why);
        if let Some(mut admin) = self.path.admin().take()
            && let Err(error) = admin.disable(FENCE_TIMEOUT)
        {
            debug!(target = self.path.name(), "{error}");
        }
        self.path.end(self.generation);
    }

    /// Tries to make a new association. The time for that is over when there has been no controller on any path for the
    /// controller-loss timeout: while another path is live, this one may come back however late.
    fn reconnect(&mut self, mut trouble: String) -> Result<(), GivenUp> {
        let begun = Instant::now();
        let mut back_off = BackOff::new(self.path.uri.reconnect_delay);
        loop {
            let timeout = self.path.uri.ctrl_loss_timeout;
            let left = time_left(timeout, begun.elapsed(), self.path.common.dead_for());
            if left.is_zero() {
                let timeout = timeout.unwrap_or_default();
                return Err(GivenUp::Lost(format!("no controller within {timeout:?}: {trouble}")));
            }
            if let End::Stop(reply) = self.wait(back_off.wait().min(left)) {
                return Err(GivenUp::Stop(reply));
            }
            match self.establish(left.min(ADMIN_TIMEOUT)) {
                Ok(()) => {
                    let gap_ms = begun.elapsed().as_millis() as u64;
                    warn!(target = self.path.name(), gap_ms, "connected again");
                    return Ok(());
                }
                Err(failed) if failed.is_final() => return Err(GivenUp::Lost(failed.why())),
                Err(failed) => {
                    trouble = failed.why();
                    info!(target = self.path.name(), "not connected yet: {trouble}");
                    self.path.note(&trouble);
                }
            }
        }
    }

    /// Waits, and answers what can be answered without a controller.
    fn wait(&self, time: Duration) -> End {
        let deadline = Instant::now() + time;
        loop {
            match self.asks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ask::Connect { reply, .. }) => {
                    let _ = reply.send(Ok(()));
                }
                Ok(Ask::Broken { .. } | Ask::Abort { .. } | Ask::Look) => {}
                Ok(Ask::Stop { reply }) => return End::Stop(reply),
                Err(RecvTimeoutError::Timeout) => return End::Waited,
                Err(RecvTimeoutError::Disconnected) => unreachable!("the sender says Stop before it goes"),
            }
        }
    }

    /// A new association, with a connection in every seat; no single step takes longer than `limit`.
    fn establish(&mut self, limit: Duration) -> Result<(), Trouble> {
        let path = Arc::clone(&self.path);
        let mut admin = Admin::connect(&path.uri, &path.subnqn, limit)?;
        let found = path.identify(&mut admin)?;
        let granted = admin.set_number_of_queues(MAX_IO_QUEUES)?;
        admin.watch(found.oaes)?;
        path.grant(granted);
        let (seats, _) = path.seats();
        if let Some(seat) = seats.iter().find(|seat| seat.qid > granted) {
            let what = format!("{granted} I/O queues are granted now, and number {} is in use", seat.qid);
            return Err(AdminError::protocol("Set Features (Number of Queues)", what).into());
        }
        (self.generation, self.namespace) = (self.generation + 1, found.namespace);
        let mut offers = Vec::with_capacity(seats.len());
        for seat in seats {
            let offer = self.offer(&admin, seat.qid)?;
            offers.push((seat, offer));
        }
        admin.connected();
        *path.admin() = Some(admin);
        path.enter(PathState::Live);
        offers.into_iter().for_each(|(seat, offer)| seat.fill(offer));
        Ok(())
    }

    fn connect_seat(&self, seat: &Seat) -> Result<(), AdminError> {
        // Asked for while the association was made anew, and connected with the others.
        if seat.is_served(self.generation) {
            return Ok(());
        }
        let offer = match &*self.path.admin() {
            Some(admin) => self.offer(admin, seat.qid)?,
            None => return Err(AdminError::Broken),
        };
        seat.fill(offer);
        Ok(())
    }

    fn offer(&self, admin: &Admin, qid: u16) -> Result<Offer, AdminError> {
        let Self { path, namespace, generation, .. } = self;
        let generation = *generation;
        let in_capsule = namespace.in_capsule_bytes;
        let ready = admin.connect_io(&path.uri, &path.subnqn, qid, in_capsule, generation as u16)?;
        let namespace = Namespace { in_capsule_bytes: ready.host.in_capsule_bytes(), ..*namespace };
        Ok(Offer { ready, generation, namespace })
    }
}

/// How long a path that has been `away` may be tried for, when no path has been live for `dead`.
fn time_left(timeout: Option<Duration>, away: Duration, dead: Duration) -> Duration {
    timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(away.min(dead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_given_up_while_another_one_works() {
        let s = Duration::from_secs;
        assert_eq!(time_left(Some(s(600)), s(10), s(10)), s(590));
        assert_eq!(time_left(Some(s(600)), s(10_000), s(0)), s(600), "the other one is live");
        assert_eq!(time_left(Some(s(600)), s(10_000), s(590)), s(10), "and then not any more");
        assert_eq!(time_left(Some(s(600)), s(10_000), s(700)), s(0));
        assert_eq!(time_left(Some(s(0)), s(0), s(0)), s(0));
        assert_eq!(time_left(None, s(10_000), s(10_000)), Duration::MAX);
    }
}
