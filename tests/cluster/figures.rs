//! What a cluster costs and brings, measured and printed as one table in Markdown (docs/scale.md). All of it shares this
//! machine, so CPU of nodes is steadier than rates. Asserts only that what is measured came about.
//!
//! `PLAZA_PROGRAM` names the program, which should be a release build; `PLAZA_EVENTS` says how many events of the corpus,
//! 50,000 unless it does; `PLAZA_SECONDS` for how long is read, 10 unless it does.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::program::Program;
use crate::common::{Client, Person};
use crate::house::{House, Node, now, purge, tested};

/// Notes whose latency is measured, one at a time.
const NOTES: u32 = 250;

/// Clients that read at each node.
const READERS: usize = 4;

/// Seconds for which is read before it is measured: what is asked for is in caches then, wherever it is asked.
const WARM_UP: u64 = 2;

/// Ticks of a process's clock in a second, on all Linux that there is.
const TICKS: f64 = 100.0;

fn number(name: &str, usual: u32) -> u32 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// Seconds of CPU that programs have taken so far.
fn cpu<'p>(programs: impl Iterator<Item = &'p Program>) -> f64 {
    let ticks = |program: &Program| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).expect("a process");
        let (_, rest) = stat.rsplit_once(") ").expect("its name");
        // User and system time are the 14th and 15th of all.
        rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    };
    programs.map(ticks).sum::<u64>() as f64 / TICKS
}

fn cpu_of_nodes(house: &House) -> f64 {
    cpu(house.nodes.iter().filter_map(|node| node.program.as_ref()))
}

/// Middle and 99th of a hundred, in milliseconds.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    format!("{:.1} ms, {:.1} ms", at(50), at(99))
}

/// A rate as people read it.
fn grouped(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let from_end = digits.len() % 3;
    let (first, rest) = digits.split_at(from_end);
    let parts = rest.as_bytes().chunks(3).map(|part| String::from_utf8_lossy(part).into_owned());
    let parts: Vec<String> = (!first.is_empty()).then(|| first.to_owned()).into_iter().chain(parts).collect();
    parts.join(",")
}

/// Waits until something is so, as often as a table of milliseconds asks.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(600), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The corpus in a file, and its authors.
fn corpus(folder: &Path, events: u32) -> Vec<String> {
    let mut command = Command::new(tested());
    let output =
        command.args(["bench", "corpus", "--events", &events.to_string()]).output().expect("it runs");
    assert!(output.status.success());
    fs::write(folder.join("corpus.jsonl"), &output.stdout).expect("a file");
    let text = String::from_utf8(output.stdout).expect("text");
    let author =
        |line: &str| -> Value { serde_json::from_str::<Value>(line).expect("JSON")["pubkey"].take() };
    let mut authors: Vec<String> =
        text.lines().map(author).map(|author| author.as_str().expect("a key").to_owned()).collect();
    authors.sort_unstable();
    authors.dedup();
    authors
}

/// Sends the corpus to the first node: events a second, and CPU of all nodes an event.
fn write(house: &House, events: u32) -> [String; 2] {
    let (file, url) = (house.folder.path().join("corpus.jsonl"), house.nodes[0].url());
    let (before, began) = (cpu_of_nodes(house), Instant::now());
    let (is_done, _, words) =
        house.nodes[0].run(&["import", file.to_str().expect("a path"), "--relay", &url]);
    assert!(is_done, "{words}");
    let took = began.elapsed().as_secs_f64();
    if house.servers.iter().any(|server| server.program.is_some()) {
        house.settle();
    }
    let micros = (cpu_of_nodes(house) - before) * 1e6 / f64::from(events);
    [grouped(f64::from(events) / took), format!("{micros:.0} µs")]
}

