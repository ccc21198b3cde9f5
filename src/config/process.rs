//! Sections of relay.toml that hold for the whole process and not for one community. In: tables. Out: settings that are
//! yet to be checked.

use serde::Deserialize;

use super::{Acme, Cluster, Compression, Config, Log, Metrics, Nip40, Nip62, Rate, Server, Store, Tls};

/// The sections that hold for the whole process.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Process {
    pub(super) server: Server,
    pub(super) tls: Tls,
    pub(super) acme: Acme,
    pub(super) store: Store,
    pub(super) compression: Compression,
    pub(super) rate: Rate,
    pub(super) nip40: Nip40,
    pub(super) nip62: Nip62,
    pub(super) log: Log,
    pub(super) metrics: Metrics,
    pub(super) cluster: Cluster,
}

impl Default for Process {
    fn default() -> Self {
        let Config {
            server, tls, acme, store, compression, rate, nip40, nip62, log, metrics, cluster, ..
        } = Config::default();
        Process { server, tls, acme, store, compression, rate, nip40, nip62, log, metrics, cluster }
    }
}

/// Their names.
pub(super) const PROCESS: [&str; 11] =
    ["server", "tls", "acme", "store", "compression", "rate", "nip40", "nip62", "log", "metrics", "cluster"];
