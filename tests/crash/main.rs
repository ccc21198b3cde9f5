//! The relay as a process: killed again and again under load it keeps what it acknowledged and brings
//! nothing back, and groups are what their events make of them; told to stop it stops in order. `PLAZA_SEED`
//! runs one seed again.

#[path = "../common/mod.rs"]
mod common;
mod groups;
mod ledger;
#[path = "../model/random.rs"]
#[allow(dead_code, reason = "only its numbers are used here")]
mod random;
#[allow(dead_code, reason = "tests/faults uses the rest")]
mod server;
mod squares;
mod writer;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::Client;
use ledger::Ledger;
use plaza::event::{Event, Id};
use random::Chance;
use serde_json::{Value, json};
use server::Server;
use writer::{Ending, Writer};

/// How often the relay is killed in a row.
const KILLS: usize = 40;
const LONG_KILLS: usize = 300;
const WRITERS: u32 = 4;

/// Ids in one filter: under `limits.filter_values_max`, and for bodies under `limits.limit_default`.
const COUNTED_IDS: usize = 1_000;
const READ_IDS: usize = 200;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times that no two events share, in the order in which they were made.
fn ticks() -> AtomicU64 {
    AtomicU64::new(writer::now() - 1_000_000)
}

#[test]
fn what_was_acknowledged_survives_kill_after_kill() {
    kill_and_count(KILLS);
}

#[test]
#[ignore = "takes minutes; PLAZA_SEED picks one seed"]
fn what_was_acknowledged_survives_hundreds_of_kills() {
    kill_and_count(LONG_KILLS);
}

fn kill_and_count(kills: usize) {
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let mut chance = Chance::new(seed);
    let (folder, ticks) = (tempfile::tempdir().expect("a folder"), ticks());
    let mut ledger = Ledger::default();
    for _ in 0..kills {
        let server = Server::start(folder.path());
        check(&server, &ledger);
        ledger.begin_round();
        // Now and then it is killed before anything happens.
        let answers = if chance.percent(10) { 0 } else { 20 + chance.below(1_000) };
        let endings = under_load(&server, &mut ledger, &ticks, &mut chance, answers, Server::kill);
        assert!(answers == 0 || endings.iter().all(|ending| *ending == Ending::Cut), "{endings:?}");
    }
    let server = Server::start(folder.path());
    check(&server, &ledger);
    let read = read_all(&server);
    server.signal("TERM");
    server.wait_for_success(PATIENCE);
    let exported = Server::export(folder.path());
    assert_eq!(exported.len(), read.len(), "an export holds what was read");
    for event in exported {
        assert_eq!(read.get(&event.id), Some(&event));
    }
    println!(
        "{kills} kills, {} acknowledged, 0 lost, {} events at the end, seed {seed}",
        ledger.acknowledged(),
        read.len()
    );
}

#[test]
fn told_to_stop_it_says_goodbye_and_keeps_everything() {
    let (folder, ticks) = (tempfile::tempdir().expect("a folder"), ticks());
    let seed = Chance::seeds(&[])[0];
    println!("PLAZA_SEED={seed}");
    let mut chance = Chance::new(seed);
    let mut ledger = Ledger::default();
    for signal in ["TERM", "INT", "TERM"] {
        let server = Server::start(folder.path());
        check(&server, &ledger);
        ledger.begin_round();
        let mut idle = Client::connect(&server.url());
        idle.subscribe("idle", &[json!({"kinds": [9_999]})]);
        let stop = |server: &Server| server.signal(signal);
        let endings = under_load(&server, &mut ledger, &ticks, &mut chance, 500, stop);
        assert_eq!(endings, vec![Ending::Closed(1001); WRITERS as usize], "{signal}");
        assert_eq!(idle.receive()[0], "EOSE");
        let goodbye = idle.try_receive().expect("a close frame").to_string();
        assert_eq!(goodbye, "the relay is stopping", "{signal}");
        drop(idle);
        server.wait_for_success(PATIENCE);
    }
    check(&Server::start(folder.path()), &ledger);
}

#[test]
fn a_signal_right_after_the_start_stops_it_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for signal in ["TERM", "INT"] {
        let server = Server::start(folder.path());
        server.signal(signal);
        server.wait_for_success(PATIENCE);
    }
}

