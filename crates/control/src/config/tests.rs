//! Every mistake with its line, files that are fine, and configurations that survive being written and read.

use std::io::Write;

use ::cache::CommandLog;
use proptest::prelude::*;

use super::*;
use crate::limits::{FILE_BYTES, HOSTS, MISTAKES};
use nvmf::limits::{LISTENERS, NAMESPACES, SUBSYSTEMS};

/// A file with nothing wrong, to which one line is added or changed.
const GOOD: &str = r#"reactors = 2
cpus = [0, 1]
dedicated = true
in-capsule = "16KiB"

[[listener]]
address = "192.168.1.10:4420"

[[subsystem]]
nqn = "nqn.2026-01.org.example:a"
hosts = ["nqn.2014-08.org.nvmexpress:uuid:1"]

[[subsystem.namespace]]
nsid = 7
device = "/data/disk.img"
size = "1GiB"
block-size = 4096
read-only = true
uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

[[subsystem.namespace]]
device = "ram:1GiB,bs=4096"

[[referral]]
address = "192.168.1.11:4420"

[cache]
listen = ["memcache=192.168.1.10:11211", "resp=192.168.1.10:6379"]
memory = "4GiB"
max-item = "2MiB"
pool = "/data/cache.pool"
durability = "durable"
eviction = "merge"
auth-file = "/etc/qpair/users.toml"
command-log = "/var/log/cache.csv,every=7"
cpus = [2]
"#;

fn mistakes(text: &str) -> Vec<Mistake> {
    Config::parse(text).expect_err(text)
}

/// Changes `from` in the good file to `to`: there is one mistake, at this place, and it says this.
#[track_caller]
fn mistake(from: &str, to: &str, line: usize, field: &str, says: &[&str]) {
    assert_eq!(GOOD.matches(from).count(), 1, "{from} is there once");
    let found = mistakes(&GOOD.replace(from, to));
    assert_eq!(found.len(), 1, "{found:?}");
    let message = found[0].to_string();
    assert_eq!((found[0].line, found[0].field.as_str()), (line, field), "{message}");
    for part in says {
        assert!(message.contains(part), "{message} does not say {part}");
    }
    assert!(found[0].hint.ends_with(['.', '?']), "{message}: what to do is not a sentence");
}

#[test]
fn a_file_that_is_fine() {
    let config = Config::parse(GOOD).expect("it is fine");
    let (cpus, ring) = (vec![0, 1], RingKind::Auto);
    assert_eq!(config.machine, Machine { reactors: Some(2), cpus, dedicated: true, ring });
    assert_eq!(config.in_capsule_bytes, 16 << 10);
    let portable = Config::parse(&GOOD.replace("dedicated = true", "ring = \"portable\"")).expect("it is fine");
    assert_eq!(portable.machine.ring, RingKind::Portable);
    assert_eq!(config.listeners, ["192.168.1.10:4420".parse().expect("an address")]);
    assert_eq!(config.referrals, ["192.168.1.11:4420".parse().expect("an address")]);
    let [subsystem] = &config.subsystems[..] else { panic!("one subsystem") };
    assert_eq!(subsystem.nqn.expect("a name").as_str(), "nqn.2026-01.org.example:a");
    assert_eq!(subsystem.hosts, Hosts::Listed(vec![nqn("nqn.2014-08.org.nvmexpress:uuid:1").expect("a name")]));
    let [disk, memory] = &subsystem.namespaces[..] else { panic!("two namespaces") };
    let text = "/data/disk.img,size=1GiB,bs=4k,ro,uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    assert_eq!((disk.nsid, &disk.spec), (7, &text.parse().expect("a device")));
    assert_eq!((memory.nsid, &memory.spec), (1, &"ram:1GiB,bs=4096".parse().expect("a device")));
}

