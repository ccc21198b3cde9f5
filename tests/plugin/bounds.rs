//! What waits for plugins has a bound, and takes no room from others.

use serde_json::json;

use crate::common::{Person, TestRelay};
use crate::{Scripts, table, wait_until};

/// A community with a plugin that never answers is flooded until its part of the room is taken: what is beyond is
/// refused at once, and the other community has room.
#[test]
fn who_floods_a_community_with_a_slow_plugin_is_refused_and_others_have_room() {
    let scripts = Scripts::new();
    let path = scripts.noting("silent", "");
    let text = format!(
        "[limits]\ningest_bytes_max = 1_048_576\n[[community]]\npath = \"/slow\"\n[[community.plugins.chain]]\n{}",
        table(&path, "timeout_milliseconds = 600_000\nin_flight_max = 4")
    );
    let relay = TestRelay::configured(&text);
    let ann = Person::new(1);
    let mut flood = relay.connect_at("/slow");
    let events: Vec<_> =
        (0..100).map(|number| ann.note(&format!("{number} {}", "x".repeat(8_000)))).collect();
    events.iter().for_each(|event| flood.submit(event));
    // An eighth of the room is 131,072 bytes: fifteen of them.
    let refused = (0..85).map(|_| flood.receive()).collect::<Vec<_>>();
    for answer in &refused {
        let why = answer[3].as_str().expect("a reason");
        assert!(why.starts_with("error: more events wait") && why.ends_with("(plugins.busy)"), "{answer}");
    }
    wait_until("some are asked about", || scripts.asked("silent").len() == 4);
    let mut client = relay.connect();
    for number in 0..200 {
        client.publish_ok(&ann.note(&format!("{number} {}", "y".repeat(8_000))));
    }
    assert_eq!(client.count(&[json!({})]), 200);
}
