//! `[admin]`: who owns a community. Whom owners appoint is kept with the events.

use serde::{Deserialize, Serialize};

use crate::config::Keys;

/// `[admin]`: who may manage a community by NIP-86 and at `/admin`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Who may do everything, and appoints admins and moderators. The root's own every community.
    pub owners: Keys,
}
