//! NIP-36, content warnings, and labels that authors put on their own events (nips/36.md).

use crate::common::{NOW, Person, TestRelay};

#[test]
fn warnings_are_free_required_or_refused() {
    let needed = "invalid: an event of kind 22 needs a content-warning tag here (media.content_warning)";
    let unwanted = "blocked: what needs a content warning is not taken here (media.content_warning)";
    // The setting, then what is told of a video without, one with a reason, one without, and one labelled.
    let table = [
        ("free", ["", "", "", ""]),
        ("required", [needed, "", "", ""]),
        ("refused", ["", unwanted, unwanted, unwanted]),
    ];
    for (setting, refusals) in table {
        let relay = TestRelay::configured(&format!("[media]\ncontent_warning = \"{setting}\""));
        let mut client = relay.connect();
        let tags: [&[&[&str]]; 4] = [
            &[],
            &[&["content-warning", "blood"]],
            &[&["content-warning"]],
            &[&["L", "content-warning"], &["l", "blood", "content-warning"]],
        ];
        for (tags, refusal) in tags.into_iter().zip(refusals) {
            let event = Person::new(1).event(22, NOW, tags, "");
            assert_eq!(
                client.publish(&event),
                (refusal.is_empty(), refusal.to_owned()),
                "{setting} {tags:?}"
            );
            // Notes are not among the kinds that are spoken of.
            client.publish_ok(&Person::new(1).event(1, NOW, tags, ""));
        }
    }
}

#[test]
fn labels_are_refused_by_name_and_namespace() {
    let relay = TestRelay::configured("[media]\nlabels_refused = [\"nsfw\", \"com.example:scam\"]");
    let mut client = relay.connect();
    let table: [(u16, &[&str], Option<&str>); 7] = [
        (1, &["l", "nsfw", "anything"], Some("nsfw")),
        (1, &["l", "nsfw"], Some("nsfw")),
        (1, &["l", "sfw", "anything"], None),
        (1, &["l", "scam", "com.example"], Some("scam")),
        (1, &["l", "scam", "org.example"], None),
        (1, &["t", "nsfw"], None),
        (1_985, &["l", "nsfw", "anything"], None),
    ];
    for (kind, tag, label) in table {
        let event = Person::new(1).event(kind, NOW, &[tag], "");
        let refusal =
            label.map(|label| format!("blocked: what is labelled {label} is not taken here (media.labels)"));
        assert_eq!(
            client.publish(&event),
            (refusal.is_none(), refusal.unwrap_or_default()),
            "{kind} {tag:?}"
        );
    }
}
