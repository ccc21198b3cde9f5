//! Many events in flight against one at a time, measured on a plugin that takes its time for each.

use std::time::{Duration, Instant};

use crate::common::program::tool;
use crate::common::{NOW, Person};
use crate::{PYTHON, Scripts, relay, table};

/// Answers each request after so many milliseconds, however many there are.
const PATIENT: &str = "
import threading
lock = threading.Lock()
def later(event):
    with lock:
        answer(event)
for request in requests():
    threading.Timer(MILLISECONDS / 1000, later, [request['event']]).start()
";

/// Events a second of one client through such a plugin.
fn measure(events: u16, milliseconds: u32, in_flight_max: usize) -> Duration {
    let scripts = Scripts::new();
    let text = PATIENT.replace("MILLISECONDS", &milliseconds.to_string());
    let path = scripts.write("patient.py", &format!("{PYTHON}{text}"));
    let relay =
        relay(&[table(&path, &format!("in_flight_max = {in_flight_max}\ntimeout_milliseconds = 60_000"))]);
    let mut client = relay.connect();
    client.publish_ok(&Person::new(1).note("it has begun"));
    let events: Vec<_> =
        (0..events).map(|number| Person::new(1).event(1, NOW, &[], &number.to_string())).collect();
    let began = Instant::now();
    for event in &events {
        client.submit(event);
    }
    for _ in &events {
        assert_eq!(client.receive()[2], true);
    }
    began.elapsed()
}

#[test]
fn many_in_flight_are_quicker_than_one_at_a_time() {
    if tool("python3").is_none() {
        return;
    }
    let one = measure(100, 20, 1);
    let many = measure(100, 20, 100);
    println!("100 events, 20 ms each: {one:?} one at a time, {many:?} with 100 in flight");
    assert!(one >= Duration::from_secs(2), "{one:?}");
    assert!(many < one / 2, "{many:?} instead of {one:?}");
}

/// For the figures in docs/plugins.md.
#[test]
#[ignore = "measures, for people to read"]
fn throughput() {
    for (events, milliseconds, in_flight) in [(1_000, 5, 1), (1_000, 5, 64), (1_000, 5, 1_000)] {
        let took = measure(events, milliseconds, in_flight);
        let rate = f64::from(events) / took.as_secs_f64();
        println!("{events} events, {milliseconds} ms each, {in_flight} in flight: {took:?}, {rate:.0}/s");
    }
}
