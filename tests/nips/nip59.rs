//! NIP-59, gift wraps (nips/59.md); what it shares with NIP-04 and NIP-17 is checked by one function here.

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay, ids_of};
use plaza::event::Event;

pub(super) const CLOSED: &str = "auth-required: messages of these kinds are shown only to their parties; authenticate first (nip17.private_kinds)";

/// Asserts that stored events of a kind are served, counted and streamed to their parties alone. The sender
/// is named by the event, the recipient by its `p` tags.
pub(super) fn assert_shown_only_to_parties(kind: u16) {
    let relay = TestRelay::start();
    let (sender, recipient, second, stranger) =
        (Person::new(1), Person::new(2), Person::new(3), Person::new(4));
    let message = |time, text: &str| {
        sender.event(kind, time, &[&["p", &recipient.hex()], &["p", &second.hex()], &["t", "x"]], text)
    };
    let (stored, live) = (message(NOW - 1, "stored"), message(NOW, "live"));
    let mut speaker = relay.connect();
    speaker.publish_ok(&stored);
    // Without `kinds` the query asks for what is public as well.
    let everything = json!({"#t": ["x"]});
    let by_id = json!({"ids": [stored.id.to_string(), live.id.to_string()]});
    let by_kind = json!({"kinds": [kind]});
    let parties: [&[&Person]; 5] =
        [&[&sender], &[&recipient], &[&second], &[&stranger, &recipient], &[&sender, &recipient]];
    let outsiders: [&[&Person]; 2] = [&[], &[&stranger]];
    let mut listeners: Vec<(Client, bool)> = Vec::new();
    for (keys, is_party) in
        parties.map(|keys| (keys, true)).into_iter().chain(outsiders.map(|keys| (keys, false)))
    {
        let mut client = relay.connect_as(keys);
        let found = if is_party { ids_of(&[&stored]) } else { vec![] };
        for filter in [&everything, &by_id, &by_kind] {
            if keys.is_empty() && *filter == by_kind {
                assert_eq!(client.closed("REQ", std::slice::from_ref(&by_kind)), CLOSED);
                assert_eq!(client.closed("COUNT", std::slice::from_ref(&by_kind)), CLOSED);
                continue;
            }
            assert_eq!(
                client.request("s", std::slice::from_ref(filter)),
                (found.clone(), "finish".to_owned())
            );
            assert_eq!(client.count(std::slice::from_ref(filter)), found.len() as u64, "{filter}");
        }
        client.request("s", std::slice::from_ref(&everything));
        listeners.push((client, is_party));
    }
    speaker.publish_ok(&live);
    for (mut client, is_party) in listeners {
        let heard = if is_party { vec![("s".to_owned(), live.id.to_string())] } else { vec![] };
        assert_eq!(relay.heard_by(&mut client), heard);
    }
}

fn wrap(number: u32, recipient: &Person) -> Event {
    Person::new(1_000 + number).event(1_059, NOW - u64::from(number), &[&["p", &recipient.hex()]], "sealed")
}

#[test]
fn wraps_are_shown_only_to_their_parties() {
    assert_shown_only_to_parties(1_059);
}

#[test]
fn anyone_may_send_a_wrap_without_authentication() {
    let relay = TestRelay::start();
    let recipient = Person::new(1);
    let wraps = [wrap(1, &recipient), wrap(2, &recipient)];
    let mut sender = relay.connect();
    wraps.iter().for_each(|wrap| sender.publish_ok(wrap));
    let mut client = relay.connect_as(&[&recipient]);
    assert_eq!(
        client.ids(json!({"kinds": [1_059], "#p": [recipient.hex()]})),
        ids_of(&[&wraps[0], &wraps[1]])
    );
}

#[test]
fn a_recipient_sees_only_wraps_of_their_own() {
    let relay = TestRelay::start();
    let (one, two) = (Person::new(1), Person::new(2));
    let (ones, twos) = (wrap(1, &one), wrap(2, &two));
    let mut sender = relay.connect();
    sender.publish_ok(&ones);
    sender.publish_ok(&twos);
    for (people, found) in [
        (&[&one][..], ids_of(&[&ones])),
        (&[&two], ids_of(&[&twos])),
        (&[&one, &two], ids_of(&[&ones, &twos])),
    ] {
        let mut client = relay.connect_as(people);
        assert_eq!(client.ids(json!({"kinds": [1_059]})), found);
        assert_eq!(client.count(&[json!({"kinds": [1_059]})]), found.len() as u64);
    }
}

#[test]
fn ephemeral_wraps_are_streamed_to_their_recipient_and_never_stored() {
    let relay = TestRelay::start();
    let (recipient, stranger) = (Person::new(1), Person::new(2));
    let mut listeners = [&[&recipient][..], &[&stranger], &[]].map(|people| {
        let mut client = relay.connect_as(people);
        client.request("s", &[json!({"#p": [recipient.hex()]})]);
        client
    });
    let wrap = Person::new(9).event(21_059, NOW, &[&["p", &recipient.hex()]], "sealed");
    relay.connect().publish_ok(&wrap);
    let [one, others @ ..] = &mut listeners;
    assert_eq!(relay.heard_by(one), [("s".to_owned(), wrap.id.to_string())]);
    others.iter_mut().for_each(|client| assert_eq!(relay.heard_by(client), []));
    assert_eq!(one.ids(json!({"kinds": [21_059]})), [""; 0]);
    assert_eq!(relay.stored(), 0);
    assert_eq!(relay.connect().closed("REQ", &[json!({"kinds": [21_059]})]), CLOSED);
}

#[test]
fn authentication_changes_what_an_open_subscription_hears() {
    let relay = TestRelay::start();
    let (one, two) = (Person::new(1), Person::new(2));
    let wraps: Vec<[Event; 2]> =
        (0..3).map(|round| [wrap(2 * round, &one), wrap(2 * round + 1, &two)]).collect();
    let mut speaker = relay.connect();
    let mut listener = relay.connect();
    listener.request("s", &[json!({"kinds": [1, 1_059]})]);
    let heard = |events: &[&Event]| -> Vec<(String, String)> {
        ids_of(events).into_iter().map(|id| ("s".to_owned(), id)).collect()
    };
    for (round, wraps) in wraps.iter().enumerate() {
        wraps.iter().for_each(|wrap| speaker.publish_ok(wrap));
        let visible: Vec<&Event> = wraps.iter().take(round).collect();
        assert_eq!(relay.heard_by(&mut listener), heard(&visible), "after {round} proofs");
        if let Some(person) = [&one, &two].get(round) {
            listener.authenticate(person, &relay.url(), NOW);
        }
    }
    // What was stored before is not sent again, but a new REQ finds all of it.
    listener.hears_nothing_more();
    assert_eq!(listener.ids(json!({"kinds": [1_059]})).len(), 6);
}
