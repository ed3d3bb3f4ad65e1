//! What many clients together can make a cache keep, and that others do not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::clock::Fine;
use qpair_cache::limits::{BUFFER_BYTES, LANDING, MAX_COMMAND_BYTES, MAX_UNSENT_BYTES, SHARE_BYTES, UNREAD_WHEN_SHORT};
use qpair_cache::{Options, Stepper};

/// Those that mean no good.
const MANY: usize = 120;
/// What the last one that is counted may add: a command and its room.
const SLACK: usize = 4 * MAX_COMMAND_BYTES;

struct World {
    cache: Stepper,
    now: Fine,
    /// What is kept never was more.
    most: usize,
}

impl World {
    fn new() -> Self {
        let now = Fine::from_nanos(1_000_000_000);
        let cache = Stepper::new(&Options { memory: 16 << 20, ..Options::default() }, now).expect("memory");
        Self { cache, now, most: 0 }
    }

    fn pass(&mut self) -> usize {
        let units = self.cache.step(self.now).expect("it can always go on");
        self.most = self.most.max(self.cache.buffered_bytes());
        units
    }

    fn connect(&mut self, resp: bool) -> TcpStream {
        let stream = if resp { self.cache.connect_resp() } else { self.cache.connect_memcache() };
        let stream = stream.expect("descriptors");
        stream.set_nonblocking(true).expect("a socket");
        self.pass();
        stream
    }

    /// Writes as far as it is taken, with a pass of the cache whenever the socket is full; how far that was.
    fn write(&mut self, mut stream: &TcpStream, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match stream.write(&bytes[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.pass() == 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        self.pass();
        written
    }

    /// A client that is not one of the many says something, and is answered in the same pass.
    fn says(&mut self, stream: &TcpStream, asked: &[u8], answer: &[u8]) {
        assert_eq!(self.write(stream, asked), asked.len());
        let said = read(stream);
        assert!(said == answer, "{}", said[..said.len().min(200)].escape_ascii());
    }
}

/// All that has come; at the end of the connection, too.
fn read(mut stream: &TcpStream) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return all,
            Ok(read) => all.extend_from_slice(&part[..read]),
        }
    }
}

fn is_closed(mut stream: &TcpStream) -> bool {
    !matches!(stream.write(b"x"), Err(error) if error.kind() == ErrorKind::WouldBlock) && stream.write(b"x").is_err()
}

/// Begins a command of 900 kB, and does not end it.
fn begun() -> Vec<u8> {
    let pairs = format!("$3\r\nkey\r\n$10000\r\n{}\r\n", "x".repeat(10_000));
    format!("*1001\r\n$4\r\nMSET\r\n{}", pairs.repeat(90)).into_bytes()
}

/// Each may have 1 MiB; all of them would have 110 MB.
#[test]
fn commands_that_are_not_whole_take_what_there_is_for_them_and_no_more() {
    let mut world = World::new();
    let others = [world.connect(false), world.connect(true)];
    let mut many = Vec::new();
    for number in 0..MANY {
        let stream = world.connect(true);
        world.write(&stream, &begun());
        many.push(stream);
        let (key, value) = (format!("k{number}"), "v".repeat(10_000));
        let set = format!("set {key} 0 0 10000\r\n{value}\r\nget {key}\r\n");
        world.says(
            &others[0],
            set.as_bytes(),
            format!("STORED\r\nVALUE {key} 0 10000\r\n{value}\r\nEND\r\n").as_bytes(),
        );
        world.says(&others[1], format!("STRLEN {key}\r\n").as_bytes(), b":10000\r\n");
    }
    assert!(world.most <= BUFFER_BYTES + SLACK, "{} bytes", world.most);
    assert!(world.most >= BUFFER_BYTES - MAX_COMMAND_BYTES, "they have all that there is: {} bytes", world.most);
    let refused: Vec<Vec<u8>> = many.iter().map(read).filter(|said| !said.is_empty()).collect();
    let text = b"-ERR there is no memory for so long a command now: others have sent too many\r\n";
    assert!(refused.len() > MANY / 2 && refused.iter().all(|said| said == text), "{} are refused", refused.len());
    assert_eq!(world.cache.connections(), 2 + MANY - refused.len());
    // The rest have a minute. Then there is room again.
    for _ in 0..=LANDING.as_secs() + 2 {
        world.now = world.now.plus(Duration::from_secs(1));
        world.pass();
    }
    assert_eq!((world.cache.connections(), world.cache.buffered_bytes()), (2, 0));
    let pairs = format!("$3\r\nkey\r\n$10000\r\n{}\r\n", "x".repeat(10_000)).repeat(90);
    world.says(&others[1], format!("*181\r\n$4\r\nMSET\r\n{pairs}").as_bytes(), b"+OK\r\n");
}

