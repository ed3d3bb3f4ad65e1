//! A cache on loopback ports, and clients of it that write what they like.
//!
//! Every socket has a time-out: a cache that does not answer fails a test, it does not hang it.

#![allow(dead_code, unreachable_pub, reason = "every test program has this folder of its own and uses a part of it")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use machine::ring::RingKind;
use qpair_cache::{Options, Server};

/// Longest wait for anything that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What kind of ring caches have here: what `QPAIR_TEST_RING` says, or the kind that users get.
fn ring() -> RingKind {
    std::env::var("QPAIR_TEST_RING").map_or(RingKind::Auto, |kind| kind.parse().expect("QPAIR_TEST_RING"))
}

/// Listens for both kinds of clients; the rest as [`Options::default`] has it.
pub fn options() -> Options {
    let any = || vec!["127.0.0.1:0".parse().expect("an address")];
    Options { memcache: any(), resp: any(), ring: ring(), ..Options::default() }
}

/// A cache of so many reactors.
pub fn cache(reactors: usize) -> Cache {
    Cache::start(&Options { reactors, ..options() })
}

/// A cache that runs; it is stopped, and checked, when this is dropped.
pub struct Cache(Option<Server>);

impl Cache {
    /// Starts one with listeners of both kinds.
    pub fn start(options: &Options) -> Self {
        Self(Some(Server::start(options).expect("it starts")))
    }

    /// Where it listens for memcached's clients.
    pub fn memcache(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Where it listens for Redis clients.
    pub fn resp(&self) -> SocketAddr {
        self.addresses()[1]
    }
}

impl Deref for Cache {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0.as_ref().expect("it runs")
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let stopped = self.0.take().expect("it runs").stop();
        if !thread::panicking() {
            stopped.expect("no reactor has panicked");
        }
    }
}

/// A connection, and what was received and not looked at.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// One that speaks memcached's protocol.
    pub fn memcache(cache: &Cache) -> Self {
        Self::at(cache.memcache())
    }

    /// One that speaks Redis' protocol.
    pub fn resp(cache: &Cache) -> Self {
        Self::at(cache.resp())
    }

    /// One of any server.
    pub fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self(BufReader::new(stream))
    }

    /// The socket, to be written to.
    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends, and reads nothing: for what the sockets take.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.socket().write_all(bytes.as_ref()).expect("it listens");
    }

    /// Sends, and reads as many bytes as are expected.
    pub fn says(&mut self, asked: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
        self.says_in(asked, &[usize::MAX], expected);
    }

    /// The same, in portions of these sizes, in turns.
    pub fn says_in(&mut self, asked: impl AsRef<[u8]>, portions: &[usize], expected: impl AsRef<[u8]>) {
        let (asked, expected) = (asked.as_ref(), expected.as_ref());
        let mut answer = vec![0; expected.len()];
        let read = self.while_sending(asked, portions, |reader| reader.read_exact(&mut answer));
        let differs = answer.iter().zip(expected).position(|(one, two)| one != two);
        assert!(
            read.is_ok() && differs.is_none(),
            "{} was answered, at byte {differs:?} of {}, {}, not {}",
            shown(asked, 0),
            expected.len(),
            shown(&answer, differs.unwrap_or_default()),
            shown(expected, differs.unwrap_or_default())
        );
    }

    /// Sends, and reads up to this end.
    pub fn until(&mut self, asked: impl AsRef<[u8]>, end: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        self.while_sending(asked.as_ref(), &[usize::MAX], |reader| {
            while !answers.ends_with(end) {
                let last = end.last().expect("there is an end");
                let read = reader.read_until(*last, &mut answers).expect("an answer");
                assert!(read > 0, "it ended behind {}", shown(&answers, answers.len()));
            }
        });
        answers
    }

    /// Sends commands of memcached's; all answers up to that of an `mn` behind them.
    pub fn asks(&mut self, asked: impl AsRef<[u8]>) -> Vec<u8> {
        let mut answers = self.until([asked.as_ref(), b"mn\r\n"].concat(), b"MN\r\n");
        answers.truncate(answers.len() - b"MN\r\n".len());
        answers
    }

    /// Sends commands of Redis'; all answers up to that of an `ECHO` behind them.
    pub fn asks_resp(&mut self, asked: impl AsRef<[u8]>) -> Vec<u8> {
        const END: &[u8] = b"$12\r\nit-ends-here\r\n";
        let mut answers = self.until([asked.as_ref(), b"ECHO it-ends-here\r\n"].concat(), END);
        answers.truncate(answers.len() - END.len());
        answers
    }

    /// Sends as far as it is listened to; all answers, to the end of the connection.
    pub fn finish(mut self, asked: impl AsRef<[u8]>) -> Vec<u8> {
        let mut once = Some(asked.as_ref().to_vec());
        self.while_it_listens(|| once.take())
    }

    /// The same of portions that are made as they are sent.
    pub fn while_it_listens(&mut self, mut more: impl FnMut() -> Option<Vec<u8>>) -> Vec<u8> {
        let mut writer = self.socket().try_clone().expect("a socket");
        let mut all = Vec::new();
        thread::scope(|scope| {
            let reader = scope.spawn(|| match self.0.read_to_end(&mut all) {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("the door stays open: {error}"),
                _ => {}
            });
            while let Some(bytes) = more()
                && writer.write_all(&bytes).is_ok()
            {}
            reader.join().expect("it reads to the end");
        });
        all
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    /// So many bytes.
    pub fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        self.0.read_exact(&mut all).expect("an answer");
        all
    }

    /// A figure that memcached's `stats` tell.
    pub fn stat(&mut self, name: &str) -> u64 {
        let text = String::from_utf8(self.until("stats\r\n", b"END\r\n")).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.expect("it is told").parse().expect("a number")
    }

    /// Reads while all of this is sent.
    fn while_sending<T>(
        &mut self,
        asked: &[u8],
        portions: &[usize],
        read: impl FnOnce(&mut BufReader<TcpStream>) -> T,
    ) -> T {
        let mut writer = self.socket().try_clone().expect("a socket");
        let send = move || {
            let (mut at, mut turns) = (0, portions.iter().cycle());
            while at < asked.len() {
                let end = asked.len().min(at.saturating_add(*turns.next().expect("it is a cycle")));
                writer.write_all(&asked[at..end]).expect("it listens");
                at = end;
            }
        };
        if asked.len() < SOCKET_BYTES {
            let mut send = send;
            send();
            return read(&mut self.0);
        }
        thread::scope(|scope| {
            scope.spawn(send);
            read(&mut self.0)
        })
    }
}

/// What two sockets take in any case before anybody reads.
const SOCKET_BYTES: usize = 16 << 10;

/// Some bytes around a place.
fn shown(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(100);
    bytes[from..bytes.len().min(from + 300)].escape_ascii().to_string()
}

/// Waits for what comes sooner or later.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Numbers by chance.
pub struct Chance(pub u64);

impl Chance {
    /// A number below this one.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
