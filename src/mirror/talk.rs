//! One connection to another relay while it lasts: logs in, listens to what is new on both sides, has what was missed
//! carried over, hands in what comes and sends what goes. In: messages. Out: submissions, messages, and why it ended.
//! What comes is paced, matched with what was asked for, and looked up by its id before anything dear is done with it.

use std::sync::Arc;
use std::time::Duration;

use secp256k1::Keypair;
use tokio::time::{Instant, sleep_until};

use super::catch_up::{Belongs, CatchUp, Stuck, With};
use super::here::News;
use super::link::{Link, Phase};
use super::up::{Next, Up};
use super::wire::{Lost, Wire};
use super::{Task, wire};
use crate::config::{Backfill, MirrorPolicy};
use crate::event::{Event, Id, Kind, PublicKey, public_key, secret_key, sign};
use crate::filter::Filter;
use crate::memory::{CONNECTION_BYTES, Charge, TLS_BYTES};
use crate::message::elsewhere::{self, Heard};
use crate::nips::nip40;
use crate::pipeline::{Feed, Outcome, Reply, Submission};
use crate::plugin::Origin;
use crate::policy::{Placement, foresee};
use crate::rule::{Prefix, RelayNames};

/// How long the other side may take to ask for a key, where there is one to show.
const CHALLENGE_MAX: Duration = Duration::from_secs(2);

/// How long it may take to judge the key.
const JUDGEMENT_MAX: Duration = Duration::from_secs(15);

/// Messages that wait to be written before no more events are sent.
const WRITES_MAX: usize = 16;

/// Events that are read from the store and sent in one go.
const SENT_AT_ONCE: usize = 16;

/// Nonsense, forgeries and events that nobody asked for, before a connection ends.
const STRIKES_MAX: u64 = 100;

/// How soon it is looked again for what was missed.
const MISSED_AFTER: Duration = Duration::from_secs(10);

/// The least that a message of the other side may have: reconciliations have long ones.
const MESSAGE_BYTES_MIN: usize = 1 << 20;

/// What stands around an event in its message.
const ENVELOPE_BYTES: usize = 1024;

/// The name of the subscription to what is new.
const LIVE: &str = "live";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The other side does not answer as asked.
    #[error("the other side refuses: {0}")]
    Refused(String),
    /// This side does not show it what it is to have.
    #[error("the community does not show itself to this mirror: {0}")]
    Hidden(String),
    /// It sends what it should not.
    #[error("the other side misbehaves: {0}")]
    Misbehaves(String),
    /// The key cannot be read.
    #[error("{0}")]
    Key(String),
    /// No memory is left for it.
    #[error("the relay's memory for clients is full")]
    NoRoom,
}

impl From<Stuck> for Ended {
    fn from(stuck: Stuck) -> Ended {
        match stuck {
            Stuck::Broken(what) => Ended::Misbehaves(what.to_owned()),
            Stuck::Refused(why) => Ended::Refused(why),
            Stuck::NoRoom => Ended::NoRoom,
        }
    }
}

/// What happens next.
enum Happened {
    Heard(tokio_tungstenite::tungstenite::Utf8Bytes),
    News,
    Settled,
    Alarm,
}

pub(super) struct Talk<'t> {
    task: &'t Task,
    link: Arc<Link>,
    wire: Wire,
    filters: Vec<Filter>,
    key: Option<Keypair>,
    keys: Vec<PublicKey>,
    /// The proof of the key that is being judged.
    proof: Option<Id>,
    is_proved: bool,
    /// Whether something was refused before the key was proved.
    has_waited: bool,
    /// When it begins without having been asked for a key; `None` once it has begun.
    begins_at: Option<Instant>,
    news: Option<News>,
    catch_up: CatchUp,
    catch_up_at: Option<Instant>,
    up: Up,
    /// Nothing is read before.
    read_after: Instant,
    strikes: u64,
    forgeries: u64,
    charge: Charge,
}

