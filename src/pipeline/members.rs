//! What the writer does for membership (NIP-43): people join and leave, codes are made, and the relay says who its
//! members are, in the same group of events as what made them so. In: requests that the rules let pass, decisions of
//! moderators. Out: more events for the group, state, and what will be known.

use std::sync::Arc;

use super::gathering::Gathering;
use super::writer::{Checked, Writer};
use super::{Outcome, Reply};
use crate::community::{Change, Community};
use crate::event::{Event, Kind, PublicKey, Tags, Verified};
use crate::nips::{nip29, nip43};
use crate::rule::RelayNames;
use crate::rule::moderation::{Claim, Moderation, Ruling, Standing};

/// Random bytes of a code.
const CODE_BYTES: usize = 16;

/// Somebody asks for a code to give away.
pub(super) struct Invitation {
    pub(super) community: Arc<Community>,
    /// Who.
    pub(super) key: PublicKey,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Given the event with the code, when it is safe; `None` when there is no room for one more.
    pub(super) then: Box<dyn FnOnce(Option<Verified>) + Send>,
}

/// What somebody is given.
pub(super) enum Code {
    /// One that they were given before and have not used.
    Kept(String),
    /// A new one, which these changes make.
    New(String, Vec<Change>),
    /// There are as many as there may be.
    NoRoom,
}

impl Invitation {
    /// The code for them.
    pub(super) fn code(&self) -> Code {
        let (rules, now, by) = (self.community.rules(), self.now, self.key.to_string());
        let (settings, moderation) = (&rules.settings.nip43, &rules.known.moderation);
        let is_fresh = |claim: &Claim| {
            claim.by == by && claim.left > 0 && claim.until > now + settings.code_seconds_max / 2
        };
        if let Some((code, _)) = moderation.claims.iter().find(|(_, claim)| is_fresh(claim)) {
            return Code::Kept(code.clone());
        }
        let mut changes = worn_out(moderation, now);
        if moderation.claims.len() - changes.len() >= settings.codes_max as usize {
            return Code::NoRoom;
        }
        let code = new_code();
        let until = now + settings.code_seconds_max;
        let claim = Claim { by, at: now, until, left: settings.code_uses_max };
        changes.push(Change::Claim(code.clone(), Some(claim)));
        Code::New(code, changes)
    }

    /// Gives the event with a code that is safe, or nothing.
    pub(super) fn give(self, code: Option<&str>) {
        let Invitation { community, now, then, .. } = self;
        let event = code.and_then(|code| {
            let tags: Tags = [&["-"][..], &["claim", code]].into_iter().collect();
            community.signer().map(|signer| signer.sign(now, Kind::INVITE, tags, String::new()))
        });
        then(event);
    }
}

/// A code that nobody guesses.
pub(crate) fn new_code() -> String {
    hex::encode(secp256k1::rand::random::<[u8; CODE_BYTES]>())
}

/// Codes that let nobody in any more.
pub(crate) fn worn_out(moderation: &Moderation, now: u64) -> Vec<Change> {
    let worn = moderation.claims.iter().filter(|(_, claim)| claim.left == 0 || claim.until <= now);
    worn.map(|(code, _)| Change::Claim(code.clone(), None)).collect()
}

