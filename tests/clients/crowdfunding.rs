//! A group that collects for something: a goal with an amount and an end (NIP-75), members who give, a total
//! that everybody can add up from receipts that are true, and receipts that come too late.

use nostr_sdk::prelude::*;

use crate::common::TestRelay;
use crate::guest::{Ear, Guest, ids, scene, seconds_ago};
use crate::wallet::Wallet;

/// Zap goals (NIP-75).
const GOAL: Kind = Kind::Custom(9_041);

/// A collection for the members of a group; its wallet may sign receipts.
fn settings(members: &[PublicKey]) -> String {
    let members: Vec<String> =
        members.iter().map(|key| format!("\"{}\"", key.to_bech32().expect("a key"))).collect();
    format!(
        "[[community]]\npath = \"/well\"\nname = \"A well for the village\"\n[community.access]\nwrite = \"members\"\n\
         [community.authors]\nmembers = [{}]\n[community.zaps]\nenabled = true\namount_required = true\n\
         after_closed = \"refuse\"\n",
        members.join(", ")
    )
}

fn goal(amount: &str, relay: &str, more: &[[&str; 2]]) -> EventBuilder {
    let tags = [["amount", amount], ["relays", relay]];
    let tags = tags.iter().chain(more).map(|tag| Tag::parse(*tag).expect("a tag"));
    EventBuilder::new(GOAL, "A well").tags(tags.filter(|tag| tag.content() != Some("")))
}

/// The amounts in the receipts for a goal, in thousandths of a satoshi.
fn total(receipts: &[Event]) -> u64 {
    let amount = |receipt: &Event| {
        let request = receipt.tags.find(TagKind::Description).and_then(Tag::content).expect("a request");
        let request = Event::from_json(request).expect("an event");
        request.tags.find(TagKind::Amount).and_then(Tag::content).and_then(|text| text.parse::<u64>().ok())
    };
    receipts.iter().filter_map(amount).sum()
}

async fn refused(guest: &Guest, builder: EventBuilder, rule: &str) {
    let event = guest.sign(builder);
    let refusal = guest.relay.send_event(&event).await.expect_err("it is not taken").to_string();
    assert!(refusal.contains(&format!("({rule})")), "{refusal}");
}

#[test]
fn a_group_collects_for_a_goal() {
    let [founder, giver, wallet_keys] = [Keys::generate(), Keys::generate(), Keys::generate()];
    let members = [&founder, &giver, &wallet_keys].map(Keys::public_key);
    let house = TestRelay::configured_today(&settings(&members));
    let url = house.url_at("/well");
    scene(async {
        let founder = Guest::arrive_as(founder, &url).await;
        let giver = Guest::arrive_as(giver, &url).await;
        let stranger = Guest::arrive(&url).await;
        let wallet = Wallet::open_as(wallet_keys, &url).await;

        // What is no goal: no amount, no relay, an amount that is none. What is not the group's: a stranger's.
        refused(&founder, goal("", &url, &[]), "zaps.goal").await;
        refused(&founder, goal("500000", "", &[]), "zaps.goal").await;
        refused(&founder, goal("much", &url, &[]), "zaps.goal").await;
        refused(&founder, goal("0", &url, &[]), "zaps.goal").await;
        refused(&stranger, goal("500000", &url, &[]), "access.write").await;
        let well = founder.publish(goal("500000", &url, &[["summary", "clean water"]])).await;
        let closing = seconds_ago(60).to_string();
        let closed = goal("1000", &url, &[["closed_at", &closing]]).custom_created_at(seconds_ago(600));
        let closed = founder.publish(closed).await;

        // The page of the goal follows what is given.
        let receipts = Filter::new().kind(Kind::ZapReceipt).event(well.id);
        let mut page: Ear = stranger.listen("well", vec![receipts.clone()]).await;
        let give =
            |amount: u64, to: EventId| ZapRequestData::new(founder.key(), []).amount(amount).event_id(to);
        for amount in [21_000, 400_000, 79_000] {
            let request = wallet.request(&giver, give(amount, well.id));
            let receipt = wallet.pay(&request, amount).await.expect("it is taken");
            assert_eq!(page.hears().await.id, receipt);
        }
        // Strangers may give as well: the receipt is the wallet's word.
        let request = wallet.request(&stranger, give(5_000, well.id));
        wallet.pay(&request, 5_000).await.expect("it is taken");
        let given = founder.find(receipts.clone()).await;
        assert_eq!((given.len(), total(&given)), (4, 505_000), "the goal is reached");

        // A receipt that claims more than was paid would not count, and is not there.
        let boast = wallet.request(&giver, give(1_000_000, well.id));
        let refusal = wallet.pay(&boast, 1_000).await.expect_err("less was paid");
        assert!(refusal.contains("the zap request asks for 1000000"), "{refusal}");

        // The other goal has closed: what is paid now comes too late.
        let late = wallet.request(&giver, give(1_000, closed.id));
        let refusal = wallet.pay(&late, 1_000).await.expect_err("it is closed");
        assert!(refusal.contains("(zaps.closed)"), "{refusal}");
        assert!(stranger.find(Filter::new().kind(Kind::ZapReceipt).event(closed.id)).await.is_empty());
        assert_eq!(ids(&stranger.find(Filter::new().kind(GOAL)).await), [well.id, closed.id]);
        assert_eq!(founder.find(receipts).await, given);
    });
}
