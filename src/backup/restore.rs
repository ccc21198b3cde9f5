//! What a backup holds, put into a store that is being made. In: a backup. Out: the store, closed. Makes no folder and
//! removes none.

use super::BackupError;
use super::read::{Content, Entry};
use crate::community::NUMBERS;
use crate::store::{CommunityId, Restorer, StoreError};

/// Fills a store with a backup, or with one community of it, and closes it; how many events that were. A store that
/// `goes_on` with the backup has the next run into the same folder bring only what is new. `look` is asked after each
/// event, and may end it.
///
/// # Errors
/// When the backup cannot be read or the store not be written, or `look` fails.
pub fn restore<E: From<BackupError> + From<StoreError>>(
    content: &Content,
    mut restorer: Restorer,
    only: Option<u32>,
    goes_on: bool,
    mut look: impl FnMut(u64) -> Result<(), E>,
) -> Result<u64, E> {
    let is_wanted = |community: CommunityId| only.is_none_or(|only| community.0 == only);
    let mut events = 0;
    content.each::<E>(|entry| {
        match entry {
            Entry::Record(entry) if is_wanted(entry.community) => {
                restorer.record(entry.community, entry.location, entry.record)?;
                events += 1;
                look(events)?;
            }
            // Which number a community has is said with the root's state.
            Entry::State(entry)
                if is_wanted(entry.community)
                    || entry.community == CommunityId(0) && entry.table == NUMBERS =>
            {
                restorer.state(entry.community, entry.table, entry.key, entry.value)?;
            }
            Entry::Record(_) | Entry::State(_) => {}
        }
        Ok(())
    })?;
    let manifest = content.manifest();
    let mut copied = manifest.copied.clone();
    copied.next_numbers.retain(|community, _| is_wanted(CommunityId(*community)));
    // All of it must be here.
    let goes_on = (goes_on && only.is_none()).then_some((&manifest.folder, &manifest.stamp));
    restorer.finish(&copied, goes_on)?.close()?;
    Ok(events)
}
