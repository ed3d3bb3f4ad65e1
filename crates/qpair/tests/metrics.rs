//! Metrics of `qpair serve`: what a scrape shows is what was done, and every page is in Prometheus' format.

mod common;

use common::page::Page;
use common::{Serve, eventually, get, output, qpair};
use serde_json::Value;

const NQN: &str = "nqn.2026-01.org.example:metrics";

/// Runs `qpair bench` for `count` requests of 4 KiB.
fn bench(serve: &Serve, rw: &str, count: u64) {
    let (uri, count) = (serve.uri(NQN, 2), count.to_string());
    let arguments = ["bench", &uri, "--rw", rw, "--bs", "4k", "--count", &count, "--warmup", "0", "--json"];
    let report: Value = serde_json::from_str(&output(&mut qpair(&arguments))).expect("a report");
    assert!(report["schema"].is_number());
}

#[test]
fn counters_are_what_was_done() {
    let serve = Serve::start(&[
        "ram:1MiB",
        "ram:4MiB",
        "--listen",
        "127.0.0.1:0",
        "--nqn",
        NQN,
        "--reactors",
        "2",
        "--metrics",
        "127.0.0.1:0",
    ]);
    bench(&serve, "randread", 3000);
    bench(&serve, "write", 2000);
    let count = |page: &Page, command| page.sum("qpair_commands_total", &[("nsid", "2"), ("command", command)]);
    let mut page = Page::scrape(&serve);
    eventually("all of them are recorded", || {
        page = Page::scrape(&serve);
        count(&page, "read") >= 3000.0 && count(&page, "write") >= 2000.0 && page.sum("qpair_connections", &[]) == 0.0
    });
    let stopped = serve.stop();
    assert_eq!((count(&page, "read"), count(&page, "write")), (f64_of(&stopped["reads"]), f64_of(&stopped["writes"])));
    let bytes = |command| page.sum("qpair_data_bytes_total", &[("nsid", "2"), ("command", command)]);
    assert_eq!(bytes("read"), f64_of(&stopped["read_bytes"]));
    assert_eq!(bytes("write"), f64_of(&stopped["written_bytes"]));
    assert_eq!(page.sum("qpair_commands_total", &[("subsystem", NQN)]), page.sum("qpair_commands_total", &[]));
    for command in ["read", "write"] {
        let labels = [("nsid", "2"), ("command", command)];
        let with = |le| page.sum("qpair_command_duration_seconds_bucket", &[labels[0], labels[1], ("le", le)]);
        assert_eq!(with("+Inf"), count(&page, command));
        assert!(with("0.000001024") <= with("0.000001536") && with("0.000001536") <= with("+Inf"));
        assert_eq!(page.sum("qpair_command_duration_seconds_count", &labels), count(&page, command));
        let mean = page.sum("qpair_command_duration_seconds_sum", &labels) / count(&page, command);
        assert!(mean > 0.0 && mean < 1.0, "{mean}");
    }
}

fn f64_of(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn a_scrape_under_load_is_whole() {
    let arguments = ["ram:1MiB", "ram:4MiB", "--listen", "127.0.0.1:0", "--nqn", NQN, "--metrics", "127.0.0.1:0"];
    let serve = Serve::start(&arguments);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| bench(&serve, "randrw", 100_000));
        let (mut last, mut scrapes) = (0.0, 0);
        while !load.is_finished() || scrapes == 0 {
            let page = Page::scrape(&serve);
            let now = page.sum("qpair_commands_total", &[]);
            assert!(now >= last, "a counter went back");
            (last, scrapes) = (now, scrapes + 1);
        }
        let page = Page::scrape(&serve);
        for name in ["qpair_reactor_seconds_total", "qpair_poller_runs_total", "process_resident_memory_bytes"] {
            assert!(page.sum(name, &[]) > 0.0, "{name}");
        }
        assert_eq!(page.sum("qpair_namespace_size_bytes", &[("nsid", "2"), ("device", "ram:4MiB")]), 4_194_304.0);
        assert_eq!(page.sum("qpair_protocol_errors_total", &[]), 0.0);
    });
    assert!(get(serve.listening["metrics"].as_str().expect("they are served"), "/").contains("/metrics"));
}
