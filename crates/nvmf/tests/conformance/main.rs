//! What a correct target does, rule by rule: a running [`qpair_nvmf::Server`] seen from its sockets.
//!
//! One module for each part of the protocol. Well-behaved exchanges go through [`common::Host`], which checks the
//! target's half of every rule on the way; what such a host would never send is made by hand with [`common::Raw`].

#[path = "../common/mod.rs"]
mod common;

mod abort;
mod admin;
mod association;
mod connect;
mod copy;
mod discovery;
mod features;
mod fused;
mod identify;
mod io;
mod logs;
mod medium;
mod properties;
mod ranges;
mod transport;