impl Gathering {
    /// Moderators, or people themselves, decide something; the relay says what it has to of its members.
    pub(super) fn decide(&mut self, community: &Arc<Community>, changes: Vec<Change>, now: u64) {
        let settings = self.settings(community);
        let before = Arc::clone(&self.pending(community, now).known.moderation);
        let pending = self.pending(community, now);
        let moderation = Arc::make_mut(&mut pending.known.moderation);
        changes.iter().for_each(|change| change.clone().apply(moderation));
        let after = Arc::clone(&pending.known.moderation);
        let is_member = |moderation: &Moderation, key: &PublicKey| match moderation.author(key) {
            Some(standing) => standing == Standing::Allowed,
            None => settings.authors.members.contains(key),
        };
        let mut moved: Vec<(PublicKey, bool)> = Vec::new();
        for change in &changes {
            let Change::Author(key, _) = change else { continue };
            let (was, is) = (is_member(&before, key), is_member(&after, key));
            if was != is && !moved.contains(&(*key, is)) {
                moved.push((*key, is));
            }
        }
        pending.touched.narrows |= moved.iter().any(|(_, is)| !is);
        let bears_on_list = !moved.is_empty()
            || changes.iter().any(|change| matches!(change, Change::Duties(..) | Change::Role(..)));
        let roles: Vec<String> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Role(id, _) => Some(id.clone()),
                _ => None,
            })
            .collect();
        pending.changes.extend(changes);
        if !self.has_members(community) || !settings.nip43.publish_members {
            return;
        }
        for (key, is) in moved {
            let kind = if is { Kind::MEMBER_ADDED } else { Kind::MEMBER_REMOVED };
            let tags: Tags = [&["-"][..], &["p", &key.to_string()]].into_iter().collect();
            if let Some(said) = self.said(community, (kind, tags, String::new(), now)) {
                self.add(said, Vec::new(), None);
            }
        }
        let listed_max = nip29::listed_max(settings.limits.message_bytes_max);
        let places = roles.iter().map(|id| (Kind::MEMBER_ROLE, id.as_str()));
        for place in places.chain(bears_on_list.then_some((Kind::MEMBERS, ""))) {
            let said = nip43::told(&settings, &after, place, listed_max);
            self.tell(community, place, said.map(|tags| (tags, "")), now);
        }
    }

    /// Says who the members are where that is not stored as it is. `read` reads what is at an address of the relay's own.
    pub(super) fn refresh_members(
        &mut self,
        community: &Arc<Community>,
        now: u64,
        read: impl Fn(Kind, &str) -> Option<Event>,
    ) {
        if !self.has_members(community) {
            return;
        }
        let (settings, moderation) = (self.settings(community), community.known().moderation);
        let listed_max = nip29::listed_max(settings.limits.message_bytes_max);
        let roles = moderation.roles.keys().map(|id| (Kind::MEMBER_ROLE, id.as_str()));
        for place in roles.chain([(Kind::MEMBERS, "")]) {
            let said = nip43::told(&settings, &moderation, place, listed_max);
            if said != read(place.0, place.1).map(|event| event.tags) {
                self.tell(community, place, said.map(|tags| (tags, "")), now);
            }
        }
    }
}

impl Writer {
    /// Carries out a request to join or leave, which the rules let pass. It is safe, and holds, before it is answered:
    /// what comes next depends on it.
    pub(super) fn carry_out(&mut self, checked: Checked, gathering: &mut Gathering) {
        let Checked { community, event, reply, admitted_at, placing, permits, .. } = checked;
        let now = admitted_at.unwrap_or(event.created_at);
        let rules = placing.rules(&community).unwrap_or_else(|| community.rules());
        gathering.go_by(&placing);
        gathering.position = placing.position().or(gathering.position);
        let relay = RelayNames::default();
        let moderation = &rules.known.moderation;
        let is_member = rules.context(now, &[], &relay).is_member(&event.pubkey);
        let done = |reply: &Reply, words: &str| {
            let outcome = Outcome::Done(words.to_owned());
            outcome.count_in(&community.traffic);
            reply.send(&event.id, outcome);
        };
        let (changes, words) = match (event.kind == Kind::JOIN_RELAY, is_member) {
            (true, true) => return done(&reply, "duplicate: you are already a member of this relay"),
            (false, false) => return done(&reply, "duplicate: you are not a member of this relay"),
            (false, true) => {
                (vec![Change::Author(event.pubkey, None)], "info: you are a member no more".to_owned())
            }
            (true, false) => {
                let code = nip43::claim_of(&event).unwrap_or_default();
                // The rules have seen it.
                let Some(claim) = moderation.claims.get(code) else { return };
                let left = claim.left - 1;
                let claim_left = (left > 0).then(|| Claim { left, ..claim.clone() });
                let ruling = Ruling {
                    standing: Standing::Allowed,
                    reason: "joined with an invite code".to_owned(),
                    by: claim.by.clone(),
                    at: now,
                };
                let changes = vec![
                    Change::Author(event.pubkey, Some(ruling)),
                    Change::Claim(code.to_owned(), claim_left),
                ];
                (changes, format!("info: welcome to {}!", rules.settings.relay.name))
            }
        };
        gathering.decide(&community, changes, now);
        let answer = (reply, event.id, Outcome::Done(words), permits);
        gathering.pending(&community, now).answers.push(answer);
        self.commit(std::mem::take(gathering));
    }

    /// Makes a code for somebody to give away, or takes one that they have not used.
    pub(super) fn invite(&mut self, invitation: Invitation) {
        let code = match invitation.code() {
            Code::Kept(code) => code,
            Code::NoRoom => return invitation.give(None),
            Code::New(code, changes) => {
                let mut gathering = Gathering::default();
                gathering.decide(&invitation.community, changes, invitation.now);
                let is_safe = self.make_safe(gathering).is_ok_and(|safe| {
                    safe.into_iter().for_each(|safe| self.publish(safe));
                    true
                });
                if !is_safe {
                    return invitation.give(None);
                }
                code
            }
        };
        invitation.give(Some(&code));
    }
}
