//! NIP-02, follow lists (nips/02.md).

use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of, json_of};

#[test]
fn a_follow_list_is_kept_whole_and_in_order() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let followed: Vec<String> = (100..1_100).map(|number| Person::new(number).hex()).collect();
    let tags: Vec<Vec<&str>> =
        followed.iter().map(|key| vec!["p", key, "wss://relay.example", "a name"]).collect();
    let list = Person::new(1).sign(3, NOW, tags.iter().collect(), "");
    client.publish_ok(&list);
    client.subscribe("s", &[json!({"authors": [Person::new(1).hex()], "kinds": [3]})]);
    assert_eq!(client.receive()[2], json_of(&list));
}

#[test]
fn a_newer_list_takes_the_place_of_the_older_one() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let (author, one, two) = (Person::new(1), Person::new(2).hex(), Person::new(3).hex());
    let old = author.event(3, NOW - 1, &[&["p", &one], &["p", &two]], "");
    let new = author.event(3, NOW, &[&["p", &one]], "");
    client.publish_ok(&old);
    client.publish_ok(&new);
    assert_eq!(client.publish_refused(&old), "duplicate: a newer version is stored (nip01.superseded)");
    assert_eq!(client.ids(json!({"kinds": [3]})), ids_of(&[&new]));
    assert_eq!(client.ids(json!({"kinds": [3], "#p": [two]})), [""; 0], "the old one's tags find nothing");
}

#[test]
fn followers_are_found_by_whom_they_follow() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    let followed = Person::new(1).hex();
    let lists = [2, 3].map(|number| {
        Person::new(number).event(
            3,
            NOW - u64::from(number),
            &[&["p", &Person::new(9).hex()], &["p", &followed]],
            "",
        )
    });
    lists.iter().for_each(|list| client.publish_ok(list));
    client.publish_ok(&Person::new(4).event(3, NOW, &[&["p", &Person::new(9).hex()]], ""));
    let filter = json!({"kinds": [3], "#p": [followed]});
    assert_eq!(client.ids(filter.clone()), ids_of(&[&lists[0], &lists[1]]));
    assert_eq!(client.count(&[filter]), 2);
}
