//! Plaza, a Nostr relay for communities. The map of the house; ARCHITECTURE.md tells more.
//!
//! ```text
//! socket → net (http, session) → pipeline (verify → writer → store, index → fanout; reader) → outbox → socket
//! ```
//!
//! Pure, and used by all: [`event`], [`filter`], [`geo`], [`domain`], [`amount`], [`message`], [`nips`],
//! [`policy`]. Holding state: [`store`], which alone knows sled, and [`index`]. Joining them: [`community`].
//! Moving: [`pipeline`], [`net`], [`mirror`]. Of the operator: [`backup`], [`control`]. Reading the wall clock: [`clock`], alone.

pub mod admin;
pub mod amount;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod community;
pub mod config;
pub mod control;
pub mod domain;
pub mod event;
pub mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod geo;
pub mod index;
pub mod live;
pub mod memory;
pub mod message;
pub mod meter;
pub mod metrics;
pub mod mirror;
mod nats;
pub mod net;
pub mod nips;
pub mod outbox;
pub mod pipeline;
pub mod plugin;
pub mod policy;
pub mod rate;
pub mod recent;
pub mod reload;
pub mod replay;
pub mod review;
pub mod rule;
pub mod search;
mod splitmix;
pub mod store;
pub mod usage;
pub mod words;
