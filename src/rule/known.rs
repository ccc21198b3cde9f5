//! What rules know besides the event and the settings: what was compiled from settings, read from files, or
//! learned from stored events. A snapshot: replaced whole, never changed.

/// What a community's rules know. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Known {}
