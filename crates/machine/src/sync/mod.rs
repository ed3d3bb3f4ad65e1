//! What threads share without locks, from the standard library; or, under `--cfg loom`, from the model checker.
//!
//! The protocols that must not lose a wake-up or free a slot too early take their atomics from here. Built with
//! `--cfg loom`, their `models` run every interleaving (up to a number of preemptions) and every value that a load may
//! see under the memory model: `cargo xtask test --only loom`. All else of the crate takes the standard library's.

#[cfg(loom)]
mod modelled;

#[cfg(all(test, loom))]
pub(crate) use modelled::model;
#[cfg(loom)]
pub(crate) use modelled::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, OnceLock, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence},
};

pub(crate) use std::sync::PoisonError;
pub(crate) use std::sync::atomic::Ordering;
