//! Nothing as a block device: reads give zeros, writes vanish. It measures the path to a device without the device.
//!
//! All reads lend from one area of zeros that nobody ever writes: a slot map with one slot and no data. No memory is
//! touched per request, and nothing of another request can get out. Only who carries a buffer has it filled: to leave
//! in it what somebody else has read before would be faster, and a hole. So what requests cost without any bytes is
//! measured with reads that are lent (`qpair bench null:1TiB --lend`), or with writes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use machine::reactor::Arm;
use machine::region::{Buf, Lent, SlotHandle, SlotMap};
use machine::ring::Ring;
use uuid::Uuid;

use crate::admit::{admit, bytes_of, check_size};
use crate::limits::{DEFAULT_BLOCK_BYTES, MAX_TRANSFER_BYTES, NULL_QUEUE_DEPTH, PREFERRED_BYTES};
use crate::{
    Completion, Completions, CopyLimits, Data, Device, Failure, Features, Identity, Info, Op, OpenError, Outcome,
    Queue, Refused, Request, Returned, Tag,
};

/// A disk that forgets.
pub struct NullDevice {
    info: Info,
    zeros: Arc<SlotMap>,
}

impl NullDevice {
    /// Makes one of `bytes`, below 2^63. Without `uuid` it is a new disk each time.
    ///
    /// # Errors
    /// A size that is not a whole number of blocks or too large.
    pub fn new(
        name: &str,
        bytes: u64,
        block_bytes: Option<u32>,
        read_only: bool,
        uuid: Option<Uuid>,
    ) -> Result<Self, OpenError> {
        let block_bytes = block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES);
        let fail = |why, source| OpenError {
            device: name.to_owned(),
            why,
            hint: "Choose another size, for example null:1TiB.".to_owned(),
            source,
        };
        let blocks =
            check_size(bytes, block_bytes).map_err(|why| fail(format!("a size of {bytes} bytes {why}"), None))?;
        let zeros = SlotMap::new(1, MAX_TRANSFER_BYTES as usize, 0)
            .map_err(|error| fail(format!("there is no memory for its zeros: {error}"), Some(error)))?;
        let info = Info {
            name: name.to_owned(),
            kind: "null",
            block_bytes,
            blocks,
            preferred_blocks: PREFERRED_BYTES / block_bytes,
            atomic_blocks: 1,
            max_transfer_bytes: MAX_TRANSFER_BYTES,
            piece_bytes: 1,
            features: Features {
                read_only,
                volatile_cache: false,
                lends: true,
                zeros_after_deallocate: true,
                thin: true,
                compare: true,
                verify: true,
                write_uncorrectable: false,
                copy: Some(CopyLimits::most(block_bytes)),
            },
            identity: Identity::from_uuid(uuid.unwrap_or_else(Uuid::new_v4)),
        };
        Ok(Self { info, zeros })
    }
}

impl Device for NullDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        Ok(Box::new(NullQueue {
            info: self.info.clone(),
            handle: self.zeros.handle(),
            done: Vec::with_capacity(NULL_QUEUE_DEPTH),
            lent: VecDeque::with_capacity(NULL_QUEUE_DEPTH),
        }))
    }

    fn used_blocks(&self) -> u64 {
        0
    }
}

/// Compares with zeros, if that is what is asked.
fn compare(op: Op, data: &Data<'_>) -> Outcome {
    let zeros = match (op, data) {
        (Op::Compare(_), Data::Carried(buf)) => buf.iter().all(|byte| *byte == 0),
        (Op::Compare(_), Data::Inline(bytes)) => bytes.iter().all(|byte| *byte == 0),
        _ => true,
    };
    if zeros { Ok(()) } else { Err(Failure::Miscompare) }
}

struct NullQueue {
    info: Info,
    handle: SlotHandle,
    /// Completions that wait for the poll, and the zeros of those that lend.
    done: Vec<Completion>,
    lent: VecDeque<Lent>,
}

impl NullQueue {
    #[cold]
    fn failed(&mut self, request: Request<'_>, outcome: Outcome) {
        self.done.push(Completion { tag: request.tag, outcome, data: request.data.into_bufs().into() });
    }
}

impl NullQueue {
    /// The end of a request with a list of buffers. By itself, as it is not what measures the path.
    #[inline(never)]
    fn scattered(&mut self, tag: Tag, op: Op, mut pieces: Vec<Buf>) {
        let zeros = |piece: &Buf| piece.iter().all(|byte| *byte == 0);
        let outcome = match op {
            Op::Compare(_) if !pieces.iter().all(zeros) => Err(Failure::Miscompare),
            _ => Ok(()),
        };
        if let Op::Read(_) = op {
            pieces.iter_mut().for_each(|piece| piece.fill(0));
        }
        self.done.push(Completion { tag, outcome, data: Returned::Scattered(pieces) });
    }
}

impl Queue for NullQueue {
    fn begin(&mut self) {
        self.handle.begin();
    }

    fn submit<'a>(&mut self, _ring: &mut Ring, mut request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.done.len() == NULL_QUEUE_DEPTH {
            return Err(Refused(request));
        }
        let outcome = admit(&self.info, self.info.blocks, &request).and_then(|()| compare(request.op, &request.data));
        if outcome.is_err() {
            self.failed(request, outcome);
            return Ok(());
        }
        if let (Op::Read(_), Data::Carried(buf)) = (request.op, &mut request.data) {
            buf.fill(0);
        }
        // Each end is made where it is known what it is: taken apart and put together on the way, it costs as much as
        // all the rest.
        let Request { tag, op, data } = request;
        match data {
            Data::Carried(buf) => {
                self.done.push(Completion { tag, outcome: Ok(()), data: Returned::Carried(buf) });
            }
            Data::Lend => {
                let (_, len) = bytes_of(&self.info, op.range().expect("only reads are lent"));
                self.lent.push_back(self.handle.lend(0, 0..len as usize));
                self.done.push(Completion { tag, outcome: Ok(()), data: Returned::Lent(1) });
            }
            Data::Scattered(pieces) => self.scattered(tag, op, pieces),
            Data::None | Data::Inline(_) | Data::Landed(_) | Data::Sources(_) => {
                self.done.push(Completion { tag, outcome: Ok(()), data: Returned::None });
            }
        }
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        out.list.append(&mut self.done);
        out.lent.append(&mut self.lent);
    }

    fn end(&mut self) {
        self.handle.end();
    }

    fn in_flight(&self) -> usize {
        self.done.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.done.is_empty() { Arm::Armed } else { Arm::Busy }
    }
}
