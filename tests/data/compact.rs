//! `plaza compact`: the same store in fewer bytes.

use super::common::Client;
use super::{TWO, all_of, notes, serve, succeed};

#[test]
fn space_of_removed_events_is_given_back() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    for person in 1..8 {
        notes(person, 0..1_500).iter().for_each(|note| client.submit(note));
        notes(person, 0..1_500).iter().for_each(|note| assert!(client.answer_to(note).0));
    }
    Client::connect(&format!("{}/market", relay.url)).publish_ok(&notes(9, 0..1)[0]);
    folder.run(&["compact"]).refused(&["a relay runs on", "stop it first"]);
    succeed(&folder, &["delete", "--filter", &format!("{{\"until\":{}}}", super::PAST + 1_400)]);
    succeed(&folder, &["backup", "kept"]);
    assert_eq!(relay.end("TERM"), 0);
    let before = all_of(&folder, "data");
    // What a node of a cluster has kept stays.
    std::fs::create_dir(folder.path("data/before-copy-2026-11-28")).expect("a folder");
    let done = succeed(&folder, &["compact"]);
    assert!(done.said("given back"), "{done:?}");
    assert!(!folder.path("data.compact").exists());
    assert!(folder.path("data/before-copy-2026-11-28").exists());
    assert_eq!(all_of(&folder, "data"), before);
    assert_eq!(before.map(|events| events.lines().count()), [99 * 7, 1]);
    assert!(succeed(&folder, &["verify"]).said("all is well"));
    // It counts on, and what was backed up is known.
    let relay = folder.serve(&[]);
    Client::connect(&relay.url).publish_ok(&notes(10, 0..1)[0]);
    let done = succeed(&folder, &["backup", "kept"]);
    assert!(done.said("1 events added, 0 gone"), "{done:?}");
    assert_eq!(relay.end("TERM"), 0);
}
