//! Restart, copy, move, and places where nothing can be stored; with extended attributes and with sidecars.

use super::*;
use proptest::prelude::*;

fn image(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, [0; 4096]).expect("a small file");
    path
}

fn identify(path: &Path, attributes: bool, read_only: bool, given: Option<Uuid>) -> (Uuid, Origin) {
    let file = File::options().read(true).write(!read_only).open(path).expect("opens");
    let subject = Subject { path, file: &file, read_only, attributes };
    let (identity, origin) = subject.identify(given).expect("a file has a key");
    assert_eq!(identity.uuid.as_bytes(), &identity.nguid);
    (identity.uuid, origin)
}

/// Runs a test once for each kind of place; attributes only where the file system of the temporary directory has them.
fn with_places(test: impl Fn(&Path, bool)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let probe = File::create(dir.path().join("probe")).expect("a file");
    if os::set_xattr(&probe, ATTRIBUTE, b"probe").is_ok() {
        test(dir.path(), true);
    } else {
        eprintln!("SKIP: extended attributes (none in {})", dir.path().display());
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    test(dir.path(), false);
}

/// Copies as `cp -a` does: the bytes and the extended attributes, into a new inode.
fn copy_all(from: &Path, to: &Path) {
    fs::copy(from, to).expect("copies");
    let mut value = [0; IDENTITY_RECORD_BYTES];
    let source = File::open(from).expect("opens");
    if let Ok(Some(len)) = os::get_xattr(&source, ATTRIBUTE, &mut value) {
        let target = File::options().write(true).open(to).expect("opens");
        os::set_xattr(&target, ATTRIBUTE, &value[..len]).expect("attributes are possible here");
    }
}

#[test]
fn a_restart_and_a_new_name_keep_the_identity() {
    with_places(|dir, attributes| {
        let path = image(dir, "disk.img");
        let (uuid, origin) = identify(&path, attributes, false, None);
        assert_eq!(origin, Origin::New);
        assert_eq!(identify(&path, attributes, false, None), (uuid, Origin::Stored));
        assert_eq!(identify(&path, attributes, true, None), (uuid, Origin::Stored));
        assert_eq!(with_suffix(&path, SIDECAR_SUFFIX).exists(), !attributes);

        let moved = dir.join("moved.img");
        fs::rename(&path, &moved).expect("moves");
        if !attributes {
            fs::rename(with_suffix(&path, SIDECAR_SUFFIX), with_suffix(&moved, SIDECAR_SUFFIX)).expect("moves");
        }
        assert_eq!(identify(&moved, attributes, false, None), (uuid, Origin::Stored));
    });
}

#[test]
fn a_copy_gets_its_own_identity() {
    with_places(|dir, attributes| {
        let path = image(dir, "disk.img");
        let (uuid, _) = identify(&path, attributes, false, None);
        let copy = dir.join("copy.img");
        copy_all(&path, &copy);
        if !attributes {
            fs::copy(with_suffix(&path, SIDECAR_SUFFIX), with_suffix(&copy, SIDECAR_SUFFIX)).expect("copies");
        }
        let (read_only, origin) = identify(&copy, attributes, true, None);
        assert_eq!(origin, Origin::Derived);
        assert_ne!(read_only, uuid);

        let (fresh, origin) = identify(&copy, attributes, false, None);
        assert_eq!(origin, Origin::Copy { of: uuid });
        assert_ne!(fresh, uuid);
        assert_eq!(identify(&copy, attributes, false, None), (fresh, Origin::Stored));
        assert_eq!(identify(&path, attributes, false, None), (uuid, Origin::Stored), "the original is as it was");
    });
}

#[test]
fn a_copy_without_the_record_is_new() {
    with_places(|dir, attributes| {
        let path = image(dir, "disk.img");
        let (uuid, _) = identify(&path, attributes, false, None);
        let copy = dir.join("copy.img");
        fs::write(&copy, fs::read(&path).expect("reads")).expect("writes");
        let (fresh, origin) = identify(&copy, attributes, false, None);
        assert_eq!(origin, Origin::New);
        assert_ne!(fresh, uuid);
    });
}

#[test]
fn what_the_user_gives_wins_and_stays() {
    with_places(|dir, attributes| {
        let path = image(dir, "disk.img");
        let given = Uuid::from_u128(7);
        assert_eq!(identify(&path, attributes, true, Some(given)), (given, Origin::Given));
        assert_eq!(identify(&path, attributes, true, None).1, Origin::Derived, "read-only stores nothing");
        assert_eq!(identify(&path, attributes, false, Some(given)), (given, Origin::Given));
        assert_eq!(identify(&path, attributes, false, None), (given, Origin::Stored));
    });
}

#[test]
fn a_foreign_sidecar_is_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = image(dir.path(), "disk.img");
    let sidecar = with_suffix(&path, SIDECAR_SUFFIX);
    fs::write(&sidecar, "my notes").expect("writes");
    let first = identify(&path, false, false, None);
    assert_eq!(first.1, Origin::Derived);
    assert_eq!(identify(&path, false, false, None), first, "derived again, the same again");
    assert_eq!(fs::read(&sidecar).expect("reads"), b"my notes");
    assert_eq!(identify(&path, false, false, Some(Uuid::max())).0, Uuid::max());
    assert_eq!(fs::read(&sidecar).expect("reads"), b"my notes");
}

