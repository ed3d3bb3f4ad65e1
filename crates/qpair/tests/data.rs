//! `qpair read`, `write` and `copy` as programs: on files, on memory, on devices that fail, and on a served namespace.

mod common;

use std::fs;
#[cfg(unix)]
use std::io::Read;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Serve, qpair, says_of, says_of_missing};
#[cfg(unix)]
use common::{eventually, signal};
use tempfile::TempDir;

const NQN: &str = "nqn.2026-01.io.qpair:data-test";

/// What a run came to: its exit code, what it printed, what it said.
fn run(arguments: &[&str]) -> (i32, Vec<u8>, String) {
    ended(&qpair(arguments).output().expect("qpair starts"))
}

fn ended(output: &Output) -> (i32, Vec<u8>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it ends by itself"), output.stdout.clone(), said)
}

/// A run that succeeds; what it printed.
fn succeeds(arguments: &[&str]) -> Vec<u8> {
    let (code, printed, said) = run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    printed
}

/// A run that fails with this code and says all of this.
fn fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let (found, _, said) = run(arguments);
    assert_eq!(found, code, "{arguments:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{arguments:?} does not say {part:?}: {said}");
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("plain letters").to_owned()
    }

    /// A file of bytes that tell where they belong.
    fn file(&self, name: &str, bytes: usize) -> String {
        fs::write(self.path(name), pattern(bytes)).expect("a file");
        self.name(name)
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 512 + at % 7) as u8).collect()
}

fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    fs::read(path).expect("a file")
}

#[test]
fn blocks_of_a_file_go_to_a_file_to_standard_output_and_into_hexadecimal() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 1 << 20);
    let part = folder.name("part.img");
    succeeds(&["read", &disk, "--lba", "3", "--count", "0x10", "--to", &part, "--bs", "1k", "--qd", "3"]);
    assert_eq!(bytes(&part), pattern(1 << 20)[3 * 512..19 * 512]);
    assert_eq!(succeeds(&["read", &disk, "--size", "1MiB", "--to", "-"]), pattern(1 << 20));
    let text = String::from_utf8(succeeds(&["read", &disk, "--offset", "1k"])).expect("text");
    assert!(text.starts_with("00000400  04 05 06 07 08 02 03 04  05 "), "{text}");
    assert!(text.ends_with("\n00000600\n") && text.lines().count() == 33, "{text}");
    let text = succeeds(&["read", "ram:1MiB", "--count", "8"]);
    assert_eq!(String::from_utf8_lossy(&text).lines().nth(1), Some("*"));
}

#[test]
fn what_is_asked_for_wrongly_is_refused_before_anything_is_done() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 4096);
    let odd = folder.file("odd.bin", 700);
    for (arguments, parts) in [
        (&["read", "DISK", "--lba", "8"] as &[&str], &["no blocks to work on from 8", "the last one is 7"] as &[&str]),
        (&["read", "DISK", "--lba", "7", "--count", "2"], &["beyond the end"]),
        (&["read", "DISK", "--bs", "100"], &["not a whole number of 512-byte blocks"]),
        (&["read", "DISK", "--bs", "1GiB"], &["more than the 131072 that the device takes"]),
        (&["read", "DISK", "--lba", "1", "--offset", "1k"], &["cannot be used with"]),
        (&["read", "DISK", "--lba", "one"], &["`one` is not a number"]),
        (&["write", "DISK"], &["--from"]),
        (&["write", "DISK", "--fill", "0"], &["does not say how many"]),
        (&["write", "DISK", "--fill", "300", "--count", "1"], &["not a byte"]),
        (&["write", "DISK", "--from", "ODD"], &["700 bytes, which is not a whole number", "--pad"]),
        (&["write", "DISK", "--from", "ODD", "--count", "2"], &["700 bytes, fewer than the 1024"]),
        (&["write", "DISK", "--from", "DISK", "--lba", "1"], &["beyond the end"]),
        (&["copy", "DISK", "DISK"], &["the same device and overlap"]),
        (&["copy", "DISK", "ram:2k"], &["beyond the end"]),
        (&["copy", "DISK", "ram:1MiB,bs=4096", "--count", "7"], &["not a whole number of the 4096-byte", "--size 0"]),
    ] {
        let arguments: Vec<&str> =
            arguments.iter().map(|word| word.replace("DISK", &disk).replace("ODD", &odd).leak() as &str).collect();
        fails(&arguments, 2, parts);
    }
    assert_eq!(bytes(&disk), pattern(4096));
    let missing = format!("cannot read /does/not/exist: {}", says_of_missing("/does/not/exist"));
    fails(&["read", "/does/not/exist"], 1, &["there is no such file"]);
    fails(&["write", &disk, "--from", "/does/not/exist"], 1, &[&missing]);
    fails(&["read", &disk, "--to", "/does/not/exist"], 1, &["cannot write to /does/not/exist"]);
    fails(&["read", "nvme-tcp://127.0.0.1:1/nqn.x"], 1, &["127.0.0.1"]);
}