#[test]
fn a_cache() {
    let config = Config::parse(GOOD).expect("it is fine");
    let expected = Cache {
        listen: ["memcache=192.168.1.10:11211", "resp=192.168.1.10:6379"].map(|at| at.parse().expect("one")).to_vec(),
        memory: 4 << 30,
        max_item: 2 << 20,
        pool: Some("/data/cache.pool".into()),
        durability: Some(Durability::Durable),
        eviction: ::cache::Eviction::Merge,
        auth_file: Some("/etc/qpair/users.toml".into()),
        command_log: Some(CommandLog { every: 7, ..CommandLog::new("/var/log/cache.csv".into()) }),
        cpus: vec![2],
        ..Cache::default()
    };
    assert_eq!(config.cache, Some(expected));
    let alone = Config::parse("metrics = 9420\n[cache]\n").expect("it is fine");
    assert_eq!((alone.cache, alone.subsystems), (Some(Cache::default()), vec![]));
}

#[test]
fn mistakes_in_a_cache() {
    let eviction = "eviction = \"merge\"";
    let instead = |text: &str| format!("{eviction}\n{text}");
    mistake(eviction, &instead("max-memory = 1"), 34, "cache.max-memory", &["no field called `max-memory`"]);
    mistake(eviction, &instead("maxitem = 1"), 34, "cache.maxitem", &["Did you mean `max-item`?"]);
    mistake(eviction, "eviction = \"lru\"", 33, "cache.eviction", &["`lru` is none of merge, s3fifo, fifo"]);
    mistake(eviction, "ring = \"epoll\"", 33, "cache.ring", &["`epoll` is none of auto, iocp, portable"]);
    mistake(eviction, "ring = \"uring\"", 33, "cache.ring", &["io_uring is for files", "ring = \"auto\""]);
    mistake("\"durable\"", "\"safe\"", 32, "cache.durability", &["`safe` is none of volatile, warm, durable"]);
    mistake("\"durable\"", "\"volatile\"", 32, "cache.durability", &["survive the process"]);
    mistake("pool = \"/data/cache.pool\"\n", "", 31, "cache.durability", &["there is no pool", "pool = \"FILE\""]);
    mistake("\"/data/cache.pool\"", "\"\"", 31, "cache.pool", &["no name of a file"]);
    mistake("\"2MiB\"", "\"9MiB\"", 30, "cache.max-item", &["a value has at most 8 MiB"]);
    mistake("\"4GiB\"", "\"4XB\"", 29, "cache.memory", &["unknown unit"]);
    mistake("\"resp=192.168.1.10:6379\"", "\"resp=6379\"", 28, "cache.listen[1]", &["`6379` is no ADDR:PORT"]);
    mistake("\"resp=192.168.1.10:6379\"", "\"redis=[::1]:1\"", 28, "cache.listen[1]", &["memcache=ADDR:PORT"]);
    let taken = "\"resp=192.168.1.10:4420\"";
    mistake("\"resp=192.168.1.10:6379\"", taken, 28, "cache.listen[1]", &["listener[0].address is the same address"]);
    let none = "listen = []\nreactors = 2";
    let listen = "listen = [\"memcache=192.168.1.10:11211\", \"resp=192.168.1.10:6379\"]";
    let found = mistakes(&GOOD.replace(listen, none));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].why.contains("nobody could reach the cache"), "{found:?}");
    assert!(found[1].why.contains("1 processors are named for 2 reactors"), "{found:?}");
    mistake("cpus = [2]", "huge-pages = \"transparent\"", 36, "cache.huge-pages", &["that of its file"]);
    mistake("cpus = [2]", "huge-pages = \"2MiB\"", 36, "cache.huge-pages", &["none of transparent, reserved"]);
    mistake("cpus = [2]", "huge-pages = true", 36, "cache.huge-pages", &["this is true, not a text"]);
    mistake("cpus = [2]", "cpus = [1]", 36, "cache.cpus[0]", &["cpus[1] is the same processor"]);
    mistake("cpus = [2]", "resize-pool = 1", 36, "cache.resize-pool", &["not true or false"]);
    mistake("[cache]", "[[cache]]", 27, "cache", &["this is an array, not a table", "[cache]"]);
    mistake("[cache]", "[cash]", 27, "cash", &["Did you mean `cache`?"]);
    let resize = mistakes("[cache]\nresize-pool = true\n");
    assert!(resize[0].to_string().starts_with("2:15: cache.resize-pool: there is no pool"), "{resize:?}");
    // What is about subsystems is not taken for something about the cache.
    let above = mistakes("reactors = 2\n[cache]\n");
    assert_eq!((above[0].line, above[0].field.as_str()), (1, "reactors"));
    assert!(above[0].hint.contains("below [cache]"), "{above:?}");
}

