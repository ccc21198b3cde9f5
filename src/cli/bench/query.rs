//! Queries: each shape alone, all shapes in turn alone, an author's events page by page, and all shapes over several
//! connections. In: a relay with stored events. Out: latencies, rates, the relay's CPU.

use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, is_silence};
use super::corpus::World;
use super::dice::Dice;
use super::process::Meter;
use super::relay::{Relay, Settings};
use super::reply::{Reply, created_at, reply};
use super::report::Table;
use super::sample::Sample;
use super::shapes::{Draw, PREFIX, SHAPES, Shape};
use super::stage::Stage;
use super::stats::{Figures, Times};

/// Queries of each shape that warm up what a running relay has warm.
const WARM_UP: usize = 20;

/// Different queries of each shape that each of several connections asks.
const TOGETHER: usize = 50;

/// What one connection received.
#[derive(Default, Clone, Copy)]
struct Received {
    queries: usize,
    events: usize,
    bytes: usize,
    /// The same as they were on their way, compressed or not.
    wire_bytes: usize,
    /// The oldest date among the events of the last answer.
    oldest: u64,
    answered: usize,
}

/// How an answer ended.
enum Answer {
    Whole,
    /// Not at all, in time.
    None,
}

impl Received {
    /// Asks, and reads the whole answer. `dated`: whether dates of events are read.
    fn ask(&mut self, client: &mut Client, message: &[u8], dated: bool) -> Result<Answer, Failure> {
        client.send(message)?;
        let before = client.arrived();
        (self.oldest, self.answered) = (u64::MAX, 0);
        let (mut is_whole, mut is_refused) = (false, false);
        while !is_whole && !is_refused {
            let received = client.receive(|text| {
                self.bytes += text.len();
                match reply(text) {
                    Reply::Event => {
                        self.answered += 1;
                        if dated {
                            self.oldest = self.oldest.min(created_at(text).unwrap_or(u64::MAX));
                        }
                    }
                    Reply::Eose | Reply::Count => is_whole = true,
                    // No answer to what was asked, such as COUNT where that is unknown.
                    Reply::Closed | Reply::Notice => is_refused = true,
                    Reply::Ok(..) | Reply::Other => {}
                }
            });
            match received {
                Err(error) if is_silence(&error) => return Ok(Answer::None),
                other => other?,
            }
        }
        self.events += self.answered;
        self.wire_bytes += client.arrived() - before;
        self.queries += 1;
        Ok(if is_whole { Answer::Whole } else { Answer::None })
    }
}

/// One connection that asks, and stops hoping after a while.
pub(super) struct Asker<'a> {
    address: &'a str,
    patience: Duration,
    client: Client,
    received: Received,
}

