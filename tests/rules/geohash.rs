//! `[geohash]`: events belong to an area, by their `g` tags or by what they are about.

use std::path::Path;

use plaza::config::Config;
use plaza::event::Event;
use plaza::geo::Geohash;
use plaza::policy::sentences;
use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay};

/// A note that names these geohashes, one `g` tag each.
fn located(geohashes: &[&str]) -> Event {
    let tags: Vec<[&str; 2]> = geohashes.iter().map(|geohash| ["g", geohash]).collect();
    let tags: Vec<&[&str]> = tags.iter().map(|tag| &tag[..]).collect();
    Person::new(1).event(1, NOW, &tags, "here")
}

/// Publishes; what is said must be exactly this, nothing for an event that is taken.
fn assert_said(client: &mut Client, event: &Event, expected: &str) {
    let said = client.publish(event);
    assert_eq!(said, (expected.is_empty(), expected.to_owned()), "{:?}", String::from_utf8(event.to_json()));
}

#[test]
fn one_tag_inside_with_the_right_precision_is_enough() {
    let relay = TestRelay::configured(
        "[geohash]\nprefixes = [\"u33d\", \"u33e\"]\nprecision_min = 5\nprecision_max = 7",
    );
    let mut client = relay.connect();
    let missing =
        "blocked: it does not say where it is: give it a g tag that lies in u33d or u33e (geohash.area)";
    let outside = |cell| format!("blocked: {cell} does not lie in u33d or u33e (geohash.area)");
    let coarse = |cell| {
        format!("invalid: {cell} is too coarse: a g tag here has at least 5 characters (geohash.precision)")
    };
    let fine = |cell, shorter| {
        format!(
            "invalid: {cell} is too exact: a g tag here has at most 7 characters, such as {shorter} \
             (geohash.precision)"
        )
    };
    let not = |why| format!("invalid: its g tag is no geohash: {why} (geohash.valid)");
    let letter =
        |c| not(format!("a geohash has no '{c}': its characters are 0 to 9 and b to z without i, l and o"));
    let table: [(&[&str], String); 33] = [
        (&[], missing.to_owned()),
        // Lengths: one below, at, and above both bounds.
        (&["u"], coarse("u")),
        (&["u33"], coarse("u33")),
        (&["u33d"], coarse("u33d")),
        (&["u33dc"], String::new()),
        (&["u33dc1"], String::new()),
        (&["u33dc1x"], String::new()),
        (&["u33dc1xy"], fine("u33dc1xy", "u33dc1x")),
        (&["u33dc1xyzzzz"], fine("u33dc1xyzzzz", "u33dc1x")),
        // The last and first cells inside, and those beside them.
        (&["u33d0"], String::new()),
        (&["u33ezz"], String::new()),
        (&["u33cz"], outside("u33cz")),
        (&["u33f0"], outside("u33f0")),
        (&["s"], outside("s")),
        (&["ezs42"], outside("ezs42")),
        // Ladders: one rung is enough, wherever it stands.
        (&["u", "u3", "u33", "u33d", "u33dc"], String::new()),
        (&["u33dc", "u33d", "u33", "u3", "u"], String::new()),
        (&["u33dc1xyz", "u33dc1xy", "u33dc1x"], String::new()),
        (&["u", "u3", "u33", "u33d"], coarse("u33d")),
        (&["ezs42", "u33dc"], String::new()),
        (&["Berlin", "U33DC", "", "u33dc"], String::new()),
        // The best of several faults is the one that is told.
        (&["ezs42", "u33"], coarse("u33")),
        (&["u33", "u33dc1xy"], fine("u33dc1xy", "u33dc1x")),
        (&["Berlin", "ezs42"], outside("ezs42")),
        // What is no geohash.
        (&[""], not("a geohash has at least 1 character".to_owned())),
        (&["U33DC"], not("a geohash is written in lower case".to_owned())),
        (&["u33dC"], not("a geohash is written in lower case".to_owned())),
        (&["u33da"], letter('a')),
        (&["u33di"], letter('i')),
        (&["u33dl"], letter('l')),
        (&["u33do"], letter('o')),
        (&["u33dc1xyzzzzz"], not("a geohash has at most 12 characters, not 13".to_owned())),
        (&["u33d*"], letter('*')),
    ];
    for (geohashes, expected) in table {
        assert_said(&mut client, &located(geohashes), &expected);
    }
    // A tag without a value is none.
    let nameless = Person::new(1).event(1, NOW, &[&["g"], &["t", "u33dc"]], "");
    assert_said(&mut client, &nameless, missing);
}

