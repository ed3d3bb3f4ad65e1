//! Reactors by hand: their passes in any order, on one thread, against one house that has all keys.

use std::time::Duration;

use machine::region::Region;
use machine::ring::Ring;
use store::{Store, StoreOptions, Time};
use wire::memcache::{Parsed, parse};

use super::*;
use crate::limits::{MAX_UNSENT_BYTES, MAX_VALUE_BYTES, PARCEL_ANSWER_BYTES, PARCEL_BYTES};
use crate::session::{House, Settings};

/// Numbers by chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }
}

fn house() -> House {
    let region = Region::anonymous(16 << 20).expect("memory");
    let now = Time::default().plus(Duration::from_secs(1_000_000));
    let store = Store::new(region, StoreOptions { seed: 5, eviction: store::Eviction::None }).expect("a store");
    House::new(store, Settings::default(), now)
}

/// A client and its connection, without a socket.
#[derive(Default)]
struct Client {
    asked: Vec<u8>,
    at: usize,
    part: usize,
    generation: u32,
    flight: Option<Box<Flight>>,
    kept: Vec<u8>,
    out: Vec<u8>,
    /// What it was told, and whether it reads that.
    told: Vec<u8>,
    reads: bool,
}

struct Node {
    peers: Peers,
    house: House,
    clients: Vec<Client>,
    _ring: Ring,
}

impl Node {
    fn new(ports: Ports<Message>) -> Self {
        let ring = Ring::new().expect("a ring");
        Self { peers: Peers::new(ports, ring.waker()), house: house(), clients: Vec::new(), _ring: ring }
    }

    /// What [`Shard`](crate::shard::Shard) does with messages.
    fn exchange(&mut self) {
        let mut inbox = self.peers.take();
        for (from, message) in inbox.drain(..) {
            match message {
                Message::Asks(mut parcel) => {
                    parcel.answer(&mut self.house);
                    self.peers.answered(from, parcel);
                }
                Message::Answers(parcel) => {
                    for (ask, answer) in parcel.answered() {
                        let client = &mut self.clients[ask.origin.connection as usize];
                        if client.generation != ask.origin.generation {
                            continue;
                        }
                        let flight = client.flight.as_mut().expect("it waits");
                        flight.land(ask.piece, answer, &mut self.house, &mut client.out);
                        assert!(flight.queued() <= 3 * MAX_UNSENT_BYTES, "{} bytes are kept", flight.queued());
                        client.flight.take_if(|flight| flight.is_over()).into_iter().for_each(|f| self.peers.end(f));
                    }
                    for (ask, command) in parcel.left() {
                        let client = &mut self.clients[ask.origin.connection as usize];
                        if client.generation == ask.origin.generation {
                            client.flight.as_mut().expect("it waits").returned(from, *ask, command);
                        }
                    }
                    self.peers.landed(from, parcel);
                }
                Message::Bye => self.peers.bye(from),
            }
        }
        self.peers.give_back(inbox);
    }

    /// What a connection does with its bytes.
    fn work(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.reads {
            client.told.append(&mut client.out);
        }
        if client.out.len() >= MAX_UNSENT_BYTES {
            return;
        }
        if let Some(flight) = &mut client.flight {
            if flight.has_again() {
                self.peers.ask_again(flight);
            }
            return;
        }
        self.peers.send_full();
        while client.at < client.asked.len() && client.out.len() < MAX_UNSENT_BYTES {
            if client.flight.as_ref().is_some_and(|flight| flight.queued() >= MAX_UNSENT_BYTES) {
                break;
            }
            let bytes = &client.asked[client.at..];
            let Parsed::Command(command, used) = parse(bytes, MAX_VALUE_BYTES) else { panic!("whole commands") };
            let origin = Origin { connection: number as u32, generation: client.generation };
            let Client { flight, out, kept, .. } = client;
            let (peers, house) = (&mut self.peers, &mut self.house);
            let mut dispatch = Dispatch { peers, house, origin, flight, out, kept };
            match dispatch.dispatch(&command, &bytes[..used], client.part) {
                Dispatched::Here => {
                    self.house.execute(command, 0, here(&mut client.flight, &mut client.out));
                }
                Dispatched::Taken => {}
                Dispatched::Again(part) => {
                    client.part = part;
                    break;
                }
            }
            client.part = 0;
            client.at += used;
        }
        client.flight.iter_mut().for_each(|flight| flight.close(Rule::Say));
    }

