//! Why a relay cannot start, in words that name the remedy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::tls::TlsError;
use crate::community::OpenError;
use crate::pipeline::{self, PluginError};
use crate::store::StoreError;

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's content cannot be understood.
    #[error("{path}: {reason}")]
    Open {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong.
        reason: OpenError,
    },
    /// The address is taken or not this machine's.
    #[error(
        "cannot listen on {address}: {reason}; give another address in {setting}, or with --listen for server.listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// What systemd passed is of no use.
    #[error(
        "systemd passed a socket that cannot be used: {0}; in plaza.socket, ListenStream= is an address and a port"
    )]
    Inherited(#[source] io::Error),
    /// What systemd passed has no certificate.
    #[error(
        "systemd passed a socket for encrypted connections; set tls.listen and a certificate, or disable plaza-tls.socket"
    )]
    InheritedTls,
    /// The certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The machine gives no more threads or descriptors.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A plugin cannot be run.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The machine gives no more threads.
    #[error(transparent)]
    Threads(#[from] pipeline::StartError),
}

impl StartError {
    /// Whether the store's files are damaged, so that a person must do something before it starts again.
    pub fn is_damage(&self) -> bool {
        match self {
            StartError::Store(error) | StartError::Open { reason: OpenError::Store(error), .. } => {
                error.is_damage()
            }
            StartError::Open { .. } => true,
            _ => false,
        }
    }
}
