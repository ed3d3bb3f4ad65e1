//! The memory that a reactor works in: what commands carry, and what connections receive into.
//!
//! It outlives the target that it serves, so that a [`Stepper`](crate::Stepper) can have one after the other in it.

use std::io;

use block::pump::Scratch;
use machine::region::Pool;
use machine::ring::Ring;

use crate::limits::{LARGE_BUFFER, SMALL_BUFFER};

/// See the module.
pub(crate) struct Memory {
    /// Buffers for small transfers.
    pub(super) small: Pool,
    /// Buffers for all others.
    pub(super) large: Pool,
    pub(super) scratch: Scratch,
}

impl Memory {
    /// What the reactor that owns `ring` needs.
    ///
    /// # Errors
    /// There is no memory for the buffers.
    pub(crate) fn new(ring: &mut Ring) -> io::Result<Self> {
        let small = Pool::anonymous(SMALL_BUFFER.0, SMALL_BUFFER.1)?;
        // The small ones only: registered memory is resident, and of a limited amount.
        ring.register_pool(&small);
        Ok(Self { small, large: Pool::anonymous(LARGE_BUFFER.0, LARGE_BUFFER.1)?, scratch: Scratch::new() })
    }
}
