//! NIP-13, proof of work (nips/13.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of};
use plaza::event::{Event, Tags};
use plaza::nips::nip13::difficulty;

/// An event of exactly this difficulty; `commitment` stands in the nonce tag as it is.
fn mined(bits: u32, commitment: Option<&str>) -> Event {
    mine(bits, |nonce| {
        let mut tags = Tags::default();
        tags.push(["nonce", nonce].into_iter().chain(commitment));
        tags
    })
}

fn mine(bits: u32, tags: impl Fn(&str) -> Tags) -> Event {
    mine_by(&Person::new(1), bits, tags)
}

fn mine_by(author: &Person, bits: u32, tags: impl Fn(&str) -> Tags) -> Event {
    let mut event = author.note("");
    let mut scratch = Vec::new();
    for nonce in 0_u64.. {
        event.tags = tags(&nonce.to_string());
        event.id = event.hash(&mut scratch);
        if difficulty(&event.id) == bits {
            return author.sign(1, NOW, event.tags, "");
        }
    }
    unreachable!("there are enough numbers");
}

fn relay(difficulty_min: u8, commitment_required: bool) -> TestRelay {
    TestRelay::with(|config| {
        config.root.nip13.difficulty_min = difficulty_min;
        config.root.nip13.commitment_required = commitment_required;
    })
}

#[test]
fn without_the_setting_no_work_is_asked_for() {
    let relay = TestRelay::start();
    relay.connect().publish_ok(&mined(0, None));
    relay.connect().publish_ok(&mined(1, Some("200")));
}

#[test]
fn an_event_needs_as_many_zero_bits_as_the_setting_says() {
    let relay = relay(10, true);
    let mut client = relay.connect();
    for bits in [0, 1, 8, 9] {
        assert_eq!(
            client.publish_refused(&mined(bits, Some("10"))),
            format!("pow: difficulty {bits} is less than 10 (nip13.difficulty)")
        );
    }
    for bits in [10, 11, 12] {
        client.publish_ok(&mined(bits, Some("10")));
    }
}

#[test]
fn the_commitment_must_reach_the_difficulty() {
    let relay = relay(8, true);
    let mut client = relay.connect();
    let none = "pow: the nonce tag does not commit to a difficulty of 8 (nip13.difficulty)";
    let table = [
        (None, none),
        (Some(""), none),
        (Some("eight"), none),
        (Some("-8"), none),
        (Some("0"), "pow: the nonce tag commits to 0, less than 8 (nip13.difficulty)"),
        (Some("7"), "pow: the nonce tag commits to 7, less than 8 (nip13.difficulty)"),
        (Some("8"), ""),
        (Some("9"), ""),
    ];
    for (commitment, why) in table {
        assert_eq!(client.publish(&mined(9, commitment)), (why.is_empty(), why.to_owned()), "{commitment:?}");
    }
    let without_tag = mine(9, |nonce| [["t", nonce]].into_iter().collect());
    assert_eq!(client.publish_refused(&without_tag), none);
}

#[test]
fn where_the_setting_says_so_luck_is_enough() {
    let relay = relay(8, false);
    let mut client = relay.connect();
    for commitment in [None, Some("1"), Some("")] {
        client.publish_ok(&mined(8, commitment));
        assert!(
            client.publish_refused(&mined(7, commitment)).starts_with("pow: difficulty 7 is less than 8")
        );
    }
}

#[test]
fn members_and_the_trusted_owe_what_their_own_bounds_say() {
    let [member, root, friend, stranger] = [1, 2, 3, 4].map(Person::new);
    // Settings, then the bits that the member, the root, the root's friend and a stranger owe.
    let table = [
        ("", [0, 6, 6, 6]),
        ("difficulty_max_members = 2", [2, 6, 6, 6]),
        ("difficulty_max_members = 9", [6, 6, 6, 6]),
        ("difficulty_max_trusted = 3", [0, 3, 3, 6]),
        ("difficulty_max_trusted = 0", [0, 0, 0, 6]),
        ("difficulty_max_trusted = 9", [0, 6, 6, 6]),
        ("difficulty_max_trusted = 3\ndifficulty_min_by_kind = { \"1\" = 2 }", [0, 2, 2, 2]),
    ];
    for (settings, owed) in table {
        let relay = TestRelay::configured(&format!(
            "[nip13]\ndifficulty_min = 6\n{settings}\n[authors]\nmembers = [\"{}\"]\n\
             [trust]\nroots = [\"{}\"]\nhops_max = 1",
            member.hex(),
            root.hex()
        ));
        let nonce = |nonce: &str| -> Tags { [["nonce", nonce, "6"]].into_iter().collect() };
        let mut list = root.event(3, NOW, &[], "");
        for count in 0_u64.. {
            list.tags = nonce(&count.to_string());
            list.tags.push(["p", &friend.hex()]);
            list.id = list.hash(&mut Vec::new());
            if difficulty(&list.id) >= 6 {
                break;
            }
        }
        let mut client = relay.connect();
        client.publish_ok(&root.sign(3, NOW, list.tags, ""));
        relay.relay().learn_now();
        for (who, (person, owed)) in [&member, &root, &friend, &stranger].into_iter().zip(owed).enumerate() {
            let enough = mine_by(person, owed, nonce);
            client.publish_ok(&enough);
            if owed > 0 {
                let why = client.publish_refused(&mine_by(person, owed - 1, nonce));
                let expected = format!("pow: difficulty {} is less than {owed} (nip13.difficulty)", owed - 1);
                assert_eq!(why, expected, "person {who}, {settings}");
            }
        }
    }
}

#[test]
fn ephemeral_events_need_work_as_well() {
    let relay = relay(8, true);
    let why = relay.connect().publish_refused(&Person::new(1).event(20_000, NOW, &[], "no work"));
    assert!(why.starts_with("pow: "), "{why}");
}

#[test]
fn a_claimed_id_full_of_zeros_is_still_checked() {
    let relay = relay(8, false);
    let mut event = mined(8, None);
    event.id.0 = [0; 32];
    let why = relay.connect().publish_refused(&event);
    assert_eq!(why, "invalid: the id is not the hash of the event (nip01.id)");
}

#[test]
fn reading_needs_no_work() {
    let relay = relay(8, true);
    let event = mined(8, Some("8"));
    relay.connect().publish_ok(&event);
    assert_eq!(relay.connect().ids(json!({"kinds": [1]})), ids_of(&[&event]));
}
