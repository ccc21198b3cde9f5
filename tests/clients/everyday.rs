//! What people do every day with a client built on nostr-sdk: each test is a scene at a real relay over
//! WebSocket.

use nostr_sdk::prelude::*;

use crate::common::TestRelay;
use crate::guest::{Guest, PATIENCE, ids, scene, seconds_ago};

#[test]
fn a_conversation_is_read_back_and_followed_live() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let mut feed = bob.listen("feed", vec![Filter::new().kind(Kind::TextNote)]).await;
        assert!(feed.stored.is_empty());

        let note =
            alice.publish(EventBuilder::text_note("Guten Morgen, Plaza! 🌅\n\"quoted\" \\ \u{1}")).await;
        assert_eq!(feed.hears().await, note);
        let reply = bob.publish(EventBuilder::text_note_reply("Morgen!", &note, Some(&note), None)).await;
        assert_eq!(feed.hears().await, reply);
        let answer = EventBuilder::text_note_reply("How are you?", &reply, Some(&note), None);
        let answer = alice.publish(answer).await;
        assert_eq!(feed.hears().await, answer);
        let like = bob.publish(EventBuilder::reaction(&note, "🤙")).await;

        let reader = Guest::arrive(&house.url()).await;
        assert_eq!(ids(&reader.find(Filter::new().id(note.id)).await), [note.id]);
        let mut thread = ids(&reader.find(Filter::new().kind(Kind::TextNote).event(note.id)).await);
        thread.sort_unstable();
        let mut replies = [reply.id, answer.id];
        replies.sort_unstable();
        assert_eq!(thread, replies);
        let likes = reader.find(Filter::new().kind(Kind::Reaction).event(note.id).pubkey(alice.key())).await;
        assert_eq!(likes, [like]);
    });
}

#[test]
fn two_devices_that_sync_have_all_that_either_wrote() {
    let house = TestRelay::today();
    scene(async {
        let phone = Guest::arrive(&house.url()).await;
        let note = |text: String, ago: u64| EventBuilder::text_note(text).custom_created_at(seconds_ago(ago));
        for number in 0..120 {
            phone.publish(note(format!("from the phone {number}"), 500 - number % 7)).await;
        }
        // Written while there was no network: the client has it, the relay does not.
        let laptop = Guest::arrive_as(phone.keys.clone(), &house.url()).await;
        let kept = laptop.sign(note("from the laptop".to_owned(), 100));
        laptop.client.database().save_event(&kept).await.expect("the laptop keeps it");

        let mine = Filter::new().author(phone.key());
        let options = SyncOptions::new().direction(SyncDirection::Both);
        let synced = laptop.client.sync(mine.clone(), &options).await.expect("both talk");
        assert_eq!((synced.received.len(), synced.sent.len()), (120, 1));
        assert_eq!(phone.find(Filter::new().id(kept.id)).await.len(), 1);
        let held = laptop.client.database().query(mine).await.expect("a database");
        assert_eq!(held.len(), 121);
    });
}

#[test]
fn a_profile_is_its_newest_version() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let profile = |name: &str, ago| {
            EventBuilder::metadata(&Metadata::new().name(name)).custom_created_at(seconds_ago(ago))
        };
        alice.publish(profile("alice", 20)).await;
        alice.publish(profile("Alice of the Plaza", 10)).await;
        let late = alice.sign(profile("an old backup", 30));
        let refusal = alice.relay.send_event(&late).await.expect_err("an old version is not stored");
        assert!(refusal.to_string().contains("duplicate: a newer version is stored"), "{refusal}");

        let known = bob.client.fetch_metadata(alice.key(), PATIENCE).await.expect("the relay answers");
        assert_eq!(known.expect("a profile").name.as_deref(), Some("Alice of the Plaza"));
        assert_eq!(bob.find(Filter::new().author(alice.key()).kind(Kind::Metadata)).await.len(), 1);
    });
}

#[test]
fn what_is_deleted_is_gone_and_stays_gone() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let mut feed = bob.listen("deletions", vec![Filter::new().kind(Kind::EventDeletion)]).await;
        let kept = alice.publish(EventBuilder::text_note("stays")).await;
        let gone = alice.publish(EventBuilder::text_note("goes")).await;

        // Somebody else's request changes nothing.
        bob.publish(EventBuilder::delete(EventDeletionRequest::new().id(gone.id))).await;
        assert_eq!(feed.hears().await.pubkey, bob.key());
        assert_eq!(ids(&bob.find(Filter::new().id(gone.id)).await), [gone.id]);

        let request = EventDeletionRequest::new().id(gone.id).reason("typed in haste");
        let deletion = alice.publish(EventBuilder::delete(request)).await;
        assert_eq!(feed.hears().await, deletion);
        assert_eq!(bob.find(Filter::new().author(alice.key()).kind(Kind::TextNote)).await, [kept]);
        assert!(bob.find(Filter::new().id(gone.id)).await.is_empty());
        let refusal = bob.relay.send_event(&gone).await.expect_err("it may not come back");
        assert!(refusal.to_string().contains("blocked: "), "{refusal}");
    });
}