#[test]
fn defaults() {
    let text = "[[subsystem]]\nnqn = \"nqn.a\"\n[[subsystem.namespace]]\ndevice = \"a\"";
    let config = Config::parse(text).expect("it is fine");
    assert_eq!(config.machine, Machine::default());
    assert_eq!((config.listeners, config.referrals), (vec![DEFAULT_LISTENER], vec![]));
    assert_eq!((&config.subsystems[0].hosts, config.subsystems[0].namespaces[0].nsid), (&Hosts::Unsaid, 1));
}

#[test]
fn namespaces_without_a_number_get_the_lowest_free_ones() {
    let mut text = "[[subsystem]]\nnqn = \"nqn.a\"\n".to_owned();
    for number in ["", "nsid = 1", "", "nsid = 3", ""] {
        text += &format!("[[subsystem.namespace]]\ndevice = \"ram:1MiB\"\n{number}\n");
    }
    let config = Config::parse(&text).expect("it is fine");
    let numbers: Vec<u32> = config.subsystems[0].namespaces.iter().map(|namespace| namespace.nsid).collect();
    assert_eq!(numbers, [2, 1, 4, 3, 5]);
}

#[test]
fn text_that_is_not_toml() {
    mistake("nsid = 7", "nsid 7", 14, "", &["toml.io"]);
    mistake("nsid = 7", "nsid = 7\nnsid = 8", 15, "", &["duplicate key"]);
    mistake("[[referral]]", "[[referral]", 24, "", &["toml.io"]);
    mistake("\"1GiB\"", "\"1GiB", 16, "", &["toml.io"]);
    // As deep as a file can be: an error, and no stack overflow.
    assert!(!mistakes(&format!("a = {}", "[".repeat(FILE_BYTES / 2))).is_empty());
    assert!(!mistakes(&format!("a{} = 1", ".a".repeat(FILE_BYTES / 4))).is_empty());
}