/// Connects and carries events until it ends.
pub(super) async fn run(task: &Task) -> Ended {
    let bytes_max = message_bytes_max(task);
    let mut charge = task.here.pipeline.memory.clients.nothing();
    if !charge.set(fixed_bytes(bytes_max)) {
        return Ended::NoRoom;
    }
    let key = match read_key(task) {
        Ok(key) => key,
        Err(ended) => return ended,
    };
    let wire = match wire::connect(task.link.url(), task.reach, bytes_max).await {
        Ok(wire) => wire,
        Err(lost) => return lost.into(),
    };
    task.link.connected(task.here.pipeline.clock.now());
    let now = Instant::now();
    let talk = Talk {
        task,
        link: Arc::clone(&task.link),
        wire,
        filters: task.settings.filter.parsed(),
        keys: key.iter().map(public_key).collect(),
        begins_at: Some(if key.is_some() { now + CHALLENGE_MAX } else { now }),
        key,
        proof: None,
        is_proved: false,
        has_waited: false,
        news: None,
        catch_up: CatchUp::default(),
        catch_up_at: None,
        up: Up::default(),
        read_after: now,
        strikes: task.link.strikes(),
        forgeries: task.link.under_way.forgeries(),
        charge,
    };
    talk.converse().await
}

/// Bytes of the longest message that is read.
fn message_bytes_max(task: &Task) -> usize {
    let longest = task.here.community.settings().limits.message_bytes_max + ENVELOPE_BYTES;
    longest.max(MESSAGE_BYTES_MIN)
}

/// What a connection takes whatever it does: itself, and a message that is half read.
fn fixed_bytes(message_bytes_max: usize) -> usize {
    CONNECTION_BYTES + TLS_BYTES + message_bytes_max
}

fn read_key(task: &Task) -> Result<Option<Keypair>, Ended> {
    let Some(file) = &task.settings.key_file else { return Ok(None) };
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Ended::Key(format!("cannot read {}: {error}", file.display())))?;
    match secret_key(&text) {
        Some(key) => Ok(Some(key)),
        None => Err(Ended::Key(format!("{} holds no secret key", file.display()))),
    }
}

