//! The keep-alive thread: tells the target that we live, and finds out whether it does.
//!
//! An ordinary thread, never on a reactor. Every half of KATO it sends a Keep Alive on the admin connection; the target
//! ends the association when none comes for KATO. If it cannot be sent or is not answered, the association is lost: all
//! queues are told, and wake up to complete what they have in flight.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;
use wire::nvme::Sqe;

use super::association::Link;
use super::limits::ADMIN_TIMEOUT;
use super::line::Transfer;

/// A running keep-alive thread; ends when dropped.
pub(super) struct KeepAlive {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl KeepAlive {
    /// Starts it, for a KATO other than zero.
    pub(super) fn start(link: Arc<Link>, kato: Duration) -> io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let asked = Arc::clone(&stop);
        let thread = thread::Builder::new().name("nvme-keep-alive".to_owned()).spawn(move || {
            while !wait(&asked, kato / 2) {
                if let Err(error) = link.admin("Keep Alive", Sqe::keep_alive(), Transfer::None, kato.min(ADMIN_TIMEOUT))
                {
                    warn!(target = %link.name(), "{error}");
                    return link.lose();
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let (asked, bell) = &*self.stop;
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            warn!("the keep-alive thread panicked");
        }
    }
}

/// Waits; true when asked to stop.
fn wait((asked, bell): &(Mutex<bool>, Condvar), time: Duration) -> bool {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = bell.wait_timeout_while(asked, time, |asked| !*asked);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}
