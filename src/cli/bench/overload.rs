//! Overload and fairness: clients that keep to the limits while others send ten times as much as the relay can take,
//! in several ways, with limits as they are by default and without any. In: a stage. Out: what the polite ones met
//! with, and what became of the floods.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::Failure;
use super::corpus::BEGINNING;
use super::flood::{self, Flooded, Flooder, Messages};
use super::ingest::metered;
use super::people::{PEOPLE, keypair};
use super::polite::{self, Experience, message, note};
use super::publish::{Publishers, deal};
use super::relay::Settings;
use super::report::{Row, Table};
use super::stage::{BATCH_EVENTS, Stage};
use super::stats::Figures;

/// How many times what the relay can take is offered.
const TIMES: f64 = 10.0;

/// Messages that each connection sends in turn, and how many of them are long.
const MESSAGES: usize = 50;
const LONG_MESSAGES: usize = 2;

/// The content of a long one.
const LONG_BYTES: usize = 120_000;

/// Keys of those who flood lie far from all others.
const STRANGERS: u64 = PEOPLE + 1_000_000;

/// What a flood consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    /// Notes of many authors.
    Notes,
    /// Notes of one author.
    OneAuthor,
    /// Notes with signatures that are not true: each costs a check, every time.
    Forgeries,
    /// The same, and as long as a message may be.
    LongForgeries,
    /// Ephemeral events: true, never stored, and passed on every time.
    Ephemeral,
    /// COUNTs of all notes.
    Counts,
}

/// One measurement: who floods, and under which limits.
struct Scene {
    key: &'static str,
    label: &'static str,
    kind: Kind,
    has_one_address: bool,
    has_default_rates: bool,
}

const fn scene(
    key: &'static str,
    label: &'static str,
    kind: Kind,
    has_one_address: bool,
    has_default_rates: bool,
) -> Scene {
    Scene { key, label, kind, has_one_address, has_default_rates }
}

const SCENES: &[Scene] = &[
    scene("calm", "nobody", Kind::Nothing, true, true),
    scene("address", "notes from one address", Kind::Notes, true, true),
    scene("author", "notes of one author, an address a connection", Kind::OneAuthor, false, true),
    scene("lifted_notes", "no limits: notes from one address", Kind::Notes, true, false),
    scene("lifted_forged", "no limits: forgeries from one address", Kind::Forgeries, true, false),
    scene("lifted_many", "no limits: forgeries, an address a connection", Kind::Forgeries, false, false),
    scene("lifted_long", "no limits: long forgeries from one address", Kind::LongForgeries, true, false),
    scene("lifted_live", "no limits: ephemeral events from one address", Kind::Ephemeral, true, false),
    scene("lifted_counts", "no limits: COUNTs from one address", Kind::Counts, true, false),
];

/// Columns, and what stands behind the key of a scene in those of their figures.
const COLUMNS: &[(&str, &[&str])] = &[
    ("offered", &["offered_per_second"]),
    ("answered", &["answered_per_second"]),
    ("of these `rate-limited:`", &["rate_limited_share"]),
    (
        "polite: OK, median, p99, longest",
        &["answer_median_milliseconds", "answer_p99_milliseconds", "answer_longest_milliseconds"],
    ),
    ("live, p99", &["live_p99_milliseconds"]),
    ("REQ, p99", &["read_p99_milliseconds"]),
    ("rounds", &["rounds"]),
    ("refused", &["polite_refused"]),
];

