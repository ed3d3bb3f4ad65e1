//! What the system says of threads, memory and files, against what a test can know of it.

use super::*;

#[test]
fn pinning_is_seen_by_the_thread_only() {
    let all = allowed_cpus();
    assert!(!all.is_empty());
    let last = all[all.len() - 1];
    std::thread::spawn(move || {
        pin_to(last).expect("an allowed core");
        assert_eq!(allowed_cpus(), all, "the process still has all of them");
        #[cfg(unix)]
        assert_eq!(std::thread::available_parallelism().expect("known").get(), 1);
        unpin().expect("back to all");
        #[cfg(unix)]
        assert_eq!(std::thread::available_parallelism().expect("known").get(), all.len());
    })
    .join()
    .expect("no panic");
    assert_eq!(pin_to(1 << 20).expect_err("no such core").kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn errors_of_disks_have_numbers_here_and_come_to_something() {
    let comes_to = |name: &str| disk_error(disk_error_number(name).expect("it has a number"));
    assert_eq!((comes_to("ENOSPC"), comes_to("EDQUOT")), (DiskError::Full, DiskError::Full));
    assert_eq!((comes_to("EROFS"), comes_to("EIO")), (DiskError::WriteProtected, DiskError::Medium));
    assert_eq!((comes_to("ENODEV"), disk_error(0)), (DiskError::Other, DiskError::Other));
    assert_eq!((disk_error_number("EIO"), disk_error_number("EBADNAME")), (Some(IO_ERROR), None));
    let full = io::Error::from_raw_os_error(disk_error_number("ENOSPC").expect("it has a number"));
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_file_takes_the_place_of_another_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (new, path) = (dir.path().join("new"), dir.path().join("path"));
    for text in ["one", "two"] {
        std::fs::write(&new, text).expect("a file");
        replace(&new, &path).expect("nobody uses it");
        assert!(!new.exists());
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
    }
    assert_eq!(replace(&new, &path).expect_err("there is none").kind(), io::ErrorKind::NotFound);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "two");
}

/// As a pool or a configuration is replaced that somebody has open, and a program's file by its new version.
#[test]
fn a_file_takes_the_place_of_one_that_is_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let (new, path) = (dir.path().join("new"), dir.path().join("path"));
    let text = |text: &str| text.repeat(2048);
    let readers: [Box<dyn Fn() -> File>; 3] = [
        Box::new(|| File::open(&path).expect("it is there")),
        Box::new(|| open_data(&path, OpenMode { read_only: true, ..OpenMode::default() }).expect("it is there")),
        Box::new(|| {
            let file = open_data(&path, OpenMode::default()).expect("it is there");
            assert!(lock_shared(&file).expect("locks work"));
            file
        }),
    ];
    for open in readers {
        std::fs::write(&path, text("old")).expect("nobody has it open");
        let old = open();
        std::fs::write(&new, text("new")).expect("a file");
        replace(&new, &path).expect("who has it open keeps it");
        assert!(!new.exists());
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text("new"));
        let mut kept = vec![0; text("old").len()];
        read_exact_at(&old, &mut kept, 0).expect("it is there for who has it open");
        assert_eq!(kept, text("old").as_bytes());
    }
}

#[test]
fn what_cannot_be_replaced_is_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let (new, path) = (dir.path().join("new"), dir.path().join("path"));
    std::fs::create_dir(&path).expect("a directory");
    std::fs::write(path.join("inside"), "old").expect("a file");
    std::fs::write(&new, "new").expect("a file");
    replace(&new, &path).expect_err("it is a directory");
    let text = |path: &Path| std::fs::read_to_string(path).expect("it is there");
    assert_eq!((text(&new), text(&path.join("inside"))), ("new".to_owned(), "old".to_owned()));
}

/// As virus scanners do with a file that is new.
#[cfg(windows)]
#[test]
fn a_file_that_somebody_has_alone_is_replaced_when_it_is_closed() {
    use std::os::windows::fs::OpenOptionsExt;

    let dir = tempfile::tempdir().expect("a directory");
    let (new, path) = (dir.path().join("new"), dir.path().join("path"));
    std::fs::write(&path, "old").expect("a file");
    std::fs::write(&new, "new").expect("a file");
    let alone = std::fs::OpenOptions::new().read(true).share_mode(0).open(&path).expect("nobody else has it");
    replace(&new, &path).expect_err("somebody has it alone");
    assert_eq!(std::fs::read_to_string(&new).expect("it is there"), "new");
    assert_eq!(std::io::read_to_string(&alone).expect("it is there"), "old");
    drop(alone);
    replace(&new, &path).expect("nobody has it");
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "new");
}

#[test]
fn usage_says_something_plausible() {
    let (process, thread) = (usage(), thread_usage());
    assert!(process.user + process.system >= thread.user + thread.system);
    let rss = rss_bytes().expect("the system says");
    assert!(rss > 1 << 16 && rss < 1 << 40, "{rss}");
    assert!(process.max_rss_bytes > 1 << 16);
    let (total, available) = (total_memory().expect("told"), available_memory().expect("told"));
    assert!(rss < total && available <= total && total > 1 << 24, "{available} of {total}");
}

