//! A device that fails on purpose: any device, with rules that say which requests go wrong, and how.
//!
//! ```text
//! fault:ram:1GiB,seed=7,rule=write:nth=100:error=EIO,rule=read:every=1000:latency=10ms
//!       └─ a device ─┘        └──── the 100th write fails; every 1,000th read takes 10 ms longer ───┘
//!
//! rule = KINDS : conditions : actions
//! ```
//!
//! | part | means |
//! |---|---|
//! | kinds | `read write flush zeroes deallocate compare verify uncorrectable copy`, some with `+`, or `any` |
//! | `nth=N` | only the Nth request that kinds and blocks fit, counted from 1 over all queues of the device |
//! | `every=N` | each Nth of them |
//! | `after=N` | none of the first N of them |
//! | `times=N` | at most N times |
//! | `p=0.01` | with this probability |
//! | `blocks=A-B` | only requests that touch a block from A to B |
//! | `latency=10ms` | it begins so much later; `latency=1ms-20ms` chooses |
//! | `error=EIO` | it fails with an error of the operating system: a name of POSIX, or a number of this system |
//! | `status=2/81` | it fails with an NVMe status: type and code in hexadecimal, and `/dnr` for "do not retry" |
//! | `short=N` | a write writes its first N blocks, then fails; `short` alone chooses N |
//! | `torn` | a write writes some of its sectors of 512 bytes, then fails |
//! | `drop` | it never ends, until it is cancelled or the queue is closed |
//! | `panic` | the thread panics: a rehearsal of a bug |
//!
//! `short` and `torn` fail with EIO unless `error=` or `status=` says otherwise. Latencies of all rules that fit add
//! up; of everything else the first rule that fits decides. What is chosen follows from the seed, the rule and the
//! number of the request, so that the same requests in the same order meet the same faults.
//!
//! The device does not lend: bytes are carried through it, and so a write that is delayed still has its bytes.

mod parse;
mod queue;
mod rule;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use machine::ring::Ring;

use crate::path::Path;
use crate::{Device, Features, Info, Op, OpenError, Queue};
pub use parse::BadRule;
use queue::FaultQueue;
pub use rule::{Action, Chance, Delay, Rule};
use rule::{Plan, plan};

/// What is to go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What all choices follow from.
    pub seed: u64,
    /// In the order in which they were given.
    pub rules: Vec<Rule>,
}

/// A device over another one, with faults.
pub struct FaultDevice {
    info: Info,
    inner: Arc<dyn Device>,
    script: Arc<Script>,
}

/// The rules, and how often each was met: shared by all queues.
struct Script {
    faults: Faults,
    met: Vec<Met>,
}

#[derive(Default)]
struct Met {
    /// Requests that the kinds and the blocks of the rule fitted.
    fitted: AtomicU64,
    /// Requests that it did something to.
    fired: AtomicU64,
}

impl FaultDevice {
    /// Puts faults over `inner`.
    #[must_use]
    pub fn new(name: &str, inner: Arc<dyn Device>, faults: Faults) -> Self {
        let below = inner.info();
        let features = Features { lends: false, ..below.features };
        // A torn write is torn.
        let info = Info { name: name.to_owned(), kind: "fault", atomic_blocks: 1, features, ..below.clone() };
        let met = faults.rules.iter().map(|_| Met::default()).collect();
        Self { info, inner, script: Arc::new(Script { faults, met }) }
    }

    /// How often each rule did something to a request so far, in their order.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.script.met.iter().map(|met| met.fired.load(Ordering::Relaxed)).collect()
    }
}

impl Device for FaultDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn blocks(&self) -> u64 {
        self.inner.blocks()
    }

    fn refresh(&self, want: Option<u64>) -> Result<u64, OpenError> {
        self.inner.refresh(want)
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let inner = self.inner.open_queue(ring)?;
        Ok(Box::new(FaultQueue::new(&self.info, Arc::clone(&self.script), Arc::clone(&self.inner), inner)?))
    }

    fn used_blocks(&self) -> u64 {
        self.inner.used_blocks()
    }

    fn path(&self) -> Option<Path> {
        self.inner.path()
    }

    fn waits(&self) -> Option<String> {
        self.inner.waits()
    }

    fn remark(&self) -> Option<String> {
        self.inner.remark()
    }

    fn sidecar(&self, what: &str) -> Option<PathBuf> {
        self.inner.sidecar(what)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

impl Script {
    /// Decides about a request.
    fn plan(&self, op: &Op) -> Plan {
        plan(
            &self.faults,
            op,
            |rule| self.met[rule].fitted.fetch_add(1, Ordering::Relaxed),
            |rule, most| {
                let fired = self.met[rule]
                    .fired
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fired| (fired < most).then_some(fired + 1));
                fired.is_ok()
            },
        )
    }
}
