//! The flags of `qpair cache`, and the configuration that they amount to.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use block::size::{format_size, parse_size};
use cache::CommandLog;
use cache::limits::DEFAULT_VALUE_BYTES;
use control::config::{self, Cache, Config, Listen};

use machine::region::Huge;
use machine::ring::RingKind;

use crate::serve::{Wanted, parse_reactors, sound};

/// Bytes of the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MaxItem(usize);

impl std::fmt::Display for MaxItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_size(self.0 as u64))
    }
}

fn parse_max_item(text: &str) -> Result<MaxItem, String> {
    config::max_item(parse_size(text)?).map(MaxItem)
}

/// What happens when the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Eviction {
    /// Segments are merged into one, of the items that were asked for most
    Merge,
    /// What nobody asks for while it is new goes first: a tenth of the memory is for that
    #[value(name = "s3fifo")]
    S3Fifo,
    /// The oldest segment goes, whatever it has
    Fifo,
    /// Some segment goes, by chance
    Random,
    /// Nothing is given up: what does not fit is refused
    None,
}

impl From<Eviction> for cache::Eviction {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::Merge => Self::Merge,
            Eviction::S3Fifo => Self::S3Fifo,
            Eviction::Fifo => Self::Fifo,
            Eviction::Random => Self::Random,
            Eviction::None => Self::None,
        }
    }
}

/// What the contents survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Durability {
    /// Nothing: there is no pool
    Volatile,
    /// The end of the process, whatever it comes from; a power cut may lose all of them (the default with --pool)
    Warm,
    /// Power cuts: what is answered is on the medium
    Durable,
}

impl From<Durability> for config::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Volatile => Self::Volatile,
            Durability::Warm => Self::Warm,
            Durability::Durable => Self::Durable,
        }
    }
}

/// The huge pages that the memory is to lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum HugePages {
    /// Those that the kernel makes of the memory if it can: nothing to prepare, and nothing promised
    Transparent,
    /// Those of 2 MiB that were set aside (vm.nr_hugepages): all of the memory, or an error
    Reserved,
}

impl From<HugePages> for Huge {
    fn from(pages: HugePages) -> Self {
        match pages {
            HugePages::Transparent => Self::Transparent,
            HugePages::Reserved => Self::Reserved,
        }
    }
}

/// What the cache is to be: everything that `[cache]` in a configuration file can say, or such a file.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Serve what this file says, instead of flags
    ///
    /// Its cache, and its subsystems if it has some. `qpair reload` reads it again.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "listen", "memory", "max_item", "pool", "resize_pool", "durability", "eviction", "huge_pages", "auth_file",
        "reactors", "cpus", "dedicated", "ring", "metrics", "command_log",
    ])]
    config: Option<PathBuf>,

    /// Listen here, and speak this; may be repeated. Port 0 is any free port
    #[arg(long, value_name = "PROTOCOL=ADDR:PORT", default_values_t = Listen::DEFAULT)]
    listen: Vec<Listen>,

    /// Bytes of items and of the table that finds them
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64MiB")]
    memory: u64,

    /// Largest value, at most 8MiB
    ///
    /// A quarter of a reactor's memory is a limit, too.
    #[arg(long, value_name = "SIZE", value_parser = parse_max_item, default_value_t = MaxItem(DEFAULT_VALUE_BYTES))]
    max_item: MaxItem,

    /// Keep the contents in this file: the next start serves them again
    ///
    /// It is made if it is not there, and takes as many bytes as --memory says.
    #[arg(long, value_name = "FILE")]
    pool: Option<PathBuf>,

    /// Make a pool of another size or durability fit
    ///
    /// It takes space for both until it is done.
    #[arg(long, requires = "pool")]
    resize_pool: bool,

    /// What the contents survive
    #[arg(long, value_enum)]
    durability: Option<Durability>,

    /// What happens when the memory is full
    #[arg(long, value_enum, default_value_t = Eviction::S3Fifo)]
    eviction: Eviction,

    /// Take all of the memory at once, on huge pages
    ///
    /// It is said how much of it got some. `--huge-pages` alone is transparent ones, which Linux has;
    /// Windows has those that are asked for (reserved). Not with --pool.
    #[arg(
        long, value_enum, value_name = "KIND", num_args = 0..=1, require_equals = true,
        default_missing_value = "transparent"
    )]
    huge_pages: Option<HugePages>,

    /// Let in only the users of this file
    ///
    /// Each may have a name, a password, read-only = true and prefixes.
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,

    /// Serve metrics for Prometheus here; a port alone is one on loopback
    #[arg(long, value_name = "ADDR:PORT", value_parser = control::metrics::address)]
    metrics: Option<SocketAddr>,

    /// Write down one command in so many: who asked, for what, and what became of it
    ///
    /// One in 100, unless N says otherwise. A file has 64MiB or SIZE; K of them, or 4, are kept beside it. `qpair cache
    /// simulate` reads it, best with every=1.
    #[arg(long, value_name = "FILE[,every=N][,size=SIZE][,keep=K]")]
    command_log: Option<CommandLog>,

    /// Number of reactors (threads)
    ///
    /// Connections and keys are dealt out to them, and each has its share of the memory.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_reactors)]
    reactors: usize,

    /// Pin the reactors to these processors
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Spin before sleeping: the shortest latencies, for cores that nothing else needs
    #[arg(long)]
    dedicated: bool,

    /// What clients are waited for with: a completion port (iocp, of Windows), or what is everywhere (portable)
    #[arg(
        long, value_name = "auto|iocp|portable", value_parser = config::cache_ring, default_value_t = RingKind::Auto,
        hide_short_help = true
    )]
    ring: RingKind,
}