    fn is_done(&self) -> bool {
        self.clients.iter().all(|client| client.flight.is_none() && client.at == client.asked.len())
    }
}

/// Commands of a client about keys of its own, so that its answers do not depend on others.
fn commands(chance: &mut Chance, client: usize, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut key = || format!("c{client}k{}", chance.below(6));
        let (one, two, three) = (key(), key(), key());
        let quiet = ["", " noreply"][chance.below(2)];
        let bytes = [0, 3, 3, 100, 30_000][chance.below(5)];
        let value = "7".repeat(bytes);
        let command = match chance.below(9) {
            0..=2 => format!("set {one} {bytes} 0 {bytes}{quiet}\r\n{value}\r\n"),
            3 | 4 => format!("get {one}\r\n"),
            5 => format!("get {one} {two} {three} {one}\r\n"),
            6 => format!("delete {one}{quiet}\r\n"),
            7 => format!("gat  0 {two} {one}\r\n"),
            _ => format!("append {one} 0 0 1\r\n5\r\nincr {two} 1\r\nversion\r\n"),
        };
        all.extend_from_slice(command.as_bytes());
    }
    all
}

/// What one house says to them, one after the other.
fn expected(asked: &[u8]) -> Vec<u8> {
    let (mut house, mut out, mut at) = (house(), Vec::new(), 0);
    while at < asked.len() {
        let Parsed::Command(command, used) = parse(&asked[at..], MAX_VALUE_BYTES) else { panic!("whole commands") };
        house.execute(command, 0, &mut out);
        at += used;
    }
    out
}

#[test]
fn whatever_the_order_of_the_passes_every_client_gets_its_answers_in_order() {
    for round in 0..12u64 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + round);
        let reactors = 1 + round as usize % 4;
        let mut nodes: Vec<Node> = ports(reactors).into_iter().map(Node::new).collect();
        for number in 0..3 * reactors {
            let asked = commands(&mut chance, number, 120);
            nodes[number % reactors].clients.push(Client { asked, reads: true, ..Client::default() });
        }
        let mut steps = 0;
        while !nodes.iter().all(Node::is_done) {
            let node = chance.below(reactors);
            let node = &mut nodes[node];
            node.exchange();
            for client in 0..node.clients.len() {
                // Some do not read for a while.
                node.clients[client].reads = chance.below(4) > 0;
                if chance.below(3) > 0 {
                    node.work(client);
                }
            }
            node.peers.send_all();
            steps += 1;
            assert!(steps < 100_000, "round {round}: they wait for each other");
        }
        for mut client in nodes.into_iter().flat_map(|node| node.clients) {
            client.told.append(&mut client.out);
            assert!(client.told == expected(&client.asked), "round {round}");
        }
    }
}

#[test]
fn reactors_that_ask_each_other_for_all_they_can_do_not_wait_for_each_other() {
    let mut nodes: Vec<Node> = ports(2).into_iter().map(Node::new).collect();
    for (number, node) in nodes.iter_mut().enumerate() {
        // Each has more clients than parcels, each of them with more than a parcel for the other one.
        for client in 0..4 * PARCELS {
            let foreign = |key: &String| store::share(node.house.store.hash(key.as_bytes()), 2) != number;
            let keys: Vec<String> = (0..).map(|key| format!("{client}-{key}")).filter(foreign).take(4).collect();
            let value = "x".repeat(PARCEL_BYTES / 2);
            let sets = keys.iter().map(|key| format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()));
            let gets = keys.iter().map(|key| format!("get {key}\r\n").repeat(PARCEL_ANSWER_BYTES / value.len()));
            let asked: String = sets.chain(gets).collect();
            node.clients.push(Client { asked: asked.into_bytes(), reads: true, ..Client::default() });
        }
    }
    let mut rounds = 0;
    while !nodes.iter().all(Node::is_done) {
        // Both ask before either answers, every time.
        for node in &mut nodes {
            (0..node.clients.len()).for_each(|client| node.work(client));
            node.peers.send_all();
        }
        nodes.iter_mut().for_each(Node::exchange);
        rounds += 1;
        assert!(rounds < 10_000, "they wait for each other");
    }
    for client in nodes.into_iter().flat_map(|node| node.clients) {
        assert!([client.told, client.out].concat() == expected(&client.asked));
    }
}

