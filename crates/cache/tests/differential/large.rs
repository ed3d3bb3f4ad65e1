//! Values of up to 4 MiB, on both sides of every limit between them: stored, appended to, got.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use cache::limits::MAX_VALUE_BYTES;
use cache::{Options, Server};
use machine::reactor::Mode;
use qpair_cache as cache;

use crate::memcached::{Chance, Memcached, PATIENCE};

const COMMANDS: usize = 600;
/// What is appended can be added to the largest value many times.
const SIZES: [usize; 11] = [0, 100, 16_383, 16_384, 16_385, 65_535, 65_537, 262_144, 1 << 20, (1 << 20) + 1, 4 << 20];

fn answers(address: SocketAddr, asked: Vec<u8>) -> Vec<u8> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut writer = stream.try_clone().expect("a socket");
    let writes = std::thread::spawn(move || writer.write_all(&asked).expect("it is read"));
    let mut answers = Vec::new();
    // It closes behind the last command.
    (&stream).read_to_end(&mut answers).expect("answers");
    writes.join().expect("no panic");
    answers
}

fn commands(chance: &mut Chance) -> Vec<u8> {
    let mut asked = Vec::new();
    for number in 0..COMMANDS {
        let key = ["a", "b", "c", "d", "e"][chance.below(5)];
        let verb = ["set", "set", "add", "replace", "append", "prepend", "get", "get", "delete", "touch", "gat"];
        let quiet = ["", "", "", " noreply"][chance.below(4)];
        let line = match verb[chance.below(verb.len())] {
            "get" => format!("get {key} small {key}\r\n"),
            "gat" => format!("gat 1000 {key}\r\n"),
            "delete" => format!("delete {key}{quiet}\r\n"),
            "touch" => format!("touch {key} 500{quiet}\r\n"),
            verb => {
                let most = if verb.ends_with("end") { 7 } else { SIZES.len() };
                let bytes = SIZES[chance.below(most)];
                asked.extend(format!("{verb} {key} {number} 0 {bytes}{quiet}\r\n").as_bytes());
                asked.extend((0..bytes).map(|at| ((at * 7) ^ (at >> 8) ^ number) as u8));
                // One in some does not end where it should.
                if chance.below(20) == 0 { "xx" } else { "\r\n" }.to_owned()
            }
        };
        asked.extend(line.as_bytes());
    }
    asked.extend(b"get a b c d e\r\nquit\r\n");
    asked
}

#[test]
fn large_values_are_answered_as_memcached_answers_them() {
    let Some(memcached) = Memcached::start_with(&["-I", "8m", "-m", "512"]) else {
        println!("SKIPPED: there is no memcached here (apt-get install memcached)");
        return;
    };
    for reactors in [1, 2] {
        let options = Options {
            memcache: vec!["127.0.0.1:0".parse().expect("an address")],
            resp: Vec::new(),
            reactors,
            memory: 512 << 20,
            max_value: MAX_VALUE_BYTES,
            pool: None,
            users: None,
            eviction: qpair_cache::Eviction::S3Fifo,
            seed: 3,
            mode: Mode::Shared,
            cpus: Vec::new(),
        };
        let server = Server::start(&options).expect("it starts");
        let mut chance = Chance(0x1234_5678 + reactors as u64);
        let asked = commands(&mut chance);
        answers(memcached.address, b"flush_all\r\nquit\r\n".to_vec());
        let (theirs, ours) = (answers(memcached.address, asked.clone()), answers(server.addresses()[0], asked));
        let differs = theirs.iter().zip(&ours).position(|(one, two)| one != two);
        let shown =
            |bytes: &[u8], at: usize| bytes[at.saturating_sub(60)..].iter().take(120).copied().collect::<Vec<_>>();
        if let Some(at) = differs {
            panic!("at {at}: {} and {}", shown(&theirs, at).escape_ascii(), shown(&ours, at).escape_ascii());
        }
        assert_eq!(theirs.len(), ours.len());
        server.stop().expect("no panic");
    }
}
