//! `[cluster]`: the log that several nodes share. In: what relay.toml says. Out: what is wrong with it. Never connects.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, SectionFault, Settings};

/// `[cluster]`: several machines as one relay, over NATS JetStream (docs/cluster.md).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Addresses of NATS servers. Empty: this relay is alone.
    pub servers: Vec<String>,
    /// This node's name, which no other node of the cluster has.
    pub node: String,
    /// The cluster's name: that of its stream and the beginning of its subjects.
    pub name: String,
    /// NATS servers that keep the log each; more than half of them must have an entry before it counts.
    pub replicas: usize,
    /// Who this node is to the servers, where they ask for a name and a password.
    pub user: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// Certificates of authorities whom the servers' are from, in PEM, in place of those that the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// This node's certificate, where the servers ask for one, in PEM.
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Seconds for which the servers keep entries: a node that was away for longer begins from a copy of another one.
    pub log_seconds_max: u64,
    /// Bytes of entries that the servers keep; the oldest go first.
    pub log_bytes_max: u64,
    /// Seconds in which an event must have come back from the log; it is answered with an error after.
    pub publish_seconds_max: u64,
    /// Whether this node sends events to moderation services.
    pub asks_services: bool,
    /// Whether a node that cannot follow the log fetches a copy of another one, and gives one to those that ask.
    pub heals_from_peers: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            node: String::new(),
            name: "plaza".to_owned(),
            replicas: 3,
            user: None,
            password_file: None,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            log_seconds_max: 7 * 86_400,
            log_bytes_max: 10 << 30,
            publish_seconds_max: 5,
            asks_services: true,
            heals_from_peers: true,
        }
    }
}

/// Letters of names: they become parts of subjects and of the stream's name.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)
}

/// Whether it is the address of a NATS server, without a name and a password.
pub(super) fn is_server(address: &str) -> bool {
    let rest = address.strip_prefix("nats://").or_else(|| address.strip_prefix("tls://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '/', ' ']))
}

/// What must hold between these settings.
pub(super) fn check(config: &Config, settings: &Settings) -> Result<(), SectionFault> {
    let Cluster { servers, node, name, user, password_file, tls_certificate, tls_key, .. } = &config.cluster;
    let fault = |key, problem: &str, remedy: &str| {
        Err(SectionFault { key, problem: problem.to_owned(), remedy: remedy.to_owned() })
    };
    let letters = "must be 1 to 64 letters, digits, - and _";
    if !is_name(name) {
        return fault("cluster.name", letters, "write for example name = \"plaza\"");
    }
    if servers.is_empty() {
        return Ok(());
    }
    if !is_name(node) {
        return fault("cluster.node", letters, "give each node a name of its own, for example node = \"a\"");
    }
    if !servers.iter().all(|server| is_server(server)) {
        let remedy = "write addresses such as \"nats://10.0.0.1:4222\"; a name and a password stand in cluster.user and \
                      cluster.password_file";
        return fault("cluster.servers", "must be addresses that begin with nats:// or tls://", remedy);
    }
    if (settings.nip29.enabled || settings.nip43.enabled) && settings.relay.secret_key_file.is_none() {
        let remedy = "write a key into a file, copy it to all nodes and name it here; what keys/ in the data folder holds \
                      for this community is the key that it has had";
        let problem =
            "is needed in a cluster where nip29.enabled or nip43.enabled is on: all nodes sign with one key";
        return fault("relay.secret_key_file", problem, remedy);
    }
    if !settings.shared_lists.publish.is_empty() {
        let problem =
            "is not for a cluster: domains are blocked by files of each node, and lists would differ";
        let remedy = "remove the line, and publish lists from a relay that is alone";
        return fault("shared_lists.publish", problem, remedy);
    }
    if user.is_some() != password_file.is_some() {
        return fault("cluster.user", "and cluster.password_file go together", "write both, or none");
    }
    if tls_certificate.is_some() != tls_key.is_some() {
        return fault("cluster.tls_certificate", "and cluster.tls_key go together", "write both, or none");
    }
    Ok(())
}
