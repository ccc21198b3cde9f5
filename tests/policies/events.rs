//! Random events, biased to what rules look at: right and wrong, at the bounds and beside them. In: chance, what
//! was sent before. Out: events, signed; some forged. Never knows what a rule decides.

use plaza::event::{Event, Kind, Tags};
use serde_json::{Value, json};

use crate::common::invoice::{For, invoice};
use crate::common::{Person, json_of};
use crate::random::{Chance, forged, random_event};
use crate::settings::{BRIDGE, OTHER_WALLET, Theme, WALLET};

/// Places in Berlin, around it, elsewhere, and texts that are none.
const PLACES: [&str; 14] = [
    "u33dc0",
    "u33dc1",
    "u33db2",
    "u33dc",
    "u33d",
    "u33",
    "u",
    "u33e5x",
    "u33dc0123456",
    "gcpvj0",
    "9q8yyk",
    "u33a",
    "U33DC0",
    "",
];
const WORDS: [&str; 5] = ["bread", "fish", "nobridge", "spam", "nsfw"];
const DOMAINS: [&str; 6] =
    ["fine.example", "spam.example", "loud.example", "refused.example", "hidden.example", "a.spam.example"];
const IDENTIFIERS: [&str; 3] = ["one", "two", ""];

/// What an event is made with.
pub(crate) struct Maker<'m> {
    pub(crate) chance: &'m mut Chance,
    pub(crate) now: u64,
    /// What was sent to this community.
    pub(crate) known: &'m [Event],
    /// The codes with which people become its members.
    pub(crate) codes: &'m [String],
}

/// Kind, tags and content, and who signs; the time comes last.
pub(crate) struct Draft {
    pub(crate) kind: u16,
    pub(crate) tags: Tags,
    pub(crate) content: String,
    pub(crate) author: Option<Person>,
}

impl Draft {
    pub(crate) fn new(kind: u16) -> Draft {
        Draft { kind, tags: Tags::default(), content: String::new(), author: None }
    }
}