/// Times from sending a note to its OK, and until it is heard on its node and on the last one.
fn latencies(house: &House) -> [Vec<Duration>; 3] {
    let mut writer = house.nodes[0].connect();
    let filter = json!({"kinds": [1], "authors": [Person::new(90).hex()]});
    let mut listeners = [house.nodes[0].connect(), house.nodes[house.nodes.len() - 1].connect()];
    listeners.iter_mut().for_each(|listener| drop(listener.request("live", std::slice::from_ref(&filter))));
    let time = now();
    let notes: Vec<_> =
        (0..NOTES).map(|number| Person::new(90).event(1, time, &[], &format!("{number}"))).collect();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for note in &notes {
        // All three are awaited at once: who is looked at last must not look slower for it.
        let began = Instant::now();
        writer.submit(note);
        let heard = |client: &mut Client| {
            let message = client.receive();
            assert!(message.to_string().contains(&note.id.to_string()), "{message}");
            began.elapsed()
        };
        let [same, other] = &mut listeners;
        let all = std::thread::scope(|scope| {
            let waits = [scope.spawn(|| heard(same)), scope.spawn(|| heard(other))];
            let own = heard(&mut writer);
            let [same, other] = waits.map(|wait| wait.join().expect("it hears"));
            [own, same, other]
        });
        times.iter_mut().zip(all).for_each(|(times, time)| times.push(time));
    }
    times
}

/// Home feeds of 50 authors, asked for one after the other by each client at its node: queries a second, and CPU of all
/// nodes a query.
fn read(house: &House, authors: &[String], nodes: usize) -> [String; 2] {
    let lasts = Duration::from_secs(u64::from(number("PLAZA_SECONDS", 10)));
    let (stop, asked) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let urls: Vec<String> = house.nodes[..nodes].iter().map(Node::url).collect();
    let (queries, micros) = std::thread::scope(|scope| {
        for (at, url) in (0..READERS * nodes).zip(urls.iter().cycle()) {
            scope.spawn(move || ask(url, authors, at, stop, asked));
        }
        std::thread::sleep(Duration::from_secs(WARM_UP));
        let (before, cpu_before, began) = (asked.load(Ordering::SeqCst), cpu_of_nodes(house), Instant::now());
        std::thread::sleep(lasts);
        let queries = (asked.load(Ordering::SeqCst) - before) as f64;
        let (cpu, took) = (cpu_of_nodes(house) - cpu_before, began.elapsed().as_secs_f64());
        stop.store(true, Ordering::SeqCst);
        (queries / took, cpu * 1e6 / queries)
    });
    [grouped(queries), format!("{micros:.0} µs")]
}

/// Asks until told to stop, and counts how often.
fn ask(url: &str, authors: &[String], at: usize, stop: &AtomicBool, all: &AtomicU64) {
    let (mut client, mut asked) = (Client::connect(url), 0_usize);
    while !stop.load(Ordering::SeqCst) {
        let from = (at * 7_919 + asked * 50) % authors.len();
        let some: Vec<&String> = authors.iter().cycle().skip(from).take(50).collect();
        let filter = json!({"authors": some, "kinds": [1], "limit": 50});
        client.try_send(Message::text(json!(["REQ", "feed", filter]).to_string())).expect("sent");
        loop {
            let Ok(Message::Text(text)) = client.try_receive() else { panic!("an answer") };
            if text.starts_with("[\"EOSE\"") {
                break;
            }
            assert!(text.starts_with("[\"EVENT\""), "{text}");
        }
        asked += 1;
        all.fetch_add(1, Ordering::SeqCst);
    }
}

/// A new node reads the log from its beginning: entries a second, and for how long.
fn catch_up(house: &mut House) -> String {
    let last = house.nodes[0].status()["last"].as_u64().expect("a number");
    house.prepare_node("");
    let node = house.nodes.last_mut().expect("it was added");
    let began = Instant::now();
    node.start();
    soon("it is there", || node.status()["position"].as_u64() >= Some(last));
    let took = began.elapsed().as_secs_f64();
    let most = resident_at_most(node);
    format!(
        "{} entries a second ({} in {took:.1} s, {most})",
        grouped(last as f64 / took),
        grouped(last as f64)
    )
}

