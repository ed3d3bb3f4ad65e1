//! A `qpair serve` or `qpair cache` that the tests started: until it listens, while it serves, and its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::system::Program;

/// How long a target may take until it listens. Far above what it needs: the machine may be busy, and Wine not yet up.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a target may take from the wish that it stops to its end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running target. Dropping it kills it.
pub(crate) struct Target {
    program: Program,
    service: Service,
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
    addresses: Vec<SocketAddr>,
    said: Listening,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Disks,
    Cache,
}

impl Service {
    fn verb(self) -> &'static str {
        match self {
            Self::Disks => "serve",
            Self::Cache => "cache",
        }
    }

    /// What stands before an address that it is to listen on. A cache has one address for each protocol.
    fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Disks => &[""],
            Self::Cache => &["memcache=", "resp="],
        }
    }

    /// The arguments for these addresses.
    fn listen(self, addresses: &[impl ToString]) -> Vec<String> {
        let protocols = self.protocols().iter().cycle();
        let words =
            addresses.iter().zip(protocols).map(|(address, protocol)| protocol.to_string() + &address.to_string());
        words.flat_map(|word| ["--listen".to_owned(), word]).collect()
    }
}

/// What it said when it listened: a line of JSON.
pub(crate) struct Listening(String);

impl Target {
    /// Starts `qpair serve ARGUMENTS` on a free port of the loopback and waits until it listens. What it says goes to
    /// the file `log`.
    pub(crate) fn start(program: &Program, arguments: &[&str], log: &Path) -> Result<Self, String> {
        Self::start_on(program, arguments, log, 1)
    }

    /// The same on so many ports.
    pub(crate) fn start_on(program: &Program, arguments: &[&str], log: &Path, ports: usize) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let listen = Service::Disks.listen(&["127.0.0.1:0"].repeat(ports));
        Self::launched(program, Service::Disks, arguments, &listen, log)
    }

    /// Starts `qpair cache ARGUMENTS` on two free ports: that of memcached clients, and that of Redis clients.
    pub(crate) fn cache(program: &Program, arguments: &[&str], log: &Path) -> Result<Self, String> {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        let listen = Service::Cache.listen(&["127.0.0.1:0"; 2]);
        Self::launched(program, Service::Cache, arguments, &listen, log)
    }

    /// Starts `qpair serve --config FILE`, which listens where the file says.
    pub(crate) fn follow(program: &Program, config: &Path, log: &Path) -> Result<Self, String> {
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        Self::launched(program, Service::Disks, arguments, &[], log)
    }

    fn launched(
        program: &Program,
        service: Service,
        arguments: Vec<String>,
        listen: &[String],
        log: &Path,
    ) -> Result<Self, String> {
        let (child, said, addresses) = launch(program, service, &[&arguments[..], listen].concat(), log)?;
        Ok(Self { program: program.clone(), service, arguments, log: log.to_owned(), child, addresses, said })
    }

    /// What it said when it listened.
    pub(crate) fn said(&self) -> &Listening {
        &self.said
    }

    /// Has it read its file again; whether it took it.
    pub(crate) fn reload(&self) -> Result<bool, String> {
        let pid = self.child.id().to_string();
        crate::succeeds(self.program.command().args(["reload", "--pid", &pid]))
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
        self.start_again(pause)
    }

    /// The same, but it is asked to stop, and must do so in order.
    pub(crate) fn stop_and_restart(&mut self, pause: Duration) -> Result<(), String> {
        self.end()?;
        self.start_again(pause)
    }

    fn start_again(&mut self, pause: Duration) -> Result<(), String> {
        thread::sleep(pause);
        let arguments = [&self.arguments[..], &self.service.listen(&self.addresses)].concat();
        (self.child, self.said, self.addresses) = launch(&self.program, self.service, &arguments, &self.log)?;
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

    /// It is asked to stop: it must end with status 0, soon, and leave its port free.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.end()?;
        TcpListener::bind(&*self.addresses).map_err(|e| format!("the port is not free after the end: {e}"))?;
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.check_alive()?;
        let wish = self.program.stop_signal();
        signal(self.child.id(), wish)?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if begun.elapsed() > STOP_LIMIT {
                return Err(self.with_log(&format!("still there {} s after SIG{wish}", STOP_LIMIT.as_secs())));
            }
            thread::sleep(Duration::from_millis(10));
        };
        if !status.success() {
            return Err(self.with_log(&format!("SIG{wish}: {}", describe(status))));
        }
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
    program: &Program,
    service: Service,
    arguments: &[String],
    log: &Path,
) -> Result<(Child, Listening, Vec<SocketAddr>), String> {
    let err = File::options().create(true).append(true).open(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut child = program
        .command()
        .arg(service.verb())
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(err)
        .spawn()
        .map_err(|e| program.does_not_run(&e))?;
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
    if let Some((said, addresses)) = said.and_then(|said| said.addresses(service).map(|addresses| (said, addresses))) {
        return Ok((child, said, addresses));
    }
    let _ = child.kill();
    let _ = child.wait();
    print!("{}", std::fs::read_to_string(log).unwrap_or_default());
    Err(format!("qpair {} {}: did not say that it listens", service.verb(), arguments.join(" ")))
}

impl Listening {
    /// The addresses of `"listen":["127.0.0.1:4420","127.0.0.1:4421"]`, or of `"memcache":[...],"resp":[...]`; there is
    /// at least one of each.
    fn addresses(&self, service: Service) -> Option<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for protocol in service.protocols() {
            let name = if protocol.is_empty() { "listen" } else { protocol.trim_end_matches('=') };
            let (_, rest) = self.0.split_once(&format!("\"{name}\":["))?;
            for address in rest.split_once(']')?.0.split(',') {
                addresses.push(address.trim_matches('"').parse().ok()?);
            }
        }
        Some(addresses)
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
        assert_eq!(said.addresses(Service::Disks), Some(vec![address(39211)]));
        assert_eq!(said.metrics(), Some(SocketAddr::from(([127, 0, 0, 1], 9420))));
        assert_eq!((said.ring(), said.ring_reason()), (Some("uring"), None));
        let addresses = |line: &str| Listening(line.to_owned()).addresses(Service::Disks);
        assert_eq!(addresses(r#"{"listen":["127.0.0.1:1","127.0.0.1:2"]}"#), Some(vec![address(1), address(2)]));
        for line in ["{}", r#"{"listen":["nowhere"]}"#, r#"{"listen":[]}"#] {
            assert_eq!(addresses(line), None);
        }
        let cache = Listening(r#"{"memcache":["127.0.0.1:1"],"resp":["127.0.0.1:2"]}"#.to_owned());
        assert_eq!(cache.addresses(Service::Cache), Some(vec![address(1), address(2)]));
        let words = ["--listen", "memcache=127.0.0.1:1", "--listen", "resp=127.0.0.1:2"];
        assert_eq!(Service::Cache.listen(&[address(1), address(2)]), words);
    }
}
