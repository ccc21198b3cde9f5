//! That plugins are asked (docs/plugins.md), as members and `plaza explain` are told it. They are programs, so no function
//! here decides: `pipeline/plugins.rs` asks them after all rules that need no store.

use crate::plugin::REFUSED;
use crate::rule::{Check, Rule};

/// The one row.
pub(super) const RULES: &[Rule] = &[Rule {
    id: REFUSED,
    settings: &["plugins.chain"],
    sentence: |settings| match settings.plugins.chain.len() {
        0 => None,
        1 => Some("A program of the operator's looks at events, and may refuse them.".to_owned()),
        count => Some(format!("{count} programs of the operator's look at events, and may refuse them.")),
    },
    check: Check::Plugins,
}];