#[test]
fn without_bounds_of_precision_the_areas_cells_decide() {
    let relay = TestRelay::configured("[geohash]\nprefixes = [\"u33\", \"u34dc\"]");
    let mut client = relay.connect();
    let table = [
        ("u3", "invalid: u3 is too coarse: a g tag here has at least 3 characters (geohash.precision)"),
        ("u33", ""),
        ("u33zzzzzzzzz", ""),
        (
            "u34",
            "invalid: not all of u34 lies in u33 or u34dc: it is too coarse, a longer geohash may lie inside \
             (geohash.precision)",
        ),
        (
            "u34d",
            "invalid: not all of u34d lies in u33 or u34dc: it is too coarse, a longer geohash may lie inside \
             (geohash.precision)",
        ),
        ("u34dc", ""),
        ("u34dd", "blocked: u34dd does not lie in u33 or u34dc (geohash.area)"),
    ];
    for (geohash, expected) in table {
        assert_said(&mut client, &located(&[geohash]), expected);
    }
}

#[test]
fn all_parts_of_a_cell_are_the_cell() {
    let parts: Vec<String> =
        Geohash::parse("u33d").expect("a geohash").children().map(|part| format!("\"{part}\"")).collect();
    let relay = TestRelay::configured(&format!("[geohash]\nprefixes = [{}]", parts.join(", ")));
    let mut client = relay.connect();
    client.publish_ok(&located(&["u33d"]));
    let named = "u33d0, u33d1, u33d2, u33d3, u33d4, u33d5, u33d6, u33d7, u33d8, u33d9, u33db, u33dc";
    assert_said(
        &mut client,
        &located(&["u33e"]),
        &format!("blocked: u33e does not lie in {named} or one of 20 more (geohash.area)"),
    );
    let relay = TestRelay::configured(&format!("[geohash]\nprefixes = [{}]", parts[1..].join(", ")));
    let said = relay.connect().publish_refused(&located(&["u33d"]));
    assert!(
        said.starts_with("invalid: u33d is too coarse: a g tag here has at least 5 characters"),
        "{said}"
    );
}

/// The geohash of a point.
fn at(latitude: f64, longitude: f64, length: usize) -> String {
    Geohash::at(latitude, longitude, length).expect("a point").to_string()
}

#[test]
fn areas_may_be_drawn_as_circle_box_or_polygon() {
    let circle = "[geohash]\ncenter = [52.52, 13.4]\nradius_km = 5";
    let sides = "[geohash]\nbox = [-20, 177, -12, -175]";
    let frame = "[geohash]\npolygon = '{\"type\": \"Polygon\", \"coordinates\": [\
                 [[10, 50], [14, 50], [14, 54], [10, 54], [10, 50]], \
                 [[11, 51], [13, 51], [13, 53], [11, 53], [11, 51]]]}'";
    let polygon = "in the polygon that the operator has drawn";
    // Settings, the area in words, a point, whether it lies inside. The earth's circumference makes a degree
    // of latitude 111.2 km.
    let table = [
        (circle, "within 5 km of 52.52, 13.4", 52.52, 13.4, true),
        (circle, "within 5 km of 52.52, 13.4", 52.52 + 4.95 / 111.2, 13.4, true),
        (circle, "within 5 km of 52.52, 13.4", 52.52 + 5.05 / 111.2, 13.4, false),
        (circle, "within 5 km of 52.52, 13.4", 52.52, 13.4 + 4.95 / 67.65, true),
        (circle, "within 5 km of 52.52, 13.4", 52.52, 13.4 - 5.05 / 67.65, false),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -16.0, 177.01, true),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -16.0, 176.9, false),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -16.0, 180.0, true),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -16.0, -175.01, true),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -16.0, -174.9, false),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", -20.1, 179.0, false),
        (sides, "between -20, 177 (south-west) and -12, -175 (north-east)", 0.0, 0.0, false),
        (frame, polygon, 50.5, 10.5, true),
        (frame, polygon, 53.5, 12.0, true),
        (frame, polygon, 52.0, 12.0, false),
        (frame, polygon, 51.1, 11.1, false),
        (frame, polygon, 50.9, 12.0, true),
        (frame, polygon, 54.1, 12.0, false),
    ];
    for (settings, words, latitude, longitude, is_inside) in table {
        let relay = TestRelay::configured(settings);
        let cell = at(latitude, longitude, 9);
        let expected = match is_inside {
            true => String::new(),
            false => format!("blocked: {cell} does not lie {words} (geohash.area)"),
        };
        assert_said(&mut relay.connect(), &located(&[&cell]), &expected);
    }
}

