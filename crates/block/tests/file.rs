//! Files against the model, what is said about images that cannot be served, and errors of the medium.

mod common;

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::{
    Model, Rig, Way, bounded, config, drains, histories, pattern, play, refuses_what_is_wrong, ring, within_transfer,
};
use machine::os::{self, IO_ERROR};
use proptest::prelude::*;
use qpair_block::file::{FileDevice, FileOptions};
use qpair_block::path;
use qpair_block::spec::{Defaults, Spec};
use qpair_block::{Data, Device, Failure, Op, OpenError, Range};
use tempfile::TempDir;

/// A directory on a disk; the usual temporary one may be in memory, where there is no direct I/O.
fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// A directory in memory, where direct I/O is not possible, or the usual temporary one.
fn other_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

fn image(dir: &TempDir, name: &str, bytes: u64) -> PathBuf {
    let path = dir.path().join(name);
    File::create(&path).and_then(|file| file.set_len(bytes)).expect("an image");
    path
}

fn open(path: &Path, options: FileOptions) -> Result<FileDevice, OpenError> {
    FileDevice::open(path, &options)
}

fn sized(size: u64) -> FileOptions {
    FileOptions { size: Some(size), ..FileOptions::default() }
}

/// The ways to a file that there are here and on this kind of ring, polled ones among them.
fn ways() -> Vec<FileOptions> {
    let dir = dir();
    let image = image(&dir, "any.img", 4096);
    let queue = |way| Ok::<_, Box<dyn Error>>(open(&image, way)?.open_queue(&mut ring())?);
    let there = |way: &FileOptions| queue(*way).inspect_err(|error| eprintln!("SKIPPED: {error}")).is_ok();
    let plain = path::Path::ALL.into_iter().filter(|way| !way.is_native()).map(by);
    plain.chain([SQPOLL, IOPOLL, BOTH].map(polled)).filter(there).collect()
}

const SQPOLL: path::Polling = path::Polling { iopoll: false, sqpoll: true };
const IOPOLL: path::Polling = path::Polling { iopoll: true, sqpoll: false };
const BOTH: path::Polling = path::Polling { iopoll: true, sqpoll: true };

fn polled(polling: path::Polling) -> FileOptions {
    FileOptions { polling, ..FileOptions::default() }
}

fn by(way: path::Path) -> FileOptions {
    FileOptions { path: Some(way), ..FileOptions::default() }
}

const READ_ONLY: FileOptions = FileOptions {
    size: None,
    block_bytes: None,
    read_only: true,
    in_use: false,
    uuid: None,
    path: None,
    polling: path::Polling { iopoll: false, sqpoll: false },
};

