//! What a rule says: accept, or refuse with a prefix, the rule's stable id and a sentence that a
//! person understands. Never text until `message.rs` writes it.

use std::borrow::Cow;
use std::fmt;

/// The machine-readable words that `OK` and `CLOSED` may begin with (NIP-01, NIP-42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// The relay has it already, or something newer in its place.
    Duplicate,
    /// Too little proof of work.
    Pow,
    /// Not welcome, and another try will not help.
    Blocked,
    /// Too much at once; later it may pass.
    RateLimited,
    /// Not well-formed, or untrue.
    Invalid,
    /// The authenticated key may not do this.
    Restricted,
    /// The relay's own fault.
    Error,
    /// Authenticate first (NIP-42).
    AuthRequired,
    /// It was open, and is no more (NIP-77).
    Closed,
}

impl Prefix {
    /// The word on the wire, without its colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Prefix::Duplicate => "duplicate",
            Prefix::Pow => "pow",
            Prefix::Blocked => "blocked",
            Prefix::RateLimited => "rate-limited",
            Prefix::Invalid => "invalid",
            Prefix::Restricted => "restricted",
            Prefix::Error => "error",
            Prefix::AuthRequired => "auth-required",
            Prefix::Closed => "closed",
        }
    }
}

/// A refusal: written as `prefix: sentence (rule.id)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal this is, for programs.
    pub prefix: Prefix,
    /// The stable id of the rule that refused.
    pub rule: &'static str,
    /// Why, for people.
    pub sentence: Cow<'static, str>,
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(prefix: Prefix, rule: &'static str, sentence: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { prefix, rule, sentence: sentence.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.prefix.as_str(), self.sentence, self.rule)
    }
}

/// A rule's answer.
pub type Decision = Result<(), Refusal>;
