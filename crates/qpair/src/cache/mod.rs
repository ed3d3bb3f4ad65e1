//! `qpair cache`: a cache for clients of memcached's text protocol and of Redis'.

mod announce;
mod args;
mod simulate;
mod trace;

use std::error::Error;
use std::process::ExitCode;

pub(crate) use self::announce::{listening, serves, stopped};
pub(crate) use self::args::Flags;
use crate::serve::{self, How};

const EXAMPLES: &str = "\
Protocols:
  memcache=ADDR:PORT   memcached's text protocol: get gets gat gats set add replace append prepend cas incr decr
                       delete touch flush_all version verbosity stats quit, and the meta commands mg ms md ma me mn.
                       The binary protocol and UDP will not come.
  resp=ADDR:PORT       Redis' protocol, RESP2 and RESP3: strings and keys; COMMAND LIST says what there is. Both
                       protocols see the same keys.

Memory:
  --memory is what items, the table that finds them and what eviction remembers take; the program takes up to 16 MiB
  beside it, and programs that connect some KiB each. An item costs 5 bytes beside its key and value, 4 more if it has
  flags, 6 more if it expires, and 10 to 11 in the table.

Configuration file:
  --config FILE serves the cache of the file, its [cache], and its subsystems as NVMe/TCP disks if it has some; it goes
  with --json, --supervise and -v only. After `qpair reload` (or SIGHUP) the users of --auth-file are those that its
  file has then; other changes of [cache] need a restart, and a reload that finds some is refused.
  `qpair config show cache` makes such a file from flags, `qpair config check` looks for mistakes.

Examples:
  qpair cache
  qpair cache --memory 4GiB --pool /var/lib/cache.pool
  qpair cache --memory 4GiB --listen memcache=0.0.0.0:11211
  printf 'set k 0 60 5\\r\\nhello\\r\\nget k\\r\\nquit\\r\\n' | nc 127.0.0.1 11211";

/// Serve a cache to memcached and Redis clients
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    how: How,
}

/// What is done instead of serving.
#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    Simulate(simulate::Args),
    Trace(trace::Args),
}

/// Runs the command: returns after SIGINT, SIGTERM or `qpair stop`.
///
/// # Errors
/// What keeps the cache from serving.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Some(Command::Simulate(args)) => simulate::run(args),
        Some(Command::Trace(args)) => trace::run(args),
        None => serve::serve(args.how, || args.flags.wanted()),
    }
}
