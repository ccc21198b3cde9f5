//! What the operator may take along, who has the store's files anyway: everything but what is over.

use crate::common::folder::Folder;
use crate::table::THINGS;
use crate::town::Town;

#[test]
fn an_export_has_all_but_what_expired_or_vanished() {
    let mut town = Town::build();
    town.relay.stop();
    let data = town.relay.data().to_str().expect("a path").to_owned();
    let exported = Folder::new().export(&["--data", &data]);
    let stats = Folder::new().run(&["stats", "--data", &data]).data;
    for thing in THINGS.iter().filter(|thing| thing.community == "/") {
        let is_over = ["expired", "vanished"].contains(&thing.label);
        let event = town.event(thing);
        let is_exported = exported.contains(&event.content);
        assert_eq!(is_exported, thing.is_stored && !is_over, "{} in an export", thing.name);
        let is_told = [event.content.clone(), event.id.to_string(), event.pubkey.to_string()];
        assert!(is_told.iter().all(|text| !stats.contains(text)), "{} in plaza stats", thing.name);
    }
}