#[test]
fn a_cell_across_the_border_is_too_coarse_unless_the_border_is_as_coarse() {
    // The northernmost cells of this circle that have six characters reach beyond it.
    let cell = at(52.52 + 4.95 / 111.2, 13.4, 6);
    let straddles = format!(
        "invalid: not all of {cell} lies within 5 km of 52.52, 13.4: it is too coarse, a longer geohash may \
         lie inside (geohash.precision)"
    );
    for (border, expected) in
        [("", straddles.as_str()), ("\nborder_precision = 6", ""), ("\nprecision_max = 6", "")]
    {
        let relay =
            TestRelay::configured(&format!("[geohash]\ncenter = [52.52, 13.4]\nradius_km = 5{border}"));
        assert_said(&mut relay.connect(), &located(&[&cell]), expected);
    }
}

#[test]
fn ephemeral_chat_is_taken_and_passed_on_by_its_one_geohash() {
    let relay = TestRelay::configured("[geohash]\nprefixes = [\"u33d\"]");
    let (mut listener, mut client) = (relay.connect(), relay.connect());
    listener.request("square", &[json!({"kinds": [20_000, 20_001], "#g": ["u33dc", "u33d", "u33"]})]);
    let chatter = Person::new(1);
    let chat = |kind, cell: &str| chatter.event(kind, NOW, &[&["g", cell], &["n", "ana"]], cell);
    let refused = "invalid: u33 is too coarse: a g tag here has at least 4 characters (geohash.precision)";
    for (event, expected) in
        [(chat(20_000, "u33"), refused), (chat(20_000, "u33dc"), ""), (chat(20_001, "u33d"), "")]
    {
        assert_said(&mut client, &event, expected);
        if expected.is_empty() {
            assert_eq!(listener.receive()[2]["id"], event.id.to_string());
        }
    }
}

#[test]
fn what_belongs_to_people_needs_no_place() {
    let relay = TestRelay::configured("[geohash]\nprefixes = [\"u33d\"]");
    let mut client = relay.connect();
    let person = Person::new(1);
    let recipient = Person::new(2).hex();
    let free = [
        0, 3, 4, 5, 1_059, 1_984, 10_000, 10_002, 10_050, 19_999, 21_059, 28_934, 28_936, 30_000, 30_007,
        30_015, 31_924, 39_089,
    ];
    for kind in free {
        client.publish_ok(&person.event(kind, NOW, &[&["p", &recipient]], ""));
    }
    let missing = "blocked: it does not say where it is: give it a g tag that lies in u33d (geohash.area)";
    for kind in [1, 2, 6, 7, 42, 1_058, 1_060, 1_985, 9_999, 20_000, 28_937, 30_008, 30_023, 31_923] {
        assert_said(&mut client, &person.event(kind, NOW, &[&["p", &recipient]], ""), missing);
    }
    // A list of one's own is the whole list; a request to vanish is followed whatever it says.
    let relay = TestRelay::configured("[geohash]\nprefixes = [\"u33d\"]\nkinds_exempt = [\"1-2\"]");
    let mut client = relay.connect();
    client.publish_ok(&person.event(2, NOW, &[], ""));
    assert_said(&mut client, &person.event(3, NOW, &[], ""), missing);
    client.publish_ok(&person.event(62, NOW, &[&["relay", "ALL_RELAYS"]], ""));
}

