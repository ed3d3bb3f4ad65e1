//! What of the system works here: every call that qpair uses is tried once, for real.
//!
//! ```text
//!   the system's table ──▶ a trial, on a thread of its own ──▶ Finding: it works | why not, what is done instead
//!   (AREAS)                   │ at most PROBE_TIME
//!                             └─▶ files in a folder of their own, sockets on loopback, memory and rings of their own
//! ```
//!
//! Nothing that was there before is touched, and nothing is left behind. A trial that gets no answer in time is a
//! finding as well; its thread is given up, as nothing ends a call that the system does not come back from.
//!
//! Trials go through the code that they are about where that is possible, and not through a copy of it. Those of a ring
//! stand beside that ring (`ring/uring/trials.rs`, `ring/iocp/trials.rs`), all others in the system's folder.

mod place;
mod shared;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use super::system;
use crate::limits::PROBE_TIME;

pub(crate) use place::Place;
pub(crate) use shared::{
    RING_FILE_BYTES, aligned_io, by_ring, directory, flush, loopback, mapped, memory, one_lock, pinned,
    private_directory, resident, start_of_machine, woken,
};

/// What this system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// `Linux` or `Windows`.
    pub name: &'static str,
    /// Of the kernel, as the system writes it.
    pub version: String,
    /// Its name as a product, if it has one.
    pub product: Option<String>,
    /// The version of Wine, if it is not a Windows but Wine.
    pub wine: Option<String>,
    /// Bytes of a page of memory.
    pub page_bytes: usize,
    /// Groups that the cores are in: always 1 where there are no groups.
    pub core_groups: usize,
}

/// A call, or a few that go together, and how that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part of the program: `rings`, `files`, ...
    pub area: &'static str,
    /// The call, as the system names it.
    pub name: &'static str,
    /// What qpair does with it.
    pub used_for: &'static str,
    /// What it does without; `None`: it cannot do without.
    pub instead: Option<&'static str>,
    /// How it went.
    pub outcome: Outcome,
}

impl Finding {
    /// Whether qpair does not run here for the lack of this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.instead.is_none() && matches!(self.outcome, Outcome::Fails { .. })
    }
}

/// How a trial went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should; what else there is to say, or nothing.
    Works(String),
    /// It did not.
    Fails {
        /// The system's text, or ours where the system said that all is well.
        why: String,
        /// The system's number, if it had one.
        number: Option<i32>,
    },
}

/// What a trial has to say when it went well.
pub(crate) type Tried = io::Result<String>;

/// A line of a table.
pub(crate) struct Trial {
    name: &'static str,
    used_for: &'static str,
    instead: Option<&'static str>,
    run: fn(&Place) -> Tried,
}

/// What qpair cannot do without.
pub(crate) const fn needed(name: &'static str, used_for: &'static str, run: fn(&Place) -> Tried) -> Trial {
    Trial { name, used_for, instead: None, run }
}

/// What it does `instead` of.
pub(crate) const fn wanted(
    name: &'static str,
    used_for: &'static str,
    instead: &'static str,
    run: fn(&Place) -> Tried,
) -> Trial {
    Trial { name, used_for, instead: Some(instead), run }
}

/// What was done, in a trial that has nothing else to say.
pub(crate) fn fine<T>(_done: T) -> String {
    String::new()
}

/// The system says that all is well, and it is not.
pub(crate) fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// The parts of a system's table.
pub(crate) type Areas = &'static [(&'static str, &'static [Trial])];

/// Tries all that qpair uses of this system, in a folder of its own below `dir`, which is removed again. Once `stop` is
/// set nothing more is tried, and there are no findings: `None`.
///
/// # Errors
/// There can be no folder, or it cannot be removed: where it is then.
pub fn probe(dir: &Path, stop: &AtomicBool) -> io::Result<Option<Vec<Finding>>> {
    try_all(system::AREAS, dir, stop)
}

fn try_all(areas: Areas, dir: &Path, stop: &AtomicBool) -> io::Result<Option<Vec<Finding>>> {
    let place = Arc::new(Place::new(dir)?);
    let each = areas.iter().flat_map(|&(area, trials)| trials.iter().map(move |trial| (area, trial)));
    let try_one = |(area, trial): (&'static str, &'static Trial)| {
        let &Trial { name, used_for, instead, run } = trial;
        Finding { area, name, used_for, instead, outcome: outcome(carry_out(run, &place)) }
    };
    let is_to_stop = || stop.load(Ordering::Relaxed);
    let findings = each.map(|one| (!is_to_stop()).then(|| try_one(one))).collect();
    place.remove()?;
    Ok(findings)
}

/// What this system is, as it says itself.
#[must_use]
pub fn this_system() -> &'static System {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    SYSTEM.get_or_init(system::this_system)
}

/// Runs a trial on a thread of its own, which a ring needs and a pinned core does not leave.
fn carry_out(run: fn(&Place) -> Tried, place: &Arc<Place>) -> Tried {
    let (tell, told) = mpsc::channel();
    let its = Arc::clone(place);
    let tried = thread::Builder::new().name("probe".to_owned()).spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = tell.send(run(&its));
    })?;
    match told.recv_timeout(PROBE_TIME) {
        Ok(tried_so) => {
            // What the thread has is given back when it is over.
            tried.join().map_err(|_| wrong("it ends in a panic"))?;
            tried_so
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(wrong("a panic in this program, which is a bug of it")),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let why = format!("no answer within {} s", PROBE_TIME.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
    }
}

fn outcome(tried: Tried) -> Outcome {
    match tried {
        Ok(said) => Outcome::Works(said),
        Err(error) => {
            // In one line, also where what to do about it follows in others.
            let why: Vec<_> = error.to_string().lines().map(|line| line.trim().to_owned()).collect();
            Outcome::Fails { why: why.join(". "), number: error.raw_os_error() }
        }
    }
}

#[cfg(test)]
mod tests;
