//! Plugins (docs/plugins.md): programs of the operator's that are asked about each event, in the lines of JSON that
//! strfry made common. In: events that proved true and passed the rules that need no store. Out: what became of each.
//! Never stores anything and never answers a client; `pipeline/plugins.rs` does.

pub(crate) mod chain;
pub(crate) mod counts;
pub(crate) mod dry;
mod link;
pub(crate) mod process;
pub(crate) mod wire;

pub use counts::Numbers;
pub use wire::{Origin, SourceType};

use crate::rule::{Prefix, Refusal};

/// The id of what plugins refuse.
pub(crate) const REFUSED: &str = "plugins.chain";

/// What a client is told when a plugin says nothing.
pub(crate) fn dead() -> Refusal {
    let sentence =
        "this relay asks a program of its operator's about events, and it does not answer; try again later";
    Refusal::new(Prefix::Error, "plugins.dead", sentence)
}

/// What a client is told when too much waits for plugins.
pub(crate) fn busy() -> Refusal {
    let sentence = "more events wait to be looked at by this relay's plugins than may; try again later";
    Refusal::new(Prefix::Error, "plugins.busy", sentence)
}

/// What a client is told of an event that no plugin will be asked about any more.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(Prefix::Error, "plugins.stopping", "the relay is stopping; try again later")
}