impl Flags {
    /// The configuration that the flags, or the file that they name, amount to.
    ///
    /// # Errors
    /// Flags that do not go together; the mistakes in the file, or that it has no cache.
    pub(crate) fn wanted(&self) -> Result<Wanted, Box<dyn Error>> {
        let Some(path) = &self.config else { return Ok(Wanted { config: sound(self.config())?, file: None }) };
        let wanted = Wanted::load(path)?;
        if wanted.config.cache.is_none() {
            let path = path.display();
            let why =
                format!("{path} has no cache\n  Begin one with a line [cache], or run qpair serve --config {path}.");
            return Err(why.into());
        }
        Ok(wanted)
    }

    fn config(&self) -> Config {
        let cache = Cache {
            listen: self.listen.clone(),
            memory: self.memory,
            max_item: self.max_item.0,
            pool: self.pool.clone(),
            durability: self.durability.map(Into::into),
            resize_pool: self.resize_pool,
            eviction: self.eviction.into(),
            huge_pages: self.huge_pages.map(Into::into),
            auth_file: self.auth_file.clone(),
            command_log: self.command_log.clone(),
            reactors: self.reactors,
            cpus: self.cpus.clone(),
            dedicated: self.dedicated,
            ring: self.ring,
        };
        Config { cache: Some(cache), metrics: self.metrics, ..Config::default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(line: &str) -> Result<Config, String> {
        let line = Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).expect(line);
        line.flags.wanted().map(|wanted| wanted.config).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_say_what_a_file_says() {
        let line = "--listen resp=10.0.0.1:6379 --memory 4GiB --max-item 2MiB --pool /a.pool --durability durable \
                    --resize-pool --metrics 9420 --eviction merge --auth-file /users.toml --reactors 2 --cpus 0,1 \
                    --command-log /c.csv,keep=1 --dedicated --ring portable";
        let file = r#"
            metrics = 9420
            [cache]
            listen = ["resp=10.0.0.1:6379"]
            memory = "4GiB"
            max-item = "2MiB"
            pool = "/a.pool"
            durability = "durable"
            resize-pool = true
            eviction = "merge"
            auth-file = "/users.toml"
            command-log = "/c.csv,keep=1"
            reactors = 2
            cpus = [0, 1]
            dedicated = true
            ring = "portable"
        "#;
        let flags = config(line).expect("it is fine");
        assert_eq!(Ok(&flags), Config::parse(file).as_ref());
        assert_eq!(Config::parse(&flags.to_toml()), Ok(flags));
        let huge = |line: &str| config(line).expect("it is fine").cache.and_then(|cache| cache.huge_pages);
        assert_eq!(huge("--huge-pages"), Some(Huge::Transparent));
        assert_eq!(huge("--huge-pages=reserved --memory 1GiB"), Some(Huge::Reserved));
        assert_eq!(config(""), Ok(Config::parse("[cache]").expect("it is fine")));
    }

    #[test]
    fn errors_name_flags() {
        for (line, part) in [
            ("--cpus 0 --reactors 2", "--cpus: 1 processors are named for 2 reactors"),
            ("--cpus 0,0", "--cpus: the same processor is there twice"),
            ("--durability warm", "--durability: there is no pool\n  Add --pool FILE"),
            ("--huge-pages --pool a", "--huge-pages: the memory of a pool is that of its file"),
            ("--durability volatile --pool a", "--durability: the contents of a pool survive"),
            ("--listen resp=127.0.0.1:1 --listen memcache=127.0.0.1:1", "--listen: the same address is there twice"),
        ] {
            let error = config(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
