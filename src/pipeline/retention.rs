//! Keeps communities within the bounds of `[retention]`: finds what must go by and by, and says what becomes of an
//! event that its author has no room for. In: settings and indexes. Out: events for the writer to remove, or a
//! refusal. Removes nothing itself; communities without such bounds cost a look at their settings.

use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::writer::{Remove, WriterInput};
use crate::community::Community;
use crate::config::{AuthorFull, Retention};
use crate::event::Event;
use crate::index::{Index, Load, Stored};
use crate::rule::{Prefix, Refusal};
use crate::words;

/// Has the writer remove some of what a community must not keep any longer, within its budget of a part of a
/// second. False when the writer is gone.
pub(super) fn sweep(community: &Arc<Community>, now: u64, parts: u32, writer: &Sender<WriterInput>) -> bool {
    let settings = community.settings();
    let retention = &settings.retention;
    if !retention.sweeps() {
        return true;
    }
    let most = usize::try_from(retention.sweep_events_per_second / u64::from(parts)).unwrap_or(usize::MAX);
    let found = community.index().beyond(retention, now, most.max(1));
    if found.is_empty() {
        return true;
    }
    let (done, finished) = bounded(1);
    let remove = Remove { community: Arc::clone(community), found, done };
    // A failure of the store was logged; the next round tries again.
    writer.send(WriterInput::Remove(remove)).is_ok_and(|()| {
        let _ = finished.recv();
        true
    })
}

/// What an author's next event would be too much by, when so much of theirs is about to be stored.
fn excess(retention: &Retention, load: Load, coming: Load) -> Load {
    let over = |max: u64, load: u64, coming: u64| match max {
        0 => 0,
        max => (load + coming).saturating_sub(max),
    };
    Load {
        events: over(retention.events_per_author_max, load.events, coming.events),
        bytes: over(retention.bytes_per_author_max, load.bytes, coming.bytes),
    }
}

/// Whether what of its author is being gathered may decide what becomes of an event.
pub(super) fn bears_on(
    retention: &Retention,
    index: &Index,
    event: &Event,
    record_bytes: usize,
    gathered: Load,
) -> bool {
    if gathered.events == 0 || retention.protects(event.kind) {
        return false;
    }
    let coming = Load { events: gathered.events + 1, bytes: gathered.bytes + record_bytes as u64 };
    // Lengths are known to a sixteenth.
    let coming = Load { bytes: coming.bytes + coming.bytes / 8, ..coming };
    excess(retention, index.load_of(&event.pubkey, retention), coming) != Load::default()
}

/// What must go so that an event has room, beside what it removes anyway. None of its author's may be in the
/// group that is being gathered, unless [`bears_on`] says that it does not matter.
///
/// # Errors
/// The refusal, when its author has no room and none may be made.
pub(super) fn make_room(
    retention: &Retention,
    index: &Index,
    event: &Event,
    record_bytes: usize,
    removes: &[Stored],
) -> Result<Vec<Stored>, Refusal> {
    if retention.protects(event.kind) {
        return Ok(Vec::new());
    }
    let mut load = index.load_of(&event.pubkey, retention);
    let freed = index.load_of_events(&event.pubkey, removes, retention);
    load.events = load.events.saturating_sub(freed.events);
    load.bytes = load.bytes.saturating_sub(freed.bytes);
    let excess = excess(retention, load, Load { events: 1, bytes: record_bytes as u64 });
    if excess == Load::default() {
        return Ok(Vec::new());
    }
    let refused = || {
        let (rule, has, most) = match excess.events {
            0 => (
                "retention.bytes_per_author",
                format!("your events take {}", words::bytes(load.bytes)),
                words::bytes(retention.bytes_per_author_max),
            ),
            _ => (
                "retention.events_per_author",
                format!("you have {} events", words::number(load.events)),
                words::number(retention.events_per_author_max),
            ),
        };
        let sentence = format!("{has} here already, and {most} is the most; delete some first");
        Refusal::new(Prefix::Blocked, rule, sentence)
    };
    match retention.author_full {
        AuthorFull::Refuse => Err(refused()),
        // One that is older than all that would go is itself the oldest.
        AuthorFull::Oldest => index
            .oldest_of_author(&event.pubkey, retention, event.created_at, excess, removes)
            .ok_or_else(refused),
    }
}
