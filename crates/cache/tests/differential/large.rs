//! Values of up to 4 MiB, on both sides of every limit between them: stored, appended to, got.

use qpair_cache::Options;
use qpair_cache::limits::MAX_VALUE_BYTES;

use crate::common::{Cache, Chance, Client, options};
use crate::other::Other;

const COMMANDS: usize = 600;
/// What is appended can be added to the largest value many times.
const SIZES: [usize; 11] = [0, 100, 16_383, 16_384, 16_385, 65_535, 65_537, 262_144, 1 << 20, (1 << 20) + 1, 4 << 20];

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
    let Some(memcached) = Other::memcached(&["-I", "8m", "-m", "512"]) else { return };
    for reactors in [1, 2] {
        let server = Cache::start(&Options { reactors, memory: 512 << 20, max_value: MAX_VALUE_BYTES, ..options() });
        let mut chance = Chance(0x1234_5678 + reactors as u64);
        let asked = commands(&mut chance);
        Client::at(memcached.address).says("flush_all\r\n", "OK\r\n");
        let [theirs, ours] = [memcached.address, server.memcache()].map(|at| Client::at(at).finish(&asked));
        let differs = theirs.iter().zip(&ours).position(|(one, two)| one != two);
        let shown =
            |bytes: &[u8], at: usize| bytes[at.saturating_sub(60)..].iter().take(120).copied().collect::<Vec<_>>();
        if let Some(at) = differs {
            panic!("at {at}: {} and {}", shown(&theirs, at).escape_ascii(), shown(&ours, at).escape_ascii());
        }
        assert_eq!(theirs.len(), ours.len());
    }
}
