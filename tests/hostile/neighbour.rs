//! A well-behaved client beside the hostile ones: it publishes, hears itself and reads, all the time,
//! and measures how long it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Client, NOW, Person, TestRelay};

/// The longest that one publish, its live event and one query may take together: far more than they
/// need, far less than any timeout that a hostile client could run into.
const PROMPT: Duration = Duration::from_secs(3);

pub(crate) struct Neighbour {
    done: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Neighbour {
    /// Begins.
    pub(crate) fn start(relay: &TestRelay) -> Neighbour {
        Neighbour::of(relay.connect())
    }

    /// The same for who is connected.
    pub(crate) fn of(mut client: Client) -> Neighbour {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while rounds == 0 || !is_done.load(Ordering::SeqCst) {
                let began = Instant::now();
                live(&mut client, rounds);
                longest = longest.max(began.elapsed());
                rounds += 1;
            }
            (rounds, longest)
        });
        Neighbour { done, thread }
    }

    /// Ends, and asserts that it never waited.
    pub(crate) fn noticed_nothing(self) {
        self.done.store(true, Ordering::SeqCst);
        let (rounds, longest) = self.thread.join().expect("a neighbour is served");
        println!("{rounds} rounds of the neighbour, the longest {longest:?}");
        assert!(longest < PROMPT, "a neighbour waited {longest:?}");
    }
}

/// One round: a subscription hears what is published, and a query finds it.
fn live(client: &mut Client, round: usize) {
    let event = Person::new(77).event(1, NOW, &[&["t", "neighbour"]], &round.to_string());
    let id = event.id.to_string();
    client.request("live", &[json!({"ids": [id], "limit": 0})]);
    client.publish_ok(&event);
    let heard = client.receive();
    assert_eq!((&heard[0], &heard[1], &heard[2]["id"]), (&json!("EVENT"), &json!("live"), &json!(id)));
    assert_eq!(client.ids(json!({"ids": [id]})), [id.as_str()]);
}
