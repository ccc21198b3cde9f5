//! Events to measure with: a mix like that of real relays, the same in every run and on every machine. In: a
//! seed and how many. Out: signed events, one second apart, ready to be sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::dice::Dice;
use super::people::{self, PEOPLE, Person};
use super::text::{HASHTAGS, Texts};
use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags};

/// The date of a corpus' first event: past on every machine, and fixed, so that events are the same everywhere.
pub(super) const BEGINNING: u64 = 1_760_000_000;

/// Earlier notes that replies and reactions refer to.
const NOTES_REMEMBERED: usize = 4_096;

/// Earlier notes that are reposted, whole.
const REPOSTABLE: usize = 64;

/// Towns where things happen, as geohashes.
const TOWNS: &[&str] = &["u33d", "u281", "gcpv", "dr5r", "xn77", "9q8y", "u09t", "6gyf", "wtw3", "r3gx"];

const GEOHASH_LETTERS: &[u8] = b"0123456789bcdefghjkmnpqrstuvwxyz";
const HEX_LETTERS: &[u8] = b"0123456789abcdef";
const BASE64_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVOICE_LETTERS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// What is the same for every corpus, and takes a moment to make.
pub(super) struct World {
    pub(super) people: Vec<Person>,
    pub(super) texts: Texts,
}

impl World {
    pub(super) fn new() -> Arc<World> {
        Arc::new(World { people: people::all(), texts: Texts::new() })
    }
}

/// Whose key an event is signed with.
#[derive(Debug, Clone, Copy)]
enum Writer {
    Person(usize),
    /// A key made for this event alone, as a gift wrap's (NIP-59).
    Nobody(u64),
}

/// An event that lacks its signature, and its id unless others refer to it.
struct Draft {
    event: Event,
    writer: Writer,
}

/// Makes one event after the other.
pub(super) struct Corpus {
    world: Arc<World>,
    dice: Dice,
    time: u64,
    notes: VecDeque<(Id, usize)>,
    repostable: VecDeque<Event>,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// Kind, tags and content.
type Parts = (u16, Tags, String);

impl Corpus {
    /// A corpus whose events are dated one second apart from a date on.
    pub(super) fn new(world: &Arc<World>, seed: u64, beginning: u64) -> Corpus {
        Corpus {
            world: Arc::clone(world),
            dice: Dice::new(seed),
            time: beginning,
            notes: VecDeque::new(),
            repostable: VecDeque::new(),
        }
    }

    /// The date of the last event.
    pub(super) fn time(&self) -> u64 {
        self.time
    }

    /// The next events. What takes time, their signatures, is spread over the cores.
    pub(super) fn events(&mut self, count: usize) -> Vec<Event> {
        self.events_by(count, cores())
    }

    fn events_by(&mut self, count: usize, threads: usize) -> Vec<Event> {
        let drafts = (0..count).map(|_| self.draft()).collect();
        self.sign(drafts, threads)
    }

    fn sign(&self, mut drafts: Vec<Draft>, threads: usize) -> Vec<Event> {
        let (people, share) = (&self.world.people, drafts.len().div_ceil(threads).max(1));
        std::thread::scope(|scope| {
            for share in drafts.chunks_mut(share) {
                scope.spawn(move || share.iter_mut().for_each(|draft| draft.sign(people)));
            }
        });
        drafts.into_iter().map(|draft| draft.event).collect()
    }

    /// Notes of one person.
    pub(super) fn notes_of(&mut self, person: usize, count: usize) -> Vec<Event> {
        let drafts = (0..count).map(|_| {
            let parts = self.note();
            self.finish(parts, Writer::Person(person))
        });
        let drafts = drafts.collect();
        self.sign(drafts, cores())
    }

    /// The next events, dated anywhere between two moments: old ones that come late.
    pub(super) fn old_events(&mut self, count: usize, from: u64, until: u64) -> Vec<Event> {
        let drafts = (0..count).map(|_| {
            self.time = from + self.dice.below(until - from);
            self.draft()
        });
        let drafts = drafts.collect();
        self.sign(drafts, cores())
    }

    fn draft(&mut self) -> Draft {
        let (kind, tags, content) = self.parts();
        let writer = match kind {
            1_059 => Writer::Nobody(PEOPLE + self.dice.next() / 2),
            // Everybody has one profile and one list of each kind, and changes them as often as others.
            0 | 3 | 10_002 => Writer::Person(self.dice.below(PEOPLE) as usize),
            _ => Writer::Person(self.dice.power_law(PEOPLE) as usize),
        };
        self.finish((kind, tags, content), writer)
    }

