//! NIP-48, proxy tags, and what a community makes of them (nips/48.md).

use std::sync::Arc;

use plaza::config::{Mode, Settings};
use plaza::domain::DomainSet;
use plaza::domain::proxy::{self, Protocol};
use plaza::event::{Event, PublicKey};
use plaza::policy::{Policy, head_of};
use plaza::rule::people::People;
use plaza::rule::{Context, Known, RelayNames};
use serde_json::json;

use crate::common::{NOW, Person, TestRelay, ids_of};

use Protocol::{ActivityPub, AtProto, Other, Rss, Web};

fn bridged(id: &str, protocol: &str) -> Event {
    Person::new(1).event(1, NOW, &[&["proxy", id, protocol]], "from afar")
}

fn domains(names: &[&str]) -> DomainSet {
    DomainSet::new(names).expect("domain names")
}

#[test]
fn a_proxy_tag_says_where_an_event_comes_from() {
    let did = "at://did:plc:zhbjlbmir5dganqhueg7y4i3/app.bsky.feed.post/3jt5hlibeol2i";
    let table = [
        (
            "https://gleasonator.com/objects/9f524868",
            "activitypub",
            ActivityPub,
            Some("gleasonator.com"),
            true,
        ),
        ("https://Gleasonator.COM:443/o", "ActivityPub", ActivityPub, Some("gleasonator.com"), true),
        ("gleasonator.com/objects/1", "activitypub", ActivityPub, None, false),
        (did, "atproto", AtProto, None, true),
        ("at://did:web:example.com%3A3000/x", "atproto", AtProto, Some("example.com"), true),
        ("at://did:web:example.com:user", "atproto", AtProto, Some("example.com"), true),
        ("at://alice.bsky.social/app.bsky.feed.post/1", "atproto", AtProto, Some("alice.bsky.social"), true),
        ("at://alice", "atproto", AtProto, None, false),
        ("at://did:plc:", "atproto", AtProto, None, false),
        ("https://bsky.app/profile/x", "atproto", AtProto, Some("bsky.app"), false),
        (
            "https://soapbox.pub/rss/feed.xml#https%3A%2F%2Fsoapbox.pub%2Fblog",
            "rss",
            Rss,
            Some("soapbox.pub"),
            true,
        ),
        ("https://soapbox.pub/rss/feed.xml", "rss", Rss, Some("soapbox.pub"), false),
        ("https://soapbox.pub/rss/feed.xml#", "rss", Rss, Some("soapbox.pub"), false),
        ("https://twitter.com/jack/status/20", "web", Web, Some("twitter.com"), true),
        ("https://bücher.example/1", "web", Web, Some("xn--bcher-kva.example"), true),
        ("ftp://files.example/1", "web", Web, None, false),
        ("https://matrix.example/1", "matrix", Other, Some("matrix.example"), false),
        ("https://matrix.example/1", "", Other, Some("matrix.example"), false),
        ("x", "activitypub", ActivityPub, None, false),
    ];
    for (id, protocol, wanted, domain, is_well_formed) in table {
        let event = bridged(id, protocol);
        let proxy = proxy::is_bridged(&event).expect("a proxy tag");
        let origin = proxy.origin();
        assert_eq!((origin.protocol, origin.domain.as_deref()), (wanted, domain), "{id}, {protocol}");
        assert_eq!(proxy.fault().is_none(), is_well_formed, "{id}, {protocol}: {:?}", proxy.fault());
    }
    for tags in [&[][..], &[&["proxy"][..]], &[&["proxy", "", "web"]], &[&["r", "https://a.example/", "web"]]]
    {
        assert_eq!(proxy::is_bridged(&Person::new(1).event(1, NOW, tags, "")), None, "{tags:?}");
    }
}

/// What a relay with these settings answers to an event.
fn answer(change: impl FnOnce(&mut Settings), event: &Event) -> String {
    let relay = TestRelay::with(|config| change(&mut config.root));
    relay.connect().publish(event).1
}

