//! Random events for members (NIP-43): people ask to join and to leave, rightly and wrongly, and others say what the relay
//! alone says. In: chance, the codes that there are, what was sent before. Out: drafts. Never knows what a rule decides.

use plaza::community::Community;
use plaza::event::{Event, Kind};
use plaza::nips::nip43;
use plaza::rule::Context;
use serde_json::{Value, json};

use crate::common::Person;
use crate::events::{Draft, Maker};
use crate::random::Chance;

/// What is done, the more often the more there is to it.
const KINDS: [u16; 18] = [
    28_934, 28_934, 28_934, 28_934, 28_934, 28_934, 28_936, 28_936, 28_936, 1, 1, 1, 1, 7, 13_534, 8_000,
    33_534, 28_935,
];

impl Maker<'_> {
    /// Something that somebody does who is a member, or wants to be one.
    pub(crate) fn joining(&mut self) -> Draft {
        let mut draft = Draft::new(*self.chance.pick(&KINDS));
        match draft.kind {
            28_934 | 28_936 if self.chance.percent(93) => draft.tags.push(["-"]),
            8_000 => draft.tags.push(["p", &self.chance.person().hex()]),
            33_534 => draft.tags.push(["d", "baker"]),
            _ => {}
        }
        if draft.kind == 28_934 && self.chance.percent(92) {
            let code = self.code();
            draft.tags.push(["claim", &code]);
        }
        if draft.kind == 28_936 && self.chance.percent(60) {
            // Who came in, if anybody did, may go.
            let joined: Vec<&Event> =
                self.known.iter().filter(|event| event.kind == Kind::JOIN_RELAY).collect();
            let last = joined.last().map(|event| event.pubkey);
            draft.author = (0..crate::random::PEOPLE).map(Person::new).find(|one| Some(one.key()) == last);
        }
        draft.content = self.chance.below(1_000).to_string();
        draft
    }

    /// A code that there is, one that there was, or none.
    fn code(&mut self) -> String {
        let used: Vec<&str> = self.known.iter().filter_map(nip43::claim_of).collect();
        match self.chance.below(10) {
            0 => "guess".to_owned(),
            1 => String::new(),
            2..=3 if !used.is_empty() => (*self.chance.pick(&used)).to_owned(),
            _ if self.codes.is_empty() => "guess".to_owned(),
            _ => self.chance.pick(self.codes).clone(),
        }
    }
}

/// The codes of a community, in an order that a seed has again: what they are themselves is nobody's to foresee.
pub(crate) fn codes(community: &Community) -> Vec<String> {
    let moderation = community.known().moderation;
    let mut codes: Vec<_> = moderation.claims.iter().collect();
    codes.sort_by_key(|(_, claim)| (claim.at, claim.until, claim.left, claim.by.clone()));
    codes.into_iter().map(|(code, _)| code.clone()).collect()
}

/// What a request to join or leave is answered with that no rule refuses, if an event is one.
pub(crate) fn answer(event: &Event, context: &Context<'_>) -> Option<String> {
    let joins = event.kind == Kind::JOIN_RELAY;
    nip43::is_request(event, context.config).then(|| match (joins, context.is_member(&event.pubkey)) {
        (true, true) => "duplicate: you are already a member of this relay".to_owned(),
        (false, false) => "duplicate: you are not a member of this relay".to_owned(),
        (true, false) => format!("info: welcome to {}!", context.config.relay.name),
        (false, true) => "info: you are a member no more".to_owned(),
    })
}

/// What somebody asks who is a member, or wants somebody else to be one.
pub(crate) fn question(chance: &mut Chance) -> Value {
    match chance.below(3) {
        0 => json!({"kinds": [28_935]}),
        1 => json!({"kinds": [13_534, 8_000, 8_001, 33_534]}),
        _ => json!({"kinds": [1, 13_534, 28_934]}),
    }
}
