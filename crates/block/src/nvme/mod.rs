//! NVMe namespaces as devices: over TCP ([`tcp`]); later through the kernel's passthrough and a driver in user space.

pub mod tcp;
