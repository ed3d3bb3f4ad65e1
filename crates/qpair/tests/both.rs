//! A target and a cache in one process, from one configuration file: what they serve, what a reload changes, what a
//! mistake does, and that neither loses anything by the other's end.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{PATIENCE, Serve, as_user, crash_by, free_port, get, output, qpair, with_dir};
use serde_json::{Value, json};
use tempfile::TempDir;

const NQN: &str = "nqn.2026-01.org.example:a";

/// The subsystem of every file here, on an image of 8 MiB.
const DISK: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n\n[[subsystem]]\nnqn = \"nqn.2026-01.org.example:a\"\n\
    [[subsystem.namespace]]\nnsid = 1\ndevice = \"DIR/disk.img\"\nsize = \"8MiB\"\n";
/// The cache of every file here.
const CACHE: &str = "[cache]\nlisten = [\"memcache=127.0.0.1:0\", \"resp=127.0.0.1:0\"]\nmemory = \"4MiB\"\n\
    pool = \"DIR/cache.pool\"\n";

/// A configuration file, and what it names, in a folder of its own.
struct Rig {
    dir: TempDir,
}

/// A process that serves both, or one of them.
struct Both {
    serve: Serve,
    cache: Value,
}

impl Rig {
    /// With this file. `DIR` in it is its folder.
    fn new(config: &str) -> Self {
        let rig = Self { dir: tempfile::tempdir().expect("a directory") };
        rig.write(config);
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, config: &str) {
        fs::write(self.path("qpair.toml"), with_dir(config, self.dir.path())).expect("it is written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        as_user(qpair(arguments), self.dir.path())
    }

    /// Starts `qpair COMMAND --config`, which serves both.
    fn start(&self, command: &[&str]) -> Both {
        let mut command = self.command(command);
        let mut serve = Serve::spawn(command.args(["--json", "--config"]).arg(self.path("qpair.toml")));
        assert_eq!(serve.listening["service"], "nvme-tcp");
        let cache = serve.says();
        assert_eq!((&cache["event"], &cache["service"]), (&json!("listening"), &json!("cache")));
        Both { serve, cache }
    }

    /// Starts it where it cannot: what it says on standard error.
    fn fails(&self, command: &str) -> String {
        let done = self.command(&[command, "--config"]).arg(self.path("qpair.toml")).output().expect("it starts");
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(done.stdout.is_empty(), "it has not served: {done:?}");
        String::from_utf8(done.stderr).expect("text")
    }

    /// Writes the file anew and has it reloaded; what `qpair reload --json` says.
    fn reload(&self, config: &str) -> Value {
        self.write(config);
        let done = self.command(&["reload", "--json"]).output().expect("it runs");
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
        assert_eq!(done.status.success(), said["ok"], "{said}");
        said
    }

    /// The same, and it is refused because of this field on this line.
    fn refuses(&self, config: &str, line: u64, field: &str, why: &str) {
        let said = self.reload(config);
        let mistake = &said["mistakes"][0];
        assert_eq!((mistake["line"].as_u64(), mistake["field"].as_str()), (Some(line), Some(field)), "{said}");
        assert!(mistake["why"].as_str().is_some_and(|text| text.contains(why)), "{said}");
        assert_eq!(said["changes"], json!([]), "{said}");
    }
}

impl Both {
    fn connect(&self, protocol: &str) -> TcpStream {
        let stream = TcpStream::connect(self.cache[protocol][0].as_str().expect("an address")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }

    /// What a memcached client is answered.
    fn ask(&self, asked: &str) -> String {
        let mut stream = self.connect("memcache");
        stream.write_all(format!("{asked}quit\r\n").as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answers, and the end");
        answer
    }

    /// Fills the first block of the namespace.
    fn fill(&self, byte: &str) {
        let uri = self.serve.uri(NQN, 1);
        output(&mut qpair(&["write", &uri, "--lba", "0", "--count", "1", "--fill", byte]));
    }

    /// Whether the first block is full of this byte.
    fn is_filled(&self, byte: u8) -> bool {
        let uri = self.serve.uri(NQN, 1);
        let done = qpair(&["read", &uri, "--lba", "0", "--count", "1", "--to", "-"]).output().expect("it runs");
        done.status.success() && done.stdout == [byte; 512]
    }

    /// Ends it as a service manager does: both say that they have stopped, the target first.
    fn stop(mut self) {
        self.serve.signal("TERM");
        let mut first = self.serve.says();
        while first["event"] == "reloaded" {
            first = self.serve.says();
        }
        let services = [first, self.serve.says()].map(|said| {
            assert_eq!(said["event"], "stopped", "{said}");
            said["service"].as_str().expect("a name").to_owned()
        });
        assert_eq!(services, ["nvme-tcp", "cache"]);
        assert!(self.serve.wait().success());
    }
}

#[test]
fn one_file_serves_both_and_both_survive_its_end() {
    for command in ["serve", "cache"] {
        let rig = Rig::new(&format!("metrics = \"127.0.0.1:0\"\n{DISK}{CACHE}"));
        let both = rig.start(&[command]);
        assert_eq!(both.cache["pool"], "new");
        assert_eq!(both.ask("set k 7 0 5\r\nhello\r\nset gone 0 0 1\r\nx\r\n"), "STORED\r\nSTORED\r\n");
        let uri = both.serve.uri(NQN, 1);
        output(&mut qpair(&["bench", &uri, "--verify", "--rw", "randrw", "--count", "200"]));
        assert!(output(&mut qpair(&["info", &uri])).contains("8 MiB"));
        both.fill("0x5a");
        let metrics = both.serve.listening["metrics"].as_str().expect("an address");
        let page = get(metrics, "/metrics");
        assert!(page.contains("qpair_commands_total") && page.contains("qpair_cache_stores_total"), "{page}");
        both.stop();

        let both = rig.start(&[command]);
        assert_eq!(both.cache["pool"], "closed");
        assert_eq!(both.ask("get k\r\ndelete gone\r\n"), "VALUE k 7 5\r\nhello\r\nEND\r\nDELETED\r\n");
        assert!(both.is_filled(0x5a));
        both.fill("0xa5");
        // Killed.
        drop(both);
        let both = rig.start(&[command]);
        assert_eq!(both.cache["pool"], "unclosed");
        assert_eq!(both.ask("get k gone\r\n"), "VALUE k 7 5\r\nhello\r\nEND\r\n");
        assert!(both.is_filled(0xa5));
        both.stop();
    }
}

#[test]
fn a_file_with_a_cache_alone() {
    let rig = Rig::new(CACHE);
    for command in ["serve", "cache"] {
        let mut serve = rig.command(&[command, "--json", "--config"]);
        let serve = Serve::spawn(serve.arg(rig.path("qpair.toml")));
        assert_eq!((&serve.listening["service"], &serve.listening["memory"]), (&json!("cache"), &json!(4 << 20)));
        let stopped = serve.stop();
        assert_eq!((&stopped["service"], stopped["reactors"].as_array().map(Vec::len)), (&json!("cache"), Some(1)));
    }
    rig.write(DISK);
    let said = rig.fails("cache");
    assert!(said.contains("qpair.toml has no cache") && said.contains("qpair serve --config"), "{said}");
    rig.write("[cache]\nmemroy = \"1GiB\"\n");
    let said = rig.fails("cache");
    assert!(said.contains("qpair.toml:2:1: cache.memroy: there is no field") && said.contains("`memory`?"), "{said}");
    for flags in [&["--memory", "1GiB"][..], &["--pool", "x"], &["--reactors", "2"], &["--listen", "resp=127.0.0.1:0"]]
    {
        let done = qpair(&["cache", "--config", "x.toml"]).args(flags).output().expect("it runs");
        assert!(String::from_utf8_lossy(&done.stderr).contains("cannot be used with"), "{done:?}");
    }
}

#[test]
fn a_reload_changes_subsystems_and_says_what_of_the_cache_needs_a_restart() {
    let rig = Rig::new(&format!("{DISK}{CACHE}"));
    let both = rig.start(&["serve"]);
    assert_eq!(both.ask("set k 0 0 1\r\nx\r\n"), "STORED\r\n");
    let mut client = both.connect("memcache");
    let more = "[[subsystem.namespace]]\nnsid = 2\ndevice = \"ram:1MiB\"\n";
    let said = rig.reload(&format!("{DISK}{more}{CACHE}"));
    assert_eq!(said["changes"], json!([format!("added namespace 2 of {NQN}: ram:1MiB")]));
    let refuses = |from: &str, to: &str, line, field, why| {
        // A namespace is added in the same breath: it does not come, either.
        let third = more.replace("nsid = 2", "nsid = 3");
        rig.refuses(&format!("{DISK}{more}{third}{}", CACHE.replace(from, to)), line, field, why);
    };
    refuses("4MiB", "8MiB", 18, "cache.memory", "it is 4194304 bytes, and becomes 8388608 bytes only by a restart");
    refuses("resp=127.0.0.1:0", "resp=127.0.0.1:1", 17, "cache.listen", "only by a restart");
    refuses("cache.pool", "other.pool", 19, "cache.pool", "only by a restart");
    refuses("[cache]", "[cache]\neviction = \"fifo\"", 17, "cache.eviction", "becomes fifo only by a restart");
    refuses("[cache]", "[cache]\nreactors = 2", 17, "cache.reactors", "it is 1, and becomes 2");
    refuses("[cache]", "[cache]\ndurability = \"durable\"", 17, "cache.durability", "it is warm, and becomes durable");
    refuses("[cache]", "[cache]\nauth-file = \"/nowhere\"", 17, "cache.auth-file", "becomes a file only by a restart");
    refuses("[cache]", "[cache]\nmax-itm = 1", 17, "cache.max-itm", "no field");
    rig.refuses(DISK, 1, "cache", "it is there, and becomes not there only by a restart");
    rig.refuses(CACHE, 1, "subsystem", "it is there, and becomes not there only by a restart");
    // What says the same in other words is no change.
    let same = CACHE.replace("\"4MiB\"", "4194304\ndurability = \"warm\"");
    assert_eq!(rig.reload(&format!("{DISK}{more}{same}"))["changes"], json!([]));
    // Nobody has noticed.
    client.write_all(b"get k\r\nquit\r\n").expect("it listens");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer, and the end");
    assert_eq!(answer, "VALUE k 0 1\r\nx\r\nEND\r\n");
    let gone = qpair(&["info", &both.serve.uri(NQN, 3)]).output().expect("it runs");
    assert!(!gone.status.success());
    drop(both);
}

#[cfg(unix)]
/// Says who one is, as memcached has it; whether that was true.
fn login(both: &Both, name_and_password: &str) -> (TcpStream, bool) {
    let mut stream = both.connect("memcache");
    let bytes = name_and_password.len();
    write!(stream, "set who 0 0 {bytes}\r\n{name_and_password}\r\n").expect("it listens");
    let mut first = [0];
    stream.read_exact(&mut first).expect("an answer");
    let is = first == *b"S";
    let rest = if is { "TORED\r\n" } else { "LIENT_ERROR authentication failure\r\n" };
    let mut said = vec![0; rest.len()];
    stream.read_exact(&mut said).expect("the rest of it");
    assert_eq!(String::from_utf8_lossy(&said), rest);
    (stream, is)
}

#[cfg(unix)]
#[test]
fn users_come_and_go_by_a_reload() {
    use std::os::unix::fs::PermissionsExt;

    let file = format!("{CACHE}auth-file = \"DIR/users.toml\"\n");
    let rig = Rig::new(&format!("{DISK}{file}"));
    let users = |text: &str| {
        fs::write(rig.path("users.toml"), text).expect("it is written");
        fs::set_permissions(rig.path("users.toml"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    };
    let user = |name: &str, password: &str, more: &str| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n{more}\n")
    };
    users(&(user("a", "x", "") + &user("b", "y", "")));
    let both = rig.start(&["serve"]);
    let ((mut a, _), (mut b, is_b)) = (login(&both, "a x"), login(&both, "b y"));
    assert!(is_b && !login(&both, "c z").1);
    let mut redis = both.connect("resp");
    redis.write_all(b"AUTH b y\r\n").expect("it listens");
    redis.read_exact(&mut [0; b"+OK\r\n".len()]).expect("it is let in");

    // One has gone, one may only read now, and one is new.
    users(&(user("c", "z", "") + &user("a", "x", "read-only = true")));
    assert_eq!(rig.reload(&format!("{DISK}{file}"))["changes"], json!(["the cache has other users: 2 of them"]));
    let mut rest = Vec::new();
    b.read_to_end(&mut rest).expect("the end");
    redis.read_to_end(&mut rest).expect("the end");
    assert!(rest.is_empty() && !login(&both, "b y").1 && login(&both, "c z").1);
    a.write_all(b"get k\r\nset k 0 0 1\r\nx\r\n").expect("it listens");
    let mut said = [0; b"END\r\nCLIENT_ERROR".len()];
    a.read_exact(&mut said).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&said), "END\r\nCLIENT_ERROR");

    // A file with a mistake lets nobody in and nobody out.
    assert_eq!(rig.reload(&format!("{DISK}{file}"))["changes"], json!([]));
    users("[[user]]\nname = \"d\"\n");
    rig.refuses(&format!("{DISK}{file}"), 14, "cache.auth-file", "either a password or the sha256");
    assert!(login(&both, "c z").1 && !login(&both, "d z").1);
    both.stop();
}

/// Whatever does not start leaves nothing behind: no lock, no port, no pool that was not closed.
#[test]
fn what_cannot_start_takes_the_rest_with_it() {
    let rig = Rig::new(&format!("{DISK}{CACHE}"));
    rig.start(&["serve"]).stop();
    let closed = || {
        rig.write(&format!("{DISK}{CACHE}"));
        let both = rig.start(&["serve"]);
        assert_eq!(both.cache["pool"], "closed");
        both.stop();
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    // The last thing to start is the page of metrics.
    rig.write(&format!("metrics = \"{address}\"\n{DISK}{CACHE}"));
    let said = rig.fails("serve");
    assert!(said.contains("qpair.toml:1:11: metrics: cannot listen on"), "{said}");
    closed();
    // Then the cache, before it the target.
    rig.write(&format!("{DISK}{}", CACHE.replace("resp=127.0.0.1:0", &format!("resp={address}"))));
    let said = rig.fails("cache");
    assert!(said.contains("qpair.toml:11:35: cache.listen[1]: cannot listen on"), "{said}");
    closed();
    rig.write(&format!("{DISK}{}", CACHE.replace("4MiB", "8MiB")));
    let said = rig.fails("serve");
    assert!(said.contains("qpair.toml:13:8: cache.pool: ") && said.contains("wanted is warm, of 8388608"), "{said}");
    assert!(said.contains("resize-pool = true makes it fit"), "{said}");
    closed();
    rig.write(&format!("{}{CACHE}", DISK.replace("127.0.0.1:0", &address.to_string())));
    let said = rig.fails("serve");
    assert!(said.contains("qpair.toml:2:11: listener[0].address: cannot listen on"), "{said}");
    closed();
    rig.write(&format!("{DISK}{CACHE}cpus = [9999]\n"));
    let said = rig.fails("serve");
    assert!(said.contains("qpair.toml:14:9: cache.cpus[0]: processor 9999 is not available"), "{said}");
    closed();
}

/// Nobody can cut off a file that is mapped on Windows.
#[cfg(unix)]
#[test]
fn a_pool_that_fails_ends_both_with_the_reason() {
    let rig = Rig::new(&format!("{DISK}{CACHE}"));
    let mut command = rig.command(&["serve", "--json", "--config"]);
    let log = fs::File::create(rig.path("log")).expect("a file");
    let mut serve = Serve::spawn(command.arg(rig.path("qpair.toml")).stderr(log));
    let cache = serve.says();
    let both = |serve| Both { serve, cache: cache.clone() };
    let running = both(serve);
    running.fill("0x77");
    fs::File::options().write(true).open(rig.path("cache.pool")).and_then(|f| f.set_len(5000)).expect("it is cut off");
    let mut client = running.connect("memcache");
    let _ = client.write_all(b"set k 0 0 1\r\nx\r\n");
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
    serve = running.serve;
    assert_eq!(serve.wait().code(), Some(1));
    let said = fs::read_to_string(rig.path("log")).expect("what it said");
    assert!(said.contains("are lost: the file was cut off"), "{said}");
    // The target was stopped in order.
    fs::remove_file(rig.path("cache.pool")).expect("it was there");
    let again = rig.start(&["serve"]);
    assert!(again.is_filled(0x77));
    again.stop();
}

#[test]
fn a_supervised_process_serves_both_again_after_a_crash() {
    let address = format!("127.0.0.1:{}", free_port());
    let fixed = CACHE.replace("memcache=127.0.0.1:0", &format!("memcache={address}"));
    let buggy = "[[subsystem.namespace]]\nnsid = 2\ndevice = \"fault:ram:1MiB,rule=write:panic\"\n";
    let rig = Rig::new(&format!("{DISK}{buggy}{fixed}"));
    let both = rig.start(&["cache", "--supervise"]);
    assert_eq!(both.ask("set k 0 0 1\r\nx\r\n"), "STORED\r\n");
    both.fill("0x11");
    crash_by(&both.serve.uri(NQN, 2));
    let mut again = Both { serve: both.serve, cache: json!({ "memcache": [address] }) };
    let listening = again.serve.says();
    assert_eq!((&listening["event"], &listening["service"]), (&json!("listening"), &json!("nvme-tcp")));
    again.serve.listening = listening;
    assert_eq!(again.serve.says()["pool"], "unclosed");
    assert_eq!(again.ask("get k\r\n"), "VALUE k 0 1\r\nx\r\nEND\r\n");
    assert!(again.is_filled(0x11));
    again.stop();
}

#[test]
fn flags_become_a_file_and_the_file_is_checked() {
    let rig = Rig::new("");
    let show = |arguments: &[&str]| output(qpair(&["config", "show"]).args(arguments));
    let disks = show(&["--nqn", NQN, "--listen", "127.0.0.1:0", "ram:1MiB"]);
    let cache = show(&["cache", "--memory", "4MiB", "--listen", "memcache=127.0.0.1:0", "--reactors", "2"]);
    assert_eq!(cache, "\n[cache]\nlisten = [\"memcache=127.0.0.1:0\"]\nmemory = \"4MiB\"\nreactors = 2\n");
    rig.write(&(disks + &cache));
    let check = || rig.command(&["config", "check"]).arg(rig.path("qpair.toml")).output().expect("it runs");
    let done = check();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 subsystem, 1 namespace, 1 listener, a cache of 4 MiB"), "{said}");
    let path = rig.path("qpair.toml").display().to_string();
    assert_eq!(show(&["--config", &path]), fs::read_to_string(&path).expect("it is there"));
    rig.start(&["serve"]).stop();
    rig.write("[cache]\npol = \"x\"\n");
    let done = check();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(!done.status.success() && said.contains("2:1: cache.pol: there is no field"), "{said}");
    let done = qpair(&["config", "show", "cache", "--durability", "warm"]).stdout(Stdio::null()).output();
    let said = done.expect("it runs").stderr;
    assert!(String::from_utf8_lossy(&said).contains("--durability: there is no pool"), "{said:?}");
}
