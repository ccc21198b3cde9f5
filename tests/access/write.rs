//! The table of writing: what is taken from whom. The author's keys sign each thing; who sends it is another question.

use plaza::event::Event;

use crate::common::{NOW, Person, TestRelay};
use crate::table::{WHO, Who};
use crate::town::person;

use Who::{Author, FormerMember, GroupAdmin, GroupMember, Member, Moderator, Owner};

/// Something that may be sent.
struct Sent {
    name: &'static str,
    kind: u16,
    tags: &'static [&'static [&'static str]],
    /// The path of the community.
    community: &'static str,
    /// Whether its sender signs it, and not the author.
    is_own: bool,
    /// From whom it is taken.
    taken_from: &'static [Who],
}

const fn sent(
    name: &'static str,
    kind: u16,
    tags: &'static [&'static [&'static str]],
    taken_from: &'static [Who],
) -> Sent {
    Sent { name, kind, tags, community: "/", is_own: false, taken_from }
}

const ALL: &[Who] = &WHO;

const SENT: &[Sent] = &[
    sent("a note", 1, &[], ALL),
    sent("a protected note (NIP-70)", 1, &[&["-"]], &[Author]),
    sent("a private message (kind 4)", 4, &[], ALL),
    sent("a gift wrap (kind 1059)", 1_059, &[], ALL),
    sent("a proof of a key (kind 22242)", 22_242, &[], &[]),
    sent("a note that has expired", 1, &[&["expiration", "1000000000"]], &[]),
    sent("a request to vanish that names another relay", 62, &[&["relay", "wss://elsewhere.example"]], &[]),
    Sent {
        community: "/banned",
        is_own: true,
        ..sent("a note of one's own where one is denied or banned", 1, &[], &[])
    },
    Sent {
        community: "/club",
        is_own: true,
        ..sent("a note of one's own in a community where members write", 1, &[], &[Member])
    },
    Sent {
        community: "/guests",
        is_own: true,
        ..sent(
            "a note of one's own where who writes logs in first",
            1,
            &[],
            &[
                Who::Stranger,
                Author,
                Who::Recipient,
                Member,
                Moderator,
                Owner,
                Who::Elsewhere,
                GroupAdmin,
                GroupMember,
                FormerMember,
            ],
        )
    },
    Sent {
        community: "/groups",
        is_own: true,
        ..sent(
            "a message of one's own in a restricted group (NIP-29)",
            9,
            &[&["h", "square"]],
            &[GroupAdmin, GroupMember],
        )
    },
    Sent {
        community: "/groups",
        is_own: true,
        ..sent("an invite code for a group", 9_009, &[&["h", "square"], &["code", "sesame"]], &[GroupAdmin])
    },
];

/// The table, as the page has it.
pub(crate) fn rendered() -> String {
    let heads: Vec<&str> = WHO.iter().map(|who| who.name()).collect();
    let mut text = format!("| is taken from | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(WHO.len()));
    for sent in SENT {
        let cells = WHO.map(|who| if sent.taken_from.contains(&who) { "yes" } else { "–" });
        text.push_str(&format!("| {} | {} |\n", sent.name, cells.join(" | ")));
    }
    text
}

fn relay() -> TestRelay {
    let [owner, member] = [Owner, Member].map(|who| person(who).expect("a person").hex());
    TestRelay::configured(&format!(
        "[admin]\nowners = [\"{owner}\"]\n\
         [[community]]\npath = \"/club\"\n[community.authors]\nmembers = [\"{member}\"]\n\
         [community.access]\nwrite = \"members\"\n\
         [[community]]\npath = \"/guests\"\n[community.access]\nwrite = \"authenticated\"\n\
         [[community]]\npath = \"/groups\"\n[community.nip29]\nenabled = true\ncreate = \"all\"\n\
         [[community]]\npath = \"/banned\"\n[community.authors]\ndenied = [{}]\n",
        WHO.iter().map(|who| format!("\"{}\"", signer(*who).hex())).collect::<Vec<_>>().join(", ")
    ))
}

/// Who signs what is somebody's own; who has not said who it is signs as well.
fn signer(who: Who) -> Person {
    person(who).unwrap_or_else(|| Person::new(99))
}

fn event(sent: &Sent, who: Who, number: usize) -> Event {
    let author = if sent.is_own { signer(who) } else { signer(Author) };
    author.event(sent.kind, NOW, sent.tags, &format!("{number} {}", who.name()))
}

#[test]
fn everybody_writes_what_is_theirs_to_write_and_nothing_else() {
    let relay = relay();
    let [admin, member, former] = [GroupAdmin, GroupMember, FormerMember].map(signer);
    let (h, mut client): (&[&str], _) = (&["h", "square"], relay.connect_at("/groups"));
    client.publish_ok(&admin.event(9_007, NOW, &[h, &["restricted"]], ""));
    client.publish_ok(&admin.event(9_000, NOW, &[h, &["p", &member.hex()], &["p", &former.hex()]], ""));
    client.publish_ok(&admin.event(9_001, NOW, &[h, &["p", &former.hex()]], ""));
    for (number, sent) in SENT.iter().enumerate() {
        let community = sent.community;
        for who in WHO {
            let mut client = relay.connect_at(community);
            if let Some(person) = person(who) {
                client.authenticate(&person, &relay.url_at(community), NOW);
            }
            let event = event(sent, who, number);
            let (is_taken, why) = client.publish(&event);
            assert_eq!(is_taken, sent.taken_from.contains(&who), "{}: {}: {why}", sent.name, who.name());
            let mut reader = relay.connect_at(community);
            let author = if sent.is_own { signer(who) } else { signer(Author) };
            reader.authenticate(&author, &relay.url_at(community), NOW);
            let found = reader.ids(serde_json::json!({"ids": [event.id.to_string()]}));
            assert_eq!(found.len(), usize::from(is_taken), "{}: what is refused is nowhere", sent.name);
        }
    }
}
