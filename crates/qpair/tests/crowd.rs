//! A cache with 10,000 clients: some ask for much at once, some read nothing, some leave, and all others are served.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

mod common;

use common::{PATIENCE, Serve, qpair};

const CLIENTS: usize = 10_000;
/// Files of this process that are not clients.
const OTHER_FILES: usize = 200;
/// What a client that has asked for something small may cost, in bytes. It is about 1.5 KiB.
const MOST_BYTES: usize = 8 << 10;
/// Bytes of commands that are sent at once.
const PIPELINE_BYTES: usize = 1 << 20;
/// Threads that connect, or send such pipelines.
const THREADS: usize = 8;

/// As many as this process may have files; the cache is a process of its own with as many.
fn clients() -> usize {
    let files = machine::os::raise_file_limit().map_or(usize::MAX, |files| files as usize);
    let clients = CLIENTS.min(files.saturating_sub(OTHER_FILES));
    if clients < CLIENTS {
        println!("{clients} clients instead of {CLIENTS}: this process may have {files} open files");
    }
    clients
}

fn start(more: &[&str]) -> Serve {
    let listen = ["--listen", "memcache=127.0.0.1:0", "--listen", "resp=127.0.0.1:0", "--reactors", "2"];
    Serve::spawn(qpair(&["cache", "--json"]).args(listen).args(more))
}

fn address(cache: &Serve, protocol: &str) -> SocketAddr {
    cache.listening[protocol][0].as_str().and_then(|text| text.parse().ok()).expect("an address")
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    BufReader::with_capacity(256, stream)
}

/// Sends, and reads what is expected.
fn says(client: &mut BufReader<TcpStream>, asked: &str, expected: &str) {
    client.get_mut().write_all(asked.as_bytes()).expect("it listens");
    reads(client, expected);
}

fn reads(client: &mut BufReader<TcpStream>, expected: &str) {
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).expect("an answer");
    if let Some(at) = answer.iter().zip(expected.as_bytes()).position(|(one, two)| one != two) {
        let shown = |bytes: &[u8]| bytes[at.saturating_sub(50)..bytes.len().min(at + 50)].escape_ascii().to_string();
        panic!("byte {at} of {}: {} instead of {}", answer.len(), shown(&answer), shown(expected.as_bytes()));
    }
}

/// A figure that `stats` tell.
fn stat(client: &mut BufReader<TcpStream>, name: &str) -> usize {
    client.get_mut().write_all(b"stats\r\n").expect("it listens");
    let lines: Vec<String> =
        client.lines().map(|line| line.expect("an answer")).take_while(|line| line != "END").collect();
    let line = lines.iter().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.expect("it is told").parse().expect("a number")
}

/// What a process has in memory.
fn rss_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[test]
fn ten_thousand_clients_are_served_and_cost_little() {
    let many = clients();
    let cache = start(&[]);
    let (memcache, resp) = (address(&cache, "memcache"), address(&cache, "resp"));
    let mut first = connect(memcache);
    says(&mut first, "set k 0 0 5\r\nhello\r\nget k\r\n", "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n");
    let before = rss_bytes(cache.pid());
    let mut crowd: Vec<BufReader<TcpStream>> = thread::scope(|scope| {
        let connects =
            |thread: usize| (thread..many).step_by(THREADS).map(|n| connect([memcache, resp][n % 2])).collect();
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || -> Vec<_> { connects(thread) })).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it connects")).collect()
    });
    for round in 0..2 {
        // All at once, and then all read.
        let speaks_resp =
            |client: &BufReader<TcpStream>| client.get_ref().peer_addr().expect("it is connected") == resp;
        for (number, client) in crowd.iter_mut().enumerate() {
            let asked = if speaks_resp(client) {
                format!("SET c{number} {round}\r\nGET c{number}\r\nGET k\r\n")
            } else {
                format!("set c{number} 0 0 1\r\n{round}\r\nget c{number} k\r\n")
            };
            client.get_mut().write_all(asked.as_bytes()).expect("it listens");
        }
        for (number, client) in crowd.iter_mut().enumerate() {
            if speaks_resp(client) {
                reads(client, &format!("+OK\r\n$1\r\n{round}\r\n$5\r\nhello\r\n"));
            } else {
                reads(client, &format!("STORED\r\nVALUE c{number} 0 1\r\n{round}\r\nVALUE k 0 5\r\nhello\r\nEND\r\n"));
            }
        }
    }
    assert_eq!(stat(&mut first, "curr_connections"), many + 1);
    let each = rss_bytes(cache.pid()).saturating_sub(before) / many;
    println!("{many} clients: {each} bytes each");
    assert!(each <= MOST_BYTES, "a client costs {each} bytes");
    // Most leave at once, and the others are served.
    crowd.truncate(100);
    for client in &mut crowd {
        client.get_mut().write_all(b"PING\r\n").expect("it listens");
        let mut line = String::new();
        client.read_line(&mut line).expect("an answer");
        assert!(line == "+PONG\r\n" || line == "ERROR\r\n", "{line}");
    }
    while stat(&mut first, "curr_connections") > crowd.len() + 1 {}
    cache.stop();
}

#[test]
fn pipelines_of_a_mebibyte_are_answered_beside_clients_that_read_nothing() {
    let cache = start(&["--memory", "64MiB"]);
    let (memcache, resp) = (address(&cache, "memcache"), address(&cache, "resp"));
    let value = "x".repeat(30_000);
    says(&mut connect(memcache), &format!("set large 0 0 30000\r\n{value}\r\n"), "STORED\r\n");
    // These ask for 300 MB each.
    let silent: Vec<_> = (0..THREADS).map(|_| connect(memcache)).collect();
    silent.iter().for_each(|client| client.get_ref().write_all(&b"get large\r\n".repeat(10_000)).expect("it listens"));
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let (address, set, get, stored) = if number % 2 == 0 {
                    (memcache, "set {} 0 0 3\r\n{v}\r\n", "get {}\r\n", "STORED\r\n")
                } else {
                    (resp, "SET {} {v}\r\n", "GET {}\r\n", "+OK\r\n")
                };
                let (mut asked, mut expected) = (String::new(), String::new());
                for round in 0.. {
                    let (key, value) = (format!("{number}.{}", round % 997), format!("{:03}", round % 1000));
                    let commands = format!("{set}{get}").replace("{}", &key).replace("{v}", &value);
                    if asked.len() + commands.len() > PIPELINE_BYTES {
                        break;
                    }
                    asked.push_str(&commands);
                    expected.push_str(stored);
                    if number % 2 == 0 {
                        expected.push_str(&format!("VALUE {key} 0 3\r\n{value}\r\nEND\r\n"));
                    } else {
                        expected.push_str(&format!("$3\r\n{value}\r\n"));
                    }
                }
                let mut client = connect(address);
                let mut writer = client.get_ref().try_clone().expect("a socket");
                let asking = thread::spawn(move || writer.write_all(asked.as_bytes()));
                reads(&mut client, &expected);
                asking.join().expect("no panic").expect("it listens");
            });
        }
    });
    cache.stop();
}