/// Why and what to do, in one text.
fn error(path: &Path, options: FileOptions) -> String {
    match open(path, options) {
        Ok(_) => panic!("{} opens with {options:?}", path.display()),
        Err(error) => error.to_string(),
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn histories_with_small_blocks(history in histories(1003, 30)) {
        for dir in [dir(), other_dir()] {
            let path = image(&dir, "disk.img", 1003 * 512);
            let device = open(&path, FileOptions::default()).expect("an image");
            let mut model = Model::new(&device, false);
            play(&device, &mut model, &history);
            device.close().expect("closes");
            drop(device);
            let again = open(&path, READ_ONLY).expect("an image");
            play(&again, &mut model, &[]);
        }
    }

    #[test]
    fn histories_with_large_blocks(history in histories(150, 30)) {
        let history: Vec<_> = history.into_iter().map(within_transfer).collect();
        for way in ways().into_iter().chain([FileOptions::default()]) {
            let dir = dir();
            let options = FileOptions { block_bytes: Some(4096), size: Some(150 * 4096), ..way };
            let device = open(&dir.path().join("new.img"), options).expect("creates it");
            play(&device, &mut Model::new(&device, false), &history);
        }
    }
}

#[test]
fn wrong_requests_and_a_full_queue() {
    let dir = dir();
    let path = image(&dir, "disk.img", 1 << 20);
    let device = open(&path, FileOptions::default()).expect("an image");
    refuses_what_is_wrong(&device);
    bounded(&device, 1000);
    drains(&device);
    drop(device);
    for way in ways() {
        let device = open(&image(&dir, "way.img", 1 << 20), way).expect("an image");
        assert_eq!(device.path(), way.path.or(Some(path::Path::Uring)));
        refuses_what_is_wrong(&device);
        bounded(&device, 1000);
        drains(&device);
    }

    let device = open(&path, READ_ONLY).expect("an image");
    refuses_what_is_wrong(&device);
    let mut rig = Rig::new(&device);
    let range = Range { lba: 0, blocks: 1 };
    assert_eq!(rig.write(0, 1, &[1; 512], false, Way::Carried), Err(Failure::ReadOnly));
    assert_eq!(rig.run(Op::Deallocate(range), Data::None).0, Err(Failure::ReadOnly));
    assert_eq!(rig.run(Op::Flush, Data::None).0, Ok(()));
    assert!(device.info().features.read_only && !device.info().features.volatile_cache);
}

#[test]
fn an_image_is_created_thin_and_kept() {
    let dir = dir();
    let path = dir.path().join("new.img");
    let device = open(&path, sized(1 << 30)).expect("creates it");
    assert_eq!(fs::metadata(&path).expect("it is there").len(), 1 << 30);
    let info = device.info();
    assert_eq!((info.kind, info.block_bytes, info.blocks, info.preferred_blocks), ("file", 512, 1 << 21, 8));
    assert!(info.features.volatile_cache && info.features.thin && !info.features.lends);
    assert!(device.used_blocks() < 1024, "{} of {} used", device.used_blocks(), info.blocks);
    let identity = info.identity;
    let mut rig = Rig::new(&device);
    let bytes = pattern(3, 64 << 10);
    rig.write(100_000, 128, &bytes, true, Way::Carried).expect("a write");
    assert!(device.used_blocks() >= 128);
    drop((rig, device));

    for options in [FileOptions::default(), sized(1 << 30), READ_ONLY] {
        let device = open(&path, options).expect("it is there");
        assert_eq!(device.info().identity, identity, "the same disk as before");
        assert_eq!(Rig::new(&device).read(100_000, 64 << 10, 128, Way::Carried), Ok(bytes.clone()));
    }
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    let dir = dir();
    let path = image(&dir, "empty.img", 0);
    assert!(error(&path, FileOptions::default()).contains("--size 1GiB"));
    assert!(error(&path, READ_ONLY).contains("is empty"));
    assert_eq!(open(&path, sized(8192)).expect("gets a size").info().blocks, 16);
}

#[test]
fn images_that_cannot_be_served() {
    let dir = dir();
    let missing = dir.path().join("missing.img");
    assert!(error(&missing, FileOptions::default()).contains("to create it, give it a size"));
    assert!(error(&missing, READ_ONLY).contains("no such file"));
    assert!(error(&missing, sized(1000)).contains("1000 bytes is not a whole number of 512-byte blocks"));
    assert!(error(&missing, sized(0)).contains("is empty"));
    assert!(!missing.exists(), "nothing is left behind");
    assert!(error(&dir.path().join("no/where.img"), sized(4096)).contains("mkdir "));

    let short = image(&dir, "short.img", 4096);
    let text = error(&short, sized(1 << 20));
    assert!(
        text.contains("4096 bytes (4 KiB), not 1048576 (1 MiB)") && text.contains("make it larger first: "),
        "{text}"
    );
    assert!(error(&short, sized(2048)).contains("not cut off"));
    assert_eq!(fs::metadata(&short).expect("it is there").len(), 4096);

    let odd = image(&dir, "odd.img", 4100);
    assert!(error(&odd, FileOptions::default()).contains(&os::length_command(&odd, 4608)));
    let large = FileOptions { block_bytes: Some(4096), ..FileOptions::default() };
    assert!(error(&odd, large).contains(&os::length_command(&odd, 8192)));

    assert!(error(dir.path(), FileOptions::default()).contains("this is a directory"));
    assert!(
        error(&odd, by(path::Path::Ioctl)).contains("the path ioctl does not lead there: it needs an NVMe namespace")
    );
    assert!(error(&short.join("x"), FileOptions::default()).contains("part of the path is a file"));
    if cfg!(unix) && Path::new("/dev/full").exists() {
        assert!(error(Path::new("/dev/full"), FileOptions::default()).contains("neither a regular file"));
    }
    // The size that no file system here takes: the file that was made for it goes again.
    let huge = dir.path().join("huge.img");
    assert!(error(&huge, sized((1 << 63) - 512)).contains("cannot be made"));
    assert!(!huge.exists(), "nothing is left behind");
}

#[test]
fn permissions() {
    let dir = dir();
    let path = image(&dir, "disk.img", 4096);
    let mut permissions = fs::metadata(&path).expect("it is there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("our own file");
    if File::options().write(true).open(&path).is_ok() {
        eprintln!("SKIPPED permissions: this user may write everything");
        return;
    }
    assert!(error(&path, FileOptions::default()).contains("add ,ro"));
    assert!(open(&path, READ_ONLY).is_ok());
}

#[test]
fn one_server_writes_or_many_read() {
    let dir = dir();
    let path = image(&dir, "disk.img", 4096);
    let writer = open(&path, FileOptions::default()).expect("an image");
    for options in [FileOptions::default(), READ_ONLY] {
        assert!(error(&path, options).contains("has locked it"));
    }
    drop(writer);
    let readers = [open(&path, READ_ONLY), open(&path, READ_ONLY)];
    assert!(readers.iter().all(Result::is_ok));
    assert!(error(&path, FileOptions::default()).contains("has locked it"));
    drop(readers);
    assert!(open(&path, FileOptions::default()).is_ok());
}

#[test]
fn every_path_reads_what_every_other_wrote() {
    for dir in [dir(), other_dir()] {
        let image = image(&dir, "disk.img", 1 << 20);
        for (writer, seed) in ways().into_iter().zip(1..) {
            let bytes = pattern(seed, 64 << 10);
            let device = open(&image, writer).expect("an image");
            assert_eq!(Rig::new(&device).write(100, 128, &bytes, seed % 2 == 0, Way::Carried), Ok(()));
            drop(device);
            for reader in ways() {
                let device = open(&image, reader).expect("an image");
                let read = Rig::new(&device).read(100, 64 << 10, 128, Way::Carried);
                assert!(read.is_ok_and(|read| read == bytes), "{writer:?} wrote, {reader:?} reads");
            }
        }
    }
}

/// Whether there are queues for polling is the machine's to say; `lab/tests/blocks.sh` has devices with and without.
#[test]
fn what_cannot_be_polled_names_what_it_needs() {
    let dir = dir();
    let path = image(&dir, "disk.img", 1 << 20);
    let said = error(&path, FileOptions { path: Some(path::Path::Threads), ..polled(SQPOLL) });
    assert!(said.contains("sqpoll is for the paths uring and uring-cmd, not for threads"), "{said}");
    let buffered = image(&dir, "buffered.img", 4096);
    let said = error(&buffered, FileOptions { path: Some(path::Path::Sync), ..polled(BOTH) });
    assert!(said.contains("iopoll and sqpoll is for the paths"), "{said}");
    for dir in [dir, other_dir()] {
        let path = image(&dir, "disk.img", 1 << 20);
        let queues = machine::os::io_poll(&File::open(&path).expect("an image"));
        match (open(&path, polled(IOPOLL)), queues) {
            (Ok(_), Some((disk, false))) => panic!("{disk} has no queues for polling"),
            (Ok(_), _) => {}
            (Err(error), Some((disk, false))) => {
                let said = error.to_string();
                assert!(said.contains(&format!("/sys/block/{disk}/queue/io_poll is 0")), "{said}");
            }
            (Err(error), _) => assert!(error.to_string().contains("iopoll"), "{error}"),
        }
    }
}

#[test]
fn a_copy_is_another_disk() {
    let dir = dir();
    let path = dir.path().join("disk.img");
    let identity = open(&path, sized(4096)).expect("creates it").info().identity;
    let copy = dir.path().join("copy.img");
    fs::copy(&path, &copy).expect("copies");
    assert_ne!(open(&copy, FileOptions::default()).expect("an image").info().identity, identity);
    assert_eq!(open(&path, FileOptions::default()).expect("an image").info().identity, identity);
}

#[test]
fn a_file_that_shrinks_gives_errors_and_no_zeros() {
    for dir in [dir(), other_dir()] {
        let path = image(&dir, "disk.img", 1 << 20);
        let device = open(&path, FileOptions::default()).expect("an image");
        let mut rig = Rig::new(&device);
        File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 19)).expect("cuts");
        assert_eq!(rig.read(0, 4096, 8, Way::Carried), Ok(vec![0; 4096]));
        assert_eq!(rig.read(1024, 512, 1, Way::Carried), Err(Failure::Host(IO_ERROR)));
        assert_eq!(rig.read(1020, 4096, 8, Way::Carried), Err(Failure::Host(IO_ERROR)), "only its start is there");
        assert_eq!(rig.pool.free(), 300, "the buffers of failed reads came back");

        // Zeros do not bring back what is lost, and a write does as on any file.
        for deallocate in [false, true] {
            let range = Range { lba: 1020, blocks: 100 };
            assert_eq!(rig.run(Op::WriteZeroes { range, fua: true, deallocate }, Data::None).0, Ok(()));
        }
        assert_eq!(rig.run(Op::Deallocate(Range { lba: 0, blocks: 2048 }), Data::None).0, Ok(()));
        let bytes = pattern(9, 4096);
        assert_eq!(rig.write(1536, 8, &bytes, true, Way::Carried), Ok(()));
        assert_eq!(rig.read(1536, 4096, 8, Way::Carried), Ok(bytes));
        assert_eq!(rig.read(1024, 4096, 8, Way::Carried), Ok(vec![0; 4096]));
        assert_eq!(rig.read(1544, 512, 1, Way::Carried), Err(Failure::Host(IO_ERROR)), "it ends with the last write");
        assert_eq!(rig.run(Op::Flush, Data::None).0, Ok(()));
    }
}

