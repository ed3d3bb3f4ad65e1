//! Where there is no completion port: the same surface, and never a value of it.

use std::fs::File;
use std::io;

use super::{FileOp, FileTask};
use crate::region::RawBytes;

#[derive(Debug)]
pub(super) enum Iocp {}

#[derive(Debug)]
pub(super) enum OwnFile {}

#[derive(Clone, Copy)]
pub(super) enum Run {}

pub(super) struct End {
    pub(super) user_data: u64,
    pub(super) result: io::Result<usize>,
}

#[allow(dead_code, reason = "what nobody says here")]
pub(super) enum Step {
    Go(Run),
    Done(io::Result<()>),
}

impl Iocp {
    pub(super) fn open(&self, _file: &File) -> io::Result<OwnFile> {
        match *self {}
    }

    /// # Safety
    /// There is nothing to be said: it is never called.
    pub(super) unsafe fn push(
        &mut self,
        _slot: u32,
        _run: Run,
        _task: &mut FileTask,
        _pieces: &mut Vec<RawBytes>,
        _user_data: u64,
    ) {
        match *self {}
    }

    pub(super) fn cancel(&self, _slot: u32, _file: &OwnFile) {
        match *self {}
    }

    pub(super) fn look(&self) {
        match *self {}
    }

    pub(super) fn pop(&mut self) -> Option<End> {
        match *self {}
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        match *self {}
    }
}

impl Run {
    pub(super) fn of(_op: &FileOp) -> Option<Self> {
        None
    }

    pub(super) fn next(self, _op: &FileOp, _len: usize, _result: io::Result<usize>, _cancelled: bool) -> Step {
        match self {}
    }
}
