//! Connections that wait, with one subscription each, and how quickly they open. In: a relay. Out: its memory and CPU
//! for each.

use std::time::{Duration, Instant};

use super::Failure;
use super::client::{Client, SMALL_BUFFER_BYTES};
use super::corpus::World;
use super::people::PEOPLE;
use super::process::{Meter, anonymous_bytes};
use super::relay::Settings;
use super::reply::{Reply, reply};
use super::report::Table;
use super::stage::Stage;
use super::stats::Figures;

/// Descriptors besides those of connections.
const OTHER_DESCRIPTORS: u64 = 128;

/// How long connections are left alone before memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);

const ROWS: &[(&str, &[&str])] = &[
    ("connections, one subscription each", &["connections_open"]),
    ("relay's anonymous memory a connection", &["connections_each_bytes"]),
    ("opened and subscribed", &["connections_opened_per_second"]),
    ("relay's CPU to open one", &["connections_opened_relay_cpu_microseconds"]),
];

/// Raises the limit of open files; returns for how many connections it has room.
pub(super) fn allow_descriptors(connections: usize) -> Result<usize, Failure> {
    let limit = rlimit::increase_nofile_limit(connections as u64 + OTHER_DESCRIPTORS)?;
    let room = usize::try_from(limit.saturating_sub(OTHER_DESCRIPTORS))?;
    Ok(connections.min(room))
}

/// How many ports the system has for connections to one address; many, if it does not say.
fn source_ports() -> usize {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<usize> = range.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    match ends[..] {
        [first, last] if last >= first => last - first + 1,
        _ => usize::MAX,
    }
}

/// Opens connections one after the other, each with the subscription of a client that waits for a friend's notes.
fn open(address: &str, world: &World, numbers: std::ops::Range<usize>) -> std::io::Result<Vec<Client>> {
    numbers
        .map(|number| {
            let mut client = Client::with_buffer(address, SMALL_BUFFER_BYTES / 16)?;
            let author = &world.people[number % PEOPLE as usize].hex;
            client
                .send_text(&format!(r#"["REQ","feed",{{"authors":["{author}"],"kinds":[1],"limit":1}}]"#))?;
            let mut is_open = false;
            while !is_open {
                client.receive(|message| is_open |= reply(message) == Reply::Eose)?;
            }
            Ok(client)
        })
        .collect()
}

fn open_all(stage: &Stage, address: &str, connections: usize) -> Result<Vec<Client>, Failure> {
    let threads = stage.options.connections;
    let parts = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = connections * thread / threads..connections * (thread + 1) / threads;
                scope.spawn(move || open(address, &stage.world, numbers).map_err(|error| error.to_string()))
            })
            .collect();
        let joined =
            openers.into_iter().map(|opener| opener.join().map_err(|_| "a client panicked".to_owned())?);
        joined.collect::<Result<Vec<Vec<Client>>, String>>()
    })?;
    Ok(parts.into_iter().flatten().collect())
}

/// Measures once, on an empty store.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let wanted = stage.options.idle_connections;
    let connections = allow_descriptors(wanted)?.min(source_ports());
    if connections < wanted {
        let (limit, ports) = (allow_descriptors(wanted)?, source_ports());
        stage.say(format_args!(
            "{connections} connections instead of {wanted}: open files allow {limit} (ulimit -Hn), source ports {ports} \
             (net.ipv4.ip_local_port_range)"
        ));
    }
    stage.say(format_args!("{connections} connections"));
    let settings = Settings { connections, ..Settings::default() };
    let target = &stage.target;
    let measured = target.while_empty(|| {
        let relay = target.launch(settings)?;
        // The first connections bring threads and tables to life.
        drop(open_all(stage, &relay.address, stage.options.connections)?);
        std::thread::sleep(SETTLE / 4);
        let before = anonymous_bytes(relay.pid())?;
        let (meter, began) = (Meter::start(relay.pid())?, Instant::now());
        let clients = open_all(stage, &relay.address, connections)?;
        let (spent, seconds) = (meter.spent()?, began.elapsed().as_secs_f64());
        std::thread::sleep(SETTLE);
        let after = anonymous_bytes(relay.pid())?;
        let mut figures = Figures::default();
        figures.put("connections_open", clients.len() as f64);
        figures.put("connections_each_bytes", after.saturating_sub(before) as f64 / clients.len() as f64);
        figures.put("connections_opened_per_second", clients.len() as f64 / seconds);
        figures.put("connections_opened_relay_cpu_microseconds", spent.relay_micros(clients.len()));
        drop(clients);
        relay.stop()?;
        Ok(figures)
    })?;
    Ok((Table::of("connections", ROWS), measured))
}
