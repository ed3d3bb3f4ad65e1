//! Whole runs on a zoned drive in memory, that makes mistakes on purpose.

use std::sync::Mutex;

use block::{
    Command, Completed, Completion, Completions, Data, Failure, Features, Identity, Info, Op, Queue, Range, Refused,
    Request, Returned, Untaken, ZoneFacts,
};
use machine::reactor::Arm;
use machine::region::Bufs;
use machine::ring::Ring;
use wire::nvme::opcode::zns::{ZONE_APPEND, ZONE_MANAGEMENT_SEND};
use wire::nvme::zns::{ZoneDescriptor, action, zone_state, zone_type};
use wire::nvme::{Sqe, Status};

use super::plan::tests::args;
use super::zoned::ZoneMap;
use super::*;

const BLOCK: usize = 512;
const ZONES: u64 = 6;
/// Blocks from zone to zone, and those of them that can be written.
const STRIDE: u64 = 64;
const CAPACITY: u64 = 50;
const MOST_OPEN: usize = 3;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    /// The second append is said to be where the first one is.
    Twice,
    /// Appends are said to be a zone further on.
    NextZone,
    /// Two appends, one behind the other, are said to be where the other one is.
    Swapped,
    /// Zones are not reset.
    NoReset,
}

/// The medium.
struct Medium {
    bytes: Vec<u8>,
    /// Blocks written of each zone.
    written: [u64; ZONES as usize],
    appends: u64,
    resets: u64,
    finishes: u64,
}

impl Medium {
    /// Puts bytes at the write pointer of a zone.
    fn put(&mut self, zone: usize, at: Option<u64>, bytes: &[u8]) -> Result<u64, Status> {
        let (blocks, written) = ((bytes.len() / BLOCK) as u64, self.written[zone]);
        let lba = zone as u64 * STRIDE + written;
        if at.is_some_and(|at| at != lba) {
            return Err(Status::ZONE_INVALID_WRITE);
        }
        if written + blocks > CAPACITY {
            return Err(Status::ZONE_IS_FULL);
        }
        let open = self.written.iter().filter(|written| (1..CAPACITY).contains(*written)).count();
        if written == 0 && open == MOST_OPEN {
            return Err(Status::TOO_MANY_OPEN_ZONES);
        }
        self.bytes[lba as usize * BLOCK..][..bytes.len()].copy_from_slice(bytes);
        self.written[zone] += blocks;
        Ok(lba)
    }
}

struct Drive {
    info: Info,
    lie: Lie,
    medium: Arc<Mutex<Medium>>,
}

struct DriveQueue {
    lie: Lie,
    medium: Arc<Mutex<Medium>>,
    ended: Vec<Completion>,
    native: Vec<Completed>,
}

impl Drive {
    fn new(lie: Lie) -> Arc<Self> {
        let blocks = ZONES * STRIDE;
        let info = Info {
            name: "drive".to_owned(),
            kind: "fake",
            block_bytes: BLOCK as u32,
            blocks,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes: 128 << 10,
            piece_bytes: 1,
            features: Features::default(),
            identity: Identity::from_uuid(Uuid::nil()),
        };
        let bytes = vec![0; blocks as usize * BLOCK];
        let medium = Medium { bytes, written: [0; ZONES as usize], appends: 0, resets: 0, finishes: 0 };
        Arc::new(Self { info, lie, medium: Arc::new(Mutex::new(medium)) })
    }

    /// What Identify and a report would say of it.
    fn map() -> ZoneMap {
        let facts = ZoneFacts {
            zone_blocks: STRIDE,
            zones: ZONES,
            max_open: Some(MOST_OPEN as u32),
            max_active: None,
            append_bytes: Some(64 << 10),
        };
        let zone = |number: u64| ZoneDescriptor {
            zt: zone_type::SEQUENTIAL_WRITE_REQUIRED,
            zs: zone_state::EMPTY << 4,
            zcap: CAPACITY.into(),
            zslba: (number * STRIDE).into(),
            ..ZoneDescriptor::default()
        };
        ZoneMap { facts, nsid: Some(1), zones: (0..ZONES).map(zone).collect() }
    }

    fn bench(self: &Arc<Self>, line: &str) -> Report {
        let args = args(&format!("drive --seed 7 {line}"));
        let devices: [Arc<dyn Device>; 1] = [Arc::clone(self) as _];
        let plan =
            Plan::new(&args, &infos(&devices), &[Some(Self::map())], 7).unwrap_or_else(|error| panic!("{error}"));
        let progress: Vec<_> = plan.reactors.iter().map(|_| Arc::new(Progress::default())).collect();
        measure(&devices, &args, &plan, &progress, &AtomicBool::new(false)).expect("a report")
    }

    /// Resets and finishes so far.
    fn chores(&self) -> (u64, u64) {
        let medium = self.medium.lock().expect("nobody has panicked");
        (medium.resets, medium.finishes)
    }
}

impl Device for Drive {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let medium = Arc::clone(&self.medium);
        Ok(Box::new(DriveQueue { lie: self.lie, medium, ended: Vec::new(), native: Vec::new() }))
    }
}

impl DriveQueue {
    fn append(&self, medium: &mut Medium, zone: usize, bytes: &[u8]) -> Result<u64, Status> {
        let lba = medium.put(zone, None, bytes)?;
        medium.appends += 1;
        let blocks = (bytes.len() / BLOCK) as u64;
        Ok(match (self.lie, medium.appends) {
            (Lie::NextZone, _) => lba + STRIDE,
            (Lie::Twice, 2) => lba - lba % STRIDE,
            // With one zone at a time.
            (Lie::Swapped, 1) => lba + blocks,
            (Lie::Swapped, 2) => lba - blocks,
            _ => lba,
        })
    }

