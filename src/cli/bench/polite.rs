//! Clients that keep to the limits: each publishes a note now and then, hears it live, and reads its last ones. In: a
//! relay, and how long. Out: how long each of the three took, and what was refused.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use secp256k1::Keypair;

use super::Failure;
use super::client::Client;
use super::corpus::BEGINNING;
use super::people::{PEOPLE, keypair, public};
use super::reply::{Reply, reply};
use super::stats::Times;
use crate::event::{Event, Id, Kind, Signature, Tags};

/// Between the beginnings of two rounds of one client: below the limits by author, which are the lowest.
const ROUND: Duration = Duration::from_millis(250);

/// What they met with.
#[derive(Default)]
pub(super) struct Experience {
    /// From sending an event to its OK.
    pub(super) answer: Times,
    /// From sending an event to hearing it live.
    pub(super) live: Times,
    /// From a REQ to its EOSE.
    pub(super) read: Times,
    pub(super) refused: usize,
    /// What was said of the first refused one.
    refusal: Option<String>,
}

impl Experience {
    fn add(&mut self, other: Experience) {
        self.answer.extend(&other.answer);
        self.live.extend(&other.live);
        self.read.extend(&other.read);
        self.refused += other.refused;
        self.refusal = self.refusal.take().or(other.refusal);
    }

    /// What was said of the first that was refused, if any was.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// A signed note.
pub(super) fn note(keypair: &Keypair, kind: u16, created_at: u64, content: String) -> Event {
    let mut event = Event {
        id: Id([0; 32]),
        pubkey: public(keypair),
        created_at,
        kind: Kind(kind),
        tags: Tags::default(),
        content,
        sig: Signature([0; 64]),
    };
    event.id = event.hash(&mut Vec::new());
    event.sig = Signature(keypair.sign_schnorr_no_aux_rand(&event.id.0).to_byte_array());
    event
}

/// An event as a message.
pub(super) fn message(event: &Event) -> Vec<u8> {
    let mut text = b"[\"EVENT\",".to_vec();
    event.write_json(&mut text);
    text.push(b']');
    text
}

/// One of them.
pub(super) struct Polite {
    client: Client,
    keypair: Keypair,
    author: String,
    experience: Experience,
}

impl Polite {
    fn connect(relay: &str, number: usize) -> Result<Polite, Failure> {
        let number = u16::try_from(number)?;
        let [high, low] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(10, 1, high, low));
        // Theirs alone: nobody of the corpus has such a key.
        let keypair = keypair(PEOPLE + u64::from(number));
        let (mut client, author) = (Client::connect_for(relay, address)?, public(&keypair).to_string());
        client.send_text(&format!(r#"["REQ","live",{{"authors":["{author}"],"limit":0}}]"#))?;
        let mut is_open = false;
        while !is_open {
            client.receive(|message| is_open |= reply(message) == Reply::Eose)?;
        }
        Ok(Polite { client, keypair, author, experience: Experience::default() })
    }

    fn round(&mut self, created_at: u64, content: String) -> Result<(), Failure> {
        let event = note(&self.keypair, 1, created_at, content);
        let text = message(&event);
        let experience = &mut self.experience;
        let began = Instant::now();
        self.client.send_text(std::str::from_utf8(&text)?)?;
        let (mut answered, mut heard) = (false, false);
        while !(answered && heard) {
            self.client.receive(|message| match reply(message) {
                Reply::Ok(_, is_taken) => {
                    experience.answer.push(began.elapsed());
                    answered = true;
                    if !is_taken {
                        experience.refused += 1;
                        let said = String::from_utf8_lossy(message).into_owned();
                        experience.refusal.get_or_insert(said);
                        // It will not come live.
                        heard = true;
                    }
                }
                Reply::Event => {
                    experience.live.push(began.elapsed());
                    heard = true;
                }
                _ => {}
            })?;
        }
        let began = Instant::now();
        let author = &self.author;
        self.client.send_text(&format!(r#"["REQ","read",{{"authors":["{author}"],"limit":20}}]"#))?;
        let mut is_read = false;
        while !is_read {
            self.client.receive(|message| match reply(message) {
                Reply::Eose => {
                    experience.read.push(began.elapsed());
                    is_read = true;
                }
                Reply::Closed => {
                    experience.refused += 1;
                    experience.refusal.get_or_insert(String::from_utf8_lossy(message).into_owned());
                    is_read = true;
                }
                _ => {}
            })?;
        }
        Ok(self.client.send_text(r#"["CLOSE","read"]"#)?)
    }

    fn live(mut self, run: u64, offset: Duration, until: Instant) -> Result<Experience, Failure> {
        let began = Instant::now() + offset;
        for number in 0.. {
            let due = began + ROUND * number;
            if due >= until {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.round(BEGINNING + u64::from(number), format!("note {number} of run {run}"))?;
        }
        Ok(self.experience)
    }
}

/// So many of them, connected.
pub(super) fn connect(relay: &str, count: usize) -> Result<Vec<Polite>, Failure> {
    (0..count).map(|number| Polite::connect(relay, number)).collect()
}

/// They go about until a moment. Notes of one run differ from those of others.
pub(super) fn all(clients: Vec<Polite>, run: u64, until: Instant) -> Result<Experience, Failure> {
    let count = clients.len();
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (clients.into_iter().enumerate())
            .map(|(number, client)| {
                let offset = ROUND.mul_f64(number as f64 / count as f64);
                scope.spawn(move || client.live(run, offset, until).map_err(|failure| failure.to_string()))
            })
            .collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
        joined.collect::<Result<Vec<Experience>, String>>()
    })?;
    let mut all = Experience::default();
    parts.into_iter().for_each(|part| all.add(part));
    Ok(all)
}
