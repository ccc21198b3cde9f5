//! What people do, end to end over the wire with real client libraries: nostr-sdk here, nostr-tools in `js/`.
//! One file a story.

#[path = "../common/mod.rs"]
mod common;

mod crowdfunding;
mod everyday;
mod feed;
mod guest;
mod moving_house;
mod wallet;
mod web;
