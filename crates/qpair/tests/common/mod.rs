//! The finished program, as its users start it.

#![allow(dead_code, unreachable_pub, reason = "every test program has this folder of its own and uses a part of it")]

pub mod page;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything that should come soon.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A port that is free now, below those that the system gives to clients; another one for each test of this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// `qpair` with these arguments.
pub fn qpair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpair"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// With a runtime directory of its own, in this one: as a user's who runs nothing else.
pub fn as_user(mut command: Command, dir: &Path) -> Command {
    command.env("XDG_RUNTIME_DIR", dir).env("LOCALAPPDATA", dir);
    command
}

/// What the system says of an error that disks give, by its name in POSIX.
pub fn says_of(name: &str) -> String {
    let number = machine::os::disk_error_number(name).expect("it has a number here");
    std::io::Error::from_raw_os_error(number).to_string()
}

/// What the system says of a file that is not there.
pub fn says_of_missing(path: impl AsRef<Path>) -> String {
    std::fs::File::open(path).expect_err("it is not there").to_string()
}

/// A configuration file in which `DIR` is this directory, in strings of either kind: with a slash where TOML would take
/// a backslash for the beginning of something else.
pub fn with_dir(config: &str, dir: &Path) -> String {
    config.replace("DIR", &dir.display().to_string().replace('\\', "/"))
}

/// The server that a supervisor has started, by what it tells in the runtime directory.
pub fn ward_of(dir: &Path, guard: u32) -> Option<u32> {
    let files = std::fs::read_dir(dir.join("qpair")).ok()?.flatten().map(|entry| entry.path());
    let statuses = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let told = statuses.filter_map(|path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok());
    let ward = told.into_iter().find(|status| status["guard"] == guard)?;
    ward["pid"].as_u64().and_then(|pid| pid.try_into().ok())
}

/// A `qpair serve` that listens; killed when it is dropped.
pub struct Serve {
    child: Child,
    /// What was set for it, so that other commands find it.
    variables: Vec<(OsString, OsString)>,
    stdout: BufReader<ChildStdout>,
    /// What it said when it listened.
    pub listening: Value,
}

impl Serve {
    /// Starts `qpair serve --json` with more arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(qpair(&["serve", "--json"]).args(arguments))
    }

    /// Starts a command that is such a server.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let set = |(name, value): (&OsStr, Option<&OsStr>)| Some((name.to_owned(), value?.to_owned()));
        let variables = command.get_envs().filter_map(set).collect();
        let listening = line(&mut stdout);
        assert_eq!(listening["event"], "listening");
        Self { child, variables, stdout, listening }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listening["listen"][0].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    /// What `qpair bench` connects to.
    pub fn uri(&self, nqn: &str, nsid: u32) -> String {
        format!("nvme-tcp://{}/{nqn}?ns={nsid}", self.address())
    }

    /// Sends a signal by its name. Where there are none, it is asked in the way that its users have.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let mut asks = match name {
            "TERM" if cfg!(windows) => qpair(&["stop", &pid]),
            "HUP" if cfg!(windows) => qpair(&["reload", "--pid", &pid]),
            _ => return signal(self.pid(), name),
        };
        output(asks.envs(self.variables.iter().cloned()));
    }

    /// Waits for the end of one that was asked to stop, and sees that it says so.
    pub fn ends_well(mut self) {
        let status = self.child.wait().expect("it ends");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        let last = rest.lines().last().unwrap_or_default();
        assert!(status.success() && last.contains("\"stopped\""), "{status}: {last:?}");
    }

    /// Waits for the end of one that ends by itself.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// The next thing that it says.
    pub fn says(&mut self) -> Value {
        line(&mut self.stdout)
    }

    /// Ends it as a service manager does; what it said at the end.
    pub fn stop(mut self) -> Value {
        self.signal("TERM");
        let mut stopped = self.says();
        while stopped["event"] == "reloaded" {
            stopped = self.says();
        }
        assert_eq!(stopped["event"], "stopped");
        assert!(self.child.wait().expect("it ends").success());
        stopped
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it says something");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Sends a process a signal. The standard library knows none but SIGKILL, for children. Where there are no signals, a
/// process can be killed and no more.
pub fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    if cfg!(windows) {
        assert_eq!(name, "KILL", "there are no signals here");
        output(Command::new("taskkill").args(["/F", "/PID", &pid]));
        return;
    }
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("there is a shell");
    assert!(status.success(), "kill -{name} {pid}");
}

/// Crashes the server of a namespace whose device panics at a write (`fault:...,rule=write:panic`).
pub fn crash_by(uri: &str) {
    // It is not to come back for another write.
    let uri = format!("{uri}&ctrl-loss-timeout=0");
    let done = qpair(&["write", &uri, "--lba", "0", "--count", "1", "--fill", "1"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && said.contains("the connection broke"), "{done:?}");
}

/// Runs a command to its end; its standard output, if it succeeded.
pub fn output(command: &mut Command) -> String {
    let done = command.stderr(Stdio::inherit()).output().expect("it starts");
    let text = String::from_utf8(done.stdout).expect("text");
    assert!(done.status.success(), "{command:?}: {}\n{text}", done.status);
    text
}

/// Waits for something that should be so soon.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `GET path` by HTTP; the body, if the status is 200.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}
