//! Developer commands of the qpair repository.
fn main() {}
