//! Events to measure with: a mix like that of real relays, the same in every run. In: a seed and how
//! many. Out: signed events, ready to be sent.

use secp256k1::{Keypair, SecretKey};

use crate::event::{Event, Id, Kind, PublicKey, Signature, Tags};

/// People who write. The first write most: who is `n`th writes in proportion to `1 / n`, about.
const AUTHORS: u64 = 5_000;

/// Earlier events that replies and reactions refer to.
const REMEMBERED: usize = 4_096;

/// Numbers that are the same in every run (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Small numbers far more often than large ones.
    fn power_law(&mut self, bound: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (((bound as f64).powf(unit) - 1.0) as u64).min(bound - 1)
    }
}

/// Makes one event after the other.
pub(super) struct Corpus {
    dice: Dice,
    time: u64,
    authors: Vec<Keypair>,
    remembered: Vec<(Id, PublicKey)>,
    made: usize,
}

const WORDS: &[&str] = &[
    "market", "the", "of", "tomorrow", "river", "bread", "and", "a", "we", "square", "morning", "to",
    "relay", "open", "music", "at", "you", "garden", "friends", "is", "tonight", "bridge", "with", "coffee",
    "for", "grüße", "街", "☀",
];

fn keypair(number: u64) -> Keypair {
    let mut secret = [11; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    // The bytes are far below the group's order and not zero.
    let secret =
        SecretKey::from_secret_bytes(secret).unwrap_or_else(|_| unreachable!("a constant below the order"));
    Keypair::from_secret_key(&secret)
}

/// The author of this number.
pub(super) fn author(number: u64) -> PublicKey {
    PublicKey(keypair(number % AUTHORS).x_only_public_key().0.to_byte_array())
}

impl Corpus {
    /// A corpus whose events are dated one second apart from `start` on.
    pub(super) fn new(seed: u64, start: u64) -> Corpus {
        let authors = (0..AUTHORS).map(keypair).collect();
        Corpus { dice: Dice::new(seed), time: start, authors, remembered: Vec::new(), made: 0 }
    }

    fn text(&mut self, words: u64) -> String {
        let mut text = String::new();
        for _ in 0..words {
            text.push_str(WORDS[self.dice.below(WORDS.len() as u64) as usize]);
            text.push(' ');
        }
        text
    }

    fn random_hex(&mut self, bytes: usize) -> String {
        let mut out = Vec::with_capacity(bytes + 8);
        while out.len() < bytes {
            out.extend_from_slice(&self.dice.next().to_le_bytes());
        }
        hex::encode(&out[..bytes])
    }

    /// An earlier event; recent ones more often.
    fn earlier(&mut self) -> (String, String) {
        let len = self.remembered.len() as u64;
        if len == 0 {
            return (self.random_hex(32), author(0).to_string());
        }
        let back = self.dice.power_law(len);
        let (id, key) = self.remembered[(len - 1 - back) as usize];
        (id.to_string(), key.to_string())
    }

    fn someone(&mut self) -> String {
        let number = self.dice.power_law(AUTHORS) as usize;
        PublicKey(self.authors[number].x_only_public_key().0.to_byte_array()).to_string()
    }

    /// Kind, tags and content of the next event.
    fn draft(&mut self) -> (u16, Tags, String) {
        let mut tags = Tags::default();
        match self.dice.below(1_000) {
            0..300 => {
                let words = 8 + self.dice.below(40);
                if self.dice.below(4) == 0 {
                    tags.push(["t", WORDS[self.dice.below(WORDS.len() as u64) as usize]]);
                }
                (1, tags, self.text(words))
            }
            300..520 => {
                let ((root, author), (reply, other)) = (self.earlier(), self.earlier());
                tags.push(["e", &root, "wss://relay.example.org", "root"]);
                tags.push(["e", &reply, "", "reply"]);
                tags.push(["p", &author]);
                tags.push(["p", &other]);
                let words = 4 + self.dice.below(30);
                (1, tags, self.text(words))
            }
            520..770 => {
                let (id, key) = self.earlier();
                tags.push(["e", &id]);
                tags.push(["p", &key]);
                tags.push(["k", "1"]);
                (7, tags, "+".to_owned())
            }
            770..810 => {
                let (id, key) = self.earlier();
                tags.push(["e", &id, "wss://relay.example.org"]);
                tags.push(["p", &key]);
                (6, tags, String::new())
            }
            810..840 => {
                let ((id, key), sender) = (self.earlier(), self.someone());
                tags.push(["p", &key]);
                tags.push(["P", &sender]);
                tags.push(["e", &id]);
                tags.push(["bolt11", &format!("lnbc210n1{}", self.random_hex(140))]);
                tags.push(["description", &self.text(60)]);
                (9_735, tags, String::new())
            }
            840..870 => {
                let about = self.text(20);
                (
                    0,
                    tags,
                    format!(
                        r#"{{"name":"someone","about":"{about}","picture":"https://example.org/me.jpg"}}"#
                    ),
                )
            }
            _ => self.rarer_draft(tags),
        }
    }

    fn rarer_draft(&mut self, mut tags: Tags) -> (u16, Tags, String) {
        match self.dice.below(130) {
            0..5 => {
                for _ in 0..100 + self.dice.below(400) {
                    tags.push(["p", &self.someone()]);
                }
                (3, tags, String::new())
            }
            5..25 => {
                for number in 0..3 + self.dice.below(5) {
                    tags.push(["r", &format!("wss://relay{number}.example.org/")]);
                }
                (10_002, tags, String::new())
            }
            25..35 => {
                tags.push(["d", &self.random_hex(4)]);
                tags.push(["title", &self.text(6)]);
                tags.push(["t", "longform"]);
                let words = 400 + self.dice.below(500);
                (30_023, tags, self.text(words))
            }
            35..55 => {
                tags.push(["d", &self.random_hex(4)]);
                tags.push(["title", &self.text(4)]);
                tags.push(["price", "25", "EUR"]);
                tags.push(["status", "active"]);
                tags.push(["t", "market"]);
                tags.push(["g", "u33db"]);
                (30_402, tags, self.text(60))
            }
            55..100 => {
                let cell = format!("u33d{}", &self.random_hex(3));
                for digits in 3..=cell.len() {
                    tags.push(["g", &cell[..digits]]);
                }
                (1, tags, self.text(15))
            }
            _ => {
                tags.push(["p", &self.someone()]);
                let content = self.random_hex(500);
                (1_059, tags, content)
            }
        }
    }

    /// The next event.
    pub(super) fn event(&mut self) -> Event {
        let (kind, tags, content) = self.draft();
        let keypair = match kind {
            // A wrap's author is made for it alone (NIP-59).
            1_059 => keypair(AUTHORS + self.dice.next() / 2),
            // Everybody has one profile and one list of each kind, and changes them as often as others.
            0 | 3 | 10_002 => self.authors[self.dice.below(AUTHORS) as usize],
            _ => self.authors[self.dice.power_law(AUTHORS) as usize],
        };
        self.time += 1;
        let mut event = Event {
            id: Id([0; 32]),
            pubkey: PublicKey(keypair.x_only_public_key().0.to_byte_array()),
            created_at: self.time,
            kind: Kind(kind),
            tags,
            content,
            sig: Signature([0; 64]),
        };
        event.id = event.hash(&mut Vec::new());
        event.sig = Signature(keypair.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
        if kind == 1 {
            let seen = (event.id, event.pubkey);
            match self.remembered.len() < REMEMBERED {
                true => self.remembered.push(seen),
                false => self.remembered[self.made % REMEMBERED] = seen,
            }
        }
        self.made += 1;
        event
    }
}
