//! Traces of what clients ask of a cache: read, written and made up.
//!
//! | format | a request |
//! |---|---|
//! | oracleGeneral | 24 bytes, little-endian: seconds 4, object 8, bytes 4, number of the object's next request 8 |
//! | CSV | a line `time,key,size,ttl,op`: seconds, a number, bytes, seconds or 0 for never, `get`, `set` or `delete` |
//! | command log | what `qpair cache --command-log` writes: see `log.rs` |
//!
//! A get of what is not there brings it in, with the bytes and the time to live of the request. The former format is
//! that of libCacheSim; it knows only gets, and no times to live.

mod format;
pub(super) mod generate;
mod log;

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) use format::{Format, Trace};
use generate::{Generator, Mix};

use crate::bench::{keys, theta};

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Set,
    Delete,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Seconds.
    pub(super) at: u32,
    pub(super) op: Op,
    /// Which object.
    pub(super) id: u64,
    /// Of key and value together.
    pub(super) bytes: u32,
    /// Seconds; 0 is for ever.
    pub(super) ttl: u32,
}

const EXAMPLES: &str = "\
A name that ends with .csv is written as CSV (time,key,size,ttl,op), any other as oracleGeneral, which has no times to
live: --ttl wants a CSV.

Examples:
  qpair cache trace zipf.csv --objects 200k --requests 2M --zipf 0.9 --size 40-2k --ttl 300,3600,0 --one-hit 20
  qpair cache trace scans.bin --scan 100000:20000";

/// Make up a trace: popularity, sizes, times to live, one-hit wonders and scans
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to write; what is there is lost
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Requests, as 500k or 2M
    #[arg(long, value_name = "N", default_value = "2M", value_parser = keys)]
    requests: u32,

    /// Objects that are asked for again and again
    #[arg(long, value_name = "N", default_value = "200k", value_parser = keys)]
    objects: u32,

    /// Object k of them is asked for in proportion to k^-THETA
    #[arg(long, value_name = "THETA", default_value = "0.9", value_parser = theta)]
    zipf: f64,

    /// Bytes of an object, key and value, from one size to another; small ones are as frequent as large ones are large
    #[arg(long, value_name = "SIZE[-SIZE]", default_value = "40-2k")]
    size: generate::Sizes,

    /// Seconds that objects live, 0 for ever: each object has one of these
    #[arg(long, value_name = "SECONDS,...", default_value = "0", value_delimiter = ',')]
    ttl: Vec<u32>,

    /// Per cent of the requests that are for what nobody asks for again
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=99))]
    one_hit: u8,

    /// After so many requests, so many objects are asked for one after the other, from where the last scan ended
    #[arg(long, value_name = "EVERY:LENGTH")]
    scan: Option<generate::Scan>,

    /// Requests in a second
    #[arg(long, value_name = "N", default_value = "1k", value_parser = keys)]
    rate: u32,

    /// Another seed is another trace
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

/// Runs `qpair cache trace`.
///
/// # Errors
/// The file cannot be written, or its format has no times to live.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let format = Format::of(&args.out);
    if format == Format::Oracle && args.ttl.iter().any(|ttl| *ttl > 0) {
        return Err(
            "oracleGeneral has no times to live: let the name of the file end with .csv, or leave --ttl out".into()
        );
    }
    let mix = Mix {
        objects: args.objects,
        theta: args.zipf,
        sizes: args.size,
        ttls: args.ttl.clone(),
        one_hit: args.one_hit,
        scan: args.scan,
        rate: args.rate,
        seed: args.seed,
    };
    let requests: Vec<Request> = Generator::new(&mix).take(args.requests as usize).collect();
    let trace = Trace { requests };
    let failed = |error| format!("{} cannot be written: {error}", args.out.display());
    let mut out = BufWriter::new(File::create(&args.out).map_err(failed)?);
    trace.write(format, &mut out).and_then(|()| out.flush()).map_err(failed)?;
    println!("{}: {} requests", args.out.display(), trace.requests.len());
    Ok(ExitCode::SUCCESS)
}

/// Reads a trace.
///
/// # Errors
/// In words: what is wrong with the file, and where.
pub(super) fn read(path: &Path) -> Result<Trace, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    Trace::read(Format::of(path), BufReader::new(file)).map_err(failed)
}
