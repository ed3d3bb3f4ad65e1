//! loom's atomics, with `SeqCst` accesses as the standard library has them.
//!
//! loom treats a `SeqCst` access like an acquire or release one, and models `SeqCst` fences exactly. Compilers for
//! processors that have only fences put one before each such access, or one behind each. Both are modelled, one after
//! the other, by [`model`]: an access that is weaker than it has to be is missed if the fence of its neighbour stands
//! in for it, and its two neighbours do so in one of the two ways each.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::fence;
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

use super::Ordering;

thread_local! {
    /// Whether the fence stands before the access. loom runs all threads of a model on one thread of the system.
    static FENCE_BEFORE: Cell<bool> = const { Cell::new(true) };
}

/// Runs a model in both ways.
#[cfg(test)]
pub(crate) fn model(threads: impl Fn() + Sync + Send + Copy + 'static) {
    for before in [true, false] {
        FENCE_BEFORE.set(before);
        loom::model(threads);
    }
}

/// An access with this order.
fn ordered<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
    let (strong, before) = (order == Ordering::SeqCst, FENCE_BEFORE.get());
    if strong && before {
        fence(Ordering::SeqCst);
    }
    let value = access();
    if strong && !before {
        fence(Ordering::SeqCst);
    }
    value
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// The standard library's, for the model checker.
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        #[allow(dead_code, reason = "not every kind is used in every way")]
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                ordered(order, || self.0.load(order))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                ordered(order, || self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                ordered(order, || self.0.swap(value, order))
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                order: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                ordered(order, || self.0.compare_exchange(old, new, order, failed))
            }
        }
    };
}

macro_rules! number {
    ($name:ident, $value:ty) => {
        atomic!($name, $value);

        #[allow(dead_code, reason = "not every kind is used in every way")]
        impl $name {
            pub(crate) fn fetch_add(&self, more: $value, order: Ordering) -> $value {
                ordered(order, || self.0.fetch_add(more, order))
            }

            pub(crate) fn fetch_sub(&self, less: $value, order: Ordering) -> $value {
                ordered(order, || self.0.fetch_sub(less, order))
            }

            pub(crate) fn fetch_and(&self, mask: $value, order: Ordering) -> $value {
                ordered(order, || self.0.fetch_and(mask, order))
            }

            pub(crate) fn fetch_update(
                &self,
                order: Ordering,
                failed: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                ordered(order, || self.0.fetch_update(order, failed, change))
            }
        }
    };
}

atomic!(AtomicBool, bool);
number!(AtomicU32, u32);
number!(AtomicU64, u64);
number!(AtomicUsize, usize);

/// Set once. The flag tells the model what the standard library promises: who finds the value sees all that came
/// before it was set.
#[derive(Debug, Default)]
pub(crate) struct OnceLock<T> {
    set: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.set.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.set.load(Ordering::Acquire) { self.value.get() } else { None }
    }
}
