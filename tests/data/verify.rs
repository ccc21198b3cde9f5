//! `plaza verify`: what is well and what is not, in stores and in backups.

use std::fs;
use std::io::{BufRead, BufReader};

use plaza::store::record::encode;
use plaza::store::{CommunityId, Group, Options, Store};

use super::common::folder::{Folder, copy};
use super::common::{Client, Person};
use super::{PAST, TWO, notes, serve, succeed};

#[test]
fn stores_that_are_well_are_so_said() {
    let (folder, relay) = serve(TWO);
    let mut client = Client::connect(&relay.url);
    notes(1, 0..100).iter().for_each(|note| client.publish_ok(note));
    client.publish_ok(&Person::new(1).event(5, PAST, &[&["e", &notes(1, 0..1)[0].id.to_string()]], ""));
    for options in [&["verify"][..], &["verify", "--quick"], &["verify", "data"]] {
        assert!(succeed(&folder, options).said("100 events of 1 communities checked, all is well"));
    }
    assert_eq!(relay.end("TERM"), 0);
    assert!(succeed(&folder, &["verify", "data"]).said("100 events of 1 communities checked, all is well"));
    let done = folder.run(&["verify", "nowhere"]);
    assert_eq!(done.code, 2, "{done:?}");
}

#[test]
fn one_byte_that_is_flipped_anywhere_in_a_backup_is_found() {
    let folder = Folder::new();
    folder.stock(&notes(1, 0..40));
    succeed(&folder, &["backup", "kept"]);
    folder.stock(&notes(2, 0..10));
    succeed(&folder, &["delete", "--filter", "{\"limit\":5}"]);
    succeed(&folder, &["backup", "kept"]);
    let files: Vec<_> = fs::read_dir(folder.path("kept"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let good = fs::read(&path).expect("a file");
        let places = [0, 4, 12, 13, 16, 30, good.len() / 3, good.len() / 2, good.len() - 2, good.len() - 1];
        for place in places.into_iter().filter(|place| *place < good.len()) {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            fs::write(&path, bad).expect("a file");
            for options in [&["verify", "kept", "--quick"][..], &["verify", "kept"]] {
                let done = folder.run(options);
                assert_eq!(done.code, 1, "{name}, byte {place}: {done:?}");
                assert!(done.data.contains(&name), "{name}, byte {place}: {done:?}");
            }
            let done = folder.run(&["restore", "kept", "--data", "new"]);
            assert_eq!(done.code, 1, "{name}, byte {place}: {done:?}");
            assert!(!folder.path("new").exists(), "nothing is left of it");
        }
        fs::write(&path, &good[..good.len() - 1]).expect("a file");
        assert_eq!(folder.run(&["verify", "kept"]).code, 1, "{name}, cut off");
        fs::remove_file(&path).expect("a file");
        assert_ne!(folder.run(&["verify", "kept"]).code, 0, "{name}, gone");
        fs::write(&path, good).expect("a file");
    }
    succeed(&folder, &["verify", "kept"]);
    succeed(&folder, &["restore", "kept", "--data", "new"]);
}

#[test]
fn what_is_wrong_in_a_store_is_named() {
    let folder = Folder::new();
    let person = Person::new(1);
    let profile = |second: u64| person.event(0, PAST + second, &[], "{}");
    let gone = person.event(1, PAST, &[], "gone");
    let request = person.event(5, PAST, &[&["e", &gone.id.to_string()]], "");
    let later = person.event(1, PAST + 1, &[], "gone as well");
    let later_request = person.event(5, PAST + 2, &[&["e", &later.id.to_string()]], "");
    let mut forged = person.event(1, PAST, &[], "mine");
    forged.sig.0[40] ^= 1;
    let mut changed = person.event(1, PAST, &[], "yours");
    changed.content = "theirs".to_owned();
    let good = notes(2, 0..20);
    let mut records: Vec<Vec<u8>> = good.iter().map(encode).collect();
    let events =
        [&good[7], &profile(1), &profile(2), &request, &gone, &later, &later_request, &forged, &changed];
    records.extend(events.into_iter().map(encode));
    records.push(b"\x02no event".to_vec());
    let options = Options {
        path: folder.path("data"),
        cache_bytes: 8 << 20,
        durability: plaza::store::Durability::Process,
        touches: 0,
    };
    let store = Store::open(options).expect("a store");
    let mut group = Group::default();
    records.into_iter().for_each(|record| group.insert(CommunityId(0), record));
    store.commit(group).expect("a group");
    store.close().expect("it is closed");

    let done = folder.run(&["verify"]);
    assert_eq!(done.code, 1, "{done:?}");
    let wanted = [
        format!("event {} is there twice", good[7].id),
        "are two versions of one thing".to_owned(),
        format!("event {} is there, though its deletion was asked for", gone.id),
        "it asks to delete number".to_owned(),
        format!("the signature of {} is not true", forged.id),
        format!("its id {} is not that of its content", changed.id),
        "the record is damaged".to_owned(),
    ];
    for words in &wanted {
        assert_eq!(done.data.matches(words.as_str()).count(), 1, "{words}: {}", done.data);
    }
    assert_eq!(done.data.lines().count(), wanted.len(), "{}", done.data);
    assert!(done.said("7 faults"), "{done:?}");
    let quick = folder.run(&["verify", "--quick"]);
    assert_eq!((quick.code, quick.data.lines().count()), (1, wanted.len() - 1), "{quick:?}");
    // A backup takes along what is there, and says the same.
    succeed(&folder, &["backup", "kept"]);
    let of_backup = folder.run(&["verify", "kept"]);
    assert_eq!((of_backup.code, of_backup.data), (1, done.data));
}

#[test]
fn no_event_is_lost_without_a_word_when_the_files_of_a_store_are_damaged() {
    let folder = Folder::new();
    (1..8).for_each(|person| folder.stock(&notes(person, 0..200)));
    let length = fs::metadata(folder.path("data/db")).expect("a file").len();
    let (mut losses, mut refusals) = (0, 0);
    for round in 0..24_u64 {
        let harmed = format!("harmed-{round}");
        copy(&folder.path("data"), &folder.path(&harmed));
        let path = folder.path(&harmed).join("db");
        let mut bytes = fs::read(&path).expect("a file");
        let (at, count) = (length * round / 24 + 77, [1, 40, 3_000][round as usize % 3]);
        bytes.iter_mut().skip(at as usize).take(count).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).expect("a file");
        let done = folder.run(&["verify", "--data", &harmed]);
        match done.code {
            0 => {
                let events = folder.export(&["--data", &harmed]).lines().count();
                assert_eq!(events, 1_400, "round {round}: all is well, it says: {done:?}");
            }
            1 => losses += 1,
            2 => {
                assert!(done.words.contains("damaged") || done.words.contains("could not"), "{done:?}");
                refusals += 1;
            }
            code => panic!("round {round} ends with {code}: {done:?}"),
        }
        // A relay that starts on it says so.
        if done.data.contains("events are missing") {
            let relay = folder.command(&["--data", &harmed, "--listen", "127.0.0.1:0"]).spawn();
            let mut relay = relay.expect("the program runs");
            let stderr = BufReader::new(relay.stderr.take().expect("its standard error"));
            let mut lines = stderr.lines().map_while(Result::ok);
            let said = lines.find(|line| line.contains("plaza verify") || line.contains("listening on"));
            assert!(said.is_some_and(|said| said.contains("1400 events were stored")), "round {round}");
            relay.kill().and_then(|()| relay.wait()).expect("it ends");
        }
    }
    println!("{losses} losses named, {refusals} stores that cannot be opened");
    assert!(losses + refusals > 3, "{losses}, {refusals}: damage was done");
}