#[test]
fn a_plain_relay_takes_what_is_bridged() {
    for event in [bridged("x", "matrix"), bridged("https://a.example/1", "activitypub")] {
        assert_eq!(answer(|_| {}, &event), "");
    }
}

#[test]
fn ids_may_be_checked() {
    let ids_checked = |settings: &mut Settings| settings.bridge.ids_checked = true;
    assert_eq!(answer(ids_checked, &bridged("https://a.example/1", "activitypub")), "");
    assert_eq!(answer(ids_checked, &Person::new(1).note("from here")), "");
    assert_eq!(
        answer(ids_checked, &bridged("1", "activitypub")),
        "invalid: in the proxy tag an activitypub id must be an http(s) URL (bridge.proxy)"
    );
}

#[test]
fn protocols_may_be_allowed_and_refused() {
    let web = bridged("https://a.example/1", "web");
    let fedi = bridged("https://a.example/1", "activitypub");
    let matrix = bridged("https://a.example/1", "matrix");
    let both = Person::new(1).event(
        1,
        NOW,
        &[&["proxy", "https://a.example/1", "activitypub"], &["proxy", "https://a.example/2", "web"]],
        "",
    );
    let own = Person::new(1).note("from here");
    let not = |from: &str| format!("blocked: posts bridged from {from} are not taken here (bridge.protocol)");
    type Row<'a> = (&'a [Protocol], &'a [Protocol], &'a Event, String);
    let table: [Row<'_>; 11] = [
        (&[], &[Web], &web, not("web")),
        (&[], &[Web], &fedi, String::new()),
        (&[], &[Web], &own, String::new()),
        (&[], &[Web], &both, not("web")),
        (&[], &[Other], &matrix, not("other protocols")),
        (&[ActivityPub], &[], &fedi, String::new()),
        (&[ActivityPub], &[], &web, not("web")),
        (&[ActivityPub], &[], &matrix, not("other protocols")),
        (&[ActivityPub], &[], &both, not("web")),
        (&[ActivityPub], &[], &own, String::new()),
        (&[ActivityPub], &[ActivityPub], &fedi, not("activitypub")),
    ];
    for (allowed, refused, event, said) in table {
        let answer = answer(
            |settings| {
                settings.bridge.protocols_allowed = allowed.to_vec();
                settings.bridge.protocols_refused = refused.to_vec();
            },
            event,
        );
        assert_eq!(answer, said, "{allowed:?}, {refused:?}");
    }
}

#[test]
fn domains_may_be_allowed_and_refused() {
    let not = |from: &str| format!("blocked: posts bridged from {from} are not taken here (bridge.domain)");
    let only = "blocked: of what is bridged, only posts from good.example are taken here (bridge.domain)";
    let table: [(&[&str], &[&str], &str, String); 10] = [
        (&[], &["bad.example"], "https://bad.example/1", not("bad.example")),
        (&[], &["bad.example"], "https://www.bad.example/1", not("www.bad.example")),
        (&[], &["bad.example"], "https://notbad.example/1", String::new()),
        (&[], &["bad.example"], "at://did:plc:abc/1", String::new()),
        (&[], &["BAD.example."], "https://bad.EXAMPLE/1", not("bad.example")),
        (&["good.example"], &[], "https://good.example/1", String::new()),
        (&["good.example"], &[], "https://a.good.example/1", String::new()),
        (&["good.example"], &[], "https://other.example/1", only.to_owned()),
        (&["good.example"], &[], "at://did:plc:abc/1", only.to_owned()),
        (&["good.example"], &["a.good.example"], "https://a.good.example/1", not("a.good.example")),
    ];
    for (allowed, refused, id, said) in table {
        let answer = answer(
            |settings| {
                settings.bridge.domains_allowed = domains(allowed);
                settings.bridge.domains_refused = domains(refused);
            },
            &bridged(id, "activitypub"),
        );
        assert_eq!(answer, said, "{allowed:?}, {refused:?}, {id}");
    }
    let own = Person::new(1).note("from here, with https://bad.example/1");
    let refused = |settings: &mut Settings| settings.bridge.domains_refused = domains(&["bad.example"]);
    assert_eq!(answer(refused, &own), "");
    // What takes something back is let through, wherever it comes from.
    let deletion = Person::new(1).event(
        5,
        NOW,
        &[&["e", &own.id.to_string()], &["proxy", "https://bad.example/1", "web"]],
        "",
    );
    assert_eq!(answer(refused, &deletion), "");
    let shadow = |settings: &mut Settings| {
        refused(settings);
        settings.bridge.mode = Mode::Shadow;
    };
    assert_eq!(answer(shadow, &bridged("https://bad.example/1", "web")), "");
}