impl<'a> Asker<'a> {
    pub(super) fn connect(address: &'a str, patience: Duration) -> Result<Asker<'a>, Failure> {
        let client = Client::connect(address)?;
        client.set_patience(patience)?;
        Ok(Asker { address, patience, client, received: Received::default() })
    }

    /// How long the answer took; `None` if there was none, after which the connection is a new one, on which no
    /// late answer comes.
    fn time(&mut self, message: &[u8], dated: bool) -> Result<Option<Duration>, Failure> {
        let began = Instant::now();
        match self.received.ask(&mut self.client, message, dated)? {
            Answer::Whole => Ok(Some(began.elapsed())),
            Answer::None => {
                *self = Asker::connect(self.address, self.patience)?;
                Ok(None)
            }
        }
    }

    /// Times of so many queries of a shape, and events an answer; `None` as soon as one has no answer.
    pub(super) fn shape(
        &mut self,
        shape: &Shape,
        draw: &Draw<'_>,
        queries: usize,
    ) -> Result<Option<(Times, f64)>, Failure> {
        let (mut dice, mut times) = (Dice::new(7), Times::default());
        self.received = Received::default();
        for number in 0..queries + WARM_UP.min(queries) {
            let Some(time) = self.time(&shape.frame(draw, &mut dice), false)? else { return Ok(None) };
            if number >= WARM_UP.min(queries) {
                times.push(time);
            }
        }
        Ok(Some((times, self.received.events as f64 / self.received.queries as f64)))
    }

    /// All these shapes in turn.
    pub(super) fn mix(
        &mut self,
        shapes: &[&Shape],
        draw: &Draw<'_>,
        queries: usize,
    ) -> Result<Times, Failure> {
        let (mut dice, mut times) = (Dice::new(11), Times::default());
        for shape in shapes.iter().cycle().take(queries * shapes.len()) {
            times.push(self.time(&shape.frame(draw, &mut dice), false)?.ok_or("a query had no answer")?);
        }
        Ok(times)
    }

    /// All events of an author, page by page until one is empty: the times of the pages, and how many events there
    /// were. No two events of a corpus have the same date.
    pub(super) fn pages(&mut self, author: &str, limit: usize) -> Result<Option<(Times, usize)>, Failure> {
        let (mut times, mut until, mut events) = (Times::default(), u64::from(u32::MAX), 0);
        loop {
            let filter = format!(r#"{{"authors":["{author}"],"until":{until},"limit":{limit}}}"#);
            let mut message = Vec::new();
            super::client::frame(format!(r#"["REQ","q",{filter}]"#).as_bytes(), &mut message);
            let Some(time) = self.time(&message, true)? else { return Ok(None) };
            times.push(time);
            events += self.received.answered;
            if self.received.answered == 0 {
                return Ok(Some((times, events)));
            }
            if self.received.oldest > until {
                return Err("a page holds events that are newer than was asked for".into());
            }
            until = self.received.oldest.saturating_sub(1);
        }
    }
}

/// Each shape alone. Returns those that were answered.
pub(super) fn by_shape<'s>(
    asker: &mut Asker<'_>,
    draw: &Draw<'_>,
    shapes: &'s [Shape],
    queries: usize,
    figures: &mut Figures,
) -> Result<Vec<&'s Shape>, Failure> {
    let mut answered = Vec::new();
    for shape in shapes {
        let key = format!("query_{}", shape.key);
        match asker.shape(shape, draw, queries)? {
            Some((times, events)) => {
                figures.put_times(&key, &times);
                figures.put(format!("{key}_answer_events"), events.round());
                answered.push(shape);
            }
            None => latency(&key).into_iter().for_each(|key| figures.put_no_answer(key)),
        }
    }
    Ok(answered)
}

/// Pages of several authors to their ends, until so many are timed.
fn pages_to_the_end(
    asker: &mut Asker<'_>,
    draw: &Draw<'_>,
    pages: usize,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let (mut dice, mut all) = (Dice::new(13), Times::default());
    while all.len() < pages {
        let author = draw.sample.draw(&mut dice).pubkey.to_string();
        match asker.pages(&author, 50)? {
            Some((times, _)) => all.extend(&times),
            None => {
                latency("query_pages").into_iter().for_each(|key| figures.put_no_answer(key));
                return Ok(());
            }
        }
    }
    figures.put_times("query_pages", &all);
    Ok(())
}

/// Shapes in turn, on several connections at once, for a while.
fn together(
    relay: &Relay,
    shapes: &[&Shape],
    stage: &Stage,
    draw: &Draw<'_>,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let connections = stage.options.connections;
    // Written before the clock starts, and asked in turn.
    let messages: Vec<Vec<Vec<u8>>> = (0..connections as u64)
        .map(|number| {
            let mut dice = Dice::new(100 + number);
            shapes
                .iter()
                .cycle()
                .take(shapes.len() * TOGETHER)
                .map(|shape| shape.frame(draw, &mut dice))
                .collect()
        })
        .collect();
    let mut clients: Vec<Client> =
        (0..connections).map(|_| Client::connect(&relay.address)).collect::<Result<_, _>>()?;
    let time = Duration::from_secs_f64(stage.options.query_seconds);
    ask_together(&mut clients, &messages, time.mul_f64(0.2))?;
    let meter = Meter::start(relay.pid())?;
    let received = ask_together(&mut clients, &messages, time)?;
    meter.spent()?.put(figures, "query_together", "queries", received.queries);
    figures.put("query_together_answer_events", received.events as f64 / received.queries as f64);
    figures.put("query_together_answer_bytes", received.bytes as f64 / received.queries as f64);
    let wire_bytes = received.wire_bytes as f64 / received.queries as f64;
    figures.put("query_together_answer_wire_bytes", wire_bytes);
    Ok(())
}

fn ask_together(
    clients: &mut [Client],
    messages: &[Vec<Vec<u8>>],
    time: Duration,
) -> Result<Received, Failure> {
    let began = Instant::now();
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (clients.iter_mut().zip(messages))
            .map(|(client, messages)| {
                scope.spawn(move || {
                    let mut received = Received::default();
                    for message in messages.iter().cycle() {
                        received.ask(client, message, false).map_err(|failure| failure.to_string())?;
                        if began.elapsed() >= time {
                            break;
                        }
                    }
                    Ok::<Received, String>(received)
                })
            })
            .collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked".to_owned())?);
        joined.collect::<Result<Vec<Received>, String>>()
    })?;
    Ok(parts.iter().fold(Received::default(), |sum, one| Received {
        queries: sum.queries + one.queries,
        events: sum.events + one.events,
        bytes: sum.bytes + one.bytes,
        wire_bytes: sum.wire_bytes + one.wire_bytes,
        ..sum
    }))
}