/// A thread in the area: a located note, and a listing by another author.
struct Thread {
    relay: TestRelay,
    author: Person,
    note: Event,
    listing: String,
    stray: Event,
}

impl Thread {
    fn new(settings: &str) -> Thread {
        let relay = TestRelay::configured(&format!("[geohash]\nprefixes = [\"u33d\"]\n{settings}"));
        let (author, seller) = (Person::new(1), Person::new(2));
        let note = author.event(1, NOW, &[&["g", "u33dc"]], "a party");
        let listing = seller.event(30_402, NOW, &[&["d", "bike"], &["g", "u33dc"]], "a bike");
        // Stored, but nowhere.
        let stray = author.event(0, NOW, &[], "{}");
        let mut client = relay.connect();
        [&note, &listing, &stray].into_iter().for_each(|event| client.publish_ok(event));
        let listing = listing.address().expect("an address");
        Thread { relay, author, note, listing, stray }
    }
}

const MISSING: &str =
    "blocked: it does not say where it is: give it a g tag that lies in u33d (geohash.area)";
const NOT_HERE: &str =
    "blocked: what it is about has no place here, and it has no g tag that lies in the area (geohash.reply)";
const NOT_OWN: &str = "restricted: only the author of what it answers may leave out the g tag: say where you are \
                       (geohash.reply)";

#[test]
fn replies_are_taken_as_the_setting_says() {
    // Whose, whether the setting is "none", "own" and "all": what is said of a reply to a note that is here.
    let table = [("none", MISSING, MISSING), ("own", "", NOT_OWN), ("all", "", "")];
    for (replies, own, others) in table {
        let thread = Thread::new(&format!("replies = \"{replies}\""));
        let mut client = thread.relay.connect();
        let note = thread.note.id.to_string();
        let (stray, unknown) = (thread.stray.id.to_string(), "0".repeat(64));
        let other = Person::new(3);
        let forms: [&[&[&str]]; 8] = [
            &[&["e", &note]],
            &[&["e", &note, "", "root"]],
            &[&["e", &unknown, "", "root"], &["e", &note, "", "reply"]],
            &[&["e", &note, "", "root"], &["e", &stray, "", "reply"]],
            &[&["e", &note], &["e", &unknown], &["e", &stray]],
            &[&["e", &unknown], &["e", &stray], &["e", &note]],
            &[&["E", &note], &["e", &unknown, "", &thread.author.hex()]],
            &[&["e", &unknown, "", "mention"], &["e", &note, "", &thread.author.hex()]],
        ];
        for tags in forms {
            assert_said(&mut client, &thread.author.event(1, NOW, tags, "it is on"), own);
            assert_said(&mut client, &other.event(1_111, NOW, tags, "I come"), others);
        }
        // By address: the listing is another author's.
        let by_address: [&[&[&str]]; 2] = [&[&["a", &thread.listing]], &[&["A", &thread.listing]]];
        for tags in by_address {
            let seller = Person::new(2).event(1_111, NOW, tags, "sold");
            assert_said(&mut client, &seller, own);
            assert_said(&mut client, &other.event(1_111, NOW, tags, "still there?"), others);
        }
        // What has its own place is judged by it alone.
        let elsewhere: &[&[&str]] = &[&["e", &note], &["g", "ezs42"]];
        let outside = "blocked: ezs42 does not lie in u33d (geohash.area)";
        assert_said(&mut client, &thread.author.event(1, NOW, elsewhere, ""), outside);
        assert_said(&mut client, &other.event(1, NOW, &[&["e", &stray], &["g", "u33dx"]], ""), "");
    }
}

