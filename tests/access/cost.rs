//! What a COUNT costs tells nothing of private events to who is no party of theirs, where the setting asks for it. Cost
//! is what is looked at, as the relay's own numbers say, and not time.

use plaza::event::Event;
use serde_json::{Value, json};

use crate::common::http::get;
use crate::common::{Client, NOW, Person, TestRelay};

const AUTHOR: u32 = 1;
const RECIPIENT: u32 = 2;
const STRANGER: u32 = 3;
/// Who writes nothing but private events.
const SECRETIVE: u32 = 4;

/// Private events, and public ones that name the same people.
const PRIVATE: u64 = 200;
const PUBLIC: u64 = 30;

fn public() -> Vec<Event> {
    let (author, recipient) = (Person::new(AUTHOR), Person::new(RECIPIENT).hex());
    let one = |number: u64| author.event(1, NOW - number, &[&["p", &recipient], &["t", "x"]], "");
    (0..PUBLIC).map(one).collect()
}

fn private() -> Vec<Event> {
    let (author, recipient, topic) =
        (Person::new(AUTHOR), Person::new(RECIPIENT).hex(), public()[0].id.to_string());
    let secretive = Person::new(SECRETIVE);
    let one = |number: u64| {
        let (kind, author) = if number.is_multiple_of(2) { (4, &author) } else { (1_059, &secretive) };
        author.event(kind, NOW - number, &[&["p", &recipient], &["t", "x"], &["e", &topic]], "")
    };
    (0..PRIVATE).map(one).collect()
}

/// What strangers may ask, and whether it is refused where counts are for parties only.
fn questions() -> Vec<(Value, bool)> {
    let [author, recipient] = [AUTHOR, RECIPIENT].map(|number| Person::new(number).hex());
    let ids: Vec<String> = private().iter().map(|event| event.id.to_string()).collect();
    let topic = public()[0].id.to_string();
    vec![
        (json!({"kinds": [1]}), false),
        (json!({"kinds": [1], "authors": [author]}), false),
        (json!({"kinds": [1], "authors": [Person::new(SECRETIVE).hex()]}), false),
        (json!({"kinds": [1], "#p": [recipient]}), false),
        (json!({"kinds": [1], "#p": [Person::new(SECRETIVE).hex()]}), false),
        (json!({"kinds": [1, 7], "#t": ["x"]}), false),
        (json!({"kinds": [1], "#e": [topic]}), false),
        (json!({"kinds": [1], "#p": [recipient], "since": NOW - 10, "until": NOW - 2}), false),
        (json!({"kinds": [1], "ids": ids}), false),
        (json!({"kinds": [4], "#p": [recipient]}), true),
        (json!({"kinds": [1, 1_059]}), true),
        (json!({"authors": [author]}), true),
        (json!({"#p": [recipient]}), true),
        (json!({"#p": [recipient, Person::new(STRANGER).hex()], "kinds": [1_059]}), true),
        (json!({"#t": ["x"]}), true),
        (json!({"ids": ids}), true),
        (json!({"since": NOW - 5}), true),
        (json!({}), true),
    ]
}

struct Counting {
    relay: TestRelay,
    client: Client,
}

impl Counting {
    fn start(is_on: bool, events: &[Event]) -> Counting {
        let relay = TestRelay::with(|config| {
            config.root.nip17.count_parties_only = is_on;
            config.metrics.listen = Some("127.0.0.1:0".parse().expect("an address"));
        });
        let mut speaker = relay.connect();
        events.iter().for_each(|event| speaker.publish_ok(event));
        let client = relay.connect_as(&[&Person::new(STRANGER)]);
        Counting { relay, client }
    }

    /// Index entries that were looked at since the start.
    fn entries(&self) -> u64 {
        let address = self.relay.relay().metrics_address().expect("numbers");
        let text = get(address, "/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix("plaza_query_entries_total "));
        line.and_then(|number| number.parse().ok()).expect("the number of entries")
    }

    /// The answer to a COUNT, and what it cost.
    fn ask(&mut self, filter: &Value) -> (Value, u64) {
        let before = self.entries();
        self.client.send(&json!(["COUNT", "count", filter]));
        let answer = self.client.receive();
        (answer, self.entries() - before)
    }
}

#[test]
fn what_a_count_costs_tells_strangers_nothing_of_private_events() {
    let all = [public(), private()].concat();
    let (mut without, mut with) = (Counting::start(true, &public()), Counting::start(true, &all));
    let mut open = Counting::start(false, &all);
    let mut tells = 0;
    for (filter, is_refused) in questions() {
        let (answer, cost) = with.ask(&filter);
        assert_eq!(without.ask(&filter), (answer.clone(), cost), "{filter}");
        assert_eq!(answer[0] == "CLOSED", is_refused, "{filter}: {answer}");
        let told = "restricted: a count names kinds, none of them private, or only your own authenticated keys as authors \
                    or in #p (nip17.count_parties_only)";
        assert!(!is_refused || (answer[2] == told && cost == 0), "{filter}: {answer}");
        tells += usize::from(open.ask(&filter).1 > cost + PRIVATE / 2);
    }
    assert!(tells >= 5, "without the setting {tells} of these cost more where there are private events");
}

#[test]
fn parties_count_what_is_theirs() {
    let with = Counting::start(true, &[public(), private()].concat());
    let [author, recipient] = [AUTHOR, RECIPIENT].map(Person::new);
    for (person, filter, count) in [
        (&recipient, json!({"kinds": [1_059], "#p": [recipient.hex()]}), PRIVATE / 2),
        (&recipient, json!({"#p": [recipient.hex()]}), PRIVATE + PUBLIC),
        (&author, json!({"authors": [author.hex()], "kinds": [4]}), PRIVATE / 2),
        (&author, json!({"kinds": [1], "#t": ["x"]}), PUBLIC),
    ] {
        assert_eq!(with.relay.connect_as(&[person]).count(std::slice::from_ref(&filter)), count, "{filter}");
    }
}