#[test]
fn direct_where_the_file_system_can() {
    let dir = dir();
    let path = image(&dir, "disk.img", 1 << 20);
    let options = FileOptions { block_bytes: Some(4096), ..FileOptions::default() };
    if !open(&path, options).expect("an image").is_direct() {
        eprintln!("SKIPPED direct I/O: not possible in {}", dir.path().display());
    }
}

#[test]
fn through_a_specification() {
    let dir = dir();
    let path = dir.path().join("a,b.img");
    let text = format!("{},bs=4096", path.display().to_string().replace(',', ",,"));
    let spec: Spec = text.parse().expect("a specification");
    let open = |defaults: Defaults| spec.open(&defaults).map(|device| device.info().clone());
    assert!(open(Defaults::default()).is_err());
    let info = open(Defaults { size: Some(1 << 20), ..Defaults::default() }).expect("creates it");
    assert_eq!((info.block_bytes, info.blocks, info.name.as_str()), (4096, 256, path.to_str().expect("text")));
    let info = open(Defaults { block_bytes: Some(512), read_only: true, ..Defaults::default() }).expect("opens it");
    assert_eq!((info.block_bytes, info.features.read_only), (4096, true), "its own option goes first");
    let info = open(Defaults { size: Some(1 << 30), ..Defaults::default() }).expect("opens it");
    assert_eq!(info.blocks, 256, "what is there has its size");

    let ram: Spec = "ram:1MiB".parse().expect("a specification");
    let defaults = Defaults { size: Some(5), block_bytes: Some(4096), ..Defaults::default() };
    let device = ram.open(&defaults).expect("a small disk");
    assert_eq!((device.info().kind, device.info().blocks), ("ram", 256));
    let null: Spec = "null:1TiB,uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a specification");
    let device = null.open(&Defaults::default()).expect("any size");
    assert_eq!((device.info().kind, device.info().bytes()), ("null", 1 << 40));
    assert_eq!(format!("{:?}", device.info().identity), "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
    assert!("ram:1000".parse::<Spec>().expect("a specification").open(&Defaults::default()).is_err());
}

