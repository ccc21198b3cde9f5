//! Sockets: accepting, HTTP, sessions. In: bytes from people. Out: submissions and queries to the
//! pipeline, frames to people. Never decides what a rule decides.

mod acme;
mod admin_page;
mod by_hand;
pub(crate) mod deflate;
mod http;
pub(crate) mod https;
mod listen;
mod logged;
mod manage;
mod monitor;
mod page;
mod picture;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod redirect;
mod server;
mod session;
mod socket;
mod stream;
mod systemd;
mod tls;

pub use by_hand::{Called, RelayByHand};
pub use listen::Sockets;
pub use server::{Relay, StartError};
pub(crate) use server::{open_store, store_options};
pub use systemd::tell_systemd_of_stop;
pub use tls::TlsError;
