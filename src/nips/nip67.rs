//! NIP-67, the hint in EOSE (nips/67.md): whether all that is stored was sent. A hint is definitive,
//! so where the relay cannot know it sends none.

/// What EOSE says of completeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Every stored event that matches and may be shown was sent.
    Finish,
    /// At least one was not.
    More,
}

impl Hint {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Hint::Finish => "finish",
            Hint::More => "more",
        }
    }
}

/// Where the relay's own cap ends an answer, events of its last second are sent beyond the cap, up to
/// this many, so that a client that pages with `until` misses none of them.
pub const BOUNDARY_EXTRA_MAX: usize = 500;