/// Whether an event is shown to who has proved these keys, given what is known of people.
fn is_shown(event: &Event, keys: &[PublicKey], settings: &Settings, people: &People) -> bool {
    let known = Known { people: Arc::new(people.clone()), ..Known::default() };
    let context = Context {
        now: NOW,
        config: settings,
        keys,
        relay: &RelayNames::default(),
        known: &known,
        asked: false,
    };
    Policy::new(settings).visible(&head_of(event), &context)
}

#[test]
fn what_is_hidden_is_shown_to_those_who_follow() {
    let (author, follower, stranger) = (Person::new(1), Person::new(2), Person::new(3));
    let lists = [(&follower, &author), (&stranger, &follower), (&author, &stranger)]
        .map(|(who, whom)| who.event(3, NOW, &[&["p", &whom.hex()]], ""));
    let people = People::of(&Settings::default(), &lists);
    let mut by_protocol = Settings::default();
    by_protocol.bridge.protocols_hidden = vec![Rss, Other];
    let mut by_domain = Settings::default();
    by_domain.bridge.domains_hidden = domains(&["loud.example"]);
    let tag = |id, protocol| author.event(1, NOW, &[&["proxy", id, protocol]], "");
    let two = author.event(
        1,
        NOW,
        &[&["proxy", "https://a.example/1", "web"], &["proxy", "https://loud.example/1", "rss"]],
        "",
    );
    let deletion = author.event(5, NOW, &[&["proxy", "https://loud.example/1", "rss"]], "");
    let table = [
        (tag("https://a.example/f#1", "rss"), true, false),
        (tag("https://a.example/1", "matrix"), true, false),
        (tag("https://a.example/1", "web"), false, false),
        (tag("https://loud.example/1", "web"), false, true),
        (tag("https://www.loud.example/1", "web"), false, true),
        (tag("https://loud.example.org/1", "web"), false, false),
        (two, true, true),
        (deletion, false, false),
        (author.note("from here"), false, false),
    ];
    for (event, hidden_by_protocol, hidden_by_domain) in table {
        for (settings, is_hidden) in [(&by_protocol, hidden_by_protocol), (&by_domain, hidden_by_domain)] {
            let shown = |keys: &[PublicKey]| is_shown(&event, keys, settings, &people);
            assert!(shown(&[follower.key()]), "followers see everything");
            assert!(shown(&[author.key()]), "authors see their own");
            assert!(shown(&[stranger.key(), follower.key()]), "one key is enough");
            assert_eq!(shown(&[]), !is_hidden, "nobody: {:?}", proxy::is_bridged(&event));
            assert_eq!(shown(&[stranger.key()]), !is_hidden, "whom the author follows counts for nothing");
        }
    }
}