impl Maker<'_> {
    /// An event for a community of a theme; one of several of anything.
    pub(crate) fn event(&mut self, theme: Theme) -> Event {
        if !self.known.is_empty() && self.chance.percent(6) {
            return self.chance.pick(self.known).clone();
        }
        if theme == Theme::Groups
            && self.chance.percent(6)
            && let Some(event) = self.removed_before()
        {
            return event;
        }
        let theme = if self.chance.percent(75) { theme } else { *self.chance.pick(&Theme::ALL) };
        if self.chance.percent(15) {
            return random_event(self.chance, self.now, self.known);
        }
        let mut draft = match theme {
            Theme::Place => self.placed(),
            Theme::Market => self.offer(),
            Theme::Zaps => self.zap(),
            Theme::Bridge => self.bridged(),
            Theme::People => self.person(),
            Theme::Media => self.media(),
            Theme::Access => self.access(),
            Theme::Limits => self.large(),
            Theme::Groups => self.grouped(),
            Theme::Members => self.joining(),
        };
        self.adorn(&mut draft);
        let event = self.sign(draft);
        if self.chance.percent(3) { forged(self.chance, &event) } else { event }
    }

    pub(crate) fn some(&mut self, texts: &[&'static str]) -> &'static str {
        self.chance.pick::<&'static str>(texts)
    }

    /// An event of these kinds that was sent before, most likely one of the last.
    fn earlier(&mut self, kinds: &[u16]) -> Option<Event> {
        let of_kinds: Vec<&Event> =
            self.known.iter().filter(|event| kinds.is_empty() || kinds.contains(&event.kind.0)).collect();
        let last = of_kinds.len().min(6);
        (last > 0).then(|| of_kinds[of_kinds.len() - 1 - self.chance.below(last as u64) as usize].clone())
    }

    /// Tags that any event may have.
    fn adorn(&mut self, draft: &mut Draft) {
        if self.chance.percent(25) {
            draft.tags.push(["g", self.some(&PLACES)]);
        }
        if self.chance.percent(20) {
            draft.tags.push(["t", self.some(&WORDS)]);
        }
        if self.chance.percent(4) {
            draft.tags.push(["-"]);
        }
        if self.chance.percent(5) {
            let time = (self.now + self.chance.below(4)).saturating_sub(1).to_string();
            draft.tags.push(["expiration", &time]);
        }
        if self.chance.percent(8) {
            draft.tags.push(["visibility", "followers"]);
        }
        if self.chance.percent(4) {
            draft.content.push_str("x".repeat(50).as_str());
        }
    }

    /// Signs, sometimes with some work, and dates near the bounds of time.
    fn sign(&mut self, draft: Draft) -> Event {
        let Draft { kind, tags, content, author } = draft;
        let author = author.unwrap_or_else(|| self.chance.person());
        let created_at = match self.chance.below(30) {
            0 => self.now + 3,
            1 => self.now + 4,
            2 => self.now - 5,
            3 => self.now - 51,
            4 => self.now + 901,
            _ => self.now.saturating_sub(self.chance.below(3)),
        };
        let bits = if self.chance.percent(15) { self.chance.below(5) as u32 } else { 0 };
        for nonce in 0.. {
            let mut tags = tags.clone();
            if bits > 0 {
                let aim = if self.chance.percent(80) { bits } else { 1 };
                tags.push(["nonce", &nonce.to_string(), &aim.to_string()]);
            }
            let event = author.sign(kind, created_at, tags, &content);
            if u32::from(event.id.0[0]).leading_zeros() - 24 >= bits {
                return event;
            }
        }
        unreachable!("some nonce is found")
    }

    fn placed(&mut self) -> Draft {
        let mut draft = Draft::new(*self.chance.pick(&[1, 1, 1, 20_000, 20_001, 1_111, 7, 31_922, 6, 9_321]));
        match self.chance.below(6) {
            0 => {
                for place in ["u", "u3", "u33", "u33d", "u33dc", "u33dc0", "u33dc04"] {
                    draft.tags.push(["g", place]);
                }
            }
            1 => draft.tags.push(["g", "9q"]),
            2..=3 => draft.tags.push(["g", self.some(&PLACES)]),
            _ => {}
        }
        if self.chance.percent(60)
            && let Some(event) = self.earlier(&[1, 20_000, 31_922, 30_402])
        {
            let marks: [&'static str; 4] = ["reply", "root", "mention", ""];
            let mark = self.some(&marks);
            draft.tags.push(["e", &event.id.to_string(), "", mark]);
            if let Some(address) = event.address() {
                draft.tags.push(["a", &address]);
            }
            if self.chance.percent(30) {
                draft.author = (0..4).map(Person::new).find(|person| person.key() == event.pubkey);
            }
        }
        if draft.kind == 31_922 {
            draft.tags.push(["d", self.some(&IDENTIFIERS)]);
        }
        draft
    }

    fn offer(&mut self) -> Draft {
        let id = self.some(&IDENTIFIERS[..2]);
        let kind = *self.chance.pick(&[
            30_017, 30_017, 30_018, 30_018, 30_019, 30_020, 30_020, 30_020, 1_021, 1_021, 1_021, 1_022,
            1_022, 30_402, 30_402, 30_403,
        ]);
        let mut draft = Draft::new(kind);
        let currency = *self.chance.pick(&["sats", "EUR", "eur", "usd"]);
        let price = *self.chance.pick(&["1", "5", "10", "1000", "1001"]);
        let images: Vec<String> =
            (0..self.chance.below(4)).map(|number| format!("https://fine.example/{number}.jpg")).collect();
        let zone = self.some(&["eu", "eu", "moon"]);
        let price_number: u64 = price.parse().expect("a number");
        let content = match kind {
            30_017 => json!({"id": id, "name": "Stall", "currency": currency,
                "shipping": [{"id": "eu", "cost": 5, "regions": ["EU"]}]}),
            30_018 => {
                json!({"id": id, "stall_id": self.some(&IDENTIFIERS[..2]), "name": "Bread", "images": images,
                "currency": currency, "price": price_number, "quantity": 3,
                "shipping": [{"id": zone, "cost": 1}]})
            }
            30_019 => {
                json!({"name": "Market", "ui": {"darkMode": true}, "merchants": [self.chance.person().hex()]})
            }
            30_020 => {
                json!({"id": id, "stall_id": self.some(&IDENTIFIERS[..2]), "name": "Clock", "images": images,
                "starting_bid": 5, "start_date": self.now - self.chance.below(20), "duration": 15})
            }
            1_021 => return self.bid(),
            1_022 => return self.confirmation(),
            _ => return self.listing(draft, price, currency, images.len()),
        };
        let content = if self.chance.percent(15) { self.spoil(content) } else { content };
        draft.content = content.to_string();
        let d = if self.chance.percent(5) { "other" } else { id };
        if self.chance.percent(97) {
            draft.tags.push(["d", d]);
        }
        // Few merchants, so that stalls and what is in them meet.
        draft.author = Some(Person::new(self.chance.below(2) as u32));
        draft
    }

    /// Takes a field away, or puts something else in its place.
    fn spoil(&mut self, mut content: Value) -> Value {
        if let Some(fields) = content.as_object_mut() {
            let names: Vec<String> = fields.keys().cloned().collect();
            let name = self.chance.pick(&names).clone();
            match self.chance.below(3) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(name, json!(-1.5))),
                _ => return json!([1]),
            }
        }
        content
    }

    fn bid(&mut self) -> Draft {
        let mut draft = Draft::new(1_021);
        let bid = self.earlier(&[1_021]).and_then(|bid| bid.content.parse::<u64>().ok()).unwrap_or(4);
        draft.content = (bid + self.chance.below(4)).saturating_sub(1).to_string();
        if self.chance.percent(8) {
            draft.content.insert(0, self.some(&["0", "-", "x"]).chars().next().unwrap_or('0'));
        }
        if let Some(auction) = self.earlier(&[30_020]).filter(|_| self.chance.percent(95)) {
            draft.tags.push(["e", &auction.id.to_string()]);
        }
        draft
    }

    fn confirmation(&mut self) -> Draft {
        let mut draft = Draft::new(1_022);
        let status = self.some(&["accepted", "rejected", "rejected", "pending", "winner", "perhaps"]);
        draft.content = json!({"status": status, "duration_extended": self.chance.below(9)}).to_string();
        let bid = self.earlier(&[1_021]);
        let named = bid.as_ref().and_then(|bid| bid.tags.values("e").next().map(str::to_owned));
        let auction = self
            .known
            .iter()
            .find(|event| Some(event.id.to_string()) == named)
            .cloned()
            .or(self.earlier(&[30_020]));
        for event in bid.iter().chain(&auction) {
            draft.tags.push(["e", &event.id.to_string()]);
        }
        let merchant =
            auction.and_then(|auction| (0..4).map(Person::new).find(|one| one.key() == auction.pubkey));
        draft.author = merchant.filter(|_| self.chance.percent(85));
        draft
    }

    fn listing(&mut self, mut draft: Draft, price: &str, currency: &str, images: usize) -> Draft {
        for (percent, tag) in [
            (97, vec!["d", self.some(&IDENTIFIERS)]),
            (90, vec!["title", "Fresh bread"]),
            (85, vec!["price", price, currency]),
            (5, vec!["price", "free"]),
            (50, vec!["status", self.some(&["active", "sold", "gone"])]),
            (50, vec!["location", "Berlin"]),
            (40, vec!["g", "u33dc0"]),
            (60, vec!["t", "bread"]),
        ] {
            if self.chance.percent(percent) {
                draft.tags.push(tag);
            }
        }
        for number in 0..images {
            draft.tags.push(["image", &format!("https://fine.example/{number}.jpg")]);
        }
        draft
    }

    fn zap(&mut self) -> Draft {
        match self.chance.below(10) {
            0..=1 => return self.goal(),
            2 => return Draft::new(9_734),
            _ => {}
        }
        let (payer, payee) = (self.chance.person(), self.chance.person());
        let mut tags = Tags::default();
        tags.push(["p", &payee.hex()]);
        let zapped = self.earlier(&[9_041, 9_041, 1]).filter(|_| self.chance.percent(80));
        if let Some(event) = &zapped {
            tags.push(["e", &event.id.to_string()]);
        }
        let amount = self.chance.percent(80).then(|| 1_000 * (1 + self.chance.below(2)));
        if let Some(amount) = amount {
            tags.push(["amount", &amount.to_string()]);
        }
        let mut request = payer.sign(9_734, self.now, tags.clone(), "");
        if self.chance.percent(8) {
            request = forged(self.chance, &request);
        }
        let description = json_of(&request).to_string();
        let billed = if self.chance.percent(85) { amount } else { Some(3_000) };
        let purpose = match self.chance.below(6) {
            0 => For::Text("a zap"),
            1 => For::HashOf("another request"),
            _ => For::HashOf(&description),
        };
        let mut receipt = Draft::new(9_735);
        for tag in tags.iter().filter(|tag| tag.name() != "amount") {
            if self.chance.percent(97) {
                receipt.tags.push(tag.iter());
            }
        }
        let sender = if self.chance.percent(95) { payer.hex() } else { payee.hex() };
        receipt.tags.push(["P", &sender]);
        let bolt11 = if self.chance.percent(95) { invoice(billed, purpose) } else { "lnbc1".to_owned() };
        receipt.tags.push(["bolt11", &bolt11]);
        if self.chance.percent(95) {
            receipt.tags.push(["description", &description]);
        }
        receipt.author = Some(Person::new(if self.chance.percent(80) { WALLET } else { OTHER_WALLET }));
        receipt
    }

    fn goal(&mut self) -> Draft {
        let mut draft = Draft::new(9_041);
        draft.tags.push(["amount", self.some(&["1000", "1000", "1000", "0", "much"])]);
        if self.chance.percent(90) {
            draft.tags.push(["relays", "wss://fine.example"]);
        }
        if self.chance.percent(60) {
            let closed_at = self.now - 4 + self.chance.below(6);
            draft.tags.push(["closed_at", &closed_at.to_string()]);
        }
        draft
    }

    fn bridged(&mut self) -> Draft {
        let domain = self.some(&DOMAINS);
        if self.chance.percent(15) {
            return self.profile();
        }
        let mut draft = Draft::new(*self.chance.pick(&[1, 1, 1, 30_023, 7]));
        if self.chance.percent(80) {
            let id = match self.chance.below(6) {
                0 => format!("at://{domain}/app.bsky.feed.post/3k"),
                1 => "not an address".to_owned(),
                2 => format!("https://{domain}/feed#guid"),
                _ => format!("https://{domain}/post/1"),
            };
            let protocol = self.some(&["activitypub", "activitypub", "atproto", "rss", "web", "gopher"]);
            draft.tags.push(["proxy", &id, protocol]);
        }
        if self.chance.percent(40) {
            draft.content = format!("look at https://{domain}/page and #{}", self.some(&WORDS));
        }
        if self.chance.percent(20) {
            draft.tags.push(["r", &format!("https://{domain}/")]);
        }
        if self.chance.percent(20) {
            draft.author = Some(Person::new(BRIDGE));
        }
        draft
    }

    fn profile(&mut self) -> Draft {
        let mut draft = Draft::new(0);
        let (domain, word) = (self.some(&DOMAINS), self.some(&WORDS));
        draft.content = match self.chance.below(5) {
            0 => "no JSON".to_owned(),
            1 => json!({"about": format!("hello #{word}")}).to_string(),
            _ => json!({"nip05": format!("me@{domain}"), "about": format!("#{word}")}).to_string(),
        };
        draft
    }

    fn person(&mut self) -> Draft {
        let kind = *self.chance.pick(&[0, 3, 3, 3, 10_000, 1_984, 1_984, 1_985, 1, 1, 1, 20, 5]);
        let mut draft = Draft::new(kind);
        let target = self.earlier(&[1, 20, 1_111]);
        match kind {
            0 => return self.profile(),
            3 | 10_000 => {
                for _ in 0..self.chance.below(3) {
                    draft.tags.push(["p", &self.chance.person().hex()]);
                }
                if let Some(event) = target.filter(|_| kind == 10_000) {
                    draft.tags.push(["e", &event.id.to_string()]);
                }
            }
            1_984 => {
                let why = self.some(&["spam", "spam", "illegal", ""]);
                if let Some(event) = target.filter(|_| self.chance.percent(60)) {
                    draft.tags.push(["e", &event.id.to_string(), why]);
                }
                draft.tags.push(["p", &self.chance.person().hex(), why]);
            }
            1_985 => {
                let namespace = self.some(&["com.example.moderation", "ugc"]);
                draft.tags.push(["L", namespace]);
                draft.tags.push(["l", self.some(&["spam", "fine"]), namespace]);
                match target.filter(|_| self.chance.percent(60)) {
                    Some(event) => draft.tags.push(["e", &event.id.to_string()]),
                    None => draft.tags.push(["p", &self.chance.person().hex()]),
                }
            }
            // What takes back a list or a report.
            5 => {
                if let Some(event) = self.earlier(&[3, 10_000, 1_984, 1_985, 0]) {
                    draft.tags.push(["e", &event.id.to_string()]);
                    draft.author = (0..4).map(Person::new).find(|one| one.key() == event.pubkey);
                }
            }
            _ if self.chance.percent(50) => draft.tags.push(["visibility", "followers"]),
            _ => {}
        }
        draft
    }

    fn media(&mut self) -> Draft {
        let mut draft = Draft::new(*self.chance.pick(&[21, 22, 22, 34_235, 34_236, 20, 1]));
        let url =
            format!("https://{}/v.mp4", self.some(&["fine.example", "spam.example", "cdn.fine.example"]));
        let (url_field, length) = (format!("url {url}"), self.some(&["30", "60", "60.5", "601", "long"]));
        let duration_field = format!("duration {length}");
        if draft.kind > 30_000 && self.chance.percent(90) {
            draft.tags.push(["d", self.some(&IDENTIFIERS[..2])]);
        }
        for (percent, tag) in [
            (85, vec!["title", "A video"]),
            (70, vec!["imeta", &url_field, "m video/mp4", "x 0011", &duration_field]),
            (10, vec!["imeta", &url_field]),
            (10, vec!["imeta", "nothing"]),
            (10, vec!["imeta", "m video/mp4", "x 0011"]),
            (20, vec!["url", &url]),
            (30, vec!["content-warning", "loud"]),
            (20, vec!["L", "com.example.moderation"]),
            (20, vec!["l", self.some(&["spam", "nsfw"]), "com.example.moderation"]),
            (20, vec!["duration", length]),
        ] {
            if self.chance.percent(percent) {
                draft.tags.push(tag);
            }
        }
        draft
    }

    fn access(&mut self) -> Draft {
        let mut draft =
            Draft::new(*self.chance.pick(&[1, 1, 7, 4, 1_059, 21_059, 6, 16, 62, 22_242, 30_023]));
        match draft.kind {
            4 | 1_059 | 21_059 => draft.tags.push(["p", &self.chance.person().hex()]),
            6 | 16 => {
                let embedded = self.chance.person().event(1, self.now, &[&["-"]], "mine");
                draft.content = json_of(&embedded).to_string();
            }
            // Requests for elsewhere: those that are followed are rare, or nobody would be left.
            62 => draft.tags.push(["relay", "wss://elsewhere.example"]),
            30_023 => draft.tags.push(["d", self.some(&IDENTIFIERS)]),
            _ => {}
        }
        if self.chance.percent(15) {
            draft.tags.push(["-"]);
        }
        if draft.kind == 1_059 {
            // The author of a wrap is a throwaway key.
            draft.author = Some(Person::new(1_000 + self.chance.below(1_000) as u32));
        }
        draft
    }

    fn large(&mut self) -> Draft {
        let kind = *self.chance.pick(&[1, 1, 7, 30_023]);
        let mut draft = Draft::new(kind);
        draft.content = "ü".repeat(*self.chance.pick(&[0, 1, 2, 10, 11, 40, 41, 300, 301]));
        for _ in 0..*self.chance.pick(&[0, 1, 2, 3, 4, 8, 9]) {
            draft.tags.push(["t", "bread"]);
        }
        if self.chance.percent(30) {
            draft.tags.push(["x", &"y".repeat(*self.chance.pick(&[64, 65, 200, 201]))]);
        }
        if Kind(kind).class() == plaza::event::KindClass::Addressable {
            draft.tags.push(["d", self.some(&IDENTIFIERS)]);
        }
        draft
    }
}