#[test]
fn files_beside_each_other_differ() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [a, b] = ["a", "b"].map(|name| identify(&image(dir.path(), name), false, true, None));
    assert_eq!((a.1, b.1), (Origin::Derived, Origin::Derived));
    assert_ne!(a.0, b.0);
    assert_eq!(a.0.get_version_num(), 8);
}

#[test]
fn a_derived_identity_never_changes() {
    // Written down once: hosts remember these.
    let key = FileKey { inode: 12, born: Some(Duration::new(1_700_000_000, 5)) };
    let uuid = derive(b"file", &file_seed(Path::new("/x"), key));
    assert_eq!(uuid.to_string(), "8af60da7-d316-8047-a5c8-f6ca51f5bb48");
    let no_birth = FileKey { inode: 12, born: None };
    assert_ne!(uuid, derive(b"file", &file_seed(Path::new("/x"), no_birth)));
}

#[test]
fn a_drive_of_windows_is_the_same_however_its_name_is_written() {
    let key = FileKey { inode: 3, born: None };
    let seed = |name| file_seed(Path::new(name), key);
    let [name, others @ ..] = [r"\\.\PhysicalDrive3", "//./physicaldrive3", r"\\?\PHYSICALDRIVE3"];
    for other in others {
        // On other systems these are names of files, and of different ones.
        assert_eq!(seed(name) == seed(other), os::is_drive(Path::new(other)), "{other}");
    }
    assert_ne!(seed(name), seed(r"\\.\PhysicalDrive30"));
    assert!(seed(name).ends_with(name.as_bytes()), "as it was before other spellings became the same");
}

#[test]
fn block_devices_by_what_the_kernel_knows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("nvme0n1");
    let partition = disk.join("nvme0n1p2");
    fs::create_dir_all(&partition).expect("directories");
    fs::write(disk.join("serial"), "").expect("writes");
    assert_eq!(kernel_name(&disk), None);
    fs::write(disk.join("wwid"), "eui.0025\n").expect("writes");
    assert_eq!(kernel_name(&disk).as_deref(), Some("wwid eui.0025"));
    fs::write(partition.join("partition"), "2\n").expect("writes");
    fs::write(partition.join("start"), "2048\n").expect("writes");
    assert_eq!(kernel_name(&partition).as_deref(), Some("wwid eui.0025 partition 2 at 2048"));
}

#[test]
fn what_is_not_a_record() {
    let line = "qpair-identity 1 uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8 inode=5 born=1.000000002\n";
    let record: Record = line.parse().expect("a record");
    assert_eq!(record.to_string(), line);
    for (from, to) in
        [("qpair-identity", "other"), (" 1 ", " 2 "), ("inode", "node"), (".000000002", ".2"), ("=5", "=x"), ("6b", "")]
    {
        assert_eq!(line.replace(from, to).parse::<Record>(), Err(()), "{from} -> {to}");
    }
}

proptest! {
    #[test]
    fn records_survive_the_round_trip(uuid: u128, inode: u64, born: Option<(u64, u32)>) {
        let born = born.map(|(seconds, nanos)| Duration::new(seconds, nanos % 1_000_000_000));
        let record = Record { uuid: Uuid::from_u128(uuid), key: FileKey { inode, born } };
        prop_assert_eq!(record.to_string().parse(), Ok(record));
    }

    #[test]
    fn no_line_panics(line in ".{0,100}") {
        let _ = line.parse::<Record>();
    }
}
