//! `[followers]`: posts that are shown only to people who stand in some relation to their author.

use serde::{Deserialize, Serialize};

use crate::config::{KindSet, Mode};

/// `[followers]` (in a community: `[community.followers]`): followers-only posts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Followers {
    /// Whether its rules hide and refuse, or do nothing yet.
    pub mode: Mode,
    /// Kinds of which all posts are for followers only.
    pub kinds: KindSet,
    /// Whether posts with the tag `["visibility", "followers"]` are, of whatever kind.
    pub marked: bool,
    /// Who they are shown to, besides their author.
    pub shown_to: ShownTo,
}

/// Who followers-only posts are shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownTo {
    /// People who follow the author, or whom the author follows.
    #[default]
    Either,
    /// People who follow the author.
    Followers,
    /// People whom the author follows.
    Followed,
    /// People who follow the author and whom the author follows.
    Mutual,
}

impl Followers {
    /// Whether there are posts for followers only.
    pub fn is_on(&self) -> bool {
        self.marked || !self.kinds.is_empty()
    }
}