#[test]
fn replies_to_what_is_not_here_need_a_place() {
    let thread = Thread::new("replies = \"all\"");
    let mut client = thread.relay.connect();
    let (note, stray, unknown) = (thread.note.id.to_string(), thread.stray.id.to_string(), "0".repeat(64));
    let forms: [(&[&[&str]], &str); 8] = [
        (&[], MISSING),
        (&[&["e", "no id"]], MISSING),
        (&[&["e", &note, "", "mention"]], MISSING),
        (&[&["q", &note]], MISSING),
        (&[&["e", &unknown]], NOT_HERE),
        (&[&["e", &stray]], NOT_HERE),
        (&[&["a", &format!("30402:{}:car", Person::new(2).hex())]], NOT_HERE),
        // Only the first and the last of unmarked ones are roots and parents.
        (&[&["e", &unknown], &["e", &note], &["e", &stray]], NOT_HERE),
    ];
    for (tags, expected) in forms {
        assert_said(&mut client, &thread.author.event(1, NOW, tags, ""), expected);
    }
    // What was deleted is not here any more.
    client.publish_ok(&thread.author.event(5, NOW, &[&["e", &note]], ""));
    assert_said(&mut client, &thread.author.event(1, NOW, &[&["e", &note]], "late"), NOT_HERE);
}

#[test]
fn reactions_stand_where_what_they_are_about_stands() {
    let thread = Thread::new("");
    let mut client = thread.relay.connect();
    let (note, unknown) = (thread.note.id.to_string(), "0".repeat(64));
    let other = Person::new(3);
    for kind in [6, 7, 16, 1_018, 1_985, 7_516, 9_321, 9_735, 31_925] {
        assert_said(&mut client, &other.event(kind, NOW, &[&["e", &note]], "+"), "");
        assert_said(&mut client, &other.event(kind, NOW + 1, &[&["a", &thread.listing]], "+"), "");
        assert_said(&mut client, &other.event(kind, NOW + 2, &[&["e", &unknown]], "+"), NOT_HERE);
        assert_said(&mut client, &other.event(kind, NOW + 3, &[&["p", &other.hex()]], "+"), MISSING);
    }
    // A finder's log is less exact than the cache on purpose (NIP-CC).
    let coarse: &[&[&str]] = &[&["a", &thread.listing], &["g", "u3"]];
    assert_said(&mut client, &other.event(7_516, NOW + 4, coarse, "found"), "");
    let relay = Thread::new("kinds_about = []").relay;
    assert_said(&mut relay.connect(), &other.event(7, NOW, &[&["e", &note]], "+"), MISSING);
}

#[test]
fn a_parent_of_the_same_moment_is_known() {
    let relay = TestRelay::configured("[geohash]\nprefixes = [\"u33d\"]\nreplies = \"own\"");
    let mut client = relay.connect();
    let person = Person::new(1);
    let note = person.event(1, NOW, &[&["g", "u33d"]], "one");
    let reply = person.event(1, NOW, &[&["e", &note.id.to_string(), "", "root"]], "two");
    client.submit(&note);
    client.submit(&reply);
    assert_eq!(client.answer_to(&note), (true, String::new()));
    assert_eq!(client.answer_to(&reply), (true, String::new()));
}

#[test]
fn in_shadow_mode_events_pass_and_are_counted() {
    let relay =
        TestRelay::configured("[geohash]\nmode = \"shadow\"\nprefixes = [\"u33d\"]\nreplies = \"all\"");
    let mut client = relay.connect();
    client.publish_ok(&located(&[]));
    client.publish_ok(&located(&["ezs42"]));
    client.publish_ok(&located(&["u3"]));
    client.publish_ok(&located(&["U33D"]));
    client.publish_ok(&Person::new(1).event(1, NOW, &[&["e", &"0".repeat(64)]], ""));
    let counts = relay.relay().community().tally.counts();
    let table = [("geohash.area", 2), ("geohash.precision", 1), ("geohash.valid", 1), ("geohash.reply", 1)];
    for (rule, shadowed) in table {
        let count = counts.get(rule).unwrap_or_else(|| panic!("{rule} spoke"));
        assert_eq!((count.refused, count.shadowed), (0, shadowed), "{rule}");
    }
}

