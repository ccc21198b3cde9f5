//! A feed as people know it: a town square where they follow each other, post, answer, like, repost and zap, and
//! read their home page, a thread and what concerns them.

use nostr_sdk::prelude::*;

use crate::common::TestRelay;
use crate::guest::{Guest, ids, scene, seconds_ago};
use crate::wallet::Wallet;

const TOWN_SQUARE: &str = "[[community]]\npath = \"/square\"\npreset = \"town-square\"\n[community.zaps]\n\
                           description_hash_required = true";

#[test]
fn a_feed_with_zaps() {
    let house = TestRelay::configured_today(TOWN_SQUARE);
    let url = house.url_at("/square");
    scene(async {
        let [alice, bob, carol] =
            [Guest::arrive(&url).await, Guest::arrive(&url).await, Guest::arrive(&url).await];
        let wallet = Wallet::open(&url).await;
        alice
            .publish(EventBuilder::metadata(&Metadata::new().name("alice").lud16("alice@wallet.example")))
            .await;
        bob.publish(EventBuilder::contact_list([Contact::new(alice.key()), Contact::new(carol.key())])).await;

        // Bob's home page: whom he follows, as his client asks for it.
        let follows = bob.find(Filter::new().author(bob.key()).kind(Kind::ContactList)).await;
        let followed: Vec<PublicKey> = follows[0].tags.public_keys().copied().collect();
        let home = Filter::new().authors(followed).kinds([Kind::TextNote, Kind::Repost]).limit(50);
        let mut feed = bob.listen("home", vec![home.clone()]).await;

        let note = alice.publish(EventBuilder::text_note("Good morning, square")).await;
        let answer = EventBuilder::text_note_reply("Good morning!", &note, Some(&note), None);
        let answer = carol.publish(answer).await;
        let repost = carol.publish(EventBuilder::repost(&note, None)).await;
        let like = bob.publish(EventBuilder::reaction(&note, "🤙")).await;
        assert_eq!(
            [feed.hears().await, feed.hears().await, feed.hears().await].map(|event| event.id),
            [note.id, answer.id, repost.id]
        );

        // A zap: Bob asks, the wallet is paid and says so in public; Alice's client listens for it.
        let mut zaps =
            alice.listen("zaps", vec![Filter::new().kind(Kind::ZapReceipt).pubkey(alice.key())]).await;
        let request =
            wallet.request(&bob, ZapRequestData::new(alice.key(), []).amount(21_000).event_id(note.id));
        let receipt = wallet.pay(&request, 21_000).await.expect("a true zap is taken");
        assert_eq!(zaps.hears().await.id, receipt);

        // What is not true is not taken: another amount, another recipient, a request that nobody signed.
        let short = wallet.pay(&request, 1_000).await.expect_err("less was paid");
        assert!(short.contains("the zap request asks for 21000 (zaps.invoice)"), "{short}");
        let to_carol = wallet.receipt(&request, 21_000, Some(carol.key()));
        let refusal = wallet.send(&to_carol).await.expect_err("carol was not zapped");
        assert!(refusal.contains("(zaps.receipt)"), "{refusal}");
        let mut forged = request.clone();
        forged.content = "with love".to_owned();
        let refusal = wallet.pay(&forged, 21_000).await.expect_err("bob did not say so");
        assert!(refusal.contains("(zaps."), "{refusal}");
        let refusal = wallet
            .send(&wallet.with_other_invoice(&request, 21_000))
            .await
            .expect_err("paid for something else");
        assert!(refusal.contains("(zaps."), "{refusal}");

        // The thread, and what concerns Alice, in one request each.
        let mut thread = ids(&bob.find(Filter::new().event(note.id)).await);
        thread.sort_unstable();
        let mut expected = [answer.id, repost.id, like.id, receipt];
        expected.sort_unstable();
        assert_eq!(thread, expected);
        let concerns =
            Filter::new().pubkey(alice.key()).kinds([Kind::Reaction, Kind::Repost, Kind::ZapReceipt]);
        assert_eq!(alice.count(concerns).await, 3);

        // Older pages, one after another.
        let mut written = vec![note.id];
        for number in 0..25_u64 {
            let old = EventBuilder::text_note(format!("old {number}"))
                .custom_created_at(seconds_ago(1_000 + number));
            written.push(alice.publish(old).await.id);
        }
        let (mut read, mut until) = (Vec::new(), Timestamp::now());
        loop {
            let page = Filter::new().author(alice.key()).kind(Kind::TextNote).until(until).limit(10);
            let page = bob.find(page).await;
            read.extend(ids(&page));
            if page.len() < 10 {
                break;
            }
            until = page[page.len() - 1].created_at - 1;
        }
        assert_eq!(read, written);

        let chatter = alice.sign(EventBuilder::new(Kind::Custom(20_000), "machine to machine"));
        let refusal = alice.relay.send_event(&chatter).await.expect_err("not here");
        assert!(refusal.to_string().contains("(kinds.denied)"), "{refusal}");
    });
}
