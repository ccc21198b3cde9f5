//! NIP-71, video events (nips/71.md).

use crate::common::{NOW, Person, TestRelay};

const NO_TITLE: &str = "invalid: a video needs a title tag (media.video)";
const NO_VIDEO: &str =
    "invalid: a video needs an imeta tag with the http(s) address of a video file (media.video)";

#[test]
fn a_video_needs_what_clients_show() {
    let relay = TestRelay::configured("[media]\nvideos_checked = true");
    let mut client = relay.connect();
    let person = Person::new(1);
    let title: &[&str] = &["title", "Sunset"];
    let video: &[&str] = &["imeta", "url https://v.example/a.mp4", "m video/mp4"];
    let table: [(u16, &[&[&str]], &str); 17] = [
        (21, &[title, video], ""),
        (22, &[title, video], ""),
        (34_235, &[title, video, &["d", "x"]], ""),
        (34_236, &[title, video, &["d", "x"]], ""),
        (34_236, &[title, video], "invalid: a video of kind 34236 needs a d tag (media.video)"),
        (34_236, &[title, video, &["d", ""]], "invalid: a video of kind 34236 needs a d tag (media.video)"),
        (21, &[video], NO_TITLE),
        (21, &[video, &["title", " "]], NO_TITLE),
        (21, &[title], NO_VIDEO),
        (21, &[title, &["imeta", "url https://v.example/a"]], ""),
        (21, &[title, &["imeta", "url http://v.example/a", "m application/x-mpegURL"]], ""),
        (21, &[title, &["imeta", "url ftp://v.example/a.mp4", "m video/mp4"]], NO_VIDEO),
        (21, &[title, &["imeta", "url https://v.example/a.jpg", "m image/jpeg"]], NO_VIDEO),
        (21, &[title, &["imeta", "m video/mp4"]], NO_VIDEO),
        (22, &[title, &["url", "https://v.example/a.mp4"]], ""),
        (20, &[], ""),
        (1, &[], ""),
    ];
    for (number, (kind, tags, refusal)) in table.into_iter().enumerate() {
        let event = person.event(kind, NOW - number as u64, tags, "");
        let answer = client.publish(&event);
        let superseded = answer.1.contains("nip01.superseded");
        assert!(
            superseded && refusal.is_empty() || answer == (refusal.is_empty(), refusal.to_owned()),
            "{kind} {tags:?}: {answer:?}"
        );
    }
}

#[test]
fn videos_last_no_longer_than_their_kind_may() {
    let relay = TestRelay::configured("[media]\nduration_seconds_max_by_kind = { \"22,34236\" = 60 }");
    let mut client = relay.connect();
    let person = Person::new(1);
    let no_number = "invalid: a video's duration is a number of seconds (media.duration)";
    let table: [(u16, &[&str], &str); 9] = [
        (22, &["imeta", "url https://v.example/a", "duration 60"], ""),
        (
            22,
            &["imeta", "url https://v.example/a", "duration 60.5"],
            "invalid: the video lasts 60.5 seconds, more than the 60 of its kind (media.duration)",
        ),
        (22, &["duration", "60"], ""),
        (
            34_236,
            &["duration", "61"],
            "invalid: the video lasts 61 seconds, more than the 60 of its kind (media.duration)",
        ),
        (22, &["duration", "-1"], no_number),
        (22, &["duration", "NaN"], no_number),
        (22, &["duration", "a minute"], no_number),
        (22, &["t", "short"], ""),
        (21, &["duration", "6000"], ""),
    ];
    for (kind, tag, refusal) in table {
        let event = person.event(kind, NOW, &[tag], "");
        assert_eq!(client.publish(&event), (refusal.is_empty(), refusal.to_owned()), "{kind} {tag:?}");
    }
}

#[test]
fn a_plain_relay_takes_videos_as_they_are() {
    let relay = TestRelay::start();
    let mut client = relay.connect();
    for kind in [21, 22, 34_235, 34_236] {
        client.publish_ok(&Person::new(1).event(kind, NOW, &[&["duration", "long"]], ""));
    }
}
