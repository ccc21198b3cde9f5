//! Connections that come and go in every way, for as long as one likes, while as many as ever are there: afterwards
//! the relay holds no more memory, tasks, subscriptions or descriptors than before.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::common::dice::Dice;
use crate::common::program::{Program, free_port, plaza};
use crate::common::{NOW, Person, http, json_of};
use crate::raw::{CLOSE, Raw, TEXT, frame, text, wait_until};

/// Threads among which the connections are dealt out.
const THREADS: usize = 4;

/// Connections that are replaced in a second, at most; an hour of this is 3.6 million.
const REPLACED_PER_SECOND: usize = 1_000;

/// Memory that may be added between the first third and the end: what an allocator's pieces differ by, and nothing
/// that grows with each connection.
const GROWTH_BYTES_MAX: f64 = (16 << 20) as f64;

/// Addresses of this machine to connect to: each has source ports of its own.
const ADDRESSES: u64 = 40;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// The real program, and where it tells its numbers.
struct Running {
    program: Program,
    port: u16,
    metrics: SocketAddr,
    _folder: TempDir,
}

/// What is counted of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counted {
    memory_bytes: f64,
    descriptors: f64,
    tasks: f64,
    connections: f64,
    subscriptions: f64,
}

impl Running {
    fn start(connections: usize) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Limits by address apply, and there are ever new addresses.
        let settings = format!(
            "[server]\nconnections_max = {}\ntrusted_proxies = [\"127.0.0.1\"]\nhttp_header_seconds_max = 3\n\
             [metrics]\nlisten = \"{metrics}\"\n",
            2 * connections + 100
        );
        std::fs::write(folder.path().join("relay.toml"), settings).expect("a file");
        let program = Program::start(plaza(folder.path(), &["--listen", "0.0.0.0:0"]));
        let listens: SocketAddr =
            program.says("plaza: listening on ws://").parse().expect("an address and a port");
        Running { program, port: listens.port(), metrics, _folder: folder }
    }

    fn counted(&self) -> Counted {
        let text = http::get(self.metrics, "/metrics").body;
        let numbers: BTreeMap<&str, f64> = text
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
            .collect();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id())).expect("it runs");
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        let kibibytes: f64 = anonymous.trim().trim_end_matches(" kB").parse().expect("a number");
        Counted {
            memory_bytes: kibibytes * 1_024.0,
            descriptors: numbers["plaza_process_open_files"],
            tasks: numbers["plaza_tasks"],
            connections: numbers["plaza_connections{community=\"/\"}"],
            subscriptions: numbers["plaza_subscriptions{community=\"/\"}"],
        }
    }
}

/// Somebody who is connected, or tries to be.
fn come(port: u16, dice: &mut Dice, number: u64) -> Raw {
    let host = Ipv4Addr::new(127, 0, 0, 1 + dice.below(ADDRESSES) as u8);
    let stream = TcpStream::connect((host, port)).expect("the relay accepts");
    let mut raw = Raw::over(stream);
    let client = Ipv4Addr::from_bits(0x0a00_0000 | dice.below(1 << 24) as u32);
    let header = format!("X-Forwarded-For: {client}\r\n");
    match dice.below(12) {
        0 => raw.send(b"GET / HTTP/1.1\r\nHost: re"),
        1 => {
            raw.send(b"GET /?numbers HTTP/1.1\r\nHost: relay\r\n\r\n");
            assert_eq!(raw.status(), 200);
        }
        2 => assert_eq!(raw.upgrade(&header), 101),
        _ => {
            assert_eq!(raw.upgrade(&header), 101);
            assert_eq!(raw.message()[0], "AUTH");
            for name in 0..1 + dice.below(3) {
                let person = Person::new(dice.below(50) as u32).hex();
                raw.say(
                    &json!(["REQ", name.to_string(), {"authors": [person], "#t": ["churn"]}]).to_string(),
                );
            }
            if dice.below(4) == 0 {
                let person = Person::new(1_000 + dice.below(50) as u32);
                // Its older version is removed, so that the store does not grow.
                let event = person.event(10_002, NOW, &[], &number.to_string());
                raw.say(&json!(["EVENT", json_of(&event)]).to_string());
            }
        }
    }
    raw
}

