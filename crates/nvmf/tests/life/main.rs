//! A target's life as a whole: what it has answered is there, whatever comes, and after it has stopped.

#[path = "../common/mod.rs"]
mod common;

mod abort;
mod counts;
mod events;
mod layout;
mod model;
mod placing;
mod slow;
mod stop;