impl Talk<'_> {
    async fn converse(mut self) -> Ended {
        loop {
            if let Err(ended) = self.go_on().await {
                return ended;
            }
        }
    }

    async fn go_on(&mut self) -> Result<(), Ended> {
        {
            // What looks at what is stored takes its thread from other tasks.
            let is_long = self.catch_up.is_running() || self.up.owes();
            let _turn = if is_long { Some(self.task.room.turn.acquire().await) } else { None };
            self.push_on()?;
        }
        self.next().await
    }

    /// Waits for what happens next, and deals with it.
    async fn next(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let alarm = self.alarm(now);
        let (may_read, may_take) = (now >= self.read_after, self.up.has_room());
        let happened = tokio::select! {
            heard = self.wire.hear(), if may_read => Happened::Heard(heard?),
            () = ready(self.news.as_ref()), if may_take => Happened::News,
            () = self.link.settled(), if self.catch_up.is_running() => Happened::Settled,
            () = sleep_until(alarm) => Happened::Alarm,
        };
        match happened {
            Happened::Heard(text) => self.hear(&text).await?,
            Happened::News => self.take_news()?,
            // What is next is seen to in any case.
            Happened::Settled => {}
            Happened::Alarm => self.wake()?,
        }
        if self.link.strikes() > self.strikes + STRIKES_MAX {
            let why = "more than 100 messages that are none, events that nobody asked for, or forgeries";
            return Err(Ended::Misbehaves(why.to_owned()));
        }
        Ok(())
    }

    /// When something is to be done though nothing comes.
    fn alarm(&self, now: Instant) -> Instant {
        let paced = (self.read_after > now).then_some(self.read_after);
        let all = [self.begins_at, self.catch_up_at, self.catch_up.alarm(), self.up.alarm(), paced];
        // What was missed is looked at now and then.
        let often = now + MISSED_AFTER;
        all.into_iter().flatten().min().unwrap_or(often).min(often)
    }

    fn wake(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.begins_at.is_some_and(|at| now >= at) {
            self.begin()?;
        }
        self.catch_up.overdue(now)?;
        self.up.give_up(&self.link, now);
        if self.catch_up_at.is_some_and(|at| now >= at) {
            self.catch_up();
        }
        Ok(())
    }

    /// Listens to what is new on both sides, and then has what was missed carried over: nothing falls between.
    fn begin(&mut self) -> Result<(), Ended> {
        self.begins_at = None;
        let Task { settings, here, .. } = self.task;
        if settings.goes_up() && self.news.is_none() {
            let news = News::open(here, self.filters.clone(), &self.keys);
            self.news = Some(news.map_err(|refusal| Ended::Hidden(refusal.to_string()))?);
        }
        if settings.comes_down() {
            let mut asked = settings.filter.json().to_vec();
            if settings.backfill != Backfill::None {
                // Some take 0 for no limit at all.
                asked.iter_mut().for_each(|filter| drop(filter.insert("limit".into(), 1.into())));
            }
            self.wire.say(elsewhere::req(LIVE, &asked));
        }
        self.catch_up();
        Ok(())
    }

    fn catch_up(&mut self) {
        let settings = &self.task.settings;
        self.catch_up_at = None;
        if settings.backfill == Backfill::None {
            self.link.caught_up();
            return;
        }
        self.link.take_missed();
        self.catch_up.begin(settings.filter.json(), settings.backfill);
        self.link.enter(Phase::CatchingUp);
    }

    /// Sends what may be sent.
    fn push_on(&mut self) -> Result<(), Ended> {
        let is_done = self.with_catch_up(|catch_up, with| catch_up.push_on(with))?;
        if is_done {
            self.link.caught_up();
            let every = self.task.settings.catch_up_seconds;
            self.catch_up_at = (every > 0).then(|| Instant::now() + Duration::from_secs(every));
        }
        self.look_for_missed();
        self.send_events();
        self.link.note_waiting(self.catch_up.waiting(), self.up.waiting());
        let bytes = fixed_bytes(message_bytes_max(self.task))
            + self.link.bytes()
            + self.catch_up.bytes()
            + 2 * self.up.waiting() * size_of::<Id>();
        match self.charge.set(bytes) {
            true => Ok(()),
            false => Err(Ended::NoRoom),
        }
    }

    /// Has it looked again soon where something was missed.
    fn look_for_missed(&mut self) {
        let forgeries = self.link.under_way.forgeries();
        if forgeries != self.forgeries {
            self.forgeries = forgeries;
            self.link.miss();
        }
        let is_idle = !self.catch_up.is_running() && self.begins_at.is_none();
        if is_idle && self.link.take_missed() {
            let soon = Instant::now() + MISSED_AFTER;
            self.catch_up_at = Some(self.catch_up_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn send_events(&mut self) {
        for _ in 0..SENT_AT_ONCE {
            if self.wire.waiting() >= WRITES_MAX {
                return;
            }
            let now = Instant::now();
            let (id, body, errors) = match self.up.next(now) {
                None => return,
                // Known there meanwhile: it was new and was missed as well.
                Some(Next::Event(id, ..) | Next::Stored(id)) if self.link.is_of_no_use_there(&id) => continue,
                Some(Next::Event(id, body, errors)) => (id, body, errors),
                Some(Next::Stored(id)) => {
                    let here = &self.task.here;
                    let body = tokio::task::block_in_place(|| here.body_of(&id, &self.keys));
                    let Some(body) = body else { continue };
                    (id, body, 0)
                }
            };
            // It is JSON, as it was written here.
            let Ok(json) = std::str::from_utf8(&body) else { continue };
            let text = elsewhere::event(json);
            if self.up.sent(id, body, errors, now) {
                self.link.offered();
                self.wire.say(text);
            }
        }
    }

    /// Takes up what is new here, but for what came from there.
    fn take_news(&mut self) -> Result<(), Ended> {
        let Some(news) = &self.news else { return Ok(()) };
        let Some(bodies) = news.take() else {
            // More was new than waits: it is listened to anew, and what is lacking is found.
            self.news = None;
            let news = News::open(&self.task.here, self.filters.clone(), &self.keys);
            self.news = Some(news.map_err(|refusal| Ended::Hidden(refusal.to_string()))?);
            self.link.miss();
            return Ok(());
        };
        for body in bodies {
            let Ok(event) = Event::from_json(&body) else { continue };
            if !self.link.is_of_no_use_there(&event.id) {
                self.up.add(event.id, body);
            }
        }
        Ok(())
    }

    fn with_catch_up<T>(&mut self, run: impl FnOnce(&mut CatchUp, &mut With<'_>) -> T) -> T {
        let Talk { task, link, wire, keys, catch_up, up, .. } = self;
        let mut with = With {
            here: &task.here,
            link,
            keys,
            wire,
            up,
            comes_down: task.settings.comes_down(),
            goes_up: task.settings.goes_up(),
        };
        run(catch_up, &mut with)
    }

    async fn hear(&mut self, text: &str) -> Result<(), Ended> {
        let Some(heard) = Heard::from_json(text) else {
            self.link.strike();
            self.pace();
            return Ok(());
        };
        match heard {
            Heard::Event(name, event) => {
                self.pace();
                self.event(&name, *event, text.len()).await;
            }
            Heard::Ok(id, is_taken, why) if self.proof == Some(id) => self.judged(is_taken, &why)?,
            Heard::Ok(id, is_taken, why) => {
                let has_key = self.key.is_some();
                self.up.answered(&id, (is_taken, &why), has_key, &self.link, Instant::now());
            }
            Heard::Eose(name) => {
                let _turn = self.task.room.turn.acquire().await;
                self.with_catch_up(|catch_up, with| catch_up.hear_end(&name, None, with))?;
            }
            Heard::Closed(_, why) | Heard::NegErr(_, why) if self.is_to_log_in(&why) => {
                self.has_waited |= self.begins_at.is_none();
                self.begins_at = Some(Instant::now() + JUDGEMENT_MAX);
            }
            Heard::Closed(name, why) if name == LIVE => return Err(Ended::Refused(why)),
            Heard::Closed(name, why) => {
                self.with_catch_up(|catch_up, with| catch_up.hear_end(&name, Some(&why), with))?;
            }
            Heard::NegMsg(name, message) => {
                self.pace();
                let _turn = self.task.room.turn.acquire().await;
                self.with_catch_up(|catch_up, with| catch_up.hear_message(&name, &message, with))?;
            }
            Heard::NegErr(name, why) => self.catch_up.hear_refusal(&name, &why)?,
            Heard::Notice(text) => {
                tracing::debug!(mirror = self.link.url(), "it says: {text}");
                self.pace();
                self.catch_up.hear_notice();
            }
            Heard::Auth(challenge) => self.log_in(&challenge),
            Heard::Other => self.pace(),
        }
        Ok(())
    }

    /// Whether a refusal is about a key that is yet to be proved: some ask for it only then, before or after. All that was
    /// refused at once is waited for once.
    fn is_to_log_in(&self, why: &str) -> bool {
        let is_about_key = why.starts_with("auth-required:") && self.key.is_some() && !self.is_proved;
        is_about_key && (!self.has_waited || self.begins_at.is_some())
    }

    /// Proves the key (NIP-42).
    fn log_in(&mut self, challenge: &str) {
        let Some(key) = &self.key else { return };
        let tags = [&["relay", self.link.url()][..], &["challenge", challenge]].into_iter().collect();
        let now = self.task.here.pipeline.clock.now();
        let proof = sign(key, now, Kind::AUTH, tags, String::new());
        let Ok(json) = String::from_utf8(proof.to_json()) else { return };
        self.wire.say(elsewhere::auth(&json));
        (self.proof, self.is_proved) = (Some(proof.id), false);
        if self.begins_at.is_some() {
            self.begins_at = Some(Instant::now() + JUDGEMENT_MAX);
        }
    }

    /// The other side has judged the key.
    fn judged(&mut self, is_taken: bool, why: &str) -> Result<(), Ended> {
        if !is_taken {
            return Err(Ended::Refused(why.to_owned()));
        }
        self.is_proved = true;
        // What was refused before is asked for again.
        if self.begins_at.is_some() { self.begin() } else { Ok(()) }
    }

    /// Counts something that came, and reads no more for a while when it is too much.
    fn pace(&mut self) {
        let now = Instant::now();
        let each = Duration::from_secs(1) / self.task.settings.events_per_second.max(1);
        // A second's worth may come at once.
        let earliest = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        self.read_after = self.read_after.max(earliest) + each;
    }

    /// Hands in an event, or says why not.
    async fn event(&mut self, name: &str, event: Event, bytes: usize) {
        let is_live = name == LIVE && self.filters.iter().any(|filter| filter.matches(&event));
        let belongs = match self.catch_up.place(name, &event, &self.filters) {
            Belongs::Elsewhere if is_live => Belongs::Here,
            Belongs::Elsewhere if name == LIVE => Belongs::Nowhere,
            belongs => belongs,
        };
        match belongs {
            Belongs::Here if self.task.settings.comes_down() => {}
            Belongs::Nowhere => return self.link.strike(),
            _ => return,
        }
        let id = event.id;
        self.link.came(&id);
        if self.link.is_of_no_use_here(&id) && name != LIVE {
            return;
        }
        match self.admit(&event, bytes) {
            Ok(()) => {}
            Err(Prefix::Duplicate) => {
                Outcome::Duplicate.count_in(&self.task.here.community.traffic);
                return self.link.copy_down(&id);
            }
            Err(prefix) => return self.link.refused_down(&id, prefix),
        }
        // Waits before it is noted as being under way: whoever waits may be ended.
        let Some(permits) = self.task.room.take(&self.task.here.pipeline, bytes).await else { return };
        if !self.link.under_way.begin(&id) {
            return self.link.passed_over();
        }
        let is_trusted = self.task.settings.policy == MirrorPolicy::Trusted;
        let now = self.task.here.pipeline.clock.now();
        self.link.hand_in();
        self.task.here.pipeline.submit(Submission {
            community: Arc::clone(&self.task.here.community),
            event,
            reply: Reply::Feed(Arc::clone(&self.link) as Arc<dyn Feed>),
            admitted_at: (!is_trusted).then_some(now),
            origin: (!is_trusted).then(|| Box::new(Origin::stream(self.link.url()))),
            permits,
        });
    }

    /// Asks what is cheap: the bounds, the rules that need no signature, and whether it is known already.
    fn admit(&self, event: &Event, bytes: usize) -> Result<(), Prefix> {
        let community = &self.task.here.community;
        let rules = community.rules();
        let now = self.task.here.pipeline.clock.now();
        let known = foresee(event, &community.index().facts(event));
        match known {
            Some(Placement::Duplicate | Placement::Superseded) => return Err(Prefix::Duplicate),
            Some(Placement::Deleted(refusal) | Placement::Refused(refusal)) => return Err(refusal.prefix),
            _ => {}
        }
        if bytes > rules.settings.limits.message_bytes_max + ENVELOPE_BYTES
            || nip40::is_expired(nip40::expires_at(event), now)
            || event.kind == Kind::AUTH
        {
            return Err(Prefix::Invalid);
        }
        if self.task.settings.policy == MirrorPolicy::Trusted {
            return Ok(());
        }
        let relay = RelayNames::default();
        let context = rules.context(now, &self.keys, &relay);
        community.admit(&rules, event, &context).map_err(|refusal| refusal.prefix)
    }
}

/// Waits for news; for ever where none is listened to.
async fn ready(news: Option<&News>) {
    match news {
        Some(news) => news.ready().await,
        None => std::future::pending().await,
    }
}
