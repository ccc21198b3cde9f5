//! Fan-out: many live subscriptions while events come in. In: a relay. Out: deliveries a second, how long an event is
//! under way from its sender to each subscriber, and the relay's CPU for that, what taking the event costs deducted.
//! Every delivery is counted, and must be one that a filter asks for: a relay that is quick and loses events is not.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::client::{Client, Frame, Frames, SMALL_BUFFER_BYTES};
use super::connections::allow_descriptors;
use super::corpus::World;
use super::dice::Dice;
use super::people::PEOPLE;
use super::process::{Meter, Spent};
use super::publish::{Pace, Published, Publishers, deal_by_author};
use super::relay::{Relay, Settings};
use super::reply::{Key, Reply, event_key, key, reply, subscription};
use super::report::Table;
use super::stage::{Filled, Stage};
use super::stats::{Figures, Times};
use super::{Failure, limits};
use crate::event::{Event, PublicKey};
use crate::words;

/// Authors of each subscription, drawn as people follow people.
const AUTHORS: usize = 100;

/// For how long events are sent at a steady pace.
const STEADY_SECONDS: usize = 5;

/// How long is waited for deliveries that nobody asked for, once all others are there.
const LINGER: Duration = Duration::from_millis(200);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

const ROWS: &[(&str, &[&str])] = &[
    ("deliveries", &["fanout_full_deliveries_per_second"]),
    ("relay's CPU a delivery, taking the event deducted", &["fanout_full_relay_cpu_microseconds"]),
    (
        "from sending to delivery at full rate: median, p99",
        &["fanout_full_latency_median_milliseconds", "fanout_full_latency_p99_milliseconds"],
    ),
    ("deliveries an event", &["fanout_full_deliveries_an_event"]),
    ("bytes on the wire a delivery", &["fanout_wire_bytes"]),
    ("missing or unasked deliveries", &["fanout_wrong_deliveries"]),
    ("client's share of all CPU", &["fanout_full_client_cpu_share"]),
];

/// What is shown of each steady rate, and the end of the key of each figure.
const ROWS_AT_A_RATE: &[(&str, &[&str])] = &[
    ("relay's CPU a delivery", &["relay_cpu_microseconds"]),
    ("from sending to delivery: median, p99", &["latency_median_milliseconds", "latency_p99_milliseconds"]),
    ("limit: CPU of the kernel for one message of as many bytes", &["limit_send_cpu_microseconds"]),
];

/// What the keys of a steady rate's figures begin with.
fn key_at(per_second: usize) -> String {
    format!("fanout_at_{per_second}")
}

/// What arrived: for which subscription, which event, when.
struct Delivery {
    subscription: usize,
    event: Key,
    at: Instant,
}

/// Subscriptions, as numbers of the authors that each asks for.
struct Subscriptions(Vec<Vec<u32>>);

impl Subscriptions {
    fn draw(count: usize) -> Subscriptions {
        let mut dice = Dice::new(17);
        Subscriptions((0..count).map(|_| dice.different(AUTHORS, PEOPLE)).collect())
    }