/// A new node fetches a copy, as the log keeps nothing of what it lacks: bytes and events a second, and for how long until
/// it takes events.
fn copy(house: &mut House, events: f64) -> String {
    let last = house.nodes[0].status()["last"].as_u64().expect("a number");
    purge(house, last);
    house.prepare_node("");
    let node = house.nodes.last_mut().expect("it was added");
    let began = Instant::now();
    node.start();
    let mut bytes = 0;
    soon("it has healed", || {
        // While it opens its new store nobody answers.
        let (_, status, _) = node.run(&["cluster", "status", "--json"]);
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        bytes = bytes.max(status["healing"]["bytes_max"].as_u64().unwrap_or(0));
        node.is_ready()
    });
    let took = began.elapsed().as_secs_f64();
    format!(
        "{:.1} MB/s, {} events a second ({:.1} MB and {} events in {took:.1} s, {})",
        bytes as f64 / took / 1e6,
        grouped(events / took),
        bytes as f64 / 1e6,
        grouped(events),
        resident_at_most(node)
    )
}

/// The most memory that a node had at any moment so far.
fn resident_at_most(node: &Node) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", node.program().id())).expect("a process");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a number");
    let kib: u64 = kib.trim().trim_end_matches(" kB").parse().expect("a number");
    format!("{} MiB of memory at most", kib / 1_024)
}

/// A relay without a cluster.
fn alone() -> Option<House> {
    let mut house = House::build(1, 0, "")?;
    house.prepare_node("");
    let settings = house.nodes[0].folder.join("relay.toml");
    let text = fs::read_to_string(&settings).expect("a file");
    let (head, _) = text.split_once("[cluster]").expect("the section");
    fs::write(&settings, head).expect("a file");
    house.servers[0].kill();
    house.nodes[0].start();
    house.nodes[0].wait_until_ready();
    Some(house)
}

fn print(name: &str, cells: [String; 3]) {
    println!("| {name} | {} |", cells.join(" | "));
}

#[test]
#[ignore = "measures, for people to read; PLAZA_PROGRAM=/path/to/plaza names a release build"]
fn what_a_cluster_costs_and_brings() {
    let events = number("PLAZA_EVENTS", 50_000);
    let Some(alone) = alone() else { return };
    let (Some(one), Some(mut three)) = (House::build(1, 1, ""), House::build(3, 3, "")) else { return };
    println!("| | alone | one node, one server | three nodes, three servers |\n|---|---|---|---|");
    let none = String::new;
    let houses = [&alone, &one, &three];
    let mut authors = Vec::new();
    let written = houses.map(|house| {
        authors = corpus(house.folder.path(), events);
        write(house, events)
    });
    let [rates, cpus] = [0, 1].map(|at| written.each_ref().map(|written| written[at].clone()));
    print("new events a second, sent to one node", rates);
    print("CPU of all nodes for one of them", cpus);
    let times = houses.map(latencies).map(|times| times.map(figures));
    print("OK, median and p99", times.each_ref().map(|times| times[0].clone()));
    let [a, b, c] = times;
    print("live on the same node", [a[1].clone(), b[1].clone(), c[1].clone()]);
    print("live on another node", [none(), none(), c[2].clone()]);
    let (own, one_of_one) = (read(&alone, &authors, 1), read(&one, &authors, 1));
    let by_nodes = [1, 2, 3].map(|nodes| read(&three, &authors, nodes));
    let spread = |at: usize| {
        let [one, two, three] = by_nodes.each_ref().map(|read| read[at].clone());
        format!("at one {one}, at two {two}, at three {three}")
    };
    let what = format!("queries a second (home feeds of 50 authors), {READERS} clients a node");
    print(&what, [own[0].clone(), one_of_one[0].clone(), spread(0)]);
    print("CPU of all nodes for one of them", [own[1].clone(), one_of_one[1].clone(), spread(1)]);
    drop((alone, one));
    print("a new node reads the log from its beginning", [none(), none(), catch_up(&mut three)]);
    let stored = f64::from(events + NOTES);
    print("a new node fetches a copy", [none(), none(), copy(&mut three, stored)]);
    let found = three.nodes[4].connect().count(&[json!({})]);
    assert_eq!(found, three.nodes[0].connect().count(&[json!({})]), "the copy has all");
}