    fn finish(&mut self, (kind, tags, content): Parts, writer: Writer) -> Draft {
        self.time += 1;
        let pubkey = match writer {
            Writer::Person(number) => self.world.people[number].key,
            Writer::Nobody(_) => PublicKey([0; 32]),
        };
        let (id, sig) = (Id([0; 32]), Signature([0; 64]));
        let mut event = Event { id, pubkey, created_at: self.time, kind: Kind(kind), tags, content, sig };
        if let (1, Writer::Person(number)) = (kind, writer) {
            event.id = event.hash(&mut Vec::new());
            self.remember(&event, number);
        }
        Draft { event, writer }
    }

    fn remember(&mut self, event: &Event, author: usize) {
        self.notes.truncate(NOTES_REMEMBERED - 1);
        self.notes.push_front((event.id, author));
        self.repostable.truncate(REPOSTABLE - 1);
        self.repostable.push_front(event.clone());
    }

    /// Kind, tags and content of the next event: so many in a thousand of each.
    fn parts(&mut self) -> Parts {
        match self.dice.below(1_000) {
            0..290 => self.note(),
            290..510 => self.reply(),
            510..760 => self.reaction(),
            760..790 => self.repost(),
            790..820 => self.zap(),
            820..856 => self.profile(),
            856..860 => self.follows(),
            860..880 => self.relays(),
            880..890 => self.article(),
            890..910 => self.listing(),
            910..955 => self.placed_note(),
            _ => self.gift_wrap(),
        }
    }

    fn text(&mut self, words_min: u64, words_spread: u64) -> String {
        let mut text = String::new();
        // Most posts are short and a few are long.
        let words = words_min + self.dice.power_law(words_spread);
        self.world.texts.write(&mut self.dice, words, &mut text);
        text
    }

    fn random(&mut self, letters: &[u8], count: usize) -> String {
        let mut text = String::with_capacity(count);
        self.dice.letters(letters, count, &mut text);
        text
    }

    /// An earlier note, recent ones more often, and its author.
    fn earlier(&mut self) -> (String, usize) {
        match self.notes.len() as u64 {
            0 => (self.random(HEX_LETTERS, 64), 0),
            len => {
                let (id, author) = self.notes[self.dice.power_law(len) as usize];
                (id.to_string(), author)
            }
        }
    }

    fn someone(&mut self) -> usize {
        self.dice.power_law(PEOPLE) as usize
    }

    /// What posts have besides words, with the tags that belong to it.
    fn adorn(&mut self, tags: &mut Tags, text: &mut String) {
        let world = Arc::clone(&self.world);
        if self.dice.one_in(10) {
            let person = &world.people[self.someone()];
            text.push(' ');
            text.push_str(&person.mention());
            tags.push(["p", &person.hex, "", "mention"]);
        }
        if self.dice.one_in(8) {
            let count = 1 + self.dice.below(3) as usize;
            for number in self.dice.different(count, HASHTAGS) {
                let hashtag = world.texts.hashtag(u64::from(number));
                text.push_str(" #");
                text.push_str(hashtag);
                tags.push(["t", hashtag]);
            }
        }
        if self.dice.one_in(6) {
            text.push(' ');
            world.texts.write_emoji(&mut self.dice, text);
        }
        if self.dice.one_in(6) {
            text.push('\n');
            world.texts.write_address(&mut self.dice, text);
        }
    }

    fn note(&mut self) -> Parts {
        let (mut tags, mut text) = (Tags::default(), self.text(4, 80));
        self.adorn(&mut tags, &mut text);
        (1, tags, text)
    }

    fn reply(&mut self) -> Parts {
        let ((root, author), (reply, other)) = (self.earlier(), self.earlier());
        let (mut tags, mut text) = (Tags::default(), self.text(2, 40));
        let people = &self.world.people;
        tags.push(["e", &root, "wss://relay.example.org", "root"]);
        tags.push(["e", &reply, "", "reply"]);
        tags.push(["p", &people[author].hex]);
        if other != author {
            tags.push(["p", &people[other].hex]);
        }
        self.adorn(&mut tags, &mut text);
        (1, tags, text)
    }