/// Leaves, in good manners or not. The relay may have ended it already.
fn go(mut raw: Raw, dice: &mut Dice) {
    match dice.below(6) {
        0 => {
            let _ = raw.stream.write_all(&frame(0x80 | CLOSE, &1000_u16.to_be_bytes()));
            let _ = raw.rest();
        }
        1 => {
            let _ = raw.stream.write_all(&frame(TEXT, b"[\"REQ\",\"never"));
        }
        2 => {
            let whole = text(r#"["REQ","half",{}]"#);
            let _ = raw.stream.write_all(&whole[..whole.len() / 2]);
        }
        3 => {
            let _ = raw.stream.shutdown(Shutdown::Write);
            let _ = raw.stream.read(&mut [0; 100]);
        }
        // With something unread, which resets it; or with nothing.
        _ => {}
    }
}

/// Replaces connections until a moment, and returns those that are there then, and how many came in all.
fn churn(port: u16, held: Vec<Raw>, per_second: f64, until: Instant, seed: u64) -> (Vec<Raw>, u64) {
    let (mut dice, mut held, began, mut came) = (Dice(seed), held, Instant::now(), 0);
    while Instant::now() < until {
        let due = (began.elapsed().as_secs_f64() * per_second) as u64;
        // Who is behind what is due does not make up for it: that would take ever longer.
        let due = due.min(came + 1 + (per_second / 10.0) as u64);
        for _ in came..due {
            let at = dice.below(held.len() as u64) as usize;
            let new = come(port, &mut dice, came);
            go(std::mem::replace(&mut held[at], new), &mut dice);
        }
        came = due.max(came);
        std::thread::sleep(Duration::from_millis(5));
    }
    (held, came)
}

/// All threads at once, each with its part.
fn churn_all(relay: &Running, parts: Vec<Vec<Raw>>, time: Duration, seed: u64) -> (Vec<Vec<Raw>>, u64) {
    let until = Instant::now() + time;
    let connections: usize = parts.iter().map(Vec::len).sum();
    let per_second = REPLACED_PER_SECOND.min(connections) as f64 / THREADS as f64;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (parts.into_iter().zip(0..))
            .map(|(part, number)| {
                let port = relay.port;
                scope.spawn(move || churn(port, part, per_second, until, seed ^ (number << 32)))
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("no client panics"));
        let (parts, came): (Vec<Vec<Raw>>, Vec<u64>) = done.unzip();
        (parts, came.into_iter().sum())
    })
}

fn come_and_go(connections: usize, time: Duration) {
    let seed = from_environment("PLAZA_SEED", 1);
    println!("PLAZA_SEED={seed}: {connections} connections for {time:?}");
    rlimit::increase_nofile_limit(2 * connections as u64 + 500).expect("a limit");
    let relay = Running::start(connections);
    let before = relay.counted();
    let mut dice = Dice(seed);
    let mut parts: Vec<Vec<Raw>> = (0..THREADS).map(|_| Vec::new()).collect();
    for number in 0..connections {
        parts[number % THREADS].push(come(relay.port, &mut dice, number as u64));
    }
    let (parts, warming) = churn_all(&relay, parts, time / 3, seed);
    let warm = relay.counted();
    let (parts, came) = churn_all(&relay, parts, time - time / 3, seed + 1);
    let after = relay.counted();
    println!("{} came and went\nbefore {before:?}\nwarm   {warm:?}\nafter  {after:?}", warming + came);
    assert!(came as usize >= connections, "{came} came");
    let growth = after.memory_bytes - warm.memory_bytes;
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more, {} for each that came", growth / came as f64);
    let most = connections as f64;
    assert!(after.connections <= most && after.descriptors <= before.descriptors + 2.0 * most, "{after:?}");
    drop(parts);
    wait_until("nothing is left of them", || {
        let left = relay.counted();
        left.connections == 0.0
            && left.subscriptions == 0.0
            // The asking itself has a connection and a task.
            && left.descriptors <= before.descriptors + 2.0
            && left.tasks <= before.tasks + 2.0
    });
    let Running { mut program, .. } = relay;
    program.stop();
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    come_and_go(500, Duration::from_secs(30));
}

#[test]
#[ignore = "takes an hour; PLAZA_CONNECTIONS and PLAZA_SECONDS set how many and how long"]
fn ten_thousand_connections_come_and_go_for_an_hour() {
    let connections = from_environment("PLAZA_CONNECTIONS", 10_000) as usize;
    come_and_go(connections, Duration::from_secs(from_environment("PLAZA_SECONDS", 3_600)));
}
