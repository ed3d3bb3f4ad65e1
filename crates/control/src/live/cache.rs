//! A cache that follows its configuration: its users do, and the rest changes by a restart.

use cache::access::Users;
use cache::{Options, PoolError, PoolFile, Server, StartError};
use uuid::Uuid;

use super::{cannot_listen, only_by_restart, options};
use crate::config::{self, Config, Listen, Problem, Protocol, Source, UsersError, load_users};

/// See the module.
pub(super) struct Cache {
    pub(super) server: Server,
}

impl Cache {
    /// Opens the pool, if there is one, and serves the cache of `config`. When this returns, clients can connect.
    ///
    /// # Errors
    /// Everything that keeps it from being served, in the words of `source`.
    pub(super) fn start(config: &Config, source: Source) -> Result<Self, Vec<Problem>> {
        let wanted = config.cache.as_ref().expect("a cache is wanted");
        let (mode, cpus) = options::cache(config, wanted)?;
        // Known before anything is opened, and with its reason.
        wanted.ring.of_sockets().choose().map_err(|none| vec![Problem::new("cache.ring", none.why, none.hint)])?;
        let memory = usize::try_from(wanted.memory)
            .map_err(|_| vec![Problem::new("cache.memory", "more than this machine can address", "Take less.")])?;
        let options = Options {
            reactors: wanted.reactors,
            memcache: addresses(wanted, Protocol::Memcache),
            resp: addresses(wanted, Protocol::Resp),
            memory,
            max_value: wanted.max_item,
            pool: wanted.pool.clone().map(|path| PoolFile { path, keep: wanted.keep(), refits: wanted.resize_pool }),
            users: users(config)?,
            eviction: wanted.eviction,
            log: wanted.command_log.clone(),
            huge_pages: wanted.huge_pages,
            seed: Uuid::new_v4().as_u64_pair().0,
            mode,
            ring: wanted.ring,
            cpus,
        };
        let server = Server::start(&options).map_err(|error| vec![refused(wanted, &error, source)])?;
        Ok(Self { server })
    }

    /// Lets in these users and nobody else from now on; what is different, in sentences.
    pub(super) fn admit(&self, users: Option<Users>) -> Option<String> {
        let users = users?;
        let count = users.count();
        self.server.admit(users).then(|| format!("the cache has other users: {count} of them"))
    }

    /// Stops it: answers what has come, closes the connections, and the pool.
    ///
    /// # Errors
    /// What went wrong. A cache whose pool has failed is not stopped: it waits for a medium that does not answer.
    pub(super) fn stop(self) -> Result<(), String> {
        match self.server.failure() {
            Some(failure) => Err(failure.to_owned()),
            None => self.server.stop(),
        }
    }
}

/// Where the clients of one protocol are listened for.
fn addresses(cache: &config::Cache, protocol: Protocol) -> Vec<std::net::SocketAddr> {
    cache.listen.iter().filter(|listen| listen.protocol == protocol).map(|listen| listen.address).collect()
}

/// Who may use the cache, as its file says now; `None` is everybody.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn users(config: &Config) -> Result<Option<Users>, Vec<Problem>> {
    let file = config.cache.as_ref().and_then(|cache| cache.auth_file.as_deref());
    file.map(|path| load_users(path).map_err(|error| vec![bad_users(&error)])).transpose()
}

fn bad_users(error: &UsersError) -> Problem {
    let hint = match error {
        UsersError::File(..) => "Check the path and its permissions.",
        UsersError::Open(..) => "Then nobody else can read it.",
        UsersError::Mistakes(..) => "Mend that file: nobody is let in by a file with mistakes.",
    };
    Problem::new("cache.auth-file", error.to_string(), hint)
}

/// What was changed that only a new start can change: everything but which users there are.
pub(super) fn unchangeable(old: &config::Cache, new: &config::Cache) -> Vec<Problem> {
    let list = |all: &[Listen]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let file = |path: &Option<std::path::PathBuf>| path.as_ref().map_or("none".to_owned(), |p| p.display().to_string());
    let both = |field: &'static str, of: &dyn Fn(&config::Cache) -> String| (field, of(old), of(new));
    only_by_restart([
        both("cache.listen", &|cache| list(&cache.listen)),
        both("cache.memory", &|cache| format!("{} bytes", cache.memory)),
        both("cache.max-item", &|cache| format!("{} bytes", cache.max_item)),
        both("cache.pool", &|cache| file(&cache.pool)),
        both("cache.durability", &|cache| cache.durability_word().to_owned()),
        both("cache.resize-pool", &|cache| cache.resize_pool.to_string()),
        both("cache.eviction", &|cache| cache.eviction_word().to_owned()),
        both("cache.huge-pages", &|cache| cache.huge_pages_word().to_owned()),
        both("cache.auth-file", &|cache| if cache.auth_file.is_some() { "a file" } else { "none" }.to_owned()),
        both("cache.command-log", &|cache| cache.command_log.as_ref().map_or("none".to_owned(), ToString::to_string)),
        both("cache.reactors", &|cache| cache.reactors.to_string()),
        both("cache.cpus", &|cache| format!("{:?}", cache.cpus)),
        both("cache.dedicated", &|cache| cache.dedicated.to_string()),
        both("cache.ring", &|cache| cache.ring.to_string()),
    ])
}

/// Why the cache did not start, as a problem with a field.
fn refused(cache: &config::Cache, error: &StartError, source: Source) -> Problem {
    match error {
        StartError::Listen { address, source: error } => {
            let index = cache.listen.iter().position(|listen| listen.address == *address).unwrap_or(0);
            let free = Listen { address: (address.ip(), 0).into(), ..cache.listen[index] };
            cannot_listen(&format!("cache.listen[{index}]"), &format!("--listen {free}"), *address, error, source)
        }
        StartError::Pool(error) => Problem::new("cache.pool", error.to_string(), pool_hint(error, source)),
        StartError::HugePages { needed, free, all } => {
            let hint = format!(
                "Set them aside: sysctl vm.nr_hugepages={} (as root, and best soon after the machine has started). Or \
                 take transparent ones, which need no preparation.",
                all + needed.saturating_sub(*free)
            );
            Problem::new("cache.huge-pages", error.to_string(), hint)
        }
        StartError::NoHugePages(_) => {
            let hint = "Ordinary pages need no preparation. Where large ones may be had, they are while there is much \
                        free memory in one piece: soon after the machine has started.";
            Problem::new("cache.huge-pages", error.to_string(), hint)
        }
        StartError::Reactor(error) => {
            Problem::new("cache.memory", format!("cannot start the cache: {error}"), "Take less, or fewer reactors.")
        }
    }
}

fn pool_hint(error: &PoolError, source: Source) -> &str {
    match error {
        PoolError::Shape { .. } if source == Source::Flags => "--resize-pool makes it fit, with space for both.",
        PoolError::Shape { .. } => "resize-pool = true makes it fit, with space for both.",
        PoolError::TooSmall { .. } => "Take more memory, or an eviction that lets some of them go.",
        PoolError::Size { .. } => "Take more memory, or fewer reactors.",
        PoolError::Foreign(_) | PoolError::Damaged(_) | PoolError::Version { .. } => {
            "Name another file, or remove this one."
        }
        PoolError::NoFile { hint, .. } => hint,
        PoolError::System { .. } => "Check the file, its permissions, and the space of its file system.",
    }
}