    fn reaction(&mut self) -> Parts {
        let ((id, author), mut content) = (self.earlier(), String::new());
        let mut tags = Tags::default();
        tags.push(["e", &id]);
        tags.push(["p", &self.world.people[author].hex]);
        tags.push(["k", "1"]);
        match self.dice.below(3) {
            0 => self.world.texts.write_emoji(&mut self.dice, &mut content),
            _ => content.push('+'),
        }
        (7, tags, content)
    }

    /// A repost holds what it reposts, or leaves it out.
    fn repost(&mut self) -> Parts {
        let len = self.repostable.len() as u64;
        let mut tags = Tags::default();
        if len == 0 || self.dice.one_in(3) {
            let (id, author) = self.earlier();
            tags.push(["e", &id, "wss://relay.example.org"]);
            tags.push(["p", &self.world.people[author].hex]);
            return (6, tags, String::new());
        }
        let mut event = self.repostable[self.dice.power_law(len) as usize].clone();
        // Signatures are made later, all together; nobody checks the one in here.
        for eight in event.sig.0.chunks_exact_mut(8) {
            eight.copy_from_slice(&self.dice.next().to_le_bytes());
        }
        tags.push(["e", &event.id.to_string(), "wss://relay.example.org"]);
        tags.push(["p", &event.pubkey.to_string()]);
        (6, tags, String::from_utf8(event.to_json()).unwrap_or_default())
    }

    /// A receipt with its request and invoice, which only look true (NIP-57).
    fn zap(&mut self) -> Parts {
        let ((id, author), sender) = (self.earlier(), self.someone());
        let millisats = 1_000 * 21_u64.pow(1 + self.dice.below(3) as u32);
        let comment = if self.dice.one_in(3) {
            self.text(1, 12).replace(['\n', '"', '\\'], " ")
        } else {
            String::new()
        };
        let (request_id, sig) = (self.random(HEX_LETTERS, 64), self.random(HEX_LETTERS, 128));
        let invoice = self.random(INVOICE_LETTERS, 290);
        let preimage = self.random(HEX_LETTERS, 64);
        let (author, sender) = (&self.world.people[author].hex, &self.world.people[sender].hex);
        let request = format!(
            r#"{{"kind":9734,"content":"{comment}","tags":[["p","{author}"],["e","{id}"],["amount","{millisats}"],["relays","wss://relay.example.org","wss://other.example.net"]],"created_at":{},"pubkey":"{sender}","id":"{request_id}","sig":"{sig}"}}"#,
            self.time
        );
        let mut tags = Tags::default();
        tags.push(["p", author]);
        tags.push(["e", &id]);
        tags.push(["P", sender]);
        tags.push(["bolt11", &format!("lnbc{}n1{invoice}", millisats / 100)]);
        tags.push(["preimage", &preimage]);
        tags.push(["description", &request]);
        (9_735, tags, String::new())
    }

    fn profile(&mut self) -> Parts {
        let about = self.text(4, 40).replace('\n', r"\n");
        let (name, picture) = (self.random(b"aeioulmnrst", 7), self.random(HEX_LETTERS, 64));
        let content = format!(
            r#"{{"name":"{name}","display_name":"{name} ☀","about":"{about}","picture":"https://media.example.com/{picture}.jpg","nip05":"{name}@example.org","lud16":"{name}@wallet.example.com"}}"#
        );
        (0, Tags::default(), content)
    }

    fn follows(&mut self) -> Parts {
        let count = 100 + self.dice.below(300) as usize;
        let mut tags = Tags::default();
        for number in self.dice.different(count, PEOPLE) {
            tags.push(["p", &self.world.people[number as usize].hex]);
        }
        (3, tags, String::new())
    }

    fn relays(&mut self) -> Parts {
        let (mut tags, count) = (Tags::default(), 3 + self.dice.below(5) as usize);
        for number in self.dice.different(count, 300) {
            let address = format!("wss://relay{number}.example.org/");
            match self.dice.below(4) {
                0 => tags.push(["r", &address, "read"]),
                1 => tags.push(["r", &address, "write"]),
                _ => tags.push(["r", &address]),
            }
        }
        (10_002, tags, String::new())
    }

