//! Devices over devices. A layer's queue owns the queues below it.

pub mod fault;