fn parse(geohash: &str) -> Result<Config, String> {
    Config::parse(&format!("[geohash]\n{geohash}"), Path::new("relay.toml"))
        .map_err(|error| error.to_string())
}

#[test]
fn members_read_what_is_asked_for() {
    let said = |text: &str| -> Vec<String> {
        let settings = parse(text).expect(text).root;
        let own = sentences(&settings).filter(|(rule, _)| rule.id.starts_with("geohash."));
        own.map(|(rule, sentence)| format!("{}: {sentence}", rule.id)).collect()
    };
    assert_eq!(said(""), Vec::<String>::new());
    assert_eq!(said("precision_min = 5\nreplies = \"all\"\nreplay_seconds = 60"), Vec::<String>::new());
    let text = "prefixes = [\"u33d\"]\nprecision_min = 5\nprecision_max = 9\nreplies = \"own\"\n\
                kinds_exempt = [0, \"10000-19999\"]\nkinds_about = [7]";
    assert_eq!(
        said(text),
        [
            "geohash.valid: A g tag holds a geohash in lower case: 0 to 9 and b to z without i, l and o.",
            "geohash.precision: A g tag has 5 to 9 characters; one such tag is enough.",
            "geohash.area: Events say where they are: one g tag lies in u33d. Kinds 0, 10000-19999 need no place.",
            "geohash.reply: No g tag is needed for replies to your own events or events of kinds 7, if what they \
             are about is here.",
        ]
    );
    let text = "center = [52.52, 13.40]\nradius_km = 5.5\nkinds_exempt = []\nkinds_about = []";
    assert_eq!(
        said(text)[1..],
        [
            "geohash.precision: A g tag has enough characters to lie wholly in the area, and at most 12; one such \
             tag is enough.",
            "geohash.area: Events say where they are: one g tag lies within 5.5 km of 52.52, 13.4.",
        ]
    );
}

#[test]
fn areas_that_cannot_be_are_refused_with_key_and_remedy() {
    let table = [
        (
            "prefixes = [\"u33d\"]\ncenter = [1, 2]\nradius_km = 1",
            "relay.toml:3: geohash.center: the area is drawn by geohash.prefixes already; draw it in one way, and remove the other",
        ),
        (
            "box = [1, 2, 3, 4]\npolygon_file = \"x\"",
            "relay.toml:3: geohash.polygon_file: the area is drawn by geohash.box already; draw it in one way, and remove the other",
        ),
        (
            "center = [1, 2]",
            "relay.toml:2: geohash.center: is half a circle; write radius_km too, such as 5.5",
        ),
        (
            "radius_km = 1",
            "relay.toml:2: geohash.radius_km: is half a circle; write center too, such as [52.52, 13.40]",
        ),
        (
            "center = [91, 2]\nradius_km = 1",
            "relay.toml:2: geohash.center: a latitude is from -90 to 90 degrees, not 91; write the latitude first, then the longitude, in degrees",
        ),
        (
            "center = [1, 2]\nradius_km = 0",
            "relay.toml:3: geohash.radius_km: the radius must be from 0.001 to 20000 km, but is 0; write it in kilometres, such as 5.5",
        ),
        (
            "center = [1, 2]\nradius_km = \"five\"",
            "relay.toml:3: geohash.radius_km: must be a number of kilometres, but is \"five\"; write for example radius_km = 5.5",
        ),
        (
            "center = [1]\nradius_km = 1",
            "relay.toml:2: geohash.center: must be a latitude and a longitude in a list, but is [1]; write for example center = [52.52, 13.40]",
        ),
        (
            "box = [1, 2, 3]",
            "relay.toml:2: geohash.box: has four sides, not 3; write [south, west, north, east]",
        ),
        (
            "box = [3, 2, 1, 4]",
            "relay.toml:2: geohash.box: the south, 3, must be less than the north, 1; write south, west, north, east, in this order",
        ),
        (
            "prefixes = [\"u33d\", \"u33a\"]",
            "relay.toml:2: geohash.prefixes: \"u33a\": a geohash has no 'a': its characters are 0 to 9 and b to z without i, l and o; write for example prefixes = [\"u33d\"]",
        ),
        (
            "prefixes = [\"\"]",
            "relay.toml:2: geohash.prefixes: \"\": a geohash has at least 1 character; write for example prefixes = [\"u33d\"]",
        ),
        ("polygon = \"{}\"", "relay.toml:2: geohash.polygon: this is no GeoJSON: "),
        (
            "polygon = '{\"type\": \"Point\", \"coordinates\": [1, 2]}'",
            "relay.toml:2: geohash.polygon: a Point has no area; write a Polygon, a MultiPolygon, or a Feature or FeatureCollection of them",
        ),
        (
            "precision_min = 7\nprecision_max = 6",
            "relay.toml:2: geohash.precision_min: must be at most geohash.precision_max (6), but is 7; lower it or raise precision_max",
        ),
        (
            "prefixes = [\"u33dc1\"]\nprecision_max = 5",
            "relay.toml:3: geohash.precision_max: no geohash of at most 5 characters lies in the area; raise it, or draw a larger area",
        ),
        (
            "precision_min = 13",
            "relay.toml:2: geohash.precision_min: must be a whole number from 0 to 12, but is 13; lower it",
        ),
        (
            "precision_max = 0",
            "relay.toml:2: geohash.precision_max: must be a whole number from 1 to 12, but is 0; raise it",
        ),
        (
            "border_precision = 13",
            "relay.toml:2: geohash.border_precision: must be a whole number from 1 to 12, but is 13; lower it",
        ),
        (
            "replies = \"some\"",
            "relay.toml:2: geohash.replies: must be \"none\", \"own\" or \"all\", but is \"some\"; write for example replies = \"own\"",
        ),
    ];
    for (text, expected) in table {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
    }
    for text in ["precision_min = 6\nprecision_max = 6", "prefixes = [\"u33dc\"]\nprecision_max = 5", ""] {
        parse(text).expect(text);
    }
}

