//! NVMe namespaces as devices: over TCP ([`tcp`]), and through the kernel's driver ([`kernel`]).

mod describe;
pub mod kernel;
mod namespace;
pub mod tcp;
