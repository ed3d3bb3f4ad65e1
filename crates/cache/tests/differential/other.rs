//! A server that we did not write, on a loopback port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::common::until;

/// One that is killed when this is dropped.
pub(crate) struct Other {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Other {
    /// Debian's memcached with these options beside the usual ones. `None`, and a line that says so, where it is not.
    pub(crate) fn memcached(options: &[&str]) -> Option<Self> {
        Self::start("memcached", |port| {
            let mut command = Command::new("memcached");
            // It will not run as root unless it is told whose rights to have; it ignores this otherwise.
            command.args(["-l", "127.0.0.1", "-t", "1", "-u", "root", "-p", port]).args(options);
            command
        })
    }

    /// The same of redis-server.
    pub(crate) fn redis() -> Option<Self> {
        Self::start("redis-server", |port| {
            let mut command = Command::new("redis-server");
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                port,
                // On a busy machine any command may be a slow one.
                "--slowlog-log-slower-than",
                "-1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--databases",
                "1",
            ]);
            command
        })
    }

    fn start(name: &str, command: impl Fn(&str) -> Command) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut command = command(&address.port().to_string());
        let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("SKIPPED: there is no {name} here (apt-get install {name})");
            return None;
        };
        let other = Self { child, address };
        until("it listens", || TcpStream::connect(address).is_ok());
        Some(other)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