#[test]
fn what_is_hidden_is_so_stored_counted_and_live_and_after_a_restart() {
    let mut relay = TestRelay::with(|config| config.root.bridge.domains_hidden = domains(&["loud.example"]));
    let author = Person::new(1);
    let hidden = bridged("https://loud.example/1", "activitypub");
    let gone = bridged("https://loud.example/2", "activitypub");
    let other = bridged("https://quiet.example/1", "activitypub");
    let filter = json!({"kinds": [1]});
    let mut listener = relay.connect();
    listener.subscribe("live", std::slice::from_ref(&filter));
    assert_eq!(listener.receive()[0], "EOSE");
    for event in [&hidden, &gone, &other] {
        relay.connect().publish_ok(event);
    }
    assert_eq!(relay.heard_by(&mut listener), [("live".to_owned(), other.id.to_string())]);
    let mut follower = relay.connect();
    follower.subscribe("author", &[json!({"authors": [author.hex()], "limit": 0})]);
    assert_eq!(follower.receive()[0], "EOSE");
    let next = bridged("https://loud.example/3", "activitypub");
    relay.connect().publish_ok(&next);
    assert_eq!(relay.heard_by(&mut follower), [("author".to_owned(), next.id.to_string())]);
    relay.connect().publish_ok(&author.event(5, NOW, &[&["e", &next.id.to_string()]], ""));
    for _ in 0..2 {
        let mut client = relay.connect();
        assert_eq!(client.ids(filter.clone()), ids_of(&[&other]));
        // Who names it, or its author, has asked for it.
        assert_eq!(client.ids(json!({"ids": [hidden.id.to_string()]})), ids_of(&[&hidden]));
        assert_eq!(client.count(&[json!({"authors": [author.hex()], "kinds": [1]})]), 3);
        assert_eq!(client.count(&[json!({"#t": ["x"]}), filter.clone()]), 1);
        assert_eq!(client.count(std::slice::from_ref(&filter)), 1);
        assert_eq!(relay.connect_as(&[&author]).count(std::slice::from_ref(&filter)), 3);
        relay.restart();
    }
    let request = author.event(5, NOW + 1, &[&["e", &gone.id.to_string()]], "");
    relay.connect().publish_ok(&request);
    assert_eq!(relay.connect_as(&[&author]).count(&[filter]), 2);
}