#[test]
fn paths_of_windows() {
    let device = "\"/data/disk.img\"";
    assert_eq!(GOOD.matches(device).count(), 1);
    let with = |path: &str| Config::parse(&GOOD.replace(device, path));
    for path in [r"'D:\data\disk.img'", r#""D:\\data\\disk.img""#, r#""D:\u005cdata\u005Cdisk.img""#] {
        let config = with(path).unwrap_or_else(|mistakes| panic!("{path}: {mistakes:?}"));
        assert!(config.subsystems[0].namespaces[0].text.starts_with(r"D:\data\disk.img,size="));
    }
    let hint = "in single quotes, as 'D:\\data\\disk.img', or with /";
    // No escapes, the beginning of one, and one of the quote at the end.
    for path in [r"D:\data\disk.img", r"C:\Users\me\disk.img", r"D:\x1\disk.img", r"D:\"] {
        let mistakes = with(&format!("\"{path}\"")).expect_err(path);
        assert!(mistakes.iter().any(|mistake| mistake.line == 15 && mistake.hint.contains(hint)), "{mistakes:?}");
    }
    // These would be a tab and a new line.
    mistake(device, r#""C:\temp\new.img""#, 15, "subsystem[0].namespace[0].device", &["control character", hint]);
    mistake("\"/data/cache.pool\"", r#""C:\new.pool""#, 31, "cache.pool", &["control character", hint]);
}

#[test]
fn unknown_fields() {
    mistake("reactors = 2", "reactor = 2", 1, "reactor", &["no field called `reactor`", "Did you mean `reactors`?"]);
    mistake(
        "address = \"192.168.1.10",
        "adress = \"x\"\naddress = \"192.168.1.10",
        7,
        "listener[0].adress",
        &["The fields here are `address`"],
    );
    mistake("nsid = 7", "nsid = 7\nsizes = 1", 15, "subsystem[0].namespace[0].sizes", &["`size`?"]);
    mistake("nsid = 7", "nsid = 7\n\"a\\nb\" = 1", 15, "subsystem[0].namespace[0].a\\nb", &["`a\\nb`"]);
    mistake("[[referral]]", "[referal]\n[[referral]]", 24, "referal", &["Did you mean `referral`?"]);
}

#[test]
fn wrong_types() {
    mistake("reactors = 2", "reactors = \"two\"", 1, "reactors", &["the text `two`", "a number from 1 to 64"]);
    mistake("reactors = 2", "reactors = 2.5", 1, "reactors", &["the number `2.5`, not a whole number"]);
    mistake("cpus = [0, 1]", "cpus = 1", 2, "cpus", &["an array of numbers", "cpus = [0, 1]"]);
    mistake("cpus = [0, 1]", "cpus = [0,\n \"b\", 1]", 3, "cpus[1]", &["the text `b`"]);
    mistake("dedicated = true", "ring = \"fast\"", 3, "ring", &["auto, uring, iocp and portable"]);
    mistake("dedicated = true", "dedicated = \"yes\"", 3, "dedicated", &["not true or false"]);
    mistake("\"192.168.1.10:4420\"", "4420", 7, "listener[0].address", &["the number `4420`", "192.168.1.10:4420"]);
    mistake("hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]", "hosts = \"x\"", 11, "subsystem[0].hosts", &["array"]);
    mistake("[[referral]]", "[referral]", 24, "referral", &["this is a table", "[[referral]]"]);
    let inline = mistakes("subsystem = [1]");
    assert_eq!((inline[0].line, inline[0].column, inline[0].field.as_str()), (1, 14, "subsystem[0]"));
    let nested = mistakes("[[subsystem]]\nnqn = \"nqn.a\"\n[subsystem.namespace]\ndevice = \"a\"");
    assert!(nested[0].hint.contains("[[subsystem.namespace]]"), "{nested:?}");
}

#[test]
fn values_out_of_range() {
    mistake("reactors = 2", "reactors = 0", 1, "reactors", &["`0` is out of range", "from 1 to 64"]);
    mistake("reactors = 2", "reactors = -1", 1, "reactors", &["`-1` is out of range"]);
    mistake("reactors = 2", "reactors = 0xffff_ffff_ffff_ffff_ff", 1, "reactors", &["out of range"]);
    mistake("nsid = 7", "nsid = 0", 14, "subsystem[0].namespace[0].nsid", &["out of range", "from 1 to"]);
    mistake("\"16KiB\"", "\"1MiB\"", 4, "in-capsule", &["a multiple of 16 up to 65536 bytes"]);
    mistake("\"16KiB\"", "17", 4, "in-capsule", &["a multiple of 16"]);
    mistake("\"1GiB\"", "\"1XB\"", 16, "subsystem[0].namespace[0].size", &["unknown unit", "size = \"1GiB\""]);
    mistake("block-size = 4096", "block-size = \"1k\"", 17, "subsystem[0].namespace[0].block-size", &["1024 bytes"]);
    let nil = "uuid = \"00000000-0000-0000-0000-000000000000\"";
    let uuid = "uuid = \"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"";
    mistake(uuid, nil, 19, "subsystem[0].namespace[0].uuid", &["not a UUID that can be used", "uuidgen"]);
}

#[test]
fn names_and_addresses() {
    let at = "subsystem[0].nqn";
    mistake("\"nqn.2026-01.org.example:a\"", "\"example:a\"", 10, at, &["does not start with \"nqn.\""]);
    mistake("\"nqn.2026-01.org.example:a\"", "\"nqn.2014-08.org.nvmexpress.discovery\"", 10, at, &["discovery"]);
    mistake("nqn = \"nqn.2026-01.org.example:a\"\n", "", 9, at, &["it is missing", "nqn.2026-01"]);
    mistake(
        "[\"nqn.2014-08.org.nvmexpress:uuid:1\"]",
        "[\"host\"]",
        11,
        "subsystem[0].hosts[0]",
        &["/etc/nvme/hostnqn"],
    );
    mistake("192.168.1.10:4420", "192.168.1.10", 7, "listener[0].address", &["not an address with a port"]);
    let metrics = |value: &str| format!("dedicated = true\nmetrics = {value}");
    mistake("dedicated = true", &metrics("70000"), 4, "metrics", &["`70000` is neither", "metrics = 9420"]);
    mistake("dedicated = true", &metrics("\"localhost\""), 4, "metrics", &["`localhost` is neither"]);
    mistake("dedicated = true", &metrics("true"), 4, "metrics", &["this is true, not a text"]);
    let config = Config::parse(&GOOD.replace("dedicated = true", &metrics("9420"))).expect("it is fine");
    assert_eq!(config.metrics, Some("127.0.0.1:9420".parse().expect("an address")));
    mistake("192.168.1.11:4420", "0.0.0.0:4420", 25, "referral[0].address", &["no host can connect"]);
    mistake("192.168.1.11:4420", "192.168.1.11:0", 25, "referral[0].address", &["no host can connect"]);
    mistake("address = \"192.168.1.11:4420\"\n", "", 24, "referral[0].address", &["it is missing"]);
}

#[test]
fn devices() {
    let at = "subsystem[0].namespace[1].device";
    mistake("ram:1GiB,bs=4096", "rma:1GiB", 22, at, &["Did you mean ram:1GiB?"]);
    mistake("ram:1GiB,bs=4096", "ram:1GiB,bs=4096,bss=1", 22, at, &["Did you mean `bs`?"]);
    mistake("device = \"ram:1GiB,bs=4096\"\n", "", 21, at, &["it is missing"]);
    let twice = "device = \"ram:1GiB,bs=4096\"\nblock-size = 512";
    mistake(
        "device = \"ram:1GiB,bs=4096\"",
        twice,
        23,
        "subsystem[0].namespace[1].block-size",
        &["`bs` is there twice"],
    );
    let sized = "device = \"ram:1GiB,bs=4096\"\nsize = 4096";
    mistake("device = \"ram:1GiB,bs=4096\"", sized, 23, "subsystem[0].namespace[1].size", &["behind the colon"]);
}

#[test]
fn what_is_there_twice() {
    let listener = "[[listener]]\naddress = \"192.168.1.10:4420\"\n";
    mistake(
        "[[listener]]\n",
        &format!("{listener}[[listener]]\n"),
        9,
        "listener[1].address",
        &["listener[0].address is the same address"],
    );
    let any_port = GOOD.replace("192.168.1.10:4420", "192.168.1.10:0") + "[[listener]]\naddress = \"192.168.1.10:0\"\n";
    assert!(Config::parse(&any_port).is_ok());
    let subsystem = "[[subsystem]]\nnqn = \"nqn.2026-01.org.example:a\"\nallow-any-host = true\n[[referral]]\n";
    mistake("[[referral]]\n", subsystem, 25, "subsystem[1].nqn", &["subsystem[0].nqn is the same name"]);
    let memory = "device = \"ram:1GiB,bs=4096\"";
    mistake(memory, &format!("{memory}\nnsid = 7"), 23, "subsystem[0].namespace[1].nsid", &["the same namespace ID"]);
    mistake(
        "ram:1GiB,bs=4096",
        "/data/disk.img,bs=4096",
        22,
        "subsystem[0].namespace[1].device",
        &["would destroy it"],
    );
    assert!(Config::parse(&GOOD.replace("ram:1GiB,bs=4096", "/data/disk.img,ro")).is_ok());
    assert!(Config::parse(&(GOOD.replace("nsid = 7", "") + "# two of memory are two disks\n")).is_ok());
    mistake("cpus = [0, 1]", "cpus = [0, 0]", 2, "cpus[1]", &["the same processor"]);
    mistake(
        "uuid:1\"]",
        "uuid:1\", \"nqn.2014-08.org.nvmexpress:uuid:1\"]",
        11,
        "subsystem[0].hosts[1]",
        &["same host"],
    );
}

#[test]
fn what_does_not_go_together() {
    let waits = &["the path sync waits for the device"];
    mistake("ram:1GiB,bs=4096", "a.img,path=sync", 22, "subsystem[0].namespace[1].device", waits);
    assert!(Config::parse(&GOOD.replace("ram:1GiB,bs=4096", "a.img,path=threads")).is_ok());
    mistake("cpus = [0, 1]", "cpus = [0]", 2, "cpus", &["1 processors are named for 2 reactors"]);
    let hosts = "hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]\n";
    mistake(hosts, "", 9, "subsystem[0].hosts", &["192.168.1.10:4420 can be reached", "allow-any-host = true"]);
    mistake(hosts, "allow-any-host = false\n", 9, "subsystem[0].hosts", &["nothing says which hosts"]);
    assert!(Config::parse(&GOOD.replace(hosts, "allow-any-host = true\n")).is_ok());
    let both = format!("{hosts}allow-any-host = true\n");
    mistake(hosts, &both, 12, "subsystem[0].allow-any-host", &["a list of hosts means nothing"]);
    let none = mistakes("# cut off\n");
    assert_eq!((none.len(), none[0].field.as_str()), (1, "subsystem"));
}

#[test]
fn too_many() {
    let most = |one: &str, count: usize| (0..count).map(|n| one.replace("#", &n.to_string())).collect::<String>();
    let listener = "[[listener]]\naddress = \"127.0.0.1:1#\"\n";
    let empty = "[[subsystem]]\nnqn = \"nqn.#\"\n";
    let text = |listeners, subsystems, namespaces| {
        let namespaces = most("[[subsystem.namespace]]\ndevice = \"ram:1MiB\"\n", namespaces);
        most(listener, listeners) + &most(empty, subsystems) + &namespaces
    };
    assert!(Config::parse(&text(LISTENERS, SUBSYSTEMS, NAMESPACES)).is_ok());
    for (text, field, line) in [
        (text(LISTENERS + 1, 1, 1), "listener[64]", 2 * LISTENERS + 1),
        (text(0, SUBSYSTEMS + 1, 0), "subsystem[64]", 2 * SUBSYSTEMS + 1),
        (text(0, 1, NAMESPACES + 1), "subsystem[0].namespace[256]", 2 + 2 * NAMESPACES + 1),
    ] {
        let found = mistakes(&text);
        assert_eq!((found.len(), found[0].line, found[0].field.as_str()), (1, line, field), "{}", found[0]);
    }
    // Together, too.
    let both = text(0, 1, NAMESPACES) + &text(0, 1, 1).replace("nqn.0", "nqn.b");
    assert!(mistakes(&both)[0].why.contains("257 namespaces"), "{:?}", mistakes(&both));
    let hosts: Vec<String> = (0..=HOSTS).map(|n| format!("\"nqn.{n}\"")).collect();
    let hosts = format!("[[subsystem]]\nnqn = \"nqn.a\"\nhosts = [{}]", hosts.join(","));
    assert!(mistakes(&hosts)[0].why.contains("1025 hosts are too many"));
}

#[test]
fn several_mistakes_are_told_at_once_and_in_order() {
    let text = GOOD
        .replace("reactors = 2", "reactors = 0")
        .replace("1GiB\"\nblock", "1XB\"\nblock")
        .replace("[[referral]]", "[[referral]]\nport = 4420")
        .replace("ram:1GiB", "rma:1GiB");
    let found = mistakes(&text);
    let lines: Vec<usize> = found.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 16, 22, 25], "{found:?}");
    // But not more than a person wants to read.
    assert_eq!(mistakes(&(0..1000).map(|n| format!("a{n} = 1\n")).collect::<String>()).len(), MISTAKES);
}

