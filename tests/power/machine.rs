//! A machine that loses power: a disk, a relay on it, and the load. In: how the power goes. Out: the relay
//! again, on what is left of its disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use plaza::event::Event;
use tempfile::TempDir;

use crate::common::Client;
use crate::disk::{Disk, Names};
use crate::mount::{Mounted, Power};
use crate::promise::Promise;
use crate::random::Chance;
use crate::server::Server;
use crate::survival::Survival;
use crate::writer::{Writer, now};

/// Where communities are; each has a writer, and nobody writes in two.
pub(crate) const COMMUNITIES: [&str; 4] = ["/", "/berlin", "/market", "/harbour"];

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// With this code a relay ends that cannot go on and asks to be started again.
const EXIT_TEMPORARY: i32 = 75;

/// What came of writing.
pub(crate) struct Written {
    /// What the relay said until then.
    pub(crate) log: String,
    /// The relay ended by itself before the power went, asking to be started again; so many events are still to be
    /// answered. The power is on.
    pub(crate) left: Option<u64>,
}

/// How a wait for the moment at which the power goes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// It came.
    Came,
    /// Nobody answers any more; so many answers are left.
    NobodyAnswers { left: u64 },
    /// It did not come in time.
    Never,
}

/// When the power goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// After so many changes and syncs of the disk, counted from the start of the program.
    Starting { steps: u64 },
    /// The same, counted under load.
    Writing { steps: u64 },
    /// As soon as so many events were answered.
    Answered { events: u64 },
}

impl When {
    /// Any moment, early ones most often.
    pub(crate) fn any(chance: &mut Chance) -> When {
        let early = chance.below(9);
        match chance.below(10) {
            0..=1 => When::Starting { steps: chance.below(40) },
            2..=5 => When::Answered { events: 1 + chance.below(4 << early) },
            _ => When::Writing { steps: chance.below(2 << early) },
        }
    }
}

pub(crate) struct Machine {
    pub(crate) power: Power,
    // In this order they are dropped: nobody may use the disk when it is unmounted.
    server: Option<Server>,
    mounted: Option<Mounted>,
    mount_point: TempDir,
    settings: TempDir,
    ticks: AtomicU64,
    /// How many events in a hundred are long: 20 to 200 KB.
    pub(crate) long_percent: u64,
    /// Whether the relay may fail to store events.
    pub(crate) may_fail: bool,
}

impl Machine {
    /// A new one, with an empty disk and these settings of the store.
    pub(crate) fn new(names: Names, store: &str) -> Machine {
        let settings = tempfile::tempdir().expect("a folder");
        let mut text = format!(
            "[rate]\nenabled = false\n[nip40]\nsweep_seconds = 1\n[store]\ncache_bytes = 16_777_216\n\
             index_save_events_min = 1\nindex_save_changes_min = 300\n{store}\n"
        );
        for path in &COMMUNITIES[1..] {
            text.push_str(&format!("[[community]]\npath = \"{path}\"\n"));
        }
        std::fs::write(settings.path().join("relay.toml"), text).expect("a file");
        Machine {
            power: Power::new(Disk::new(names)),
            server: None,
            mounted: None,
            mount_point: tempfile::tempdir().expect("a folder"),
            settings,
            // Times that no two events share, in the order in which they were made.
            ticks: AtomicU64::new(now() - 1_000_000),
            long_percent: 3,
            may_fail: false,
        }
    }

    fn path(of: PathBuf) -> String {
        of.to_str().expect("a path in UTF-8").to_owned()
    }

    fn settings(&self) -> String {
        Machine::path(self.settings.path().join("relay.toml"))
    }

    fn data(&self) -> String {
        Machine::path(self.mount_point.path().join("data"))
    }

    /// Mounts the disk and starts the relay, which the power may cut short: tells whether it listens.
    pub(crate) fn start(&mut self, when: Option<When>) -> bool {
        self.mounted = Some(Mounted::new(&self.power, self.mount_point.path()).expect("a mount"));
        if let Some(When::Starting { steps }) = when {
            self.power.cut_after(steps);
        }
        let mut server = Server::launch(&self.settings(), &self.data());
        let listens = server.wait_until_it_listens(|| self.power.is_off());
        self.server = Some(server);
        listens && self.power.stays()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it was started")
    }

    /// The relay alone ends, and starts again: the kernel remembers what it did.
    pub(crate) fn restart(&mut self) {
        drop(self.server.take());
        let mut server = Server::launch(&self.settings(), &self.data());
        assert!(server.wait_until_it_listens(|| false), "nobody gave up");
        self.server = Some(server);
    }

    /// The same, where it may refuse to start: tells whether it runs.
    pub(crate) fn try_restart(&mut self) -> bool {
        drop(self.server.take());
        let server = self.server.insert(Server::launch(&self.settings(), &self.data()));
        server.listens_or_ends()
    }

    /// How often the relay has opened its store anew since it started.
    pub(crate) fn went_on(&self) -> usize {
        self.log().matches("the store was opened anew").count()
    }

