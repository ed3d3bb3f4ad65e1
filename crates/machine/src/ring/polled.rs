//! One of the kernel's rings that poll, beside the ordinary one of a thread: `polling.rs` says what for.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::events::Registry;
use super::registered::Registered;
use super::uring::{Stage, Uring};
use super::{FileEngine, FileOp, FileTask, NoEngine, Polling, RingFile};
use crate::region::{Pool, RawBytes};

pub(super) struct Polled {
    polling: Polling,
    uring: Uring,
    registered: Registered,
}

impl Polled {
    /// The one with this number, which will know these pools. What it raises wakes whoever waits for `registry`.
    pub(super) fn new<'a>(
        number: usize,
        polling: Polling,
        pools: impl Iterator<Item = &'a Pool>,
        registry: &Registry,
    ) -> Result<Self, NoEngine> {
        let (mut uring, mut registered) = (Uring::polled(polling)?, Registered::new(Some(number)));
        uring.hang_bell(registry).map_err(|error| NoEngine {
            engine: FileEngine::Uring,
            why: error.to_string(),
            hint: format!("Leave {polling} out."),
        })?;
        registered.attach(&mut uring);
        pools.for_each(|pool| registered.pool(Some(&mut uring), pool));
        Ok(Self { polling, uring, registered })
    }

    pub(super) fn polling(&self) -> Polling {
        self.polling
    }

    /// Whether a task goes by it; the ordinary ring does the others.
    pub(super) fn does(&self, op: &FileOp) -> bool {
        !self.polling.iopoll || matches!(op, FileOp::Read { .. } | FileOp::Write { dsync: false, .. })
    }

    /// Whether this result of a request says that device or file system cannot be polled. No other way does it instead.
    pub(super) fn refuses(&self, result: i32) -> bool {
        self.uring.refuses(result)
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn id(&self) -> u32 {
        self.registered.ring()
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn falls_asleep(&mut self) {
        self.uring.falls_asleep();
    }

    /// Whether somebody must go on looking.
    pub(super) fn spins(&self) -> bool {
        self.polling.iopoll && self.uring.in_flight() > 0
    }

    pub(super) fn file(&mut self, file: Arc<File>) -> RingFile {
        self.registered.file(Some(&mut self.uring), file, FileEngine::Uring)
    }

    pub(super) fn forget_files(&mut self) {
        self.registered.forget_files(&mut self.uring);
    }

    pub(super) fn register_pool(&mut self, pool: &Pool) {
        self.registered.pool(Some(&mut self.uring), pool);
    }

    /// Gives it the request of a task's stage.
    ///
    /// # Safety
    /// As for [`Uring::push`]: task and pieces stay as they are until the completion has been popped.
    pub(super) unsafe fn push(
        &mut self,
        stage: Stage,
        task: &mut FileTask,
        pieces: &mut Vec<RawBytes>,
        user_data: u64,
    ) {
        let entry = stage.entry(task, pieces, self.registered.ring());
        // SAFETY: the caller's promise.
        unsafe { self.uring.push(entry, user_data) };
    }

    pub(super) fn cancel(&mut self, user_data: u64) {
        self.uring.cancel(user_data);
    }

    /// Has the kernel begin with what was pushed, and look for what is polled for.
    pub(super) fn flush(&mut self) {
        if self.uring.in_flight() > 0 {
            self.uring.flush().expect("a ring's own descriptor, used on its own thread");
        }
    }

    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        self.uring.pop()
    }

    pub(super) fn arm(&mut self) {
        self.uring.arm();
    }

    pub(super) fn disarm(&mut self) {
        self.uring.disarm();
    }

    /// See [`Uring::finish`].
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.uring.finish()
    }
}
