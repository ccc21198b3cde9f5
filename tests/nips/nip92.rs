//! NIP-92, media attachments (nips/92.md).

use crate::common::{NOW, Person, TestRelay};

#[test]
fn an_attachment_has_an_address_and_something_else() {
    let relay = TestRelay::configured("[media]\nimeta_checked = true");
    let mut client = relay.connect();
    let person = Person::new(1);
    let no_url = "invalid: an imeta tag needs a url with an http(s) address (media.imeta)";
    let no_field = "invalid: an imeta tag needs at least one field besides its url (media.imeta)";
    let no_pair = "invalid: each element of an imeta tag is a name, a space and a value (media.imeta)";
    let table: [(&[&str], &str); 8] = [
        (&["imeta", "url https://a.example/a.jpg", "m image/jpeg"], ""),
        (&["imeta", "alt A tree by the river", "url https://a.example/a.jpg"], ""),
        (&["imeta", "url https://a.example/a.jpg"], no_field),
        (&["imeta", "m image/jpeg", "alt x"], no_url),
        (&["imeta", "url a.example/a.jpg", "m image/jpeg"], no_url),
        (&["imeta"], no_url),
        (&["imeta", "url https://a.example/a.jpg", "m"], no_pair),
        (&["imeta", "url https://a.example/a.jpg", ""], no_pair),
    ];
    for (kind, offset) in [(1, 0), (22, 1)] {
        for (tag, refusal) in table {
            let event = person.event(kind, NOW + offset, &[tag], "");
            assert_eq!(client.publish(&event), (refusal.is_empty(), refusal.to_owned()), "{kind} {tag:?}");
        }
    }
}

#[test]
fn videos_have_the_fields_that_are_asked_for() {
    let relay = TestRelay::configured("[media]\nimeta_fields_required = [\"m\", \"x\"]");
    let mut client = relay.connect();
    let person = Person::new(1);
    let table: [(u16, &[&[&str]], &str); 6] = [
        (22, &[&["imeta", "url https://a.example/a", "m video/mp4", "x 00ff"]], ""),
        (
            22,
            &[&["imeta", "url https://a.example/a", "m video/mp4"]],
            "invalid: the imeta tag of a video needs the field x (media.imeta)",
        ),
        (
            22,
            &[&["imeta", "m video/mp4", "x 00"], &["imeta", "x 00"]],
            "invalid: the imeta tag of a video needs the field m (media.imeta)",
        ),
        (22, &[], "invalid: a video needs an imeta tag with the fields m, x (media.imeta)"),
        (1, &[&["imeta", "url https://a.example/a"]], ""),
        (1, &[], ""),
    ];
    for (kind, tags, refusal) in table {
        let event = person.event(kind, NOW, tags, "");
        assert_eq!(client.publish(&event), (refusal.is_empty(), refusal.to_owned()), "{kind} {tags:?}");
    }
}

#[test]
fn media_lie_where_the_community_wants_them() {
    let relay = TestRelay::configured(
        "[media]\nhosts_allowed = [\"video.example\"]\nhosts_denied = [\"bad.video.example\"]",
    );
    let mut client = relay.connect();
    let person = Person::new(1);
    let other = |host: &str| {
        format!("blocked: media on {host} are not taken here, only on video.example (media.hosts)")
    };
    let bad = |host: &str| format!("blocked: media on {host} are not taken here (media.hosts)");
    let table: [(&[&str], String); 11] = [
        (&["imeta", "url https://video.example/a"], String::new()),
        (&["imeta", "url https://CDN.Video.Example:8443/a"], String::new()),
        (&["imeta", "url https://myvideo.example/a"], other("myvideo.example")),
        (&["imeta", "url https://video.example.evil.com/a"], other("video.example.evil.com")),
        (&["imeta", "url https://bad.video.example/a"], bad("bad.video.example")),
        (&["imeta", "url https://x.bad.video.example/a"], bad("x.bad.video.example")),
        (&["imeta", "url https://video.example/a", "fallback https://x.example/a"], other("x.example")),
        (&["imeta", "url https://video.example/a", "image https://x.example/a"], other("x.example")),
        (&["imeta", "url data:video/mp4;base64,AA"], other("this address")),
        (&["url", "https://x.example/a"], other("x.example")),
        (&["r", "https://x.example/a"], String::new()),
    ];
    for (tag, refusal) in table {
        let event = person.event(22, NOW, &[tag], "");
        assert_eq!(client.publish(&event), (refusal.is_empty(), refusal), "{tag:?}");
    }
}
