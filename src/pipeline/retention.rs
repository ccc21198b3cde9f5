//! Keeps communities within the bounds of `[retention]`: finds what must go by and by, and what of an author must go for
//! their next event. In: settings and indexes. Out: events for the writer to remove, and counts for the rules that
//! refuse (`src/policy/quota.rs`). Removes nothing itself; communities without such bounds cost a look at their settings.

use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::writer::{Checked, Remove, WriterInput};
use crate::community::Community;
use crate::config::{AuthorFull, Retention, Settings};
use crate::event::{Event, Kind, Verified};
use crate::index::{Index, Stored};
use crate::policy::excess;
use crate::rule::{Load, Usage};

/// The settings that bound what an event's author may have; `None` where nothing does, or an operator brings it.
pub(super) fn author_bounds(checked: &Checked) -> Option<Arc<Settings>> {
    checked.admitted_at?;
    let settings = checked.placing.settings(&checked.community)?;
    let retention = &settings.retention;
    if !retention.bounds_authors() {
        return None;
    }
    if retention.bytes_per_author_max > 0 && !checked.community.index().counts_author_bytes(retention) {
        checked.community.index_mut().count_author_bytes(retention);
    }
    Some(settings)
}

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

/// What goes when an event comes: the version that it replaces, or what it asks to delete.
pub(super) fn removed_by(index: &Index, event: &Verified) -> Vec<Stored> {
    match event.kind {
        Kind::DELETION => index.deleted_by(event),
        _ => index.newest_of(event).into_iter().collect(),
    }
}

/// What an event's author has here, as the rules about quotas ask for it. None of the author's may be in the group
/// that is being gathered, unless [`bears_on`] says that it does not matter.
pub(super) fn usage(retention: &Retention, index: &Index, event: &Verified, record_bytes: usize) -> Usage {
    let removes = removed_by(index, event);
    let mut has = index.load_of(&event.pubkey, retention);
    let freed = index.load_of_events(&event.pubkey, &removes, retention);
    has.events = has.events.saturating_sub(freed.events);
    has.bytes = has.bytes.saturating_sub(freed.bytes);
    let adds = Load { events: 1, bytes: record_bytes as u64 };
    let excess = excess(retention, has, adds);
    // One that is older than all that would go is itself the oldest.
    let can_make_room = excess == Load::default()
        || index.oldest_of_author(&event.pubkey, retention, event.created_at, excess, &removes).is_some();
    Usage { has, adds, can_make_room }
}

/// What of its author's must go, beside what it removes anyway, so that an event that the rules let pass has room.
pub(super) fn make_room(
    retention: &Retention,
    index: &Index,
    event: &Verified,
    record_bytes: usize,
    removes: &[Stored],
) -> Vec<Stored> {
    if retention.author_full == AuthorFull::Refuse || retention.protects(event.kind) {
        return Vec::new();
    }
    let Usage { has, adds, .. } = usage(retention, index, event, record_bytes);
    let excess = excess(retention, has, adds);
    if excess == Load::default() {
        return Vec::new();
    }
    let oldest = index.oldest_of_author(&event.pubkey, retention, event.created_at, excess, removes);
    oldest.unwrap_or_default()
}
