//! What the models of sleeping and waking have in the place of the kernel.

use crate::sync::{Condvar, Mutex};

/// What an eventfd is: a signal that comes before the wait ends it at once; several are one.
#[derive(Default)]
pub(crate) struct Signal {
    sent: Mutex<bool>,
    come: Condvar,
}

impl Signal {
    pub(crate) fn send(&self) {
        *self.sent.lock().unwrap() = true;
        self.come.notify_one();
    }

    pub(crate) fn wait(&self) {
        let mut sent = self.sent.lock().unwrap();
        while !*sent {
            sent = self.come.wait(sent).unwrap();
        }
        *sent = false;
    }
}
