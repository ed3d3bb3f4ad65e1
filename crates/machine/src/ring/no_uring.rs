//! Where there is no `io_uring`: the same surface, and never a value of it.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::events::{Poll, Registry};
use super::{FileOp, FileTask, NoUring, Polling};
use crate::region::{Pool, RawBytes};

pub(super) enum Uring {}

pub(super) struct Entry;

#[derive(Clone, Copy)]
pub(super) struct Stage;

#[allow(dead_code, reason = "what nobody says here")]
pub(super) enum Next {
    Go(Stage),
    Workers,
    Done(io::Result<()>),
}

impl Uring {
    pub(super) fn new() -> Result<Self, NoUring> {
        let hint = "Without --ring, or path= of a device, qpair takes the best that there is: iocp on Windows.";
        Err(NoUring { why: "io_uring is Linux's".to_owned(), hint: hint.to_owned() })
    }

    pub(super) fn polled(_polling: Polling) -> Result<Self, NoUring> {
        Self::new()
    }

    pub(super) fn hang_bell(&mut self, _registry: &Registry) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn refuses(&self, _result: i32) -> bool {
        match *self {}
    }

    pub(super) fn arm(&mut self) {
        match *self {}
    }

    pub(super) fn disarm(&mut self) {
        match *self {}
    }

    pub(super) fn make_tables(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn set_file(&mut self, _place: u32, _file: Option<&File>) -> bool {
        match *self {}
    }

    pub(super) fn set_buffer(&mut self, _number: u32, _pool: &Pool) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn in_flight(&self) -> usize {
        match *self {}
    }

    /// # Safety
    /// There is nothing to be said: it is never called.
    pub(super) unsafe fn push(&mut self, _entry: Entry, _user_data: u64) {
        match *self {}
    }

    pub(super) fn queued(&mut self) -> usize {
        match *self {}
    }

    pub(super) fn cancel(&mut self, _user_data: u64) {
        match *self {}
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn wait(&mut self, _poll: &Poll, _timeout: Option<Duration>) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn take_fired(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        match *self {}
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        match *self {}
    }
}

impl Stage {
    pub(super) fn first(_op: &FileOp) -> Self {
        unreachable!("only asked where there is a Uring")
    }

    pub(super) fn entry(self, _task: &mut FileTask, _pieces: &mut Vec<RawBytes>, _ring: u32) -> Entry {
        unreachable!("only asked where there is a Uring")
    }

    pub(super) fn next(self, _op: &FileOp, _len: usize, _result: i32, _cancelled: bool) -> Next {
        unreachable!("only asked where there is a Uring")
    }
}
