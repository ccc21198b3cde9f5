//! Moving house: somebody takes all that they wrote along to another community, and asks the old one to
//! forget them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use nostr_sdk::prelude::*;

use crate::common::TestRelay;
use crate::guest::{Guest, ids, scene, seconds_ago};

/// Runs the program to its end, with something on its standard input; returns its standard output.
fn plaza(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_plaza"))
        .args(arguments)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), input).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

const OLD_TOWN: &str = "[[community]]\npath = \"/old-town\"";
const NEW_TOWN: &str =
    "[[community]]\npath = \"/new-town\"\n[community.kinds]\nallowed = [0, 1, 3, 5, 62, 30023]";

fn settings_file(folder: &Path, text: &str) -> String {
    let file = folder.join("relay.toml");
    std::fs::write(&file, text).expect("a file");
    file.to_string_lossy().into_owned()
}

#[test]
fn moving_house() {
    let old_town = TestRelay::configured_today(OLD_TOWN);
    let mut new_town = TestRelay::configured_today(NEW_TOWN);
    let (old_url, new_url) = (old_town.url_at("/old-town"), new_town.url_at("/new-town"));
    let keys = Keys::generate();
    let everything = Filter::new().author(keys.public_key());

    let (mine, theirs) = scene(async {
        let alice = Guest::arrive_as(keys.clone(), &old_url).await;
        let bob = Guest::arrive(&old_url).await;
        let profile = EventBuilder::metadata(&Metadata::new().name("Alice"));
        alice.publish(profile.custom_created_at(seconds_ago(50))).await;
        let mut notes = Vec::new();
        for number in 0..20_u64 {
            let note = EventBuilder::text_note(format!("note {number}"));
            notes.push(alice.publish(note.custom_created_at(seconds_ago(40 - number))).await);
        }
        let post = EventBuilder::long_form_text_note("# A year here").tag(Tag::identifier("year"));
        alice.publish(post.custom_created_at(seconds_ago(10))).await;
        // What she deleted before does not come along.
        let request = EventDeletionRequest::new().id(notes[3].id);
        alice.publish(EventBuilder::delete(request).custom_created_at(seconds_ago(5))).await;
        let theirs = bob.publish(EventBuilder::text_note("bob stays")).await;
        let mine = bob.find(everything.clone()).await;
        assert_eq!(mine.len(), 22, "19 notes, a profile, a post and a deletion");
        (mine, theirs)
    });

    // She takes it along from the running relay; the new one is fed while it is not running.
    let filter = format!("{{\"authors\":[\"{}\"]}}", keys.public_key());
    let exported = plaza(&["export", "--relay", &old_url, "--filter", &filter], b"");
    assert_eq!(exported.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 22);
    let folder = tempfile::tempdir().expect("a folder");
    let config = settings_file(folder.path(), NEW_TOWN);
    let data = new_town.data().to_string_lossy().into_owned();
    new_town.stop();
    let into = ["import", "-", "--config", &config, "--data", &data, "--community", "/new-town"];
    plaza(&into, &exported);
    // To bring the same again changes nothing.
    plaza(&into, &exported);
    new_town.restart();
    let new_url = new_url
        .replace(new_url.split('/').nth(2).expect("a host"), new_town.url().trim_start_matches("ws://"));

    scene(async {
        // The old town forgets her, and only her.
        let alice = Guest::arrive_as(keys.clone(), &old_url).await;
        let bob = Guest::arrive(&old_url).await;
        let target = VanishTarget::Relays(vec![RelayUrl::parse(&old_url).expect("a URL")]);
        let farewell = EventBuilder::request_vanish_with_reason(target, "moved").expect("a request");
        alice.publish(farewell).await;
        assert_eq!(bob.find(everything.clone()).await.len(), 1, "the request itself remains");
        assert_eq!(bob.find(Filter::new().id(theirs.id)).await, std::slice::from_ref(&theirs));
        let refusal = bob.relay.send_event(&mine[0]).await.expect_err("she may not be brought back");
        assert!(refusal.to_string().contains("blocked: "), "{refusal}");

        // In the new town all is as it was, and she lives on.
        let alice = Guest::arrive_as(keys.clone(), &new_url).await;
        let carol = Guest::arrive(&new_url).await;
        assert_eq!(ids(&carol.find(everything.clone()).await), ids(&mine));
        let note = alice.publish(EventBuilder::text_note("I live here now")).await;
        let newest = everything.clone().limit(1);
        assert_eq!(carol.find(newest).await, [note]);
        assert!(carol.find(Filter::new().id(theirs.id)).await.is_empty());
    });
}