    fn article(&mut self) -> Parts {
        let mut tags = Tags::default();
        tags.push(["d", &format!("article-{}", self.dice.below(400))]);
        tags.push(["title", &self.text(3, 8)]);
        tags.push(["published_at", &self.time.to_string()]);
        tags.push(["t", "longform"]);
        tags.push(["t", self.world.texts.hashtag(self.dice.power_law(HASHTAGS))]);
        (30_023, tags, self.text(200, 1_500))
    }

    fn cell(&mut self) -> String {
        let town = TOWNS[self.dice.power_law(TOWNS.len() as u64) as usize];
        format!("{town}{}", self.random(GEOHASH_LETTERS, 3))
    }

    fn listing(&mut self) -> Parts {
        let (mut tags, cell) = (Tags::default(), self.cell());
        // Few values, so that some are newer versions of what is there.
        tags.push(["d", &format!("listing-{}", self.dice.below(200))]);
        tags.push(["title", &self.text(2, 6)]);
        tags.push(["price", &(1 + self.dice.power_law(2_000)).to_string(), "EUR"]);
        tags.push(["status", if self.dice.one_in(4) { "sold" } else { "active" }]);
        tags.push(["image", &format!("https://media.example.com/{}.jpg", self.random(HEX_LETTERS, 64))]);
        tags.push(["t", "market"]);
        tags.push(["g", &cell[..6]]);
        (30_402, tags, self.text(10, 120))
    }

    /// A note with its place as a ladder, each step more exact, as clients write it for want of prefix filters.
    fn placed_note(&mut self) -> Parts {
        let (mut tags, cell) = (Tags::default(), self.cell());
        for digits in 3..=cell.len() {
            tags.push(["g", &cell[..digits]]);
        }
        (1, tags, self.text(3, 40))
    }

    /// A message that nobody can read: a payload of NIP-44, padded as it asks.
    fn gift_wrap(&mut self) -> Parts {
        let (mut tags, to) = (Tags::default(), self.someone());
        tags.push(["p", &self.world.people[to].hex]);
        // Version, nonce, length and code besides what is padded to steps of 128 or 256 bytes.
        let bytes = 1 + 32 + 2 + 32 + self.dice.pick(&[512, 512, 640, 640, 768, 896, 1_024]);
        let mut content = self.random(BASE64_LETTERS, (bytes * 4_usize).div_ceil(3));
        content.extend(std::iter::repeat_n('=', (4 - content.len() % 4) % 4));
        (1_059, tags, content)
    }
}

impl Draft {
    fn sign(&mut self, people: &[Person]) {
        let event = &mut self.event;
        let made;
        let keypair = match self.writer {
            Writer::Person(number) => &people[number].keypair,
            Writer::Nobody(number) => {
                made = people::keypair(number);
                event.pubkey = people::public(&made);
                &made
            }
        };
        if event.id == Id([0; 32]) {
            event.id = event.hash(&mut Vec::new());
        }
        event.sig = Signature(keypair.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verified;

    #[test]
    fn a_seed_gives_the_same_events_on_any_number_of_cores() {
        let world = World::new();
        let of = |seed, threads, parts: &[usize]| -> Vec<Event> {
            let mut corpus = Corpus::new(&world, seed, BEGINNING);
            parts.iter().flat_map(|count| corpus.events_by(*count, threads)).collect()
        };
        let events = of(1, 1, &[700]);
        assert_eq!(of(1, 3, &[700]), events);
        assert_eq!(of(1, 2, &[300, 1, 399]), events, "however many are made at a time");
        assert!(of(2, 1, &[10]).iter().all(|event| !events.contains(event)), "another seed, other events");
    }

    #[test]
    fn events_are_true_and_of_every_kind_and_size() {
        let mut corpus = Corpus::new(&World::new(), 1, BEGINNING);
        let events = corpus.events(3_000);
        let bytes: usize = events.iter().map(|event| event.to_json().len()).sum();
        assert!((700..820).contains(&(bytes / events.len())), "{} bytes on average", bytes / events.len());
        for kind in [0, 1, 3, 6, 7, 1_059, 9_735, 10_002, 30_023, 30_402] {
            assert!(events.iter().any(|event| event.kind == Kind(kind)), "kind {kind}");
        }
        for event in events {
            assert_eq!(Event::from_json(&event.to_json()).as_ref(), Ok(&event));
            assert!(Verified::check(event, &mut Vec::new()).is_ok());
        }
    }
}
