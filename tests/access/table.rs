//! The table of reading: things, people, and who sees what.

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody has said who it is.
    Anonymous,
    /// Somebody who has logged in, and whom nothing here concerns.
    Stranger,
    /// Who wrote the thing.
    Author,
    /// Who its `p` tag names.
    Recipient,
    /// A member of the club.
    Member,
    /// A moderator of the town.
    Moderator,
    /// The owner of the town.
    Owner,
    /// A member of another community.
    Elsewhere,
    /// An admin of the groups.
    GroupAdmin,
    /// A member of the groups.
    GroupMember,
    /// Who was removed from the groups.
    FormerMember,
}

use Who::{
    Anonymous, Author, Elsewhere, FormerMember, GroupAdmin, GroupMember, Member, Moderator, Owner, Recipient,
    Stranger,
};

/// All of them, in the order of the table.
pub(crate) const WHO: [Who; 11] = [
    Anonymous,
    Stranger,
    Author,
    Recipient,
    Member,
    Moderator,
    Owner,
    Elsewhere,
    GroupAdmin,
    GroupMember,
    FormerMember,
];

const ALL: &[Who] = &WHO;
const PARTIES: &[Who] = &[Author, Recipient];
const NOBODY: &[Who] = &[];

impl Who {
    /// As the table heads a column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Anonymous => "anonymous",
            Stranger => "stranger",
            Author => "author",
            Recipient => "recipient",
            Member => "member",
            Moderator => "moderator",
            Owner => "owner",
            Elsewhere => "elsewhere",
            GroupAdmin => "group admin",
            GroupMember => "group member",
            FormerMember => "former member",
        }
    }

    /// Whether they may call methods of the management API that show events.
    pub(crate) fn manages(self) -> bool {
        matches!(self, Moderator | Owner)
    }
}

/// Something that may be seen.
pub(crate) struct Thing {
    /// As the table calls it.
    pub(crate) name: &'static str,
    /// Its only `t` tag, by which it is looked for.
    pub(crate) label: &'static str,
    /// Its kind.
    pub(crate) kind: u16,
    /// The path of its community.
    pub(crate) community: &'static str,
    /// Who finds it, counts it and is streamed it.
    pub(crate) seen_by: &'static [Who],
    /// Whether it is seen while it is new, before something is done about it: then by everybody.
    pub(crate) is_hidden_later: bool,
    /// Whether it is stored at all.
    pub(crate) is_stored: bool,
    /// Whether moderators are shown it, to judge of it.
    pub(crate) is_judged: bool,
}

const fn thing(name: &'static str, label: &'static str, kind: u16, seen_by: &'static [Who]) -> Thing {
    Thing {
        name,
        label,
        kind,
        community: "/",
        seen_by,
        is_hidden_later: false,
        is_stored: true,
        is_judged: seen_by.len() == ALL.len(),
    }
}

const fn hidden(name: &'static str, label: &'static str, is_judged: bool) -> Thing {
    Thing { is_hidden_later: true, is_judged, ..thing(name, label, 1, NOBODY) }
}

/// All things. The author's keys sign them, but for what is banned or has vanished with its author.
pub(crate) const THINGS: &[Thing] = &[
    thing("a note", "note", 1, ALL),
    thing("a protected note (NIP-70)", "protected", 1, ALL),
    thing("a report (kind 1984)", "report", 1_984, ALL),
    thing("a private message (kind 4)", "message", 4, PARTIES),
    thing("a seal (kind 13)", "seal", 13, &[Author]),
    thing("a gift wrap (kind 1059)", "wrap", 1_059, PARTIES),
    Thing { is_stored: false, ..thing("a gift wrap for moments (kind 21059)", "moment", 21_059, PARTIES) },
    thing("a kind that the settings make private", "draft", 30_078, PARTIES),
    Thing {
        community: "/club",
        is_judged: true,
        ..thing("a note in a community that only members read", "club", 1, &[Member])
    },
    Thing {
        is_judged: true,
        ..thing("a note that is held for a verdict", "held", 1_112, &[Author, Moderator, Owner])
    },
    thing("a message in a private group (NIP-29)", "parlour", 9, &[GroupAdmin, GroupMember]),
    thing("what manages a hidden group", "cellar", 9_010, &[Author, GroupAdmin, GroupMember]),
    thing("an invite code of a group", "code", 9_009, &[Author, GroupAdmin]),
    hidden("a banned note", "banned", true),
    hidden("a note of a banned author", "outcast", true),
    hidden("a note that has expired", "expired", false),
    hidden("a note of who has vanished", "vanished", false),
];

/// The table, as the page has it.
pub(crate) fn rendered() -> String {
    let heads: Vec<&str> = WHO.iter().map(|who| who.name()).collect();
    let mut text = format!("| who sees | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(WHO.len()));
    for thing in THINGS {
        let cells = WHO.map(|who| if thing.seen_by.contains(&who) { "yes" } else { "–" });
        text.push_str(&format!("| {} | {} |\n", thing.name, cells.join(" | ")));
    }
    text
}
