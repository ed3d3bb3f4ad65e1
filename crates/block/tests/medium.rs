//! What a medium does to its device: it gives space back, fills up, is in use elsewhere.
//!
//! Full file systems and block devices are made on the spot (tmpfs, loop devices), which only root can do. Where that
//! is not possible the test says `SKIPPED` and why.

mod common;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Model, Rig, Way, histories, pattern, play};
use machine::os;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use qpair_block::file::{FileDevice, FileOptions};
use qpair_block::{Data, Device, Failure, Op, Range};
use tempfile::TempDir;

const ENOSPC: i32 = 28;
/// Bytes of one write in these tests, and its blocks.
const PIECE: usize = 64 << 10;
const PIECE_BLOCKS: u64 = (PIECE / 512) as u64;
/// Where the test finds its small file system when it runs itself again in a mount namespace.
const SMALL: &str = "QPAIR_TEST_SMALL_FILE_SYSTEM";

fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

fn image(path: &Path, bytes: u64) {
    File::create(path).and_then(|file| file.set_len(bytes)).expect("an image");
}

fn piece(number: u64) -> Range {
    Range { lba: number * PIECE_BLOCKS, blocks: PIECE_BLOCKS }
}

fn write(rig: &mut Rig, number: u64, fua: bool) -> Result<(), Failure> {
    rig.write(number * PIECE_BLOCKS, PIECE_BLOCKS, &pattern(number as u8, PIECE), fua, Way::Carried)
}

fn read(rig: &mut Rig, number: u64) -> Result<Vec<u8>, Failure> {
    rig.read(number * PIECE_BLOCKS, PIECE, PIECE_BLOCKS, Way::Carried)
}

fn allocated(path: &Path) -> u64 {
    File::open(path).and_then(|file| os::allocated_bytes(&file)).expect("it is there")
}

#[test]
fn deallocation_gives_space_back_and_reads_as_zeros() {
    let dir = dir();
    let path = dir.path().join("disk.img");
    image(&path, 1 << 20);
    let device = FileDevice::open(&path, &FileOptions::default()).expect("an image");
    if !device.info().features.zeros_after_deallocate {
        eprintln!("SKIPPED deallocation: no holes in files in {}", dir.path().display());
        return;
    }
    let mut rig = Rig::new(&device);
    let ways: [fn(Range) -> Op; 3] = [
        Op::Deallocate,
        |range| Op::WriteZeroes { range, fua: false, deallocate: true },
        |range| Op::WriteZeroes { range, fua: true, deallocate: true },
    ];
    for way in ways {
        write(&mut rig, 3, true).expect("a write");
        let before = allocated(&path);
        assert_eq!(rig.run(way(piece(3)), Data::None).0, Ok(()));
        assert!(allocated(&path) + PIECE as u64 <= before, "{} bytes, {before} before", allocated(&path));
        assert_eq!(read(&mut rig, 3), Ok(vec![0; PIECE]));

        // From the middle of one block of the file system to the middle of another.
        write(&mut rig, 3, true).expect("a write");
        let (range, mut left) = (Range { lba: 3 * PIECE_BLOCKS + 3, blocks: 19 }, pattern(3, PIECE));
        assert_eq!(rig.run(way(range), Data::None).0, Ok(()));
        left[3 * 512..22 * 512].fill(0);
        assert!(read(&mut rig, 3) == Ok(left), "nothing but the range is zeros");
    }
    // Zeros that are not to be deallocated keep their space, where the file system can do that.
    write(&mut rig, 3, true).expect("a write");
    let kept = Op::WriteZeroes { range: piece(3), fua: true, deallocate: false };
    assert_eq!(rig.run(kept, Data::None).0, Ok(()));
    assert_eq!(read(&mut rig, 3), Ok(vec![0; PIECE]));
}

#[test]
fn a_full_file_system_fails_writes_until_there_is_space() {
    const MOUNTED: &str = "a small file system is there";
    if let Some(small) = env::var_os(SMALL) {
        println!("{MOUNTED}");
        return fill(&PathBuf::from(small));
    }
    let dir = dir();
    // The mount is seen by this child only, and goes with it.
    let run = Command::new("unshare")
        .args(["--mount", "sh", "-c", r#"mount -t tmpfs -o size=1m none "$0" && exec "$@""#])
        .arg(dir.path())
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", "a_full_file_system_fails_writes_until_there_is_space", "--nocapture"])
        .env(SMALL, dir.path())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) => return eprintln!("SKIPPED a full file system: no unshare ({error})"),
    };
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if !out.contains(MOUNTED) {
        return eprintln!("SKIPPED a full file system: no tmpfs can be mounted ({})", err.trim());
    }
    assert!(run.status.success(), "{out}{err}");
}

