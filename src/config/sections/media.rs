//! `[media]`: what is asked of videos and attachments, and of warnings on them.

use serde::{Deserialize, Serialize};

use super::SectionFault;
use crate::config::{KindMap, KindSet, Mode};
use crate::domain::DomainSet;

/// `[media]`: what is asked of videos and attachments (NIP-71, NIP-92), and of warnings on them (NIP-36).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Whether its rules refuse, or only count and log what they would refuse.
    pub mode: Mode,
    /// Whether video events (21, 22, 34235, 34236) need a title, a video's address, and, if addressable, a `d`.
    pub videos_checked: bool,
    /// Seconds that the videos of these kinds may last at most.
    pub duration_seconds_max_by_kind: KindMap<u64>,
    /// Whether each `imeta` tag, on events of any kind, must be as NIP-92 has it: an address and something else.
    pub imeta_checked: bool,
    /// Fields that each `imeta` of a video event must have besides `url`, such as `m`, `x` and `dim`.
    pub imeta_fields_required: Vec<String>,
    /// The only hosts, with their subdomains, where media of `imeta` and `url` tags may lie; empty means all.
    pub hosts_allowed: DomainSet,
    /// Hosts, with their subdomains, where they may not lie.
    pub hosts_denied: DomainSet,
    /// Whether events must have, or must not have, a content warning.
    pub content_warning: ContentWarning,
    /// The kinds of which `content_warning` speaks.
    pub content_warning_kinds: KindSet,
    /// Labels (NIP-32) with which authors may not mark their own events: `label`, or `namespace:label`.
    pub labels_refused: Vec<String>,
}

/// Whether events must have a content warning (NIP-36).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentWarning {
    /// As their authors like.
    #[default]
    Free,
    /// They must.
    Required,
    /// They must not: what needs a warning has no place here.
    Refused,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            videos_checked: false,
            duration_seconds_max_by_kind: KindMap::default(),
            imeta_checked: false,
            imeta_fields_required: Vec::new(),
            hosts_allowed: DomainSet::default(),
            hosts_denied: DomainSet::default(),
            content_warning: ContentWarning::Free,
            content_warning_kinds: KindSet::of(&[20, 21, 22, 34_235, 34_236]),
            labels_refused: Vec::new(),
        }
    }
}

impl Media {
    pub(in crate::config) fn check(&self) -> Result<(), SectionFault> {
        let is_field = |field: &String| !field.is_empty() && !field.contains(char::is_whitespace);
        if let Some(field) = self.imeta_fields_required.iter().find(|field| !is_field(field)) {
            return Err(SectionFault {
                key: "media.imeta_fields_required",
                problem: format!("{field:?} must be the name of a field, one word"),
                remedy: "write for example \"m\" or \"dim\"".to_owned(),
            });
        }
        Ok(())
    }
}