    fn manage(&self, medium: &mut Medium, zone: usize, sqe: &Sqe) -> Result<u64, Status> {
        match sqe.cdw13.get() as u8 {
            action::RESET if self.lie == Lie::NoReset => return Err(Status::INTERNAL_ERROR),
            action::RESET => (medium.written[zone], medium.resets) = (0, medium.resets + 1),
            action::FINISH => (medium.written[zone], medium.finishes) = (CAPACITY, medium.finishes + 1),
            other => panic!("action {other}"),
        }
        Ok(0)
    }
}

impl Queue for DriveQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        let Data::Carried(mut buf) = request.data else { panic!("carried data only") };
        let mut medium = self.medium.lock().expect("nobody has panicked");
        let Range { lba, .. } = request.op.range().expect("reads and writes only");
        let outcome = match request.op {
            Op::Write { .. } => medium.put((lba / STRIDE) as usize, Some(lba), &buf).map(drop).map_err(Failure::Device),
            _ => {
                let len = buf.len();
                buf.copy_from_slice(&medium.bytes[lba as usize * BLOCK..][..len]);
                Ok(())
            }
        };
        self.ended.push(Completion { tag: request.tag, outcome, data: Returned::Carried(buf) });
        Ok(())
    }

    fn command(&mut self, _ring: &mut Ring, command: Command) -> Result<(), Untaken> {
        let Command { tag, sqe, data, metadata, .. } = command;
        let zone = (sqe.slba() / STRIDE) as usize;
        let mut medium = self.medium.lock().expect("nobody has panicked");
        let outcome = match (sqe.opcode, &data) {
            (ZONE_APPEND, Bufs::One(buf)) => {
                assert_eq!((sqe.slba() % STRIDE, sqe.nlb() as usize * BLOCK), (0, buf.len()));
                self.append(&mut medium, zone, buf)
            }
            (ZONE_MANAGEMENT_SEND, Bufs::None) => self.manage(&mut medium, zone, &sqe),
            (opcode, _) => panic!("opcode {opcode:#x}"),
        };
        let outcome = outcome.map_err(Failure::Device);
        self.native.push(Completed { tag, outcome, data, metadata });
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        // In reverse.
        out.list.extend(self.ended.drain(..).rev());
        out.native.extend(self.native.drain(..).rev());
    }

    fn in_flight(&self) -> usize {
        self.ended.len() + self.native.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.in_flight() > 0 { Arm::Busy } else { Arm::Armed }
    }
}

#[test]
fn appends_are_found_where_the_drive_has_put_them() {
    for (more, chores) in [("--bs 5k", (6, 0)), ("--bs 4k", (6, 9)), ("--bs 5k --queues 2 --qd 3", (6, 0))] {
        let drive = Drive::new(Lie::None);
        let units = if more.contains("4k") { 6 } else { 5 };
        let report = drive.bench(&format!("--rw append --verify --qd 16 --count {} {more}", 9 * units + 36));
        assert!(report.success(), "{more}: {:?}", report.problems);
        let verify = report.verify.expect("asked for");
        assert!(verify.checked > 0 && verify.read_back && verify.miscompares == 0, "{more}: {verify:?}");
        let (resets, finishes) = drive.chores();
        assert!(resets >= chores.0 && finishes >= chores.1, "{more}: {resets} resets, {finishes} finishes");
        assert_eq!(finishes == 0, chores.1 == 0, "{more}: zones that are full are not finished");
    }
}

#[test]
fn zones_are_written_in_sequence_at_any_depth() {
    for more in ["--bs 5k --qd 8", "--bs 4k --qd 1", "--bs 512 --qd 8 --queues 3"] {
        let drive = Drive::new(Lie::None);
        let report = drive.bench(&format!("--rw write --verify --count 400 {more}"));
        assert!(report.success(), "{more}: {:?}", report.problems);
        assert!(report.verify.expect("asked for").checked > 0, "{more}");
    }
}

#[test]
fn addresses_that_cannot_be_end_the_run() {
    for (lie, why) in [(Lie::Twice, "where another append has gone"), (Lie::NextZone, "not in what was appended")] {
        let report = Drive::new(lie).bench("--rw append --bs 5k --size 32k --count 20");
        assert_eq!((report.ended_by, report.success()), (Ending::Errors, false), "{lie:?}");
        assert!(report.problems[0].contains(why), "{lie:?}: {:?}", report.problems);
    }
}

#[test]
fn blocks_that_are_elsewhere_are_miscompares() {
    let report = Drive::new(Lie::Swapped).bench("--rw append --bs 5k --size 32k --verify --count 4");
    assert_eq!((report.ended_by, report.success()), (Ending::Miscompare, false));
    assert!(report.problems[0].contains("generation"), "{:?}", report.problems);
    // Without a look at them nobody knows.
    assert!(Drive::new(Lie::Swapped).bench("--rw append --bs 5k --size 32k --count 4").success());
}

#[test]
fn a_zone_that_is_not_reset_ends_the_run() {
    let report = Drive::new(Lie::NoReset).bench("--rw append --bs 5k --count 100");
    assert_eq!((report.ended_by, report.success()), (Ending::Errors, false));
    assert!(report.problems.iter().any(|problem| problem.contains("is not reset: the device answered")));
}