    /// Waits until it has done so once more, or has ended with the code that asks for a new start: tells which.
    pub(crate) fn goes_on(&self, before: usize) -> bool {
        let began = Instant::now();
        while self.went_on() == before {
            match self.server().ended() {
                Some(code) if code == EXIT_TEMPORARY => return false,
                Some(code) => panic!("it ended with {code}:\n{}", self.log()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
            assert!(began.elapsed() < PATIENCE, "it does not go on:\n{}", self.log());
        }
        true
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server().url().trim_start_matches("ws://").parse().expect("an address")
    }

    /// What `plaza verify` says of its data, which no relay may hold.
    pub(crate) fn verify(&mut self) -> String {
        drop(self.server.take());
        Server::verify_of(&self.settings(), &self.data())
    }

    /// A client of a community.
    pub(crate) fn connect(&self, community: u32) -> Client {
        Client::connect(&format!("{}{}", self.server().url(), COMMUNITIES[community as usize]))
    }

    /// What the relay said on standard error.
    pub(crate) fn log(&self) -> String {
        self.server().log()
    }

    /// Writers write until the power goes, or, where the relay may fail, until it asks to be started again.
    pub(crate) fn write_until(&mut self, when: When, promise: &mut Promise, chance: &mut Chance) -> Written {
        let (answered, counter) = channel();
        let mut writers = Vec::new();
        for who in 0..COMMUNITIES.len() as u32 {
            let own = Chance::new(chance.below(u64::MAX));
            let mut writer = Writer::new(who, self.connect(who), own, promise.history_of(who));
            writer.expiry_seconds = &[2, 4, 86_400];
            writer.long_percent = self.long_percent;
            writer.may_fail = self.may_fail;
            writers.push(writer);
        }
        let Machine { power, server, ticks, may_fail, .. } = self;
        let tick = || ticks.fetch_add(1, Ordering::SeqCst);
        let (sent, written) = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for writer in writers {
                let answered = answered.clone();
                threads.push(scope.spawn(move || writer.write(tick, || answered.send(()).unwrap_or(()))));
            }
            drop(answered);
            let waited = await_end(power, when, &counter);
            let left = match waited {
                Waited::NobodyAnswers { left } if *may_fail => {
                    asks_to_be_started_again(server).then_some(left)
                }
                _ => None,
            };
            // Writers end with the relay; a panic would wait for them.
            let log = server.as_ref().map(Server::log).unwrap_or_default();
            if left.is_none() {
                power.cut();
                kill(power, server);
            }
            let ended = threads.into_iter().map(|thread| thread.join().expect("a writer does not panic"));
            let ended: Vec<_> = ended.collect();
            assert!(
                waited == Waited::Came || left.is_some(),
                "the relay answers and writes: {waited:?}\n{log}"
            );
            (ended, Written { log, left })
        });
        for (who, sent, _) in sent {
            promise.add(who, sent);
        }
        written
    }

    /// The power goes, if it has not gone yet; what is left of the disk is as its survival says.
    pub(crate) fn lose_power(&mut self, survival: Survival, chance: &mut Chance) {
        self.power.cut();
        kill(&self.power, &mut self.server);
        self.mounted = None;
        self.power.restore(|disk| disk.cut(survival, chance));
    }

    /// What the store holds, by `plaza export`; the relay is killed first, if it runs.
    pub(crate) fn export(&mut self, community: u32) -> Vec<Event> {
        drop(self.server.take());
        Server::export_of(&self.settings(), &self.data(), COMMUNITIES[community as usize])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power.cut();
        kill(&self.power, &mut self.server);
    }
}

/// Waits for the moment at which the power goes, and cuts it then.
fn await_end(power: &Power, when: When, answers: &Receiver<()>) -> Waited {
    match when {
        When::Answered { events } => {
            for answered in 0..events {
                match answers.recv_timeout(PATIENCE) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Waited::NobodyAnswers { left: events - answered };
                    }
                    Err(RecvTimeoutError::Timeout) => return Waited::Never,
                }
            }
            power.cut();
            Waited::Came
        }
        When::Writing { steps } => {
            power.cut_after(steps);
            if power.wait_until_off(PATIENCE) { Waited::Came } else { Waited::Never }
        }
        When::Starting { .. } => {
            power.cut();
            Waited::Came
        }
    }
}

/// Whether a relay that answers nobody has ended with the code that asks for a new start.
fn asks_to_be_started_again(server: &Option<Server>) -> bool {
    let code = server.as_ref().and_then(|server| server.wait_for_end(PATIENCE));
    code == Some(EXIT_TEMPORARY)
}

/// Ends a relay whose power has gone. What of it waits for the disk ends only once it is answered, and must
/// not run on then.
fn kill(power: &Power, server: &mut Option<Server>) {
    if let Some(server) = server.take() {
        server.signal("KILL");
        power.release();
        server.kill();
    }
}