#[test]
fn one_lock_for_one_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let open = || open_data(file.path(), OpenMode::default()).expect("it is there");
    let first = open();
    assert!(lock_exclusive(&first).expect("locks work"));
    assert!(!lock_exclusive(&open()).expect("locks work"));
    drop(first);
    assert!(lock_exclusive(&open()).expect("locks work"));

    let readers = [open(), open()];
    assert!(readers.iter().all(|reader| lock_shared(reader).expect("locks work")));
    assert!(!lock_exclusive(&open()).expect("locks work"));
    readers.iter().for_each(|reader| unlock(reader).expect("it is locked"));
    assert!(lock_exclusive(&open()).expect("locks work"));
}

#[test]
fn a_lock_keeps_nobody_from_reading_and_writing() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let open = || open_data(file.path(), OpenMode::default()).expect("it is there");
    let first = open();
    first.set_len(1 << 20).expect("some bytes");
    assert!(lock_exclusive(&first).expect("locks work"));
    let other = open();
    write_all_at(&other, b"abc", 4096, true).expect("it is written");
    let mut found = [0; 3];
    read_exact_at(&other, &mut found, 4096).expect("it is read");
    assert_eq!(&found, b"abc");
    first.set_len(1 << 10).expect("the lock is on no byte of it");
}

#[test]
fn direct_io_takes_what_is_aligned() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let create = OpenMode { create: true, ..OpenMode::default() };
    open_data(&path, create).and_then(|file| file.set_len(1 << 20)).expect("made");
    let direct = match open_data(&path, OpenMode { direct: true, ..OpenMode::default() }) {
        Ok(file) => file,
        Err(error) => return assert_eq!(kind(&error), io::ErrorKind::InvalidInput, "not on this file system"),
    };
    let Alignment { memory, offset } = direct_alignment(&direct).expect("told");
    let bytes = memory.max(offset) as usize;
    let pool = crate::region::Pool::anonymous(bytes, 2).expect("two buffers");
    let (mut out, mut back) = (pool.take().expect("one"), pool.take().expect("another"));
    out.fill(7);
    write_all_at(&direct, &out, u64::from(offset), true).expect("aligned");
    read_exact_at(&direct, &mut back, u64::from(offset)).expect("aligned");
    assert!(*back == *out);
}

#[test]
fn files_are_opened_known_and_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let missing = open_data(&path, OpenMode::default()).expect_err("not there yet");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);

    let file = open_data(&path, OpenMode { create: true, ..OpenMode::default() }).expect("created");
    file.set_len(1 << 20).expect("sparse");
    assert!(!is_block_device(&file).expect("fstat"));
    assert!(allocated_bytes(&file).expect("fstat") < 1 << 20, "sparse");
    assert_eq!(block_device_bytes(&file).expect("a file has an end too"), 1 << 20);

    let copy = folder.path().join("copy.img");
    std::fs::copy(&path, &copy).expect("copied");
    let copy = open_data(&copy, OpenMode { read_only: true, ..OpenMode::default() }).expect("there");
    let key = file_key(&file).expect("statx");
    assert_eq!(file_key(&open_data(&path, OpenMode::default()).expect("there")).expect("statx"), key);
    assert_ne!(file_key(&copy).expect("statx"), key);
    assert!(write_all_at(&copy, &[1], 0, false).is_err(), "read-only");
    assert!(!punches_holes(&copy), "nor a hole");
    // What is said of block devices has no effect on files, not even on new ones.
    let claim = OpenMode { create: true, claim: true, ..OpenMode::default() };
    assert!(open_data(&path, claim).and_then(|_| open_data(&path, claim)).is_ok());
    assert!(open_data(&folder.path().join("new.img"), claim).is_ok());

    let alignment = direct_alignment(&file).expect("statx");
    assert!(alignment.memory.is_power_of_two() && alignment.offset.is_power_of_two(), "{alignment:?}");
}

#[test]
fn extended_attributes_are_absent_set_or_unsupported() {
    let file = tempfile::tempfile().expect("a file");
    let mut value = [0; 16];
    match get_xattr(&file, "user.qpair.test", &mut value) {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        Ok(before) => {
            assert_eq!(before, None);
            set_xattr(&file, "user.qpair.test", b"0123456789").expect("as it can be read");
            assert_eq!(get_xattr(&file, "user.qpair.test", &mut value).expect("set"), Some(10));
            assert_eq!(&value[..10], b"0123456789");
        }
    }
}

#[test]
fn files_and_the_start_are_plausible() {
    match files() {
        Ok(before) => {
            let more: Vec<_> = (0..3).map(|_| tempfile::tempfile().expect("it opens")).collect();
            // Other tests open and close files at the same time; those of this one are there for certain.
            let now = files().expect("the system says");
            assert!(now.open >= more.len() as u64 && before.open > 2, "{before:?} {now:?}");
            assert!(before.most.is_none_or(|most| most >= before.open));
        }
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "Wine does not count"),
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let started = started().expect("the system says");
    assert!(started <= now + Duration::from_secs(1) && now - started < Duration::from_secs(24 * 3600), "{started:?}");
}

