//! In whose name the relay speaks in a community: its own key, and whether it keeps groups (NIP-29) and members (NIP-43).
//! What it says is signed on each node anew and must be the same on all, so each entry names the voice of the node that
//! took it, and the log goes by one. In: communities, and what entries name. Out: what becomes of an entry.

use crate::community::Community;
use crate::event::{Event, Kind};

const GROUPS: u64 = 1;
const MEMBERS: u64 = 2;

/// A key's beginning, and two bits for what is kept; 0 where the relay says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::pipeline) struct Voice(pub(super) u64);

impl Voice {
    /// That of this node in a community.
    pub(super) fn of(community: &Community) -> Voice {
        let kept = [(community.has_groups(), GROUPS), (community.has_members(), MEMBERS)];
        let kept = kept.iter().filter(|(is_kept, _)| *is_kept).fold(0, |kept, (_, bit)| kept | bit);
        let key =
            community.signer().map_or([0; 8], |signer| *signer.key().0.first_chunk().unwrap_or(&[0; 8]));
        Voice(if kept == 0 { 0 } else { (u64::from_le_bytes(key) & !(GROUPS | MEMBERS)) | kept })
    }

    /// Whether it is of groups.
    pub(in crate::pipeline) fn has_groups(self) -> bool {
        self.0 & GROUPS != 0
    }

    /// Whether it is of members.
    pub(in crate::pipeline) fn has_members(self) -> bool {
        self.0 & MEMBERS != 0
    }

    /// Whether an event is one upon which somebody who speaks so acts.
    fn acts_upon(self, event: &Event) -> bool {
        let of_groups = event.kind.manages_groups() || matches!(event.kind, Kind::VANISH | Kind::DELETION);
        let of_members = matches!(event.kind, Kind::JOIN_RELAY | Kind::LEAVE_RELAY);
        (self.has_groups() && of_groups) || (self.has_members() && of_members)
    }

    /// Whether the relay says something because of an event, so that it is placed alone: what is said depends on
    /// what is placed together.
    pub(super) fn answers(self, event: &Event) -> bool {
        self.acts_upon(event) && event.kind != Kind::DELETION
    }

    /// Whether it is another one's key with all that the other keeps, and perhaps more.
    fn goes_on_from(self, before: Voice) -> bool {
        let both = GROUPS | MEMBERS;
        let kept = before.0 & both;
        let is_same_key = self.0 | both == before.0 | both;
        before.0 == 0 || (is_same_key && self.0 & kept == kept)
    }
}

/// What becomes of an entry on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It is followed.
    Counts,
    /// It is, and the log goes by its voice from here on.
    Leads,
    /// It counts nowhere: its node speaks in another voice than the log.
    Stray,
    /// Others follow it, and this node cannot.
    Deaf,
}

/// What becomes of an entry whose node speaks in the voice `said`, in a log that goes by `log`, on a node of its `own`. All
/// nodes come to the same, but for those that are deaf. `event` is `None` for what the relay always acts upon.
pub(super) fn hear(said: Voice, log: Voice, own: Voice, event: Option<&Event>) -> Hearing {
    let acts = |voice: Voice| event.map_or(voice.0 != 0, |event| voice.acts_upon(event));
    match () {
        () if !acts(said) && !acts(log) => Hearing::Counts,
        () if said != log && !said.goes_on_from(log) => Hearing::Stray,
        () if !own.goes_on_from(said) => Hearing::Deaf,
        () if said == log => Hearing::Counts,
        () => Hearing::Leads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(key: u64, kept: u64) -> Voice {
        Voice((key << 2) | kept)
    }

    #[test]
    fn all_nodes_hear_the_same_or_are_deaf() {
        use Hearing::{Counts, Deaf, Leads, Stray};
        let (none, groups, members, both) =
            (Voice(0), voice(7, GROUPS), voice(7, MEMBERS), voice(7, GROUPS | MEMBERS));
        let other = voice(9, GROUPS);
        let table = [
            (none, none, none, Counts),
            (groups, none, groups, Leads),
            (groups, groups, groups, Counts),
            (groups, groups, none, Deaf),
            (groups, groups, other, Deaf),
            (groups, none, none, Deaf),
            (none, groups, groups, Stray),
            (other, groups, groups, Stray),
            (other, groups, other, Stray),
            (both, groups, both, Leads),
            (both, groups, groups, Deaf),
            (groups, both, both, Stray),
            (members, groups, members, Stray),
            (none, none, groups, Counts),
            (groups, groups, both, Counts),
        ];
        for (said, log, own, wanted) in table {
            assert_eq!(hear(said, log, own, None), wanted, "{said:?} {log:?} {own:?}");
        }
    }
}