/// Writers write; when so many answers have come `end` ends the relay. Tells how each connection ended.
fn under_load(
    server: &Server,
    ledger: &mut Ledger,
    ticks: &AtomicU64,
    chance: &mut Chance,
    answers: u64,
    end: impl FnOnce(&Server),
) -> Vec<Ending> {
    let (answered, counter) = channel();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for who in 0..WRITERS {
            let client = Client::connect(&server.url());
            let own = Chance::new(chance.below(u64::MAX));
            let history = ledger.recent_of(who);
            let writer = Writer::new(who, client, own, history);
            let answered = answered.clone();
            threads.push(scope.spawn(move || {
                let tick = || ticks.fetch_add(1, Ordering::SeqCst);
                writer.write(tick, || answered.send(()).unwrap_or(()))
            }));
        }
        drop(answered);
        await_answers(&counter, answers);
        end(server);
        let ended = threads.into_iter().map(|thread| thread.join().expect("a writer does not panic"));
        ended
            .map(|(who, sent, ending)| {
                ledger.add(who, sent);
                ending
            })
            .collect()
    })
}

fn await_answers(counter: &Receiver<()>, answers: u64) {
    for _ in 0..answers {
        counter.recv_timeout(PATIENCE).expect("events are answered");
    }
}

/// What must be there is there, what must not be is not.
fn check(server: &Server, ledger: &Ledger) {
    let mut client = Client::connect(&server.url());
    let (kept, gone) = ledger.kept_and_gone();
    for (events, is_kept) in [(&kept, true), (&gone, false)] {
        for some in events.chunks(COUNTED_IDS) {
            let ids: Vec<String> = some.iter().map(|event| event.id.to_string()).collect();
            let count = client.count(&[json!({ "ids": ids })]) as usize;
            if count != if is_kept { ids.len() } else { 0 } {
                explain(&mut client, some, is_kept, server);
            }
        }
    }
    let of_last_round: Vec<&Event> = kept.iter().copied().filter(|event| ledger.is_recent(event)).collect();
    for some in of_last_round.chunks(READ_IDS) {
        let ids: Vec<String> = some.iter().map(|event| event.id.to_string()).collect();
        let read = read(&mut client, &json!({ "ids": ids }));
        let wanted: BTreeSet<Id> = some.iter().map(|event| event.id).collect();
        assert_eq!(read.iter().map(|event| event.id).collect::<BTreeSet<Id>>(), wanted);
        assert!(read.iter().all(|event| some.contains(&event)), "bodies are what was sent");
    }
}

/// Names the events that should (not) have been there.
fn explain(client: &mut Client, events: &[&Event], is_kept: bool, server: &Server) -> ! {
    let wrong: Vec<String> = events
        .iter()
        .filter(|event| client.ids(json!({"ids": [event.id.to_string()]})).is_empty() == is_kept)
        .map(|event| format!("kind {} at {} {}", event.kind, event.created_at, event.id))
        .collect();
    let what = if is_kept { "was acknowledged and is lost" } else { "was removed and is back" };
    panic!("{what}: {wrong:#?}\n{}", server.log());
}

/// The events that one filter finds.
fn read(client: &mut Client, filter: &Value) -> Vec<Event> {
    client.subscribe("read", std::slice::from_ref(filter));
    let mut events = Vec::new();
    loop {
        let message = client.receive();
        match message[0].as_str() {
            Some("EVENT") => {
                events.push(Event::from_json(message[2].to_string().as_bytes()).expect("an event"))
            }
            Some("EOSE") => return events,
            _ => panic!("an event or EOSE was awaited, not {message}"),
        }
    }
}

/// Everything, page by page; COUNT says as many.
fn read_all(server: &Server) -> std::collections::HashMap<Id, Event> {
    let mut client = Client::connect(&server.url());
    let mut all = std::collections::HashMap::new();
    let mut filter = json!({});
    loop {
        let page = read(&mut client, &filter);
        let Some(oldest) = page.last().map(|event| event.created_at) else { break };
        filter["until"] = json!(oldest - 1);
        all.extend(page.into_iter().map(|event| (event.id, event)));
    }
    assert_eq!(client.count(&[json!({})]), all.len() as u64, "COUNT and REQ agree");
    for kind in writer::KINDS {
        let read = all.values().filter(|event| event.kind.0 == kind).count() as u64;
        assert_eq!(client.count(&[json!({"kinds": [kind]})]), read, "COUNT and REQ agree on kind {kind}");
    }
    all
}
