//! Publishing: events as frames, and connections that send them. In: events. Out: how many were taken, and how
//! long each waited for its OK.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, frame};
use super::reply::{Key, Reply, key, reply};
use super::stats::Times;
use crate::event::Event;

/// Of what was sent, one in so many may be refused: more is no measurement of taking events.
const REFUSED_ONE_IN: usize = 50;

/// One connection's frames, with the end and the key of each.
#[derive(Default)]
pub(super) struct Share {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    keys: Vec<Key>,
}

impl Share {
    fn push(&mut self, event: &Event, text: &mut Vec<u8>) {
        text.clear();
        text.extend_from_slice(b"[\"EVENT\",");
        event.write_json(text);
        text.push(b']');
        frame(text, &mut self.bytes);
        self.ends.push(self.bytes.len());
        self.keys.push(key(&event.id));
    }

    /// The bytes of some of the frames.
    fn frames(&self, from: usize, until: usize) -> &[u8] {
        let start = if from == 0 { 0 } else { self.ends[from - 1] };
        &self.bytes[start..self.ends[until - 1]]
    }
}

/// Deals events out to connections in turn.
pub(super) fn deal<'e>(events: impl IntoIterator<Item = &'e Event>, connections: usize) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..connections).map(|_| Share::default()).collect();
    let mut text = Vec::new();
    for (number, event) in events.into_iter().enumerate() {
        shares[number % connections].push(event, &mut text);
    }
    shares
}

/// Deals events out so that all of one author go over one connection, and so arrive in order.
pub(super) fn deal_by_author(events: &[Event], connections: usize) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..connections).map(|_| Share::default()).collect();
    let mut text = Vec::new();
    for event in events {
        let number = event.pubkey.0.iter().map(|byte| usize::from(*byte)).sum::<usize>();
        shares[number % connections].push(event, &mut text);
    }
    shares
}

/// How fast events are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as OKs come, with so many under way on each connection.
    Full { in_flight: usize },
    /// So many in a second, over all connections together.
    Steady { per_second: f64 },
}

/// What became of events.
#[derive(Default)]
pub(super) struct Published {
    /// How many the relay has now.
    pub(super) taken: usize,
    pub(super) refused: usize,
    /// What was said of the first refused one.
    pub(super) refusal: Option<String>,
    /// From sending to OK.
    pub(super) times: Times,
    /// When each was sent.
    pub(super) sent: Vec<(Key, Instant)>,
}

impl Published {
    pub(super) fn add(&mut self, other: Published) {
        self.taken += other.taken;
        self.refused += other.refused;
        self.refusal = self.refusal.take().or(other.refusal);
        self.times.extend(&other.times);
        self.sent.extend(other.sent);
    }

    /// Fails when so many were refused that the figures mean something else.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &self.refusal {
            Some(refusal) if self.refused * REFUSED_ONE_IN > self.taken => {
                Err(format!("the relay refused {} events, the first: {refusal}", self.refused).into())
            }
            _ => Ok(()),
        }
    }
}

/// Connections that publish.
pub(super) struct Publishers(Vec<Client>);

impl Publishers {
    pub(super) fn connect(address: &str, connections: usize) -> Result<Publishers, Failure> {
        let clients: Result<Vec<Client>, _> = (0..connections).map(|_| Client::connect(address)).collect();
        Ok(Publishers(clients?))
    }

    /// Publishes each share on a connection of its own, and waits until all are answered.
    pub(super) fn publish(&mut self, shares: &[Share], pace: Pace) -> Result<Published, Failure> {
        let (start, connections) = (Barrier::new(shares.len()), shares.len());
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> = (self.0.iter_mut().zip(shares).enumerate())
                .map(|(number, (client, share))| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        let published = match pace {
                            Pace::Full { in_flight } => full(client, share, in_flight),
                            Pace::Steady { per_second } => {
                                let interval = Duration::from_secs_f64(connections as f64 / per_second);
                                steady(
                                    client,
                                    share,
                                    interval,
                                    interval.mul_f64(number as f64 / connections as f64),
                                )
                            }
                        };
                        published.map_err(|failure| failure.to_string())
                    })
                })
                .collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
            joined.collect::<Result<Vec<Published>, String>>()
        })?;
        let mut published = Published::default();
        parts.into_iter().for_each(|part| published.add(part));
        published.check()?;
        Ok(published)
    }
}

/// Events that are under way on a connection: few, so that a search is cheaper than a table.
type UnderWay = Vec<(Key, Instant)>;

/// Waits for the next OKs.
fn answers(client: &mut Client, under_way: &mut UnderWay, published: &mut Published) -> Result<(), Failure> {
    client.receive(|message| {
        if let Reply::Ok(key, is_taken) = reply(message) {
            let Some(at) = under_way.iter().position(|(other, _)| *other == key) else { return };
            published.times.push(under_way.remove(at).1.elapsed());
            if is_taken {
                published.taken += 1;
            } else {
                published.refused += 1;
                published.refusal.get_or_insert_with(|| String::from_utf8_lossy(message).into_owned());
            }
        }
    })?;
    Ok(())
}

fn full(client: &mut Client, share: &Share, in_flight: usize) -> Result<Published, Failure> {
    let (mut published, mut under_way) = (Published::default(), UnderWay::with_capacity(in_flight));
    let mut sent = 0;
    while sent < share.ends.len() || !under_way.is_empty() {
        let until = share.ends.len().min(sent + in_flight - under_way.len());
        if until > sent {
            let now = Instant::now();
            under_way.extend(share.keys[sent..until].iter().map(|key| (*key, now)));
            published.sent.extend(share.keys[sent..until].iter().map(|key| (*key, now)));
            client.send(share.frames(sent, until))?;
            sent = until;
        }
        answers(client, &mut under_way, &mut published)?;
    }
    Ok(published)
}

/// One event after the other, each at its time, or at once if the relay has let that pass.
fn steady(
    client: &mut Client,
    share: &Share,
    interval: Duration,
    offset: Duration,
) -> Result<Published, Failure> {
    let (mut published, mut under_way) = (Published::default(), UnderWay::with_capacity(1));
    let began = Instant::now() + offset;
    for (number, key) in share.keys.iter().enumerate() {
        let due = began + interval.mul_f64(number as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        under_way.push((*key, now));
        published.sent.push((*key, now));
        client.send(share.frames(number, number + 1))?;
        while !under_way.is_empty() {
            answers(client, &mut under_way, &mut published)?;
        }
    }
    Ok(published)
}
