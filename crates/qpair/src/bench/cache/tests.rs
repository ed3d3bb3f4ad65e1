//! Whole runs: against a cache of this process, and against servers that do not do what they should.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use cache::{Options, Server};
use serde_json::Value;

use super::measure;
use super::plan::Plan;
use crate::bench::live::Progress;
use crate::bench::plan::tests::args;

/// What a run against this address says of itself, and whether it went well.
fn run(target: &str, line: &str) -> (Value, bool) {
    let plan = Plan::new(&args(&format!("{target} --warmup 0 {line}")), 7).expect("it can be");
    let report = measure(&plan, &AtomicBool::new(false), Arc::new(Progress::default())).expect("it starts");
    let text = report.text();
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    (serde_json::from_str(&report.json()).expect("JSON"), report.success())
}

/// A cache, and its names as targets of either protocol.
fn serve() -> (Server, [String; 2]) {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let options = Options { memcache: vec![any], resp: vec![any], memory: 16 << 20, ..Options::default() };
    let server = Server::start(&options).expect("it starts");
    let [memcache, resp] = server.addresses() else { panic!("two addresses") };
    let targets = [format!("memcache://{memcache}"), format!("resp://{resp}")];
    (server, targets)
}

#[test]
fn what_was_filled_in_is_hit_and_right() {
    let (server, targets) = serve();
    let lines = ["--pipeline 16 --value-size 0-2k", "--connections 3 --zipf 0.9", "--rate 2k --connections 7 --ttl 60"];
    for (target, line) in targets.iter().flat_map(|target| lines.map(|line| (target, line))) {
        let (report, well) = run(target, &format!("--prefill --verify --keys 500 --secs 0.1 {line}"));
        assert!(well, "{report}");
        let none = &Value::from(0);
        assert_eq!((&report["misses"], &report["errors"], &report["verify"]["wrong"]), (none, none, none));
        assert!(report["operations"].as_u64() > Some(0), "{report}");
        assert_eq!(report["verify"]["checked"].as_u64(), report["hits"].as_u64());
        assert!(report["latency_us"]["p99_99"].as_f64() > Some(0.0) && report["ended_by"] == "goal");
    }
    server.stop().expect("it stops");
}

#[test]
fn an_empty_cache_misses_and_a_rate_is_kept() {
    let (server, targets) = serve();
    for target in &targets {
        let (report, well) = run(target, "--ratio 1:0 --rate 1000 --secs 0.2 --connections 2");
        assert!(well && report["hits"] == 0 && report["set"].is_null(), "{report}");
        // One at the start, and no more than are due.
        assert!((1..=201).contains(&report["misses"].as_u64().expect("a number")), "{report}");
    }
    server.stop().expect("it stops");
}

/// A server of one connection that answers every line as it is told.
fn answering(answer: impl Fn(&str) -> Option<&'static str> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
        // The client leaves, or is left.
        for line in lines.map_while(Result::ok) {
            let Some(answer) = answer(&line) else { return };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    format!("memcache://{address}")
}

#[test]
fn wrong_values_end_the_run_and_fail_it() {
    let line = "--verify --connections 1 --ratio 1:0 --keys 1 --key-size 3 --value-size 4 --secs 60";
    for wrong in
        ["VALUE k00 0 4\r\nabcd\r\nEND\r\n", "VALUE k00 0 5\r\nabcde\r\nEND\r\n", "VALUE k01 0 4\r\nabcd\r\nEND\r\n"]
    {
        let (report, well) = run(&answering(move |_| Some(wrong)), line);
        assert!(
            !well && report["ended_by"] == "miscompare" && report["verify"]["wrong"].as_u64() > Some(0),
            "{report}"
        );
        assert!(report["problems"][0].as_str().is_some_and(|text| text.starts_with("the value of k00")), "{report}");
    }
}

#[test]
fn what_is_no_answer_or_no_server_ends_the_run() {
    let line = "--connections 1 --ratio 1:0 --keys 1 --secs 60";
    let problem = |answer: Option<&'static str>| {
        let (report, well) = run(&answering(move |_| answer), line);
        assert!(!well && report["ended_by"] == "errors", "{report}");
        report["problems"][0].as_str().expect("a sentence").to_owned()
    };
    assert!(problem(Some("STORED\r\n")).contains("no answer to a get: STORED"));
    assert!(problem(Some("END\r\nEND\r\n")).contains("END"));
    assert!(problem(None).contains("connection"));
    assert!(problem(Some("SERVER_ERROR out of memory\r\n")).contains("was refused: out of memory"));
}
