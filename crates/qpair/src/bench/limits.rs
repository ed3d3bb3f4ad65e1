//! Every limit of `qpair bench`, in one place. Reaching one is a clear error before the first request, never growth.

use std::time::Duration;

/// Largest number of reactors.
pub(super) const MAX_REACTORS: usize = 64;
/// Largest number of targets.
pub(super) const MAX_TARGETS: usize = 64;
/// Most steps of a load curve.
pub(super) const MAX_STEPS: usize = 32;
/// Most requests a second that --rate takes: one a nanosecond.
pub(super) const MAX_RATE: f64 = 1e9;
/// Largest number of I/O queues of a target.
pub(super) const MAX_QUEUES: usize = 64;
/// Largest queue depth of one queue: what an NVMe queue of the largest size can hold.
pub(super) const MAX_DEPTH: usize = 65_535;
/// Most memory for buffers: targets x queues x depth x block size.
pub(super) const MAX_BUFFER_BYTES: u64 = 4 << 30;
/// Most units `--verify` keeps a generation for; four bytes each, a quarter of a GiB in all.
pub(super) const MAX_LEDGER_UNITS: u64 = 64 << 20;
/// A run ends when so many requests have failed.
pub(super) const MAX_ERRORS: u64 = 1_000;
/// So many errors and miscompares are printed; the others are counted.
pub(super) const MAX_PRINTED: u64 = 5;
/// Zones that a queue fills at a time, where the device lets so many be open.
pub(super) const MAX_OPEN_ZONES: usize = 8;
/// How often a random address is drawn again, when a request on the same one is in flight, before the pass ends.
pub(super) const MAX_REDRAWS: u32 = 16;
/// How long the end of a phase waits for what is in flight. Tests have less patience.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });
/// How long `--verify` reads back what was written after the wish to stop. Tests have less patience.
pub(super) const LAST_READ_BACK_LIMIT: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 10_000 });
/// The longest sleep of the reactor: how late a deadline or an interrupt may be noticed when nothing completes.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Between two live lines.
pub(super) const LIVE_INTERVAL: Duration = Duration::from_millis(300);
/// Between two moments of the series that a report shows over time, to begin with.
pub(super) const SERIES_INTERVAL: Duration = Duration::from_millis(100);
/// Most moments of that series: more than a chart has pixels for is of no use.
pub(super) const MAX_MOMENTS: usize = 600;
/// Columns of the longest bar of the histogram.
pub(super) const BAR_COLUMNS: usize = 40;
/// The measured time without `--secs` and `--count`, in seconds.
pub(super) const DEFAULT_SECS: f64 = 5.0;
/// The same of each measurement with `--compare`.
pub(super) const DEFAULT_COMPARE_SECS: f64 = 1.0;
/// Rounds of `--compare` without `--rounds`.
pub(super) const DEFAULT_ROUNDS: usize = 5;
/// Most rounds.
pub(super) const MAX_ROUNDS: usize = 1_000;
/// The longest measured time or warm-up, in seconds: half a year.
pub(super) const MAX_SECS: f64 = 16e6;
/// The warm-up before it, in seconds.
pub(super) const DEFAULT_WARMUP_SECS: f64 = 0.5;

const _: () = assert!(MAX_LEDGER_UNITS * 4 <= 256 << 20);
const _: () = assert!(MAX_REACTORS <= MAX_QUEUES);
const _: () = assert!(MAX_PRINTED < MAX_ERRORS);
const _: () = assert!(MAX_MOMENTS.is_multiple_of(2), "two become one");
