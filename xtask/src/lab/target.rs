//! A `qpair serve` that the tests started: until it listens, while it serves, and its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a target may take until it listens. Far above what it needs: the machine may be busy.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a target may take from SIGTERM to its end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running target. Dropping it kills it.
pub(crate) struct Target {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
    addresses: Vec<SocketAddr>,
    said: Listening,
}

/// What it said when it listened: a line of JSON.
pub(crate) struct Listening(String);

impl Target {
    /// Starts `qpair serve ARGUMENTS` on a free port of the loopback and waits until it listens. What it says goes to
    /// the file `log`.
    pub(crate) fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self, String> {
        Self::start_on(program, arguments, log, 1)
    }

    /// The same on so many ports.
    pub(crate) fn start_on(program: &Path, arguments: &[&str], log: &Path, ports: usize) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        Self::launched(program, arguments, &listen(&["127.0.0.1:0"].repeat(ports)), log)
    }

    /// Starts `qpair serve --config FILE`, which listens where the file says.
    pub(crate) fn follow(program: &Path, config: &Path, log: &Path) -> Result<Self, String> {
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        Self::launched(program, arguments, &[], log)
    }

    fn launched(program: &Path, arguments: Vec<String>, listen: &[String], log: &Path) -> Result<Self, String> {
        let (child, said, addresses) = launch(program, &arguments, listen, log)?;
        Ok(Self { program: program.to_owned(), arguments, log: log.to_owned(), child, addresses, said })
    }

    /// What it said when it listened.
    pub(crate) fn said(&self) -> &Listening {
        &self.said
    }

    /// Has it read its file again; whether it took it.
    pub(crate) fn reload(&self) -> Result<bool, String> {
        let pid = self.child.id().to_string();
        crate::succeeds(Command::new(&self.program).args(["reload", "--pid", &pid]))
    }

    /// The port it listens on, or the first of them.
    pub(crate) fn port(&self) -> u16 {
        self.addresses[0].port()
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// kill -9, a pause, and a start on the same ports.
    pub(crate) fn kill_and_restart(&mut self, pause: Duration) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|e| format!("cannot kill the target: {e}"))?;
        thread::sleep(pause);
        (self.child, self.said, self.addresses) =
            launch(&self.program, &self.arguments, &listen(&self.addresses), &self.log)?;
        Ok(())
    }

    /// Whether it still runs; if not, how it ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.with_log(&format!("the target ended by itself: {status}"))),
            Err(e) => Err(format!("cannot look after the target: {e}")),
        }
    }

    /// SIGTERM: it must end with status 0, soon, and leave its port free.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.check_alive()?;
        terminate(self.child.id())?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if begun.elapsed() > STOP_LIMIT {
                return Err(self.with_log(&format!("still there {} s after SIGTERM", STOP_LIMIT.as_secs())));
            }
            thread::sleep(Duration::from_millis(10));
        };
        if !status.success() {
            return Err(self.with_log(&format!("SIGTERM: {}", describe(status))));
        }
        TcpListener::bind(&*self.addresses).map_err(|e| format!("the port is not free after the end: {e}"))?;
        Ok(())
    }

    /// The message, and the last lines that the target said.
    fn with_log(&self, message: &str) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n    ");
        println!("the target's last lines:\n    {tail}");
        message.to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program and waits for the line of JSON that says where it listens.
fn launch(
    program: &Path,
    arguments: &[String],
    listen: &[String],
    log: &Path,
) -> Result<(Child, Listening, Vec<SocketAddr>), String> {
    let err = File::options().create(true).append(true).open(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut child = Command::new(program)
        .arg("serve")
        .args(arguments)
        .args(listen)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(err)
        .spawn()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
    let (said, listening) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // Lines before it may tell of other events.
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if line.contains("\"event\":\"listening\"") {
                let _ = said.send(line);
                break;
            }
            line.clear();
        }
        // The pipe must not fill up.
        let _ = output.read_to_end(&mut Vec::new());
    });
    let said = listening.recv_timeout(START_LIMIT).ok().map(Listening);
    if let Some((said, addresses)) = said.and_then(|said| said.addresses().map(|addresses| (said, addresses))) {
        return Ok((child, said, addresses));
    }
    let _ = child.kill();
    let _ = child.wait();
    print!("{}", std::fs::read_to_string(log).unwrap_or_default());
    Err(format!("qpair serve {} {}: did not say that it listens", arguments.join(" "), listen.join(" ")))
}

/// The arguments for these addresses.
fn listen(addresses: &[impl ToString]) -> Vec<String> {
    addresses.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]).collect()
}

impl Listening {
    /// The addresses of `"listen":["127.0.0.1:4420","127.0.0.1:4421"]`; there is at least one.
    fn addresses(&self) -> Option<Vec<SocketAddr>> {
        let (_, rest) = self.0.split_once("\"listen\":[")?;
        rest.split_once(']')?.0.split(',').map(|address| address.trim_matches('"').parse().ok()).collect()
    }

    /// Where the metrics are, if they are anywhere.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.text("\"metrics\":\"")?.parse().ok()
    }

    /// The kind of ring that all reactors have.
    pub(crate) fn ring(&self) -> Option<&str> {
        self.text("\"ring\":\"")
    }

    /// Why that is not `io_uring`, if it was free to be.
    pub(crate) fn ring_reason(&self) -> Option<&str> {
        self.text("\"ring_reason\":\"")
    }

    /// The rest of the text that starts with this.
    fn text(&self, start: &str) -> Option<&str> {
        let (_, rest) = self.0.split_once(start)?;
        Some(rest.split_once('"')?.0)
    }
}

/// Asks a process that we started to end.
pub(crate) fn terminate(pid: u32) -> Result<(), String> {
    signal(pid, "TERM")
}

/// Sends a signal to a process that we started. The standard library knows only SIGKILL, and only for children.
pub(crate) fn signal(pid: u32, name: &str) -> Result<(), String> {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$2\" \"$1\"", "sh", &pid.to_string(), name]);
    if crate::succeeds(&mut command)? { Ok(()) } else { Err(format!("cannot signal process {pid}")) }
}

fn describe(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code} instead of 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_said() {
        let line = r#"{"schema":1,"event":"listening","listen":["127.0.0.1:39211"],"nqn":"nqn.x","namespaces":[],
                       "ring":"uring","ring_reason":null,"metrics":"127.0.0.1:9420"}"#;
        let said = Listening(line.to_owned());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(said.addresses(), Some(vec![address(39211)]));
        assert_eq!(said.metrics(), Some(SocketAddr::from(([127, 0, 0, 1], 9420))));
        assert_eq!((said.ring(), said.ring_reason()), (Some("uring"), None));
        let addresses = |line: &str| Listening(line.to_owned()).addresses();
        assert_eq!(addresses(r#"{"listen":["127.0.0.1:1","127.0.0.1:2"]}"#), Some(vec![address(1), address(2)]));
        for line in ["{}", r#"{"listen":["nowhere"]}"#, r#"{"listen":[]}"#] {
            assert_eq!(addresses(line), None);
        }
    }
}