fn run(stage: &Stage, relay: &Relay, world: &World, sample: &Sample) -> Result<Figures, Failure> {
    let (draw, mut figures) = (Draw { world, sample }, Figures::default());
    let queries = stage.options.queries;
    let mut asker = Asker::connect(&relay.address, stage.patience())?;
    let answered = by_shape(&mut asker, &draw, SHAPES, queries, &mut figures)?;
    let meter = Meter::start(relay.pid())?;
    let times = asker.mix(&answered, &draw, queries)?;
    figures.put("query_mix_relay_cpu_microseconds", meter.spent()?.relay_micros(times.len()));
    figures.put_times("query_mix", &times);
    figures.put("query_mix_shapes", answered.len() as f64);
    pages_to_the_end(&mut asker, &draw, queries, &mut figures)?;
    together(relay, &answered, stage, &draw, &mut figures)?;
    Ok(figures)
}

/// Filters by beginnings of geohashes, which are a setting.
fn prefixes(stage: &Stage, sample: &Sample) -> Result<Figures, Failure> {
    let relay = stage.target.launch(Settings { has_prefix_filters: true, ..Settings::default() })?;
    let (world, mut figures) = (&stage.world, Figures::default());
    let mut asker = Asker::connect(&relay.address, stage.patience())?;
    by_shape(&mut asker, &Draw { world, sample }, &[PREFIX], stage.options.queries, &mut figures)?;
    relay.stop()?;
    Ok(figures)
}

fn latency(key: &str) -> Vec<String> {
    vec![format!("{key}_median_milliseconds"), format!("{key}_p99_milliseconds")]
}

fn table(stage: &Stage) -> Table {
    let mut table = Table::new("queries: median, p99, events an answer");
    table.row("events stored", vec!["query_stored_events".to_owned()]);
    table.row("one REQ alone, all shapes in turn", latency("query_mix"));
    table.row("relay's CPU for it", vec!["query_mix_relay_cpu_microseconds".to_owned()]);
    table.row("shapes of these that were answered in time", vec!["query_mix_shapes".to_owned()]);
    for shape in SHAPES.iter().chain([&PREFIX].into_iter().filter(|_| stage.target.is_plaza())) {
        let key = format!("query_{}", shape.key);
        // A COUNT brings no events.
        let events = if shape.is_count() { Vec::new() } else { vec![format!("{key}_answer_events")] };
        table.row(shape.name, [latency(&key), events].concat());
    }
    table.row("one author's pages to the end, a page", latency("query_pages"));
    let together =
        |keys: &[&str]| keys.iter().map(|key| format!("query_together_{key}")).collect::<Vec<String>>();
    table.row(
        format!("all shapes over {} connections", stage.options.connections),
        together(&["queries_per_second"]),
    );
    table.row("relay's CPU a query of these", together(&["relay_cpu_microseconds"]));
    table.row("events and bytes an answer", together(&["answer_events", "answer_bytes"]));
    table.row("bytes on the wire an answer", together(&["answer_wire_bytes"]));
    table.row("client's share of all CPU", together(&["client_cpu_share"]));
    table
}

/// Measures several times.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let (relay, filled) = stage.filled(Settings::default())?;
    let mut runs = Vec::new();
    for number in 0..stage.options.runs {
        stage.say(format_args!("queries, run {} of {}", number + 1, stage.options.runs));
        runs.push(run(stage, &relay, &stage.world, &filled.sample)?);
    }
    relay.stop()?;
    let mut figures = Figures::medians(&runs);
    if stage.target.is_plaza() {
        figures.append(prefixes(stage, &filled.sample)?);
    }
    figures.put("query_stored_events", filled.sample.stored() as f64);
    stage.keep(filled);
    Ok((table(stage), figures))
}