#[test]
fn directories_are_synced_if_they_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    sync_directory(folder.path()).expect("it is there");
    let missing = sync_directory(&folder.path().join("missing")).expect_err("it is not");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_start_of_the_machine_is_one_and_the_same() {
    assert_eq!(boot_id().expect("told"), boot_id().expect("told"));
}

#[test]
fn the_cpu_time_of_a_process_is_told_of_those_that_live() {
    let before = process_cpu(std::process::id()).expect("this one");
    assert!(process_cpu(std::process::id()).expect("this one") >= before);
    process_cpu(u32::MAX - 2).expect_err("there is none");
}

#[test]
fn a_wish_needs_a_process() {
    for pid in [0, u32::MAX, i32::MAX as u32] {
        assert!(Process::open(pid).is_err(), "{pid}");
    }
}

const RANGE_FILE_BYTES: usize = 3 << 20;

/// Zeroes a range of a patterned file in the given way and checks each byte.
pub(super) fn changes_its_range_only(way: impl Fn(&File, u64, u64) -> io::Result<()>, to_zeros: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let create = OpenMode { create: true, ..OpenMode::default() };
    let file = open_data(&folder.path().join("a"), create).expect("made");
    let pattern: Vec<u8> = (0..RANGE_FILE_BYTES).map(|at| at as u8 | 1).collect();
    write_all_at(&file, &pattern, 0, false).expect("write");
    let (offset, len) = (4096 + 512, (1 << 20) + (64 << 10) + 512);
    way(&file, offset as u64, len as u64).expect("the way works");
    let mut now = vec![0; RANGE_FILE_BYTES];
    read_exact_at(&file, &mut now, 0).expect("read");
    assert_eq!(&now[..offset], &pattern[..offset]);
    assert_eq!(&now[offset + len..], &pattern[offset + len..]);
    assert!(!to_zeros || now[offset..offset + len].iter().all(|&byte| byte == 0));
    assert_eq!(file.metadata().expect("metadata").len(), RANGE_FILE_BYTES as u64);
}

#[test]
fn every_way_of_zeroing_zeroes_the_range_and_nothing_else() {
    for (dsync, deallocate) in [(false, false), (false, true), (true, false), (true, true)] {
        changes_its_range_only(|file, offset, len| zero(file, offset, len, dsync, deallocate), true);
    }
    changes_its_range_only(deallocate, false);
    let nothing = |file: &File| zero(file, 0, 0, false, false).and_then(|()| deallocate(file, 0, 0));
    changes_its_range_only(|file, _, _| nothing(file), false);
}

#[test]
fn deallocation_gives_space_back_where_the_file_system_can() {
    const LEN: u64 = 1 << 20;
    let file = tempfile::tempfile().expect("a file");
    let free: [fn(&File) -> io::Result<()>; 2] =
        [|file| deallocate(file, 0, LEN), |file| zero(file, 0, LEN, true, true)];
    for free in free {
        write_all_at(&file, &vec![1; LEN as usize], 0, true).expect("write");
        let possible = punches_holes(&file);
        let mut now = vec![0; LEN as usize];
        read_exact_at(&file, &mut now, 0).expect("read");
        assert!(now.iter().all(|&byte| byte == 1), "asking costs no data");
        let before = allocated_bytes(&file).expect("told");
        free(&file).expect("never fails for want of support");
        let after = allocated_bytes(&file).expect("told");
        assert!(!possible || after + LEN <= before, "{before} before, {after} after");
    }
    assert_eq!(file.metadata().expect("metadata").len(), LEN);
}

#[test]
fn allocating_takes_space_for_all_of_it_and_keeps_what_is_there() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(1 << 20).expect("perhaps a hole");
    write_all_at(&file, b"here", 70_000, false).expect("write");
    for len in [2 << 20, 1 << 20, 3 << 20] {
        allocate(&file, len).expect("there is space");
        let taken = allocated_bytes(&file).expect("told");
        assert!(taken >= len, "{taken} of {len}");
    }
    assert_eq!(file.metadata().expect("told").len(), 3 << 20);
    let mut now = vec![1; 3 << 20];
    read_exact_at(&file, &mut now, 0).expect("all of it");
    assert_eq!(&now[70_000..70_004], b"here");
    now[70_000..70_004].fill(0);
    assert!(now.iter().all(|&byte| byte == 0));
}

#[test]
fn a_read_behind_the_end_says_so() {
    let file = tempfile::tempfile().expect("a file");
    write_all_at(&file, &[7; 1000], 0, false).expect("write");
    for (offset, len) in [(0, 1001), (512, 512), (1000, 1), (5000, 1)] {
        let error = read_exact_at(&file, &mut vec![0; len], offset).expect_err("not so much");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