#[test]
fn large_files_full_of_mistakes_are_no_trouble() {
    let lines: String = (0..100_000).map(|n| format!("a{n} = 1\n")).collect();
    assert_eq!(mistakes(&lines).len(), MISTAKES);
    let line = format!("cpus = [{}]", "\"x\",".repeat(200_000));
    assert_eq!(mistakes(&line).len(), MISTAKES);
}

#[test]
fn files() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("qpair.toml");
    let error = |path: &Path| Config::load(path).expect_err("it is not fine").to_string();
    assert!(error(&path).contains("cannot be read"));
    assert!(error(dir.path()).contains("cannot be read"));
    let write = |bytes: &[u8]| File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("it is written");
    write(GOOD.as_bytes());
    assert_eq!(Config::load(&path).expect("it is fine").0, Config::parse(GOOD).expect("it is fine"));
    // As Windows PowerShell writes what `qpair config show` says.
    write(&[&[0xff, 0xfe][..], &GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat());
    assert_eq!(Config::load(&path).expect("it is fine").0, Config::parse(GOOD).expect("it is fine"));
    write(b"reactors = 1\ncpus = \xff");
    let said = error(&path);
    assert!(said.starts_with(&format!("{}:2:8: from here on it is not UTF-8", path.display())), "{said}");
    write(&vec![b'\n'; FILE_BYTES + 1]);
    assert!(error(&path).contains("more than 1048576 bytes"));
    write(b"reactors = 0\na = 1\n");
    assert_eq!(error(&path).matches(&path.display().to_string()).count(), 2);
}