#[test]
fn profiles_and_posts_say_that_bridges_may_not_carry_them() {
    let profile = |content: &str| Person::new(1).event(0, NOW, &[], content);
    let table = [
        (profile(r##"{"about":"I paint. #nobridge"}"##), true),
        (profile(r##"{"about":"#NoBridge please"}"##), true),
        (profile(r##"{"about":"(#nobridge)"}"##), true),
        (profile(r##"{"about":"#nobridges"}"##), false),
        (profile(r##"{"about":"nobridge"}"##), false),
        (profile(r##"{"name":"#nobridge"}"##), false),
        (profile(r##"{"about":null}"##), false),
        (profile("#nobridge"), false),
        (Person::new(1).event(0, NOW, &[&["t", "NoBridge"]], "{}"), true),
        (Person::new(1).event(0, NOW, &[&["t", "nobridges"]], "{}"), false),
        (Person::new(1).event(1, NOW, &[&["t", "nobridge"]], "#nobridge"), false),
    ];
    for (event, refuses) in table {
        assert_eq!(proxy::refuses_bridging(&event, "nobridge"), refuses, "{}", event.content);
    }
    assert!(proxy::refuses_bridging(&profile(r##"{"about":"#bleibhier"}"##), "bleibhier"));
}

#[test]
fn bridges_do_not_get_what_may_not_be_carried() {
    let (private, open, bridge, reader) = (Person::new(1), Person::new(2), Person::new(3), Person::new(4));
    let profiles = [
        private.event(0, NOW, &[], r##"{"about":"#nobridge"}"##),
        open.event(0, NOW, &[], r##"{"about":"I paint."}"##),
    ];
    let people = People::of(&Settings::default(), &profiles);
    let mut settings = Settings::default();
    settings.bridge.bridge_keys = [bridge.key()].into_iter().collect();
    let table = [
        (private.note("for here"), false),
        (private.event(30_023, NOW, &[&["d", "x"]], ""), false),
        (private.event(0, NOW, &[], r##"{"about":"#nobridge"}"##), true),
        (private.event(5, NOW, &[&["k", "1"]], ""), true),
        (private.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""), true),
        (open.note("for all"), true),
        (open.event(1, NOW, &[&["t", "nobridge"]], "for here #nobridge"), false),
        (open.event(1, NOW, &[&["t", "bridge"]], ""), true),
    ];
    for (event, is_carried) in table {
        let shown = |keys: &[PublicKey]| is_shown(&event, keys, &settings, &people);
        assert_eq!(shown(&[bridge.key()]), is_carried, "{}", event.content);
        assert_eq!(shown(&[reader.key(), bridge.key()]), is_carried, "a bridge with a reader's key");
        assert!(shown(&[]) && shown(&[reader.key()]), "readers see everything");
        assert!(shown(&[bridge.key(), event.pubkey]), "authors see their own");
        assert!(is_shown(&event, &[bridge.key()], &Settings::default(), &people), "no bridge is listed");
    }
    // Who changes their mind is carried again.
    let people =
        People::of(&Settings::default(), &[private.event(0, NOW + 1, &[], "{}"), profiles[1].clone()]);
    assert!(is_shown(&private.note("for all"), &[bridge.key()], &settings, &people));
}

#[test]
fn a_network_larger_than_the_community_cannot_drown_it() {
    let answers = |settings: &str, events: &[&Event]| -> Vec<bool> {
        let relay = TestRelay::configured(settings);
        let mut client = relay.connect();
        events.iter().map(|event| client.publish(event).0).collect()
    };
    let bridged: Vec<Event> = (1..=4)
        .map(|number| {
            Person::new(number).event(
                1,
                NOW,
                &[&["proxy", "https://a.example/1", "activitypub"]],
                "from afar",
            )
        })
        .collect();
    let own = Person::new(9).note("from here");
    let mut events: Vec<&Event> = bridged.iter().collect();
    events.push(&own);
    assert_eq!(answers("[bridge]\nevents_per_minute = 2", &events), [true, true, false, false, true]);
    assert_eq!(answers("[bridge]\nevents_per_minute = 0", &events), [true; 5]);
    assert_eq!(answers("[bridge]\nevents_per_minute = 2\nmode = \"shadow\"", &events), [true; 5]);
    // A copy costs nothing.
    let copies = [&bridged[0], &bridged[0], &bridged[1], &bridged[2]];
    assert_eq!(answers("[bridge]\nevents_per_minute = 2", &copies), [true, true, true, false]);
    let relay = TestRelay::configured("[bridge]\nevents_per_minute = 1");
    let mut client = relay.connect();
    client.publish_ok(&bridged[0]);
    assert_eq!(
        client.publish_refused(&bridged[1]),
        "rate-limited: more is bridged than this relay takes at once; try again in a while (bridge.events_per_minute)"
    );
}

#[test]
fn what_is_stored_of_people_decides_over_the_wire() {
    let [private, bridge, follower] = [1, 2, 3].map(Person::new);
    let mut relay = TestRelay::with(|config| {
        config.root.bridge.bridge_keys = [bridge.key()].into_iter().collect();
        config.root.bridge.domains_hidden = domains(&["loud.example"]);
    });
    let note = private.event(1, NOW, &[], "for here");
    let hidden = private.event(1, NOW - 1, &[&["proxy", "https://loud.example/1", "activitypub"]], "");
    let mut client = relay.connect();
    for event in [
        &note,
        &hidden,
        &private.event(0, NOW, &[], r##"{"about":"#nobridge"}"##),
        &follower.event(3, NOW, &[&["p", &private.hex()]], ""),
    ] {
        client.publish_ok(event);
    }
    relay.relay().learn_now();
    for round in ["before", "after a restart"] {
        let table = [(vec![], vec![&note]), (vec![&bridge], vec![]), (vec![&follower], vec![&note, &hidden])];
        for (keys, shown) in table {
            assert_eq!(relay.connect_as(&keys).ids(json!({"kinds": [1]})), ids_of(&shown), "{round}");
        }
        relay.restart();
    }
}