#[test]
fn a_blog_post_is_edited_and_unpublished() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let post = |slug: &str, text: &str, ago| {
            EventBuilder::long_form_text_note(text)
                .tags([Tag::identifier(slug), Tag::title("A walk"), Tag::hashtag("walking")])
                .custom_created_at(seconds_ago(ago))
        };
        let posts = Filter::new().author(alice.key()).kind(Kind::LongFormTextNote);
        let mut live = bob.listen("posts", vec![posts.clone()]).await;
        let draft = alice.publish(post("walk", "# A wlak", 30)).await;
        let other = alice.publish(post("swim", "# A swim", 25)).await;
        let edited = alice.publish(post("walk", "# A walk", 20)).await;
        for post in [&draft, &other, &edited] {
            assert_eq!(&live.hears().await, post);
        }
        assert_eq!(bob.find(posts.clone()).await, [edited.clone(), other.clone()]);
        assert_eq!(ids(&bob.find(posts.clone().identifier("walk")).await), [edited.id]);
        assert_eq!(ids(&bob.find(Filter::new().hashtag("walking").until(seconds_ago(22))).await), [other.id]);

        let address = Coordinate::new(Kind::LongFormTextNote, alice.key()).identifier("walk");
        alice.publish(EventBuilder::delete(EventDeletionRequest::new().coordinate(address))).await;
        assert_eq!(bob.find(posts).await, [other]);
    });
}

#[test]
fn follows_and_relay_lists_are_kept() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let crowd: Vec<Contact> =
            std::iter::repeat_with(|| Contact::new(Keys::generate().public_key())).take(300).collect();
        alice
            .publish(EventBuilder::contact_list([Contact::new(bob.key())]).custom_created_at(seconds_ago(9)))
            .await;
        let follows = alice.publish(EventBuilder::contact_list(crowd)).await;
        let found = bob.find(Filter::new().author(alice.key()).kind(Kind::ContactList)).await;
        assert_eq!(found, [follows]);
        assert_eq!(found[0].tags.public_keys().count(), 300);

        let home = RelayUrl::parse("wss://relay.example.org").expect("a URL");
        let list = alice.publish(EventBuilder::relay_list([(home, Some(RelayMetadata::Read))])).await;
        assert_eq!(bob.find(Filter::new().author(alice.key()).kind(Kind::RelayList)).await, [list]);
    });
}

#[test]
fn a_private_message_reaches_its_recipient_and_nobody_else() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let eve = Guest::arrive(&house.url()).await;
        let for_bob = Filter::new().kind(Kind::GiftWrap).pubkey(bob.key());
        // Both authenticate by themselves when they are asked to.
        let mut inbox = bob.listen("inbox", vec![for_bob.clone()]).await;
        let mut keyhole =
            eve.listen("keyhole", vec![for_bob.clone(), Filter::new().kind(Kind::TextNote)]).await;

        alice.client.send_private_msg(bob.key(), "meet at the fountain", []).await.expect("sent");
        let wrap = inbox.hears().await;
        let opened = bob.client.unwrap_gift_wrap(&wrap).await.expect("for bob");
        assert_eq!((opened.sender, opened.rumor.content.as_str()), (alice.key(), "meet at the fountain"));

        // What comes after the wrap is the first that eve hears.
        let note = alice.publish(EventBuilder::text_note("hello everybody")).await;
        assert_eq!(keyhole.hears().await, note);
        assert!(eve.find(for_bob.clone()).await.is_empty());
        assert!(eve.find(Filter::new().id(wrap.id)).await.is_empty());
        assert_eq!(eve.count(for_bob.clone()).await, 0);

        // Stored for when bob comes back, until bob deletes it: the wrap's own key is gone.
        assert_eq!(ids(&bob.find(for_bob.clone()).await), [wrap.id]);
        bob.publish(EventBuilder::delete(EventDeletionRequest::new().id(wrap.id))).await;
        assert!(bob.find(for_bob).await.is_empty());
    });
}

#[test]
fn without_automatic_authentication_private_messages_are_not_served() {
    let house = TestRelay::today();
    scene(async {
        let bob = Guest::arrive(&house.url()).await;
        bob.client.automatic_authentication(false);
        bob.relay.disconnect();
        bob.relay.connect();
        bob.relay.wait_for_connection(PATIENCE).await;
        let mut notifications = bob.relay.notifications();
        let wraps = Filter::new().kind(Kind::GiftWrap).pubkey(bob.key());
        bob.relay.subscribe(wraps, SubscribeOptions::default()).await.expect("the relay is there");
        let reason = loop {
            if let RelayNotification::Message { message: RelayMessage::Closed { message, .. } } =
                tokio::time::timeout(PATIENCE, notifications.recv())
                    .await
                    .expect("in time")
                    .expect("not lost")
            {
                break message;
            }
        };
        assert!(reason.starts_with("auth-required: "), "{reason}");
    });
}