#[test]
fn flags_are_told_in_the_words_of_flags() {
    let mut config = Config::parse(GOOD).expect("it is fine");
    config.subsystems[0].hosts = Hosts::Unsaid;
    let [broken] = &config.broken_rules()[..] else { panic!("one rule is broken") };
    let (why, hint) = broken.rule.explain(Source::Flags);
    assert!(why.contains("192.168.1.10:4420") && hint.contains("--allow-host"), "{why} {hint}");
}

prop_compose! {
    /// The `#` becomes a number, so that no file is there twice.
    fn any_device()(
        kind in prop::sample::select(vec!["ram:1GiB", "null:1TiB", "/#,,b \"c\".img,size=1GiB", "file:x\\#ä,ro"]),
        block in prop::sample::select(vec!["", ",bs=512", ",bs=4096"]),
    ) -> String {
        format!("{kind}{block}")
    }
}

fn any_hosts() -> impl Strategy<Value = Hosts> {
    let host = "[!-~]{1,20}".prop_map(|name| nqn(&format!("nqn.{name}")).expect("a name"));
    let listed = prop::collection::btree_set(host, 0..4).prop_map(|hosts| Hosts::Listed(hosts.into_iter().collect()));
    prop_oneof![Just(Hosts::Any), listed]
}

prop_compose! {
    /// The subsystem with this number.
    fn any_subsystem(index: usize)(
        name in "[ -~äö]{1,40}",
        hosts in any_hosts(),
        devices in prop::collection::btree_map(1..=nvmf::limits::LAST_NSID, any_device(), 0..4),
    ) -> Subsystem {
        let namespaces = devices.into_iter().map(|(nsid, device)| {
            Namespace::new(nsid, device.replace('#', &format!("{index}.{nsid}"))).expect("a device")
        });
        let nqn = nqn(&format!("nqn.{index}{name}")).expect("a name");
        Subsystem { nqn: Some(nqn), hosts, namespaces: namespaces.collect() }
    }
}

