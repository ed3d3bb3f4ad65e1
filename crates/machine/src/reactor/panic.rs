//! What a panic does to a program that serves: it is told, and the process ends.
//!
//! A panic is a bug of ours. The reactor that had it takes its connections and what they were promised with it, and
//! nothing can stand in for it without lying to hosts: state that others rely on may be half changed. A process that is
//! gone is the honest answer. Hosts see their connections end and come back to the one that is started instead.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::process;
use std::thread;

/// From now on a panic, on any thread of this process, is logged with the thread's name, its message, where it was and
/// how it got there; then the process aborts (SIGABRT). For programs that serve; call it once.
pub fn on_panic_abort() {
    std::panic::set_hook(Box::new(abort));
}

fn abort(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    tracing::error!(
        "a bug: thread {} panicked at {place}: {message}\nThe process ends here. Please report this.\n{}",
        thread.name().unwrap_or("without a name"),
        Backtrace::force_capture()
    );
    process::abort();
}