#[test]
fn files_streams_and_bytes_are_written() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 64 << 10);
    let mut wanted = pattern(64 << 10);
    let part = folder.file("part.bin", 3000);
    succeeds(&["write", &disk, "--lba", "10", "--from", &part, "--pad", "--bs", "1k"]);
    wanted[5120..8120].copy_from_slice(&pattern(3000));
    wanted[8120..8192].fill(0);
    assert_eq!(bytes(&disk), wanted);
    succeeds(&["write", &disk, "--lba", "0", "--count", "9", "--fill", "0xa5", "--fua"]);
    wanted[..9 * 512].fill(0xa5);
    let mut stream =
        qpair(&["write", &disk, "--lba", "100", "--from", "-"]).stdin(Stdio::piped()).spawn().expect("starts");
    stream.stdin.take().expect("it is piped").write_all(&[7; 2048]).expect("it reads");
    assert!(stream.wait().expect("it ends").success());
    wanted[51200..53248].fill(7);
    assert_eq!(bytes(&disk), wanted);
    // Too much: what fits is there, and it says so.
    let child =
        qpair(&["write", &disk, "--lba", "126", "--from", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("starts");
    child.stdin.take().expect("it is piped").write_all(&[8; 2048]).expect("it reads");
    let (code, _, said) = ended(&child.wait_with_output().expect("it ends"));
    assert!(code == 2 && said.contains("does not end before") && said.contains("blocks 126 to 127 of"), "{said}");
    wanted[126 * 512..].fill(8);
    assert_eq!(bytes(&disk), wanted);
    fails(&["write", &format!("{disk},ro"), "--fill", "0", "--count", "1"], 4, &["the device is read-only"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 4096);
    let new = folder.name("new.img");
    let said =
        String::from_utf8(succeeds(&["write", &disk, "--fill", "0", "--count", "2", "--dry-run"])).expect("text");
    assert!(said.contains("would write 1 KiB") && said.contains("blocks 0 to 1"), "{said}");
    let said = String::from_utf8(succeeds(&["copy", &disk, &new, "--dry-run"])).expect("text");
    assert!(said.contains("would create"), "{said}");
    let said = String::from_utf8(succeeds(&["copy", &disk, "ram:1MiB", "--to-lba", "5", "--dry-run"])).expect("text");
    assert!(said.contains("would copy") && said.contains("blocks 5 to 12 of ram:1MiB"), "{said}");
    assert!(bytes(&disk) == pattern(4096) && !Path::new(&new).exists());
}

#[test]
fn copies_are_equal_whatever_the_block_sizes() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 5 << 20);
    let copy = folder.name("copy.img");
    let (_, _, said) = run(&["copy", &disk, &format!("{copy},bs=4096"), "--verify", "--qd", "5", "--bs", "24k"]);
    assert!(said.contains("compared, all equal: 5 MiB"), "{said}");
    assert_eq!(bytes(&copy), pattern(5 << 20));
    succeeds(&["copy", &disk, &copy, "--lba", "8", "--count", "4", "--to-offset", "1MiB", "-q"]);
    let mut wanted = pattern(5 << 20);
    wanted.copy_within(8 * 512..12 * 512, 1 << 20);
    assert_eq!(bytes(&copy), wanted);
    // Within one device, to where it does not overlap.
    succeeds(&["copy", &copy, &copy, "--count", "2", "--to-lba", "2"]);
    wanted.copy_within(0..1024, 1024);
    assert_eq!(bytes(&copy), wanted);
    succeeds(&["copy", "null:8MiB", "ram:8MiB,bs=4096", "--verify", "--qd", "1"]);
}

