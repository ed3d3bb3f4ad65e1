//! Where there is no native AIO: the same surface, and never a value of it.

use std::io;

use super::events::Registry;
use super::uring::Stage;
use super::{FileEngine, FileOp, FileTask, NoEngine};
use crate::region::RawBytes;

pub(super) enum Aio {}

impl Aio {
    pub(super) fn new() -> Result<Self, NoEngine> {
        let hint = "Without path= a device takes the best that there is: iocp on Windows.";
        Err(NoEngine { engine: FileEngine::Aio, why: "this aio is Linux's".to_owned(), hint: hint.to_owned() })
    }

    pub(super) fn wake(&self, _registry: &Registry) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn does(_op: &FileOp) -> bool {
        unreachable!("only asked where there is an Aio")
    }

    /// # Safety
    /// There is nothing to be said: it is never called.
    pub(super) unsafe fn push(
        &mut self,
        _slot: u32,
        _stage: Stage,
        _task: &mut FileTask,
        _pieces: &mut Vec<RawBytes>,
        _user_data: u64,
    ) {
        match *self {}
    }

    pub(super) fn flush(&mut self) {
        match *self {}
    }

    pub(super) fn cancel(&mut self, _slot: u32) {
        match *self {}
    }

    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        match *self {}
    }
}
