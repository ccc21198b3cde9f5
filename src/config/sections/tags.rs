//! `[tags]`: which tags events must have.

use serde::{Deserialize, Serialize};

use crate::config::{KindMap, Mode};

/// `[tags]`: which tags events must have.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Names of tags that events of these kinds must have, each with a value.
    pub required: KindMap<Vec<String>>,
}