#[test]
fn a_file_grows_while_it_is_served() {
    let dir = dir();
    let path = image(&dir, "disk.img", 1 << 20);
    let device = open(&path, FileOptions::default()).expect("an image");
    let mut rig = Rig::new(&device);
    let last = pattern(9, 512);
    assert_eq!(rig.read(2048, 512, 1, Way::Carried), Err(Failure::OutOfRange));
    assert_eq!(device.refresh(None).expect("nothing has happened"), 2048);

    // Made longer by somebody else: not before it was looked at.
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(2 << 20)).expect("longer");
    assert_eq!((device.blocks(), rig.read(2048, 512, 1, Way::Carried)), (2048, Err(Failure::OutOfRange)));
    assert_eq!(device.refresh(None).expect("it is longer"), 4096);
    rig.write(4095, 1, &last, false, Way::Carried).expect("the open queue goes by the new size");

    // Made longer here, data and all.
    assert_eq!(device.refresh(Some(3 << 20)).expect("it can be made longer"), 6144);
    assert_eq!(fs::metadata(&path).expect("it is there").len(), 3 << 20);
    assert_eq!(
        (rig.read(4095, 512, 1, Way::Carried), rig.read(6143, 512, 1, Way::Carried)),
        (Ok(last), Ok(vec![0; 512]))
    );
    assert_eq!((device.blocks(), device.info().blocks), (6144, 2048));

    let says = |want, part: &str| {
        let error = device.refresh(want).expect_err("not possible").to_string();
        assert!(error.contains(part) && device.blocks() == 6144, "{error}");
    };
    says(Some(1 << 20), "it has 3 MiB, not 1 MiB");
    says(Some((3 << 20) + 1), "not a whole number of 512-byte blocks");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len((4 << 20) + 1)).expect("longer");
    says(None, &os::length_command(&path, 4_194_816));
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(1 << 20)).expect("shorter");
    says(None, "it has 1 MiB now, and 3 MiB are served");
    drop((rig, device));

    let device = open(&path, READ_ONLY).expect("an image");
    let error = device.refresh(Some(2 << 20)).expect_err("read-only").to_string();
    assert!(error.contains("read-only"), "{error}");
}

#[cfg(unix)]
#[test]
fn state_has_a_place_beside_the_image_wherever_it_was_named_from() {
    let dir = dir();
    let path = image(&dir, "disk.img", 1 << 20);
    let link = dir.path().join("link.img");
    std::os::unix::fs::symlink(&path, &link).expect("links");
    let place = open(&link, FileOptions::default()).expect("opens").sidecar("reservations");
    let expected = path.canonicalize().expect("it is there").with_file_name("disk.img.qpair-reservations");
    assert_eq!(place.as_deref(), Some(expected.as_path()));
    assert_eq!(open(&path, READ_ONLY).expect("opens").sidecar("reservations"), None);
}