    /// The filter of one of them: what is written from now on, by the corpus' clock.
    fn filter(&self, number: usize, world: &World, since: u64) -> String {
        let authors: Vec<String> = self.0[number]
            .iter()
            .map(|author| format!("\"{}\"", world.people[*author as usize].hex))
            .collect();
        format!(r#"{{"authors":[{}],"since":{since}}}"#, authors.join(","))
    }

    /// How many deliveries each of them gets of these events, and the sum of their keys.
    fn expected(&self, events: &[Event], world: &World) -> Vec<(usize, Key)> {
        let mut by_author: HashMap<PublicKey, (usize, Key)> = HashMap::new();
        for event in events {
            let (count, sum) = by_author.entry(event.pubkey).or_default();
            (*count, *sum) = (*count + 1, sum.wrapping_add(key(&event.id)));
        }
        let of =
            |author: &u32| by_author.get(&world.people[*author as usize].key).copied().unwrap_or_default();
        let sum = |all: (usize, Key), one: (usize, Key)| (all.0 + one.0, all.1.wrapping_add(one.1));
        self.0.iter().map(|authors| authors.iter().map(of).fold((0, 0), sum)).collect()
    }
}

/// Deliveries that are missing, or that nobody asked for. A sum that differs though the number is right is one of
/// each.
fn wrong(expected: &[(usize, Key)], deliveries: &[Delivery]) -> usize {
    let mut seen = vec![(0, 0_u64); expected.len()];
    let mut strange = 0;
    for delivery in deliveries {
        match seen.get_mut(delivery.subscription) {
            Some((count, sum)) => (*count, *sum) = (*count + 1, sum.wrapping_add(delivery.event)),
            None => strange += 1,
        }
    }
    let differences = expected.iter().zip(&seen).map(|(expected, seen)| match expected.0.abs_diff(seen.0) {
        0 if expected.1 != seen.1 => 2,
        difference => difference,
    });
    strange + differences.sum::<usize>()
}

/// Connections that subscribe, before they wait for events.
fn subscribe(
    relay: &Relay,
    stage: &Stage,
    subscriptions: &Subscriptions,
    since: u64,
) -> Result<Vec<Client>, Failure> {
    let connections = stage.options.fanout_connections.clamp(1, subscriptions.0.len().max(1));
    let allowed = allow_descriptors(connections)?;
    if allowed < connections {
        return Err(format!(
            "the system allows {allowed} connections; choose fewer with --fanout-connections"
        )
        .into());
    }
    let mut clients: Vec<Client> = (0..connections)
        .map(|_| Client::with_buffer(&relay.address, SMALL_BUFFER_BYTES))
        .collect::<Result<_, _>>()?;
    for number in 0..subscriptions.0.len() {
        let client = &mut clients[number % connections];
        let filter = subscriptions.filter(number, &stage.world, since);
        client.send_text(&format!(r#"["REQ","s{number}",{filter}]"#))?;
        let mut is_open = false;
        while !is_open {
            client.receive(|message| is_open |= reply(message) == Reply::Eose)?;
        }
    }
    Ok(clients)
}

/// What listening connections share, all on one thread.
#[derive(Clone)]
struct Heard {
    deliveries: Rc<RefCell<Vec<Delivery>>>,
    fault: Rc<RefCell<Option<String>>>,
    count: Arc<AtomicUsize>,
    /// Bytes that arrived.
    bytes: Rc<Cell<usize>>,
}

/// Reads one connection until its runtime ends.
async fn listen(stream: TcpStream, mut frames: Frames, heard: Heard) -> io::Result<()> {
    let closed = || io::Error::other("the relay closed a subscriber's connection");
    loop {
        stream.readable().await?;
        let read = match stream.try_read(frames.space()) {
            Ok(0) => return Err(closed()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let at = Instant::now();
        frames.filled(read);
        heard.bytes.set(heard.bytes.get() + read);
        while let Some(frame) = frames.next()? {
            match frame {
                Frame::Message(range) => {
                    let message = frames.bytes(range);
                    if reply(message) == Reply::Event {
                        let subscription = subscription(message).unwrap_or(usize::MAX);
                        let event = event_key(message).unwrap_or(0);
                        heard.deliveries.borrow_mut().push(Delivery { subscription, event, at });
                        heard.count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // So short a frame fits into any socket's buffer.
                Frame::Ping(pong) => drop(stream.try_write(&pong)?),
                Frame::Close => return Err(closed()),
                Frame::Other => {}
            }
        }
    }
}

/// Listens on all connections until told to stop; returns what was heard, and in how many bytes.
fn listen_on(
    clients: Vec<Client>,
    count: Arc<AtomicUsize>,
    mut stop: watch::Receiver<bool>,
) -> Result<(Vec<Delivery>, usize), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let heard = Heard { deliveries: Rc::default(), fault: Rc::default(), count, bytes: Rc::default() };
    let local = tokio::task::LocalSet::new();
    let listening = local.run_until(async {
        for client in clients {
            let (stream, frames) = client.into_parts();
            stream.set_nonblocking(true)?;
            let (stream, heard) = (TcpStream::from_std(stream)?, heard.clone());
            tokio::task::spawn_local(async move {
                if let Err(error) = listen(stream, frames, heard.clone()).await {
                    heard.fault.borrow_mut().get_or_insert(error.to_string());
                }
            });
        }
        // An error means that nobody waits for what was heard.
        let _ = stop.changed().await;
        Ok::<(), io::Error>(())
    });
    runtime.block_on(listening).map_err(|error| error.to_string())?;
    match heard.fault.take() {
        Some(fault) => Err(fault),
        None => Ok((heard.deliveries.take(), heard.bytes.get())),
    }
}

/// Connections that wait for events, on a thread of their own.
struct Listeners {
    count: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<(Vec<Delivery>, usize), String>>,
}

impl Listeners {
    fn start(clients: Vec<Client>) -> Listeners {
        let (count, (stop, stopping)) = (Arc::new(AtomicUsize::new(0)), watch::channel(false));
        let counted = Arc::clone(&count);
        Listeners { count, stop, thread: std::thread::spawn(move || listen_on(clients, counted, stopping)) }
    }

    /// Waits until so many deliveries are there, or nothing has come for a while.
    fn wait(&self, deliveries: usize, patience: Duration) {
        let (mut seen, mut since) = (0, Instant::now());
        while seen < deliveries && since.elapsed() < patience {
            std::thread::sleep(LOOK_AGAIN);
            let now = self.count.load(Ordering::Relaxed);
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// All deliveries, and the bytes in which they came.
    fn finish(self) -> Result<(Vec<Delivery>, usize), Failure> {
        std::thread::sleep(LINGER);
        let _ = self.stop.send(true);
        Ok(self.thread.join().map_err(|_| "a subscriber panicked")??)
    }
}

/// Events that were sent at one pace.
struct Phase {
    events: Vec<Event>,
    spent: Spent,
    published: Published,
}

impl Phase {
    /// Times from sending to delivery, and from the first sending to the last delivery.
    fn times(&self, deliveries: &[Delivery]) -> (Times, Duration) {
        let sent: HashMap<Key, Instant> = self.published.sent.iter().copied().collect();
        let mut times = Times::default();
        let mut last = None;
        for delivery in deliveries {
            if let Some(sent) = sent.get(&delivery.event) {
                times.push(delivery.at.saturating_duration_since(*sent));
                last = last.max(Some(delivery.at));
            }
        }
        let first = self.published.sent.iter().map(|(_, at)| *at).min();
        let lasted =
            first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
        (times, lasted)
    }
}

/// Sends the next events of the corpus at each of these paces, and waits until subscribers have what they asked for.
fn phases(
    (stage, relay): (&Stage, &Relay),
    filled: &mut Filled,
    listeners: Option<(&Subscriptions, &Listeners)>,
    paces: &[(Pace, usize)],
) -> Result<Vec<Phase>, Failure> {
    let connections = stage.options.connections;
    let mut publishers = Publishers::connect(&relay.address, connections)?;
    let (mut phases, mut expected) = (Vec::new(), 0);
    for (pace, count) in paces {
        let (pace, events) = (*pace, filled.corpus.events(*count));
        let shares = deal_by_author(&events, connections);
        let meter = Meter::start(relay.pid())?;
        let published = publishers.publish(&shares, pace)?;
        if let Some((subscriptions, listeners)) = listeners {
            expected +=
                subscriptions.expected(&events, &stage.world).iter().map(|(count, _)| count).sum::<usize>();
            listeners.wait(expected, stage.patience());
        }
        let spent = meter.spent()?;
        filled.sample.observe(&events);
        phases.push(Phase { events, spent, published });
    }
    Ok(phases)
}

/// What one pace shows: rate, latency, and CPU a delivery, with what the same events cost without subscribers
/// deducted.
fn put(figures: &mut Figures, key: &str, phase: &Phase, alone: &Phase, deliveries: &[Delivery]) {
    let (times, lasted) = phase.times(deliveries);
    let delivered = times.len();
    figures.put_times(&format!("{key}_latency"), &times);
    figures.put(
        format!("{key}_deliveries_per_second"),
        delivered as f64 / lasted.as_secs_f64().max(f64::EPSILON),
    );
    let taking = alone.spent.relay_micros(alone.events.len()) * phase.events.len() as f64;
    let all = phase.spent.relay_cpu * 1e6;
    figures.put(format!("{key}_relay_cpu_microseconds"), (all - taking).max(0.0) / delivered.max(1) as f64);
    let both = (phase.spent.relay_cpu + phase.spent.client_cpu).max(f64::EPSILON);
    figures.put(format!("{key}_client_cpu_share"), phase.spent.client_cpu / both);
    figures.put(format!("{key}_deliveries_an_event"), delivered as f64 / phase.events.len() as f64);
}

fn run(stage: &Stage, relay: &Relay, filled: &mut Filled) -> Result<Figures, Failure> {
    let most = stage.options.fanout_events;
    let steady = stage.options.fanout_rates.iter().map(|rate| {
        (Pace::Steady { per_second: *rate as f64 }, rate.saturating_mul(STEADY_SECONDS).min(most))
    });
    // The first subscribers meet a relay that has sent nothing yet.
    let paces: Vec<(Pace, usize)> =
        [(stage.pace(), (most / 10).max(1)), (stage.pace(), most)].into_iter().chain(steady).collect();
    let alone = phases((stage, relay), filled, None, &paces)?;
    let subscriptions = Subscriptions::draw(stage.options.fanout_subscriptions);
    let clients = subscribe(relay, stage, &subscriptions, filled.corpus.time() + 1)?;
    let listeners = Listeners::start(clients);
    let live = phases((stage, relay), filled, Some((&subscriptions, &listeners)), &paces)?;
    let (deliveries, bytes) = listeners.finish()?;
    let mut figures = Figures::default();
    figures.put("fanout_wire_bytes", bytes as f64 / deliveries.len().max(1) as f64);
    let steady = stage.options.fanout_rates.iter().map(|rate| key_at(*rate));
    let keys = std::iter::once("fanout_full".to_owned()).chain(steady);
    for (key, (live, alone)) in keys.zip(live.iter().zip(&alone).skip(1)) {
        put(&mut figures, &key, live, alone, &deliveries);
    }
    let events: Vec<Event> = live.into_iter().flat_map(|phase| phase.events).collect();
    let wrong = wrong(&subscriptions.expected(&events, &stage.world), &deliveries);
    if wrong > 0 && stage.target.is_plaza() {
        return Err(
            format!("{wrong} of {} deliveries are missing or were not asked for", deliveries.len()).into()
        );
    }
    figures.put("fanout_wrong_deliveries", wrong as f64);
    Ok(figures)
}

/// Measures several times, with new subscriptions each.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let (connections, subscriptions) = (stage.options.fanout_connections, stage.options.fanout_subscriptions);
    let live_delay_milliseconds = stage.options.fanout_delay_milliseconds;
    let settings = Settings { connections, live_delay_milliseconds, ..Settings::default() };
    let (relay, mut filled) = stage.filled(settings)?;
    let mut runs = Vec::new();
    for number in 0..stage.options.runs {
        stage.say(format_args!("fan-out, run {} of {}", number + 1, stage.options.runs));
        runs.push(run(stage, &relay, &mut filled)?);
    }
    relay.stop()?;
    stage.keep(filled);
    let mut figures = Figures::medians(&runs);
    let bytes = figures.get("fanout_wire_bytes").flatten().unwrap_or(0.0) as usize;
    let title = format!(
        "fan-out to {subscriptions} subscriptions of {AUTHORS} authors over {} connections",
        connections.min(subscriptions)
    );
    let mut table = Table::of(title, ROWS);
    for &rate in &stage.options.fanout_rates {
        let key = key_at(rate);
        figures.put(
            format!("{key}_limit_send_cpu_microseconds"),
            limits::send_micros(bytes.max(1), rate as f64)?,
        );
        for (label, ends) in ROWS_AT_A_RATE {
            let label = format!("{} events a second: {label}", words::number(rate as u64));
            table.row(label, ends.iter().map(|end| format!("{key}_{end}")).collect());
        }
    }
    Ok((table, figures))
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{BEGINNING, Corpus};
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn expected_deliveries_are_those_that_filters_ask_for() {
        let world = World::new();
        let events = Corpus::new(&world, 1, BEGINNING).events(500);
        let subscriptions = Subscriptions::draw(20);
        let expected = subscriptions.expected(&events, &world);
        assert!(
            expected.iter().map(|(count, _)| count).sum::<usize>() > 500,
            "people follow who writes most"
        );
        for (number, expected) in expected.iter().enumerate() {
            let filter =
                Filter::from_json(&subscriptions.filter(number, &world, BEGINNING)).expect("a filter");
            let matching = events.iter().filter(|event| filter.matches(event));
            let sum = matching
                .fold((0, 0_u64), |(count, sum), event| (count + 1, sum.wrapping_add(key(&event.id))));
            assert_eq!(sum, *expected, "subscription {number}");
        }
    }

    #[test]
    fn each_missing_strange_or_repeated_delivery_is_counted() {
        let at = Instant::now();
        let of = |deliveries: &[(usize, Key)]| {
            let heard = deliveries.iter().map(|(subscription, event)| Delivery {
                subscription: *subscription,
                event: *event,
                at,
            });
            wrong(&[(2, 30), (1, 5)], &heard.collect::<Vec<Delivery>>())
        };
        assert_eq!(of(&[(0, 10), (0, 20), (1, 5)]), 0);
        assert_eq!(of(&[(0, 10), (0, 20)]), 1, "one is missing");
        assert_eq!(of(&[(0, 10), (0, 20), (1, 5), (1, 5)]), 1, "one came twice");
        assert_eq!(of(&[(0, 10), (0, 10), (1, 5)]), 2, "one for another");
        assert_eq!(of(&[(0, 10), (0, 20), (1, 5), (7, 5)]), 1, "for nobody");
    }
}