#[test]
fn a_protected_event_is_taken_from_its_author_alone() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        // Alice's client authenticates by itself and sends again.
        let note = alice.publish(EventBuilder::text_note("for this relay").tag(Tag::protected())).await;
        assert_eq!(bob.find(Filter::new().author(alice.key())).await, [note]);
        let other = alice.sign(EventBuilder::text_note("also for this relay").tag(Tag::protected()));
        let refusal = bob.relay.send_event(&other).await.expect_err("bob is not its author");
        assert!(refusal.to_string().contains("restricted: "), "{refusal}");
    });
}

#[test]
fn several_filters_count_once_and_limits_are_kept() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let mut notes = Vec::new();
        for number in 0..30_u64 {
            let note = EventBuilder::text_note(format!("note {number}"))
                .tag(Tag::hashtag(if number % 2 == 0 { "even" } else { "odd" }))
                .custom_created_at(seconds_ago(100 - number));
            notes.push(alice.publish(note).await);
        }
        notes.reverse();
        let like = bob.publish(EventBuilder::reaction(&notes[0], "+")).await;

        let newest = bob.find(Filter::new().kind(Kind::TextNote).limit(7)).await;
        assert_eq!(newest, notes[..7]);
        let page = Filter::new().kind(Kind::TextNote).until(notes[7].created_at).limit(7);
        assert_eq!(bob.find(page).await, notes[7..14]);

        // The filters overlap in all but the like.
        let filters = vec![
            Filter::new().author(alice.key()).limit(10),
            Filter::new().kind(Kind::TextNote).hashtag("even").limit(5),
            Filter::new().kind(Kind::Reaction).pubkey(alice.key()),
        ];
        let mut all = bob.listen("all", filters).await;
        let mut expected: Vec<EventId> = ids(&notes[..10]);
        expected.push(like.id);
        expected.sort_unstable();
        let mut stored = ids(&all.stored);
        stored.sort_unstable();
        assert_eq!(stored, expected);
        // A live event that two filters match comes once.
        let both = alice.publish(EventBuilder::text_note("both").tag(Tag::hashtag("even"))).await;
        let after = alice.publish(EventBuilder::text_note("after")).await;
        assert_eq!([all.hears().await, all.hears().await], [both, after]);

        let count = bob.count(Filter::new().hashtag("odd")).await;
        assert_eq!(count, 15);
    });
}

#[test]
fn who_asks_to_vanish_is_gone() {
    let house = TestRelay::today();
    scene(async {
        let alice = Guest::arrive(&house.url()).await;
        let bob = Guest::arrive(&house.url()).await;
        let note = alice.publish(EventBuilder::text_note("I was here")).await;
        alice.publish(EventBuilder::metadata(&Metadata::new().name("alice"))).await;
        let here = RelayUrl::parse(&house.url()).expect("a URL");
        let target = VanishTarget::Relays(vec![here]);
        let farewell = EventBuilder::request_vanish_with_reason(target, "moving on").expect("a request");
        alice.publish(farewell).await;
        let mine = Filter::new().author(alice.key()).kinds([Kind::TextNote, Kind::Metadata]);
        assert!(bob.find(mine).await.is_empty());
        let refusal = bob.relay.send_event(&note).await.expect_err("it may not come back");
        assert!(refusal.to_string().contains("blocked: "), "{refusal}");
    });
}

#[test]
fn after_a_restart_clients_come_back_and_hear_on() {
    let mut house = TestRelay::today();
    let url = house.url();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (bob, mut feed, before) = runtime.block_on(async {
        let alice = Guest::arrive(&url).await;
        let bob = Guest::arrive(&url).await;
        let before = alice.publish(EventBuilder::text_note("before")).await;
        let feed = bob.listen("feed", vec![Filter::new().kind(Kind::TextNote)]).await;
        assert_eq!(ids(&feed.stored), [before.id]);
        (bob, feed, before)
    });
    house.restart_in_place();
    runtime.block_on(async {
        // Bob's client reconnects and subscribes again by itself: what is stored comes once more.
        assert_eq!(feed.hears().await, before);
        let alice = Guest::arrive(&url).await;
        let after = alice.publish(EventBuilder::text_note("after")).await;
        // A client that authenticates meanwhile may subscribe twice.
        let mut heard = feed.hears().await;
        while heard == before {
            heard = feed.hears().await;
        }
        assert_eq!(heard, after);
        bob.client.shutdown().await;
    });
}
