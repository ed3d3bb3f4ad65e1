//! As much of HTTP as a scrape needs: one request and one answer a connection.
//!
//! One thread accepts; each connection has a short-lived thread of its own, so that a slow client keeps nobody waiting.
//! Connections, the request's size and the time of both ways are bounded. No TLS, no keep-alive, no other methods than
//! GET and HEAD: whoever needs more puts a proxy before it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::text::MEDIA_TYPE;
use crate::limits::{HTTP_CONNECTIONS, HTTP_HEADERS, HTTP_REQUEST_BYTES, HTTP_TIME};

const INDEX: &str = "<!doctype html><title>qpair</title><h1>qpair</h1><p><a href=\"/metrics\">Metrics</a></p>\n";
/// After a failed accept (no file descriptors left) there is a pause.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    page: Box<dyn Fn() -> String + Send + Sync>,
    stop: AtomicBool,
    connections: AtomicUsize,
}

impl Server {
    /// Answers `GET /metrics` with what `page` makes.
    pub(super) fn start(address: SocketAddr, page: impl Fn() -> String + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { page: Box::new(page), stop: AtomicBool::new(false), connections: AtomicUsize::new(0) });
        let accepting = shared.clone();
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The thread waits for a connection: it gets one. Where that fails it is left to itself.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        if TcpStream::connect_timeout(&address, HTTP_TIME).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok((stream, peer)) = accepted.inspect_err(|error| tracing::warn!(%error, "metrics: cannot accept")) else {
            thread::sleep(PAUSE);
            continue;
        };
        if shared.connections.fetch_add(1, Ordering::SeqCst) >= HTTP_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
            tracing::info!(%peer, "metrics: closed a connection: there are {HTTP_CONNECTIONS} already");
            continue;
        }
        let serving = shared.clone();
        let serve = move || {
            if let Err(error) = serve(stream, &*serving.page) {
                tracing::debug!(%peer, %error, "metrics: a connection failed");
            }
            serving.connections.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().name("scrape".to_owned()).spawn(serve).is_err() {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// One request and its answer.
fn serve(mut stream: TcpStream, page: &dyn Fn() -> String) -> io::Result<()> {
    let deadline = Instant::now() + HTTP_TIME;
    let request = receive(&mut stream, deadline)?;
    let answer = match &request {
        Request::Get { path, .. } if path == "/metrics" => Answer::new("200 OK", MEDIA_TYPE, page()),
        Request::Get { path, .. } if path == "/" => Answer::new("200 OK", "text/html; charset=utf-8", INDEX),
        Request::Get { .. } => Answer::plain("404 Not Found", "There are / and /metrics.\n"),
        Request::Method => Answer::plain("405 Method Not Allowed", "There is GET only.\n"),
        Request::TooLong => Answer::plain("431 Request Header Fields Too Large", "The request is too long.\n"),
        Request::Malformed => Answer::plain("400 Bad Request", "This is not HTTP/1.\n"),
    };
    let head_only = matches!(request, Request::Get { head: true, .. });
    send(&mut stream, answer.bytes(head_only).as_bytes(), deadline)?;
    // What the client still sends is thrown away: closed over unread bytes, the connection would be reset.
    stream.shutdown(Shutdown::Write)?;
    let mut rest = [0; 512];
    let mut left = HTTP_REQUEST_BYTES;
    while left > 0 {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut rest)? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

enum Request {
    Get { path: String, head: bool },
    Method,
    TooLong,
    Malformed,
}

/// Receives the head of a request.
fn receive(stream: &mut TcpStream, deadline: Instant) -> io::Result<Request> {
    let mut bytes = [0; HTTP_REQUEST_BYTES];
    let mut len = 0;
    while len < bytes.len() {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut bytes[len..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
        if let Some(request) = parse(&bytes[..len]) {
            return Ok(request);
        }
    }
    Ok(Request::TooLong)
}

/// The request that the bytes begin with; none if more of it has to come.
fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => Some(Request::TooLong),
        Err(_) => Some(Request::Malformed),
        Ok(httparse::Status::Complete(_)) => Some(match (request.method, request.path) {
            (Some(method @ ("GET" | "HEAD")), Some(path)) => {
                let path = path.split('?').next().unwrap_or(path).to_owned();
                Request::Get { path, head: method == "HEAD" }
            }
            _ => Request::Method,
        }),
    }
}

struct Answer {
    status: &'static str,
    media_type: &'static str,
    body: String,
}

impl Answer {
    fn new(status: &'static str, media_type: &'static str, body: impl Into<String>) -> Self {
        Self { status, media_type, body: body.into() }
    }

    fn plain(status: &'static str, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    fn bytes(&self, head_only: bool) -> String {
        let Self { status, media_type, body } = self;
        let length = body.len();
        let body = if head_only { "" } else { body };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}"
        )
    }
}

/// Sends everything before the deadline, or fails: a client that takes a byte a second is not waited for.
fn send(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        match stream.write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let any = "127.0.0.1:0".parse().expect("an address");
        Server::start(any, || "a 1\n".repeat(1 << 16)).expect("a port")
    }

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.write_all(request).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    #[test]
    fn requests_and_answers() {
        let server = server();
        let answer = ask(&server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", 4 << 16)) && body.len() == 4 << 16, "{head}");
        for (request, status) in [
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "200 OK"),
            ("GET /x HTTP/1.1\r\n\r\n", "404 "),
            ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 "),
            ("\x16\x03\x01 this is TLS\r\n\r\n", "400 "),
        ] {
            let answer = ask(&server, request.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        }
        let head = ask(&server, b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.contains(&format!("Content-Length: {}\r\n", 4 << 16)) && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn requests_are_bounded() {
        let server = server();
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(HTTP_REQUEST_BYTES));
        assert!(ask(&server, long.as_bytes()).starts_with("HTTP/1.1 431"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HTTP_HEADERS + 1));
        assert!(ask(&server, many.as_bytes()).starts_with("HTTP/1.1 431"));
    }

    #[test]
    fn clients_that_say_nothing_keep_nobody_waiting() {
        let server = server();
        let connect = || TcpStream::connect(server.address()).expect("it listens");
        let mut silent: Vec<TcpStream> = (1..HTTP_CONNECTIONS).map(|_| connect()).collect();
        assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        // Those beyond the limit are closed; sooner or later, so are those that say nothing.
        silent.extend((0..4).map(|_| connect()));
        for mut stream in silent {
            stream.set_read_timeout(Some(4 * HTTP_TIME)).expect("a time");
            assert_eq!(stream.read(&mut [0; 16]).expect("it is closed"), 0);
        }
        assert!(ask(&server, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn its_end_frees_the_port() {
        let server = server();
        let address = server.address();
        drop(server);
        drop(Server::start(address, String::new).expect("the port is free"));
    }
}
