//! A town with people, posts and reports, and a window of somebody who manages it.

use plaza::event::{Event, Kind};
use serde_json::{Value, json};

use crate::common::{Person, TestRelay, json_of};
use crate::driver::Browser;

/// A relay with an owner, an admin, a moderator, and something to moderate.
pub(crate) struct Town {
    pub(crate) relay: TestRelay,
    /// What is reported, newest report first: a listing, a note with a picture, a note.
    pub(crate) reported: Vec<Event>,
}

pub(crate) fn owner() -> Person {
    Person::new(1)
}

pub(crate) fn admin() -> Person {
    Person::new(2)
}

pub(crate) fn moderator() -> Person {
    Person::new(3)
}

/// Who wrote two of the three reported events.
pub(crate) fn seller() -> Person {
    Person::new(20)
}

pub(crate) fn grumbler() -> Person {
    Person::new(21)
}

impl Town {
    pub(crate) fn new() -> Town {
        let [head, second, third] = [owner(), admin(), moderator()];
        let relay = TestRelay::configured_today(&format!(
            "[relay]\nname = \"Rosental Square\"\ndescription = \"Notes and small trade around Rosental\"\n\
             [admin]\nowners = [\"{}\"]\n[kinds]\ndenied = [4]\n[market]\nprice_required = true\n\
             [reports]\nevent_threshold = 3\nby_members = true\n[[community]]\npath = \"/berlin\"\n\
             [community.nip29]\nenabled = true\ncreate = \"all\"\n",
            head.hex()
        ));
        relay.call_ok(&head, "assignrole", json!([second.hex(), "admin"]));
        relay.call_ok(&second, "assignrole", json!([third.hex(), "moderator"]));
        let mut town = Town { relay, reported: Vec::new() };
        town.stock();
        town
    }

    fn publish(&self, who: &Person, kind: u16, ago: u64, tags: &[&[&str]], content: &str) -> Event {
        let event = who.event(kind, self.relay.clock.now() - ago, tags, content);
        self.relay.connect().publish_ok(&event);
        event
    }

    fn stock(&mut self) {
        let people = [
            (owner(), "Ines Okafor"),
            (admin(), "Tomasz"),
            (moderator(), "Lena from the bakery"),
            (seller(), "Best Deals 24"),
            (grumbler(), "grumbler"),
            (Person::new(10), "Amira"),
            (Person::new(11), "Jonas Feld"),
            (Person::new(12), "Mrs. Petrova"),
        ];
        for (person, name) in &people {
            self.publish(person, 0, 90_000, &[], &json!({"name": name}).to_string());
        }
        let (amira, jonas, petrova) = (&people[5].0, &people[6].0, &people[7].0);
        self.publish(amira, 1, 7_000, &[], "Fresh bread from seven on, as every Thursday.");
        self.publish(&seller(), 1, 6_100, &[], "Genuine watches, write me for prices. Only today.");
        self.publish(&seller(), 1, 6_050, &[], "Genuine watches, write me for prices. Only today!");
        let note = self.publish(
            &grumbler(),
            1,
            5_400,
            &[],
            "The bakery sells yesterday's rolls as fresh. Whoever buys there has only themselves to blame.",
        );
        let picture = self.publish(
            &seller(),
            1,
            3_900,
            &[],
            "Look what came in today https://pictures.example/watch.jpg\n<script>document.title = 'x'</script><b>Ask</b>",
        );
        let listing = self.publish(
            &seller(),
            30_402,
            2_400,
            &[&["d", "watch-9"], &["title", "Watch, as new"], &["price", "40", "EUR"]],
            "Original watch, hardly worn, no papers.\nI send it at once. Payment ahead, by voucher code only.",
        );
        let report = |who: &Person, ago: u64, event: &Event, kind: &str, text: &str| {
            let (id, author) = (event.id.to_string(), event.pubkey.to_string());
            self.publish(who, Kind::REPORT.0, ago, &[&["e", &id, kind], &["p", &author]], text);
        };
        report(jonas, 5_000, &note, "other", "That is simply not true, and it is about people we all know.");
        report(amira, 3_600, &picture, "spam", "");
        report(petrova, 2_000, &listing, "spam", "The third time this week");
        report(
            jonas,
            1_500,
            &listing,
            "illegal",
            "He asked me for a voucher code and then never wrote again.",
        );
        self.reported = vec![listing, picture, note];
    }

    /// The address of a community's page.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("http://{}{}/admin", self.relay.relay().address(), path.trim_end_matches('/'))
    }

    /// What the relay shows to everybody of an event: whether it is there.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        !self.relay.connect().ids(json!({"ids": [event.id.to_string()]})).is_empty()
    }

    /// A window with an extension (NIP-07) of somebody: it hands what is to be signed to the test.
    pub(crate) fn window(&self, size: (u32, u32)) -> Option<Browser> {
        let browser = Browser::start(size.0, size.1)?;
        let extension = "window.nostr = {signEvent: (event) => new Promise((signed) => {\
             window.toSign = event; window.signed = signed; })};";
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": extension}));
        Some(browser)
    }

    /// Logs in by the extension.
    pub(crate) fn log_in(&self, browser: &Browser, who: &Person) {
        browser.press("Log in with your extension");
        sign(browser, who);
    }

    /// A window in which somebody has logged in at a path.
    pub(crate) fn window_of(&self, who: &Person, path: &str) -> Option<Browser> {
        let browser = self.window((1200, 850))?;
        browser.open(&self.page(path));
        self.log_in(&browser, who);
        browser.wait("!document.getElementById('main').hidden");
        Some(browser)
    }
}

/// Signs what the page asked the extension for.
pub(crate) fn sign(browser: &Browser, who: &Person) {
    let asked = browser.wait("window.toSign");
    let tags: Vec<Vec<String>> = serde_json::from_value(asked["tags"].clone()).expect("tags");
    let tags: Vec<Vec<&str>> = tags.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
    let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    let number = |name: &str| asked[name].as_u64().expect("a number");
    let kind = u16::try_from(number("kind")).expect("a kind");
    let event = who.event(kind, number("created_at"), &tags, asked["content"].as_str().expect("a text"));
    let event: Value = json_of(&event);
    browser.script_with("window.toSign = null; window.signed(arguments[0]);", json!([event]));
}

/// Asserts that the page had no mishap, and asked its own origin alone for anything.
pub(crate) fn is_clean(town: &Town, browser: &Browser) {
    let console = browser.console();
    assert!(console.is_empty(), "{console:#?}");
    let home = format!("http://{}/", town.relay.relay().address());
    let requests = browser.requests();
    assert!(!requests.is_empty(), "the network is watched");
    let away: Vec<&String> = requests.iter().filter(|url| !url.starts_with(&home)).collect();
    assert!(away.is_empty(), "{away:?}");
}