#[test]
fn a_polygons_file_lies_beside_relay_toml() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("relay.toml");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "relay.toml",
        b"[[community]]\npath = \"/kiez\"\n[community.geohash]\npolygon_file = \"kiez.geojson\"",
    );
    let load = || Config::load(&settings).map_err(|error| error.to_string());
    let said = |problem: &str| format!("{}: {problem}", folder.path().join("kiez.geojson").display());
    let named = ", and geohash.polygon_file names it; ";
    assert_eq!(load().err(), Some(said(&format!("there is no such file{named}name the right path"))));
    write("kiez.geojson", b"\xff");
    assert_eq!(load().err(), Some(said(&format!("it is no text in UTF-8{named}save it as UTF-8"))));
    write("kiez.geojson", &vec![b' '; 4 * 1024 * 1024 + 1]);
    assert_eq!(load().err(), Some(said(&format!("it is too large{named}simplify the polygon"))));
    write("kiez.geojson", br#"{"type": "FeatureCollection", "features": []}"#);
    let why = "the GeoJSON has no polygon, and geohash.polygon_file names it; write a Polygon, a MultiPolygon, or a \
               Feature or FeatureCollection of them";
    assert_eq!(load().err(), Some(said(why)));
    let ring = "[[13, 52], [14, 52], [14, 53], [13, 53], [13, 52]]";
    write("kiez.geojson", format!(r#"{{"type": "Polygon", "coordinates": [{ring}]}}"#).as_bytes());
    let config = load().expect("a polygon");
    let relay = TestRelay::with(|settings| settings.communities = config.communities);
    let mut client = relay.connect_at("/kiez");
    client.publish_ok(&located(&[&at(52.5, 13.5, 8)]));
    let outside = at(51.9, 13.5, 8);
    let said =
        format!("blocked: {outside} does not lie in the polygon that the operator has drawn (geohash.area)");
    assert_said(&mut client, &located(&[&outside]), &said);
    // The root has no area.
    relay.connect().publish_ok(&located(&[]));
}
