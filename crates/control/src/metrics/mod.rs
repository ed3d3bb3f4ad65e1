//! What a target and a cache do, in Prometheus' text format, over HTTP.
//!
//! ```text
//!   reactors ──▶ words (nvmf::stats, cache::observe, accounts) ◀── Observer ◀── page ◀── http, one thread ◀── GET
//! ```
//!
//! A scrape reads words that the reactors write for themselves anyway: it costs them nothing but the cache lines. No
//! thread is started unless metrics are asked for.

mod cache;
mod http;
mod process;
mod reactors;
mod target;
mod text;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use self::text::Text;

/// Who is looked at.
#[derive(Clone, Default)]
pub struct Sources {
    /// A target, if there is one.
    pub target: Option<nvmf::Observer>,
    /// A cache, if there is one.
    pub cache: Option<::cache::Observer>,
}

impl Sources {
    /// The page that a scrape gets.
    fn page(&self) -> String {
        let mut text = Text::default();
        self.target.iter().for_each(|target| target::write(&mut text, target));
        self.cache.iter().for_each(|cache| cache::write(&mut text, cache));
        process::write(&mut text);
        text.finish()
    }
}

/// The thread that answers scrapes; dropping it ends it.
pub struct Metrics(http::Server);

impl Metrics {
    /// Listens on `address` and answers what asks there from now on. Port 0 is any free port.
    ///
    /// # Errors
    /// The address cannot be listened on, or there is no thread to be had.
    pub fn start(address: SocketAddr, sources: Sources) -> io::Result<Self> {
        if !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                "metrics: whoever reaches {address} can read them: names of hosts and devices, too, if it serves any"
            );
        }
        Ok(Self(http::Server::start(address, move || sources.page())?))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// Reads where to listen for scrapes: an address with a port, or a port on loopback.
///
/// # Errors
/// What is wrong with it.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let port = || text.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = text.parse().ok().or_else(port);
    address.ok_or_else(|| format!("`{}` is neither an address with a port nor a port", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("9420").map(|address| address.to_string()), Ok("127.0.0.1:9420".to_owned()));
        assert_eq!(address("[::1]:9420").map(|address| address.to_string()), Ok("[::1]:9420".to_owned()));
        for text in ["", "localhost", "65536", "10.0.0.1", ":9420", "-1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