prop_compose! {
    fn any_cache()(
        ports in prop::collection::btree_set(1..=u16::MAX, 1..4),
        (memory, max_item) in (any::<u64>(), 1..=::cache::limits::MAX_VALUE_BYTES),
        pool in prop::option::of("/[ -~ä]{1,20}"),
        (durable, resize_pool, dedicated) in any::<(bool, bool, bool)>(),
        ring in prop::sample::select(vec![RingKind::Auto, RingKind::Iocp, RingKind::Portable]),
        eviction in prop::sample::select(vec![
            ::cache::Eviction::Merge, ::cache::Eviction::S3Fifo, ::cache::Eviction::Fifo, ::cache::Eviction::Random,
            ::cache::Eviction::None,
        ]),
        auth_file in prop::option::of("[ -~ä]{1,20}"),
        log in prop::option::of(("/[ä-ö]{1,20}", 1..u32::MAX, (64u64 << 10).., 0..=999u32)),
        reactors in 1..=64_usize,
        huge_pages in prop::sample::select(vec![
            None, Some(machine::region::Huge::Transparent), Some(machine::region::Huge::Reserved),
        ]),
    ) -> Cache {
        let listen = |port| Listen {
            protocol: if port % 2 == 0 { Protocol::Memcache } else { Protocol::Resp },
            address: SocketAddr::from(([10, 0, 0, 2], port)),
        };
        let kept = if durable { Durability::Durable } else { Durability::Warm };
        Cache {
            listen: ports.into_iter().map(listen).collect(),
            durability: pool.as_ref().map(|_| kept),
            resize_pool: resize_pool && pool.is_some(),
            huge_pages: huge_pages.filter(|_| pool.is_none()),
            pool: pool.map(PathBuf::from),
            auth_file: auth_file.map(PathBuf::from),
            command_log: log.map(|(path, every, bytes, keep)| CommandLog { path: path.into(), every, bytes, keep }),
            cpus: if dedicated { (100..100 + reactors).collect() } else { vec![] },
            memory, max_item, eviction, reactors, dedicated, ring,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        reactors in prop::option::of(1..=64_usize),
        dedicated: bool,
        ring in prop::sample::select(vec![RingKind::Auto, RingKind::Uring, RingKind::Iocp, RingKind::Portable]),
        in_capsule in (0..=4096_u32).prop_map(|n| n * 16),
        ports in prop::collection::btree_set(1..=u16::MAX, 2..4),
        subsystems in (any_subsystem(0), any_subsystem(1)),
        cache in prop::option::of(any_cache()),
    ) {
        let address = |port: &u16| SocketAddr::from(([10, 0, 0, 1], *port));
        let config = Config {
            machine: Machine {
                reactors, cpus: (0..reactors.unwrap_or(3)).collect(), dedicated, ring
            },
            listeners: ports.iter().skip(1).map(address).collect(),
            subsystems: vec![subsystems.0, subsystems.1],
            referrals: ports.iter().map(address).collect(),
            in_capsule_bytes: in_capsule,
            metrics: ports.iter().next().map(address).filter(|_| dedicated),
            cache,
        };
        prop_assert_eq!(Config::parse(&config.to_toml()), Ok(config));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Config::parse(&text);
    }

    #[test]
    fn no_change_of_a_good_file_panics(at in 0..GOOD.len(), cut in 0..40_usize, insert in "[ -~\n]{0,8}") {
        let (at, end) = (GOOD.floor_char_boundary(at), GOOD.floor_char_boundary(at + cut));
        if let Err(found) = Config::parse(&format!("{}{insert}{}", &GOOD[..at], &GOOD[end..])) {
            prop_assert!(!found.is_empty());
        }
    }
}
