//! Queries as clients ask them, by shape. In: events that are stored. Out: latency alone, and a rate over
//! several connections with the relay's CPU for each.

use std::time::{Duration, Instant};

use super::client::{Client, frame};
use super::dice::Dice;
use super::people::author;
use super::{Failure, median};
use crate::event::{Event, Kind};

/// Queries of each shape that are measured alone.
const ALONE: usize = 200;

/// A kind of query, and how one is written.
pub(super) struct Shape {
    pub(super) name: &'static str,
    write: fn(&Draw<'_>, &mut Dice) -> String,
}

/// What queries are drawn from.
pub(super) struct Draw<'a> {
    events: &'a [Event],
}

impl Draw<'_> {
    fn event(&self, dice: &mut Dice) -> &Event {
        &self.events[dice.below(self.events.len() as u64) as usize]
    }

    fn note(&self, dice: &mut Dice) -> &Event {
        loop {
            let event = self.event(dice);
            if event.kind == Kind(1) {
                return event;
            }
        }
    }

    fn authors(dice: &mut Dice, count: usize) -> String {
        let keys: Vec<String> = (0..count).map(|_| format!("\"{}\"", author(dice.next()))).collect();
        keys.join(",")
    }
}

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "home feed, 300 authors",
        write: |_, dice| format!(r#"{{"kinds":[1,6],"authors":[{}],"limit":50}}"#, Draw::authors(dice, 300)),
    },
    Shape {
        name: "profiles of 50 authors",
        write: |_, dice| format!(r#"{{"kinds":[0],"authors":[{}]}}"#, Draw::authors(dice, 50)),
    },
    Shape {
        name: "thread",
        write: |draw, dice| format!(r##"{{"kinds":[1,7],"#e":["{}"],"limit":100}}"##, draw.note(dice).id),
    },
    Shape {
        name: "mentions",
        write: |draw, dice| {
            format!(r##"{{"#p":["{}"],"kinds":[1,6,7],"limit":50}}"##, draw.note(dice).pubkey)
        },
    },
    Shape {
        name: "global page",
        write: |draw, dice| format!(r#"{{"kinds":[1],"until":{},"limit":50}}"#, draw.event(dice).created_at),
    },
    Shape {
        name: "20 ids",
        write: |draw, dice| {
            let ids: Vec<String> = (0..20).map(|_| format!("\"{}\"", draw.note(dice).id)).collect();
            format!(r#"{{"ids":[{}]}}"#, ids.join(","))
        },
    },
    Shape {
        name: "hashtag",
        write: |draw, dice| {
            format!(r##"{{"#t":["coffee"],"until":{},"limit":50}}"##, draw.event(dice).created_at)
        },
    },
    Shape {
        name: "geohash",
        write: |draw, dice| {
            format!(
                r##"{{"#g":["u33d{:x}"],"until":{},"limit":50}}"##,
                dice.below(16),
                draw.event(dice).created_at
            )
        },
    },
    Shape {
        name: "one author's page",
        write: |draw, dice| {
            let event = draw.note(dice);
            format!(r#"{{"authors":["{}"],"until":{},"limit":50}}"#, event.pubkey, event.created_at)
        },
    },
    Shape {
        name: "listings",
        write: |draw, dice| {
            format!(r#"{{"kinds":[30402],"until":{},"limit":30}}"#, draw.event(dice).created_at)
        },
    },
    Shape {
        name: "nothing matches",
        write: |_, dice| {
            format!(
                r##"{{"kinds":[1],"authors":[{}],"#t":["never{}"]}}"##,
                Draw::authors(dice, 20),
                dice.next()
            )
        },
    },
];

impl Shape {
    fn message(&self, draw: &Draw<'_>, dice: &mut Dice) -> String {
        format!(r#"["REQ","q",{}]"#, (self.write)(draw, dice))
    }
}

/// What one connection received.
#[derive(Default, Clone, Copy)]
pub(super) struct Received {
    pub(super) queries: usize,
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Received {
    /// Asks and reads up to EOSE.
    fn ask(&mut self, client: &mut Client, message: &[u8]) -> Result<(), Failure> {
        client.send(message)?;
        let mut is_answered = false;
        while !is_answered {
            client.receive(|text| {
                self.bytes += text.len();
                is_answered |= text.starts_with(br#"["EOSE""#) || text.starts_with(br#"["CLOSED""#);
                self.events += usize::from(text.starts_with(br#"["EVENT""#));
            })?;
        }
        self.queries += 1;
        Ok(())
    }
}

/// Median and 99th percentile of a shape's latency with nothing else to do, in milliseconds, and events
/// an answer.
pub(super) fn alone(address: &str, events: &[Event], shape: &Shape) -> Result<(f64, f64, f64), Failure> {
    let (draw, mut dice) = (Draw { events }, Dice::new(7));
    let mut client = Client::connect(address)?;
    let mut received = Received::default();
    let mut times = Vec::with_capacity(ALONE);
    for number in 0..ALONE + 20 {
        let mut message = Vec::new();
        frame(shape.message(&draw, &mut dice).as_bytes(), &mut message);
        let began = Instant::now();
        received.ask(&mut client, &message)?;
        // The first ones warm up what a running relay has warm.
        if number >= 20 {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let p99 = times[times.len() * 99 / 100];
    Ok((median(times), p99, received.events as f64 / received.queries as f64))
}

/// All shapes in turn, on several connections at once, for a while.
pub(super) fn together(
    address: &str,
    events: &[Event],
    connections: usize,
    time: Duration,
) -> Result<Received, Failure> {
    let totals = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                scope.spawn(move || {
                    one_of_many(address, events, number as u64, time).map_err(|failure| failure.to_string())
                })
            })
            .collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
        joined.collect::<Result<Vec<Received>, String>>()
    })?;
    Ok(totals.iter().fold(Received::default(), |sum, one| Received {
        queries: sum.queries + one.queries,
        events: sum.events + one.events,
        bytes: sum.bytes + one.bytes,
    }))
}

fn one_of_many(address: &str, events: &[Event], number: u64, time: Duration) -> Result<Received, Failure> {
    let (draw, mut dice) = (Draw { events }, Dice::new(100 + number));
    let mut client = Client::connect(address)?;
    // Written before the clock starts, and asked in turn.
    let messages: Vec<Vec<u8>> = (0..SHAPES.len() * 50)
        .map(|at| {
            let mut message = Vec::new();
            frame(SHAPES[at % SHAPES.len()].message(&draw, &mut dice).as_bytes(), &mut message);
            message
        })
        .collect();
    let mut received = Received::default();
    let began = Instant::now();
    for message in messages.iter().cycle() {
        received.ask(&mut client, message)?;
        if began.elapsed() >= time {
            break;
        }
    }
    Ok(received)
}
