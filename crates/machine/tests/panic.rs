//! A panic in a reactor ends the process, with a word on what it was.

use std::process::{Command, ExitStatus};

use qpair_machine::reactor::{Arm, Context, Mode, Poller, Reactor, ReactorConfig, on_panic_abort};
use qpair_machine::ring::RingKind;

/// In the environment of the process that is to panic: this test's program, started once more.
const VARIABLE: &str = "QPAIR_TEST_PANIC";

struct Buggy;

impl Poller for Buggy {
    fn name(&self) -> &'static str {
        "buggy"
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> usize {
        panic!("slot {} is free twice", 17)
    }

    fn arm(&mut self, _cx: &mut Context<'_>) -> Arm {
        Arm::Armed
    }
}

#[test]
fn a_panic_in_a_reactor_is_told_and_aborts() {
    if std::env::var_os(VARIABLE).is_some() {
        panic_in_a_reactor();
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("it has a name"));
    again.args(["--exact", "a_panic_in_a_reactor_is_told_and_aborts", "--nocapture"]).env(VARIABLE, "1");
    let done = again.output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(is_abort(done.status), "{}\n{said}", done.status);
    for part in ["thread reactor-7 panicked", "panic.rs:", "slot 17 is free twice", "Buggy"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[cfg(unix)]
fn is_abort(status: ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(6)
}

/// By an `NTSTATUS` of severity "error", which no program ends with by itself.
#[cfg(windows)]
fn is_abort(status: ExitStatus) -> bool {
    status.code().is_some_and(|code| code.cast_unsigned() >= 0xC000_0000)
}

/// Does not return, if all is well.
fn panic_in_a_reactor() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    on_panic_abort();
    let config =
        ReactorConfig { name: "reactor-7".to_owned(), cpu: None, mode: Mode::Shared, ring: RingKind::Portable };
    let reactor = Reactor::spawn(config, |_| Ok(vec![Box::new(Buggy)])).expect("it starts");
    let _ = reactor.join();
}