impl Scene {
    /// What the connection of this number sends.
    fn messages(&self, connection: usize) -> Messages {
        let text = |number: usize| {
            let who = match self.kind {
                Kind::OneAuthor => STRANGERS,
                _ => STRANGERS + 1 + (connection * MESSAGES + number) as u64,
            };
            let kind = if self.kind == Kind::Ephemeral { 20_001 } else { 1 };
            let mut content = format!("flood {} {connection} {number} ", self.key);
            if self.kind == Kind::LongForgeries {
                content.extend(std::iter::repeat_n('x', LONG_BYTES));
            }
            let mut event = note(&keypair(who), kind, BEGINNING, content);
            if matches!(self.kind, Kind::Forgeries | Kind::LongForgeries) {
                event.sig.0[63] ^= 1;
            }
            message(&event)
        };
        match self.kind {
            Kind::Counts => {
                Messages::of((0..MESSAGES).map(|_| br#"["COUNT","flood",{"kinds":[1]}]"#.to_vec()))
            }
            Kind::LongForgeries => Messages::of((0..LONG_MESSAGES).map(text)),
            _ => Messages::of((0..MESSAGES).map(text)),
        }
    }

    fn flooders(&self, relay: &str, connections: usize) -> Result<Vec<Flooder>, Failure> {
        let connections = if self.kind == Kind::Nothing { 0 } else { connections };
        let flooder = |number: usize| {
            let [high, low] = u16::try_from(number)?.to_be_bytes();
            let (high, low) = if self.has_one_address { (0, 0) } else { (high, low) };
            let address = IpAddr::V4(Ipv4Addr::new(10, 2, high, low));
            Flooder::connect(relay, address, self.messages(number))
        };
        (0..connections).map(flooder).collect()
    }

    /// Floods the relay, and has the polite go about meanwhile.
    fn play(&self, stage: &Stage, run: u64, per_second: f64, figures: &mut Figures) -> Result<(), Failure> {
        let options = &stage.options;
        stage.say(format_args!("overload: {}", self.label));
        let settings = Settings {
            connections: options.overload_connections + options.overload_polite,
            is_behind_proxy: true,
            has_default_rates: self.has_default_rates,
            ..Settings::default()
        };
        let relay = stage.target.launch(settings)?;
        let flooders = self.flooders(&relay.address, options.overload_connections)?;
        let polite = polite::connect(&relay.address, options.overload_polite)?;
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(options.overload_seconds);
        let (flooded, experience) = std::thread::scope(|scope| {
            let flood = scope
                .spawn(|| flood::all(flooders, per_second, until).map_err(|failure| failure.to_string()));
            let experience = polite::all(polite, run, until);
            let flooded = flood.join().map_err(|_| "a client panicked".to_owned())?;
            Ok::<_, Failure>((flooded?, experience?))
        })?;
        if let Some(refusal) = experience.refusal() {
            stage.say(format_args!("{} of the polite were refused: {refusal}", experience.refused));
        }
        self.put(&flooded, &experience, began.elapsed().as_secs_f64(), figures);
        relay.stop()
    }

    fn put(&self, flooded: &Flooded, experience: &Experience, seconds: f64, figures: &mut Figures) {
        let key = |name: &str| format!("overload_{}_{name}", self.key);
        figures.put(key("offered_per_second"), flooded.offered as f64 / seconds);
        figures.put(key("answered_per_second"), flooded.answered as f64 / seconds);
        let share = flooded.rate_limited as f64 / (flooded.answered as f64).max(1.0);
        figures.put(key("rate_limited_share"), share);
        figures.put_times(&key("answer"), &experience.answer);
        figures.put(key("answer_longest_milliseconds"), experience.answer.longest());
        figures.put_times(&key("live"), &experience.live);
        figures.put_times(&key("read"), &experience.read);
        figures.put(key("rounds"), experience.answer.len() as f64);
        figures.put(key("polite_refused"), experience.refused as f64);
    }
}

/// Fills the store, and measures by it what the relay can take, in events a second.
fn sustainable(stage: &mut Stage) -> Result<f64, Failure> {
    let relay = stage.empty(Settings::default())?;
    let events = stage.corpus(stage.options.seed).events(stage.options.events.min(BATCH_EVENTS));
    let mut publishers = Publishers::connect(&relay.address, stage.options.connections)?;
    let shares = deal(&events, stage.options.connections);
    let (spent, _) = metered(&relay, &mut publishers, &shares, stage.pace())?;
    relay.stop()?;
    Ok(events.len() as f64 / spent.seconds)
}

/// The names of all scenes.
pub(super) fn keys() -> impl Into<clap::builder::ValueParser> {
    clap::builder::PossibleValuesParser::new(SCENES.iter().map(|scene| scene.key))
}

/// Those that are asked for.
fn scenes(stage: &Stage) -> impl Iterator<Item = &'static Scene> {
    let asked = &stage.options.overload_scenes;
    SCENES.iter().filter(|scene| asked.is_empty() || asked.iter().any(|key| key == scene.key))
}

/// Plays scenes, one after the other, on the same store.
pub(super) fn measure(stage: &mut Stage) -> Result<(Table, Figures), Failure> {
    let sustainable = sustainable(stage)?;
    let mut figures = Figures::default();
    figures.put("overload_sustainable_events_per_second", sustainable);
    for (run, scene) in scenes(stage).enumerate() {
        scene.play(stage, run as u64, TIMES * sustainable, &mut figures)?;
    }
    Ok((table(stage), figures))
}

fn table(stage: &Stage) -> Table {
    let options = &stage.options;
    let rows = scenes(stage).map(|scene| {
        let keys =
            |names: &[&str]| names.iter().map(|name| format!("overload_{}_{name}", scene.key)).collect();
        let cells = COLUMNS.iter().map(|(_, names)| keys(names)).collect();
        Row { label: scene.label.to_owned(), cells }
    });
    let title = format!(
        "what {} connections send for {} s, ten times as much as is taken, beside {} polite clients",
        options.overload_connections, options.overload_seconds, options.overload_polite
    );
    let columns = COLUMNS.iter().map(|(column, _)| (*column).to_owned()).collect();
    Table { title, columns, rows: rows.collect() }
}
