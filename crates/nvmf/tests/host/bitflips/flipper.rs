//! A man in the middle: forwards every PDU between host and target, and flips one bit of one of them when told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use wire::tcp::pdu::{CapsuleCmd, kind};

/// Bytes of a common header; the length of the whole PDU is its last word.
const COMMON_BYTES: usize = 8;
/// Bytes of a command capsule without data, its header digest included.
pub(super) const COMMAND_BYTES: usize = size_of::<CapsuleCmd>() + 4;
/// Where a Connect has the number of its queue.
const QID_AT: usize = COMMON_BYTES + 42;

/// The next PDU of this kind on an I/O queue gets a wrong bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The type of the PDU.
    pub(super) kind: u8,
    /// Of command capsules: whether it has data.
    pub(super) with_data: bool,
    /// Counted from its first byte.
    pub(super) bit: usize,
}

impl Order {
    fn fits(&self, pdu: &[u8]) -> bool {
        let capsule = pdu[0] == kind::CAPSULE_CMD;
        pdu[0] == self.kind && (!capsule || self.with_data == (pdu.len() > COMMAND_BYTES)) && self.bit < pdu.len() * 8
    }
}

/// Forwards connections until the process ends.
pub(super) struct Flipper {
    pub(super) addr: SocketAddr,
    order: Arc<Mutex<Option<Order>>>,
}

impl Flipper {
    pub(super) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let order = Arc::new(Mutex::new(None));
        let orders = Arc::clone(&order);
        thread::spawn(move || {
            for host in listener.incoming() {
                // Who is gone already sees that it is.
                let _ = host.and_then(|host| forward(host, TcpStream::connect(target)?, &orders));
            }
        });
        Self { addr, order }
    }

    /// Gives an order.
    pub(super) fn flip(&self, order: Order) {
        let open = self.order.lock().unwrap_or_else(PoisonError::into_inner).replace(order);
        assert_eq!(open, None, "the last order was not carried out");
    }

    /// Whether the order was carried out.
    pub(super) fn done(&self) -> bool {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// One connection: a thread each way, the end of one is the end of both.
fn forward(host: TcpStream, target: TcpStream, order: &Arc<Mutex<Option<Order>>>) -> io::Result<()> {
    let io_queue = Arc::new(AtomicBool::new(false));
    for (from, to) in [(&host, &target), (&target, &host)] {
        to.set_nodelay(true)?;
        let mut way = Way {
            from: from.try_clone()?,
            to: to.try_clone()?,
            order: Arc::clone(order),
            io_queue: Arc::clone(&io_queue),
            connected: false,
        };
        thread::spawn(move || {
            // However it ends, it is over.
            let _ = way.run();
            let _ = way.from.shutdown(Shutdown::Both);
            let _ = way.to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// One direction of a connection.
struct Way {
    from: TcpStream,
    to: TcpStream,
    order: Arc<Mutex<Option<Order>>>,
    /// Set with the Connect of an I/O queue.
    io_queue: Arc<AtomicBool>,
    /// Connect, or the answer to it, is through.
    connected: bool,
}

impl Way {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let mut pdu = vec![0; COMMON_BYTES];
            self.from.read_exact(&mut pdu)?;
            let bytes = u32::from_le_bytes([pdu[4], pdu[5], pdu[6], pdu[7]]) as usize;
            pdu.resize(bytes.max(COMMON_BYTES), 0);
            self.from.read_exact(&mut pdu[COMMON_BYTES..])?;
            self.attack(&mut pdu);
            self.to.write_all(&pdu)?;
        }
    }

    fn attack(&mut self, pdu: &mut [u8]) {
        match pdu[0] {
            kind::CAPSULE_CMD if !self.connected => {
                self.connected = true;
                self.io_queue.store(pdu[QID_AT] != 0, Ordering::SeqCst);
            }
            kind::CAPSULE_RESP if !self.connected => self.connected = true,
            _ if !self.connected || !self.io_queue.load(Ordering::SeqCst) => {}
            _ => {
                let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(Order { bit, .. }) = order.take_if(|order| order.fits(pdu)) {
                    pdu[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}