#[test]
fn answers_to_a_client_that_is_gone_are_nobodys() {
    let mut nodes: Vec<Node> = ports(2).into_iter().map(Node::new).collect();
    let asked: Vec<u8> =
        (0..50).flat_map(|key| format!("set {key} 0 0 1\r\nx\r\nget {key}\r\n").into_bytes()).collect();
    nodes[0].clients.push(Client { asked, reads: true, ..Client::default() });
    nodes[0].work(0);
    nodes[0].peers.send_all();
    let flight = nodes[0].clients[0].flight.take().expect("some of them are foreign");
    nodes[0].peers.end(flight);
    // Another one at its place, which asks too.
    nodes[0].clients[0] =
        Client { asked: b"get 1 2 3 4\r\n".to_vec(), generation: 1, reads: true, ..Client::default() };
    nodes[0].work(0);
    nodes[0].peers.send_all();
    nodes[1].exchange();
    nodes[0].exchange();
    let client = &nodes[0].clients[0];
    assert!(client.flight.is_none());
    let values: String = (1..=4).map(|key| format!("VALUE {key} 0 1\r\nx\r\n")).collect();
    assert_eq!(String::from_utf8_lossy(&client.out), format!("{values}END\r\n"));
    // All parcels are back.
    assert_eq!(nodes[0].peers.ways[1].free.len(), PARCELS);
}

#[test]
fn statistics_are_those_of_all_and_a_flush_is_for_all() {
    let mut nodes: Vec<Node> = ports(3).into_iter().map(Node::new).collect();
    let mut asked: Vec<u8> = (0..30).flat_map(|key| format!("set {key} 0 0 1\r\nx\r\n").into_bytes()).collect();
    asked.extend_from_slice(b"stats\r\nflush_all\r\nget 1 2 3\r\nstats\r\n");
    nodes[1].clients.push(Client { asked, reads: true, ..Client::default() });
    while !nodes[1].is_done() {
        nodes[1].work(0);
        nodes[1].peers.send_all();
        nodes.iter_mut().for_each(Node::exchange);
        nodes[1].exchange();
    }
    let said = String::from_utf8_lossy(&nodes[1].clients[0].out).into_owned();
    let stat = |name: &str| -> Vec<u64> {
        let values = said.lines().filter_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        values.map(|value| value.parse().expect("a number")).collect()
    };
    assert_eq!(stat("cmd_set"), [30, 30]);
    assert_eq!(stat("curr_items"), [30, 0]);
    assert_eq!(stat("cmd_flush"), [0, 1]);
    assert_eq!(stat("get_misses"), [0, 3]);
    assert_eq!(stat("limit_maxbytes"), [48 << 20, 48 << 20]);
}

/// Parcels have no room for all that came back, and what they took comes back once more.
#[test]
fn what_is_asked_again_and_again_keeps_its_order() {
    const COMMANDS: u32 = 40;
    let command = |piece: u32| format!("{piece}{}", "-".repeat(piece as usize % 7));
    let (mut house, mut out) = (house(), Vec::new());
    let mut chance = Chance(77);
    for _ in 0..200 {
        let mut flight = Flight::default();
        let origin = Origin { connection: 0, generation: 0 };
        for owner in 0..COMMANDS {
            let piece = flight.hole(Rule::Say);
            let ask = Ask { origin, piece, dialect: Dialect::Memcache, counts: true };
            flight.returned(owner as usize % 2, ask, command(piece).as_bytes());
        }
        let mut carried_out = [Vec::new(), Vec::new()];
        while !flight.is_over() {
            let (mut parcel, room) = (Vec::new(), 1 + chance.below(12));
            flight.ask_again(|owner, ask, bytes| {
                let has_room = parcel.len() < room;
                if has_room {
                    parcel.push((owner, ask, bytes.to_vec()));
                }
                has_room
            });
            let answered = 1 + chance.below(parcel.len());
            for (owner, ask, bytes) in parcel.drain(..answered) {
                assert_eq!(bytes, command(ask.piece).into_bytes());
                carried_out[owner].push(ask.piece);
                flight.land(ask.piece, b"", &mut house, &mut out);
            }
            parcel.iter().for_each(|(owner, ask, bytes)| flight.returned(*owner, *ask, bytes));
        }
        assert!(carried_out.iter().all(|pieces| pieces.is_sorted()), "{carried_out:?}");
    }
}
