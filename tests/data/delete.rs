//! `plaza delete`: of a relay that runs and of an idle store.

use serde_json::{Value, json};

use super::common::{Client, Person};
use super::{PAST, TWO, notes, serve, succeed};

#[test]
fn events_go_from_a_running_relay_and_may_come_again() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    let today =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    notes(1, 0..1_200).iter().for_each(|note| client.submit(note));
    notes(1, 0..1_200).iter().for_each(|note| assert!(client.answer_to(note).0));
    let new = Person::new(1).event(1, today - 60, &[], "of today");
    client.publish_ok(&new);
    client.publish_ok(&Person::new(2).event(5, PAST, &[&["e", &"0".repeat(64)]], ""));
    Client::connect(&format!("{}/market", relay.url)).publish_ok(&notes(3, 0..1)[0]);

    let done = succeed(&folder, &["delete", "--filter", "{}", "--older-than", "1d", "--dry-run"]);
    assert!(done.said("1,200 events would be removed; nothing was"), "{done:?}");
    assert!(done.said("1 requests to delete or to vanish match and stay"), "{done:?}");
    let sample: Vec<Value> =
        done.data.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(sample[0]["id"], json!(notes(1, 1_199..1_200)[0].id.to_string()));
    assert_eq!(client.count(&[json!({})]), 1_202);

    let done = succeed(&folder, &["delete", "--filter", "{\"kinds\":[1]}", "--older-than", "1d"]);
    assert!(done.said("1,200 events removed"), "{done:?}");
    assert_eq!(client.ids(json!({"kinds": [1]})), [new.id.to_string()]);
    assert_eq!(client.count(&[json!({"#t": ["bread"]})]), 0);
    // It is no deletion that anybody asked for.
    client.publish_ok(&notes(1, 0..1)[0]);
    let mut market = Client::connect(&format!("{}/market", relay.url));
    assert_eq!(market.count(&[json!({})]), 1, "the other community has its own");
    succeed(&folder, &["delete", "--filter", "{\"kinds\":[1]}", "--community", "/market"]);
    assert_eq!(market.count(&[json!({})]), 0);
    assert_eq!(relay.end("TERM"), 0);

    // On an idle store it is the same, and it lasts.
    let done = succeed(&folder, &["delete", "--filter", "{\"kinds\":[5]}"]);
    assert!(done.said("1 events removed"), "{done:?}");
    assert_eq!(folder.export(&[]).lines().count(), 2);
    assert!(succeed(&folder, &["verify"]).said("2 events of 1 communities checked, all is well"));
}

#[test]
fn what_is_surely_a_slip_is_refused() {
    let (folder, relay) = serve("");
    let table: [(&[&str], &str); 4] = [
        (&["--filter", "{}"], "this filter matches every event"),
        (&["--filter", "kinds"], "--filter: "),
        (&["--filter", "{\"kinds\":\"1\"}"], "--filter: "),
        (&["--filter", "{\"kinds\":[1]}", "--community", "/nowhere"], "no community at /nowhere"),
    ];
    for (options, words) in table {
        folder.run(&[&["delete"], options].concat()).refused(&[words]);
    }
    assert_eq!(folder.run(&["delete", "--filter", "{}", "--older-than", "90"]).code, 2);
    assert_eq!(relay.end("TERM"), 0);
}