/// Each may have 1 MiB of answers before it is not listened to.
#[test]
fn answers_that_are_not_read_take_what_there_is_for_them_and_no_more() {
    let mut world = World::new();
    let other = world.connect(false);
    let value = "v".repeat(10_000);
    world.says(&other, format!("set k 0 0 10000\r\n{value}\r\n").as_bytes(), b"STORED\r\n");
    let answer = format!("VALUE k 0 10000\r\n{value}\r\nEND\r\n").into_bytes();
    let gets = b"get k\r\n".repeat(1000);
    let mut many = Vec::new();
    for _ in 0..MANY {
        let stream = world.connect(false);
        world.write(&stream, &gets);
        many.push(stream);
        world.says(&other, b"get k\r\n", &answer);
    }
    assert!(world.most <= BUFFER_BYTES + SLACK, "{} bytes", world.most);
    assert!(world.most > BUFFER_BYTES / 2, "{} bytes", world.most);
    world.now = world.now.plus(UNREAD_WHEN_SHORT);
    (0..3).for_each(|_| _ = world.pass());
    // Those that stay have less than half of it, but for one that was answered meanwhile.
    let kept = world.cache.buffered_bytes();
    assert!(kept < BUFFER_BYTES / 2 + 2 * MAX_UNSENT_BYTES, "{kept} bytes");
    assert!(many.iter().filter(|stream| is_closed(stream)).count() > 0);
    // Who reads is served whatever others do, however deep its pipeline.
    let (reader, mut told) = (world.connect(false), 0);
    assert_eq!(world.write(&reader, &gets), gets.len());
    for _ in 0..10_000 {
        world.pass();
        told += read(&reader).len();
        if told == 1000 * answer.len() {
            return;
        }
    }
    panic!("{told} bytes");
}

/// Room that a long pipeline has made is given back where others need it, and after a while in any case.
#[test]
fn clients_that_read_are_not_hindered_by_each_other() {
    let mut world = World::new();
    let streams: Vec<TcpStream> = (0..MANY).map(|_| world.connect(true)).collect();
    let value = "v".repeat(10_000);
    let asked = format!("SET k {value}\r\n{}", "GET k\r\n".repeat(15));
    let wanted = b"+OK\r\n".len() + 15 * format!("$10000\r\n{value}\r\n").len();
    for round in 0..3 {
        for mut stream in &streams {
            assert_eq!(stream.write(asked.as_bytes()).expect("it is read"), asked.len());
        }
        let mut told = vec![0; streams.len()];
        let mut passes = 0;
        while told.iter().any(|told| *told != wanted) {
            world.pass();
            told.iter_mut().zip(&streams).for_each(|(told, stream)| *told += read(stream).len());
            passes += 1;
            assert!(passes < 1000, "round {round}: {told:?}");
        }
    }
    // A client that has less than its share unsent is answered once more, whatever others have.
    assert!(world.most <= BUFFER_BYTES / 2 + MAX_UNSENT_BYTES + MANY * 2 * SHARE_BYTES, "{} bytes", world.most);
    assert_eq!(world.cache.connections(), MANY);
    world.now = world.now.plus(Duration::from_secs(1));
    (0..3).for_each(|_| _ = world.pass());
    assert_eq!(world.cache.buffered_bytes(), 0);
}