#[test]
fn a_device_that_fails_in_the_middle_is_told_with_what_was_done() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 1 << 20);
    let at_100 = format!("fault:{disk},rule=any:blocks=100-100:status=2/81/dnr");
    let far = &["cannot read blocks 96 to 111", "(2h/81h, do not retry)"];
    fails(&["read", &at_100, "--size", "1MiB", "--bs", "8k", "--to", "-"], 3, far);
    let (_, printed, said) = run(&["read", &at_100, "--size", "1MiB", "--bs", "8k", "--to", "-"]);
    assert_eq!(printed, pattern(1 << 20)[..96 * 512], "all in front of it");
    assert!(said.contains("Read before that: blocks 0 to 95"), "{said}");
    let full = format!("fault:{},size=1MiB,rule=write:blocks=1000:error=ENOSPC", folder.name("full.img"));
    let full = full.replace("blocks=1000:", "blocks=1000-2047:");
    fails(
        &["copy", &disk, &full, "--bs", "64k", "--qd", "4"],
        1,
        &[
            "cannot write blocks 896 to 1023",
            &says_of("ENOSPC"),
            "Copied before that: 448 KiB of 1 MiB, to blocks 0 to 895 of",
            "Blocks behind them may be copied or not.",
        ],
    );
    assert_eq!(bytes(folder.path("full.img"))[..448 << 10], pattern(1 << 20)[..448 << 10]);
    fails(&["write", "fault:ram:1MiB,rule=flush:error=EIO", "--fill", "1", "--count", "8"], 1, &["cannot flush"]);
    // Something else is read back than was written: the second look at the same block fails.
    let lost = "fault:ram:1MiB,rule=read:blocks=9-9:error=EIO";
    fails(&["copy", &disk, lost, "--verify"], 1, &["cannot read blocks 0 to 255 of", "back", "All is copied."]);
}

#[test]
fn a_full_disk_is_told() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("SKIPPED a full disk: there is no /dev/full");
        return;
    };
    let output = qpair(&["read", "ram:1MiB", "--size", "1MiB", "--to", "-"]).stdout(full).output().expect("starts");
    let (code, _, said) = ended(&output);
    assert!(code == 1 && said.contains(&says_of("ENOSPC")), "{code} {said}");
}

#[test]
fn a_served_namespace_is_copied_there_and_back() {
    let served = Serve::start(&["ram:8MiB", "ram:8MiB,bs=4096", "--listen", "127.0.0.1:0", "--nqn", NQN]);
    let (one, two) = (served.uri(NQN, 1), served.uri(NQN, 2));
    let folder = Folder::new();
    let disk = folder.file("disk.img", 8 << 20);
    succeeds(&["copy", &disk, &one, "--verify", "--qd", "20"]);
    succeeds(&["copy", &one, &two, "--verify", "--bs", "16k"]);
    let back = folder.name("back.img");
    succeeds(&["copy", &two, &back, "-q"]);
    assert!(bytes(&back) == pattern(8 << 20));
    assert!(succeeds(&["read", &two, "--size", "8M", "--to", "-", "--qd", "3"]) == pattern(8 << 20));
    fails(&["copy", &one, &one, "--to-lba", "1", "--count", "2"], 2, &["overlap"]);
    served.stop();
}

#[test]
#[cfg(unix)]
fn ctrl_c_says_how_far_it_got() {
    let folder = Folder::new();
    let disk = folder.file("disk.img", 1 << 20);
    // The first pieces are copied; then one never ends.
    let target = format!("fault:{},size=1MiB,rule=write:blocks=1024-1024:drop", folder.name("copy.img"));
    let child = qpair(&["copy", &disk, &target, "--bs", "64k", "--qd", "2"]).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("it starts");
    let begins_with = |wanted: &[u8]| fs::read(folder.path("copy.img")).is_ok_and(|found| found.starts_with(wanted));
    eventually("the first half", || begins_with(&pattern(512 << 10)));
    signal(child.id(), "INT");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{said}");
    assert!(said.contains("stopped") && said.contains("Copied before that: 512 KiB of 1 MiB"), "{said}");
}
