//! A small cache, four clients, and what must be true whatever they do.
//!
//! 1. Nothing panics, and between any two passes the store is what it should be.
//! 2. What each client is told is answers that a client understands, and they are whole when all is quiet.
//! 3. When all clients are gone, nothing is kept for them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::clock::Fine;
use qpair_cache::access::{Rights, Secret, User, Users};
use qpair_cache::{Eviction, Options, Stepper};

use crate::answers::Answers;
use crate::script::{Op, Script, Setup};

/// Two of memcached's, two of Redis'.
const CLIENTS: usize = 4;
const QUARTER: Duration = Duration::from_millis(250);
/// Passes in which nothing happens: then all is quiet.
const QUIET: usize = 3;
/// Passes after which all must be quiet.
const PASSES_TO_SETTLE: usize = 100_000;
/// Passes after which the cache has seen that all clients have left.
const PASSES_TO_FORGET: usize = 10;
/// Bytes that a client has sent and the cache has not taken: more are not sent.
const MAX_WAITING: usize = 4 << 20;

struct Client {
    stream: TcpStream,
    answers: Answers,
    /// What the socket has not taken yet.
    waiting: Vec<u8>,
    reads: bool,
    /// It has once not read: then it may be disconnected in the middle of an answer.
    was_deaf: bool,
    /// The cache has closed the connection.
    is_over: bool,
}

struct World {
    cache: Stepper,
    now: Fine,
    clients: Vec<Client>,
    chunk: Box<[u8]>,
    told: usize,
}

/// Runs a script; bytes that the clients were told.
pub fn run(input: &[u8]) -> usize {
    let Some((setup, script)) = input.split_first() else { return 0 };
    let mut world = World::new(Setup(*setup));
    for (client, op) in Script(script) {
        world.act(client, op);
        world.pass();
    }
    world.end()
}

fn users() -> Users {
    let user = |name: &str, password: &[u8], rights| User { name: name.into(), secret: Secret::of(password), rights };
    let some = Rights { read_only: true, prefixes: vec![b"a".to_vec()] };
    Users::new(vec![user("default", b"p", Rights::default()), user("u", b"p", some)])
}

impl World {
    fn new(setup: Setup) -> Self {
        let evictions = [Eviction::S3Fifo, Eviction::Merge, Eviction::None, Eviction::Fifo];
        let options = Options {
            reactors: setup.reactors(),
            memory: setup.memory(),
            eviction: evictions[setup.eviction()],
            users: setup.asks().then(users),
            ..Options::default()
        };
        let now = Fine::from_nanos(1_000_000_000);
        let mut cache = Stepper::new(&options, now).expect("descriptors and memory");
        let clients = (0..CLIENTS).map(|number| Client::new(&mut cache, number)).collect();
        Self { cache, now, clients, chunk: vec![0; 64 << 10].into_boxed_slice(), told: 0 }
    }

    fn act(&mut self, number: usize, op: Op<'_>) {
        let client = &mut self.clients[number];
        match op {
            Op::Send(bytes, times) if client.waiting.len() < MAX_WAITING => client.waiting.extend(bytes.repeat(times)),
            Op::Fill(bytes) if client.waiting.len() < MAX_WAITING => {
                client.waiting.resize(client.waiting.len() + bytes, b'x');
            }
            Op::Send(..) | Op::Fill(_) => {}
            Op::Read(reads) => {
                client.reads = reads;
                client.was_deaf |= !reads;
            }
            Op::Leave => self.clients[number] = Client::new(&mut self.cache, number),
            Op::Time(quarters) => self.now = self.now.plus(QUARTER * quarters),
        }
    }

    /// All clients write and read, and each reactor has a pass; whether anything happened.
    fn pass(&mut self) -> bool {
        let mut moved = self.clients.iter_mut().map(Client::write).sum::<usize>();
        moved += self.cache.step(self.now).expect("it can always go on");
        let told: usize = self.clients.iter_mut().map(|client| client.read(&mut self.chunk)).sum();
        self.told += told;
        moved + told > 0
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..PASSES_TO_SETTLE {
            quiet = if self.pass() { 0 } else { quiet + 1 };
            if quiet == QUIET {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn end(mut self) -> usize {
        self.cache.check();
        self.clients.iter_mut().for_each(|client| client.reads = true);
        self.settle();
        for client in &self.clients {
            assert!(client.answers.are_whole() || client.is_over && client.was_deaf, "an answer is not whole");
        }
        self.clients.clear();
        (0..PASSES_TO_FORGET).for_each(|_| _ = self.pass());
        assert_eq!((self.cache.connections(), self.cache.pinned_bytes()), (0, 0), "something is kept");
        self.cache.check();
        self.told
    }
}

impl Client {
    fn new(cache: &mut Stepper, number: usize) -> Self {
        let is_resp = number >= CLIENTS / 2;
        let stream = if is_resp { cache.connect_resp() } else { cache.connect_memcache() }.expect("descriptors");
        stream.set_nonblocking(true).expect("a socket");
        let answers = Answers::new(is_resp);
        Self { stream, answers, waiting: Vec::new(), reads: true, was_deaf: false, is_over: false }
    }

    fn write(&mut self) -> usize {
        if self.waiting.is_empty() {
            return 0;
        }
        match self.stream.write(&self.waiting) {
            Ok(written) => self.waiting.drain(..written).count(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The cache has closed it.
            Err(_) => std::mem::take(&mut self.waiting).len(),
        }
    }

    fn read(&mut self, chunk: &mut [u8]) -> usize {
        if !self.reads || self.is_over {
            return 0;
        }
        match self.stream.read(chunk) {
            Ok(read) => {
                self.is_over = read == 0;
                self.answers.come(&chunk[..read]);
                read
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.is_over = true;
                0
            }
        }
    }
}
