//! Clients that do not read, by the clock.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::clock::Fine;
use qpair_cache::limits::{LENT, LENT_BYTES, UNREAD};
use qpair_cache::{Options, Stepper};

const SECOND: Duration = Duration::from_secs(1);
/// Passes after which nothing is left to be done.
const PASSES: usize = 100;
/// Far more than both sides' sockets hold, of answers.
const ASKED_BYTES: usize = 64 << 20;

struct Clock {
    cache: Stepper,
    now: Fine,
}

impl Clock {
    fn new() -> Self {
        let now = Fine::from_nanos(1_000_000_000);
        let options = Options { max_value: 8 << 20, ..Options::default() };
        Self { cache: Stepper::new(&options, now).expect("descriptors and memory"), now }
    }

    fn connect(&mut self) -> TcpStream {
        let stream = self.cache.connect_memcache().expect("descriptors");
        stream.set_nonblocking(true).expect("a socket");
        stream
    }

    fn pass(&mut self) {
        (0..PASSES).for_each(|_| _ = self.cache.step(self.now).expect("it can always go on"));
    }

    /// A client asks for a value of so many bytes again and again, and does not read it.
    fn overwhelmed(&mut self, bytes: usize) -> TcpStream {
        let mut client = self.connect();
        let set = format!("set k 0 0 {bytes} noreply\r\n{}\r\n", "v".repeat(bytes));
        self.send(&mut client, set.as_bytes());
        let gets = b"get k\r\n".repeat(ASKED_BYTES / bytes);
        self.send(&mut client, &gets);
        client
    }

    /// Sends, as long as the cache listens.
    fn send(&mut self, client: &mut TcpStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match client.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            self.pass();
        }
    }

    /// A second later another client is served.
    fn tick(&mut self, other: &mut TcpStream) {
        self.now = self.now.plus(SECOND);
        other.write_all(b"mn\r\n").expect("the socket takes it");
        self.pass();
        let mut answer = [0; 16];
        assert_eq!(other.read(&mut answer).expect("an answer"), 4);
    }
}

#[test]
fn who_reads_nothing_is_disconnected_in_time_and_others_are_served() {
    // The last one is lent, and too large to be copied.
    for (bytes, limit) in [(1000, UNREAD), (LENT_BYTES, UNREAD), (1 << 20, UNREAD), (2 << 20, LENT)] {
        let mut clock = Clock::new();
        let mut other = clock.connect();
        let _silent = clock.overwhelmed(bytes);
        assert_eq!(clock.cache.connections(), 2, "{bytes}");
        let mut seconds = 0;
        while clock.cache.connections() == 2 {
            clock.tick(&mut other);
            seconds += 1;
            assert!(seconds < 100, "{bytes}: it stays");
        }
        let limit = limit.as_secs();
        assert!((limit..=limit + 2).contains(&seconds), "{bytes}: {seconds} s, not {limit}");
        assert_eq!(clock.cache.pinned_bytes(), 0, "{bytes}");
        clock.cache.check();
    }
}

#[test]
fn who_reads_little_but_reads_stays() {
    let mut clock = Clock::new();
    let mut other = clock.connect();
    let mut slow = clock.overwhelmed(1000);
    let mut some = vec![0; 1 << 20];
    for second in 1..150 {
        clock.tick(&mut other);
        if second % 25 == 0 {
            // A socket takes more when most of it was read.
            let mut all = 0;
            while let Ok(read) = slow.read(&mut some) {
                all += read;
            }
            assert!(all > 0 && all < ASKED_BYTES, "{all} bytes after {second} s");
            clock.pass();
        }
        assert_eq!(clock.cache.connections(), 2, "after {second} s");
    }
}