/// Fills an image of 8 MiB on a file system of 1 MiB.
fn fill(dir: &Path) {
    let (path, ballast) = (dir.join("disk.img"), dir.join("ballast"));
    fs::write(&ballast, vec![1; 2 * PIECE]).expect("a small file");
    let device = FileDevice::open(&path, &FileOptions { size: Some(8 << 20), ..FileOptions::default() });
    let device = device.expect("an image takes no space until it is written");
    let mut rig = Rig::new(&device);
    let written = (0..128).take_while(|&number| write(&mut rig, number, number % 2 == 0).is_ok()).count() as u64;
    assert!((8..16).contains(&written), "{written} pieces of 64 KiB in 1 MiB");

    let full = Err(Failure::Host(ENOSPC));
    for (number, fua) in [(written, false), (written + 1, true), (100, false)] {
        assert_eq!(write(&mut rig, number, fua), full);
    }
    assert_eq!(rig.pool.free(), 300, "the buffers of failed writes came back");
    for number in 0..written {
        assert!(read(&mut rig, number) == Ok(pattern(number as u8, PIECE)), "piece {number} is as it was written");
    }
    assert_eq!(read(&mut rig, 127), Ok(vec![0; PIECE]));
    assert_eq!(write(&mut rig, 0, true), Ok(()), "what has its space is written still");
    assert_eq!(rig.run(Op::Flush, Data::None).0, Ok(()));

    // Somebody makes room; then the host itself does.
    fs::remove_file(&ballast).expect("its space is free again");
    assert_eq!((write(&mut rig, 100, false), write(&mut rig, 101, true)), (Ok(()), Ok(())));
    assert_eq!(write(&mut rig, 102, false), full);
    if device.info().features.zeros_after_deallocate {
        assert_eq!(rig.run(Op::Deallocate(piece(1)), Data::None).0, Ok(()));
        assert_eq!(write(&mut rig, 103, false), Ok(()));
        assert_eq!(read(&mut rig, 1), Ok(vec![0; PIECE]));
    }
    for number in [0, 2, written - 1, 100, 101] {
        assert!(read(&mut rig, number) == Ok(pattern(number as u8, PIECE)), "piece {number}");
    }
    drop(rig);
    device.close().expect("all of it can be synced");
}

/// A block device over a file; it is detached in the end.
struct Loop {
    path: PathBuf,
    backing: PathBuf,
    _dir: TempDir,
}

impl Loop {
    /// Or why there is none.
    fn new(bytes: u64) -> Result<Self, String> {
        let dir = dir();
        let backing = dir.path().join("backing.img");
        image(&backing, bytes);
        let run = Command::new("losetup").args(["--find", "--show"]).arg(&backing).output();
        let run = run.map_err(|error| format!("no losetup ({error})"))?;
        if !run.status.success() {
            return Err(format!("no loop device ({})", String::from_utf8_lossy(&run.stderr).trim()));
        }
        let path = PathBuf::from(String::from_utf8_lossy(&run.stdout).trim());
        Ok(Self { path, backing, _dir: dir })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}

#[test]
fn a_block_device_is_claimed_zeroed_and_freed() {
    let disk = match Loop::new(1003 * 512) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("SKIPPED a block device: {why}"),
    };
    let open = |read_only| FileDevice::open(&disk.path, &FileOptions { read_only, ..FileOptions::default() });
    let device = open(false).expect("a block device");
    let info = device.info().clone();
    assert_eq!((info.kind, info.block_bytes, info.blocks), ("block", 512, 1003));
    assert!(!info.features.thin && info.features.volatile_cache);

    let error = open(false).err().expect("it is claimed").to_string();
    assert!(error.contains("It is in use: mounted"), "{error}");
    let error = open(true).err().expect("it is locked").to_string();
    assert!(error.contains("has locked it"), "{error}");

    let mut model = Model::new(&device, false);
    let mut runner = TestRunner::deterministic();
    for _ in 0..4 {
        let history = histories(1003, 30).new_tree(&mut runner).expect("a history").current();
        play(&device, &mut model, &history);
    }
    let mut rig = Rig::new(&device);
    write(&mut rig, 5, true).expect("a write");
    let before = allocated(&disk.backing);
    assert_eq!(rig.run(Op::Deallocate(piece(5)), Data::None).0, Ok(()));
    if info.features.zeros_after_deallocate {
        assert!(allocated(&disk.backing) + PIECE as u64 <= before, "the space is back where it came from");
        assert_eq!(read(&mut rig, 5), Ok(vec![0; PIECE]));
    }
    device.close().expect("synced");
    drop((rig, device));

    // A mount claims it in the same way.
    let claim = os::OpenMode { claim: true, ..os::OpenMode::default() };
    let mounted = os::open_data(&disk.path, claim).expect("nobody has it");
    assert!(open(false).is_err());
    let reader = open(true).expect("reading disturbs nobody");
    assert!(!reader.info().features.zeros_after_deallocate && reader.info().features.read_only);
    drop((reader, mounted));
    open(false).expect("it is free again");
}
