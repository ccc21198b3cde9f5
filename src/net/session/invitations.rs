//! Invite codes that a REQ asks for (NIP-43). In: queries that were admitted. Out: the same, after a code where there is
//! one to give. Makes no code; the writer does.

use std::sync::Arc;

use super::Session;
use crate::community::Rules;
use crate::event::PublicKey;
use crate::message;
use crate::nips::nip43::{self, asks_for_code};
use crate::outbox::Frame;
use crate::pipeline::reader::{Query, Want};

impl Session {
    /// Who of those that have logged in here gets a code by a query, if it asks for one.
    pub(super) fn inviter(&self, rules: &Rules, query: &Query) -> Option<PublicKey> {
        let asks = query.want == Want::Events && query.subscription.filters.iter().any(asks_for_code);
        if !asks || !self.community.has_members() {
            return None;
        }
        let now = self.shared.pipeline.clock.now();
        self.listener.with_keys(|keys| nip43::inviter(&rules.context(now, keys, &self.listener.relay)))
    }

    /// Answers a REQ with an invite code first (NIP-43), and then with what is stored.
    pub(super) fn query_with_code(&self, query: Query, key: PublicKey) {
        let readers = self.shared.pipeline.readers.clone();
        let community = Arc::clone(&self.community);
        self.shared.pipeline.invite(community, key, move |event| {
            let (listener, subscription) = (Arc::clone(&query.listener), Arc::clone(&query.subscription));
            if let Some(event) =
                event.filter(|event| subscription.filters.iter().any(|one| one.matches(event)))
            {
                listener.outbox.push(Frame::Event(Arc::clone(&subscription), event.to_json().into()));
            }
            if let Err(refusal) = readers.submit(query) {
                subscription.close();
                listener.outbox.push(Frame::Text(message::closed(&subscription.id, &refusal)));
            }
        });
    }
}
