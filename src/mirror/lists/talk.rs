//! One connection to a relay whose lists are followed, while it lasts: asks for them, takes what is newer than what is
//! kept, and notes that what is kept is still there. In: messages. Out: copies, which are durable before they count.
//! What comes is paced, held against what was asked for, and verified; what is wrong with a list is told, and the last
//! good copy stays.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::Follower;
use crate::community::shared::Source;
use crate::event::{Event, Id, Kind, Verified};
use crate::memory::{CONNECTION_BYTES, TLS_BYTES};
use crate::message::elsewhere::{self, Heard};
use crate::mirror::wire::{self, Lost, Reach, Wire};
use crate::nips::nip51::sets;
use crate::rule::Refusal;

/// The longest message that is read: a list of the most entries, with a reason each.
const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// How long nothing more is read after a message: ten a second are enough for lists.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it may take to ask for a key and to judge it, where nothing is shown without one.
const JUDGEMENT_MAX: Duration = Duration::from_secs(15);

/// How often it is looked whether a list is still there, which is then kept.
const CONFIRM_EVERY: Duration = Duration::from_secs(600);

/// Nonsense, forgeries and events that nobody asked for, before a connection ends.
const STRIKES_MAX: u32 = 20;

/// The name of the subscription.
const NAME: &str = "lists";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The other side does not answer as asked.
    #[error("the other side refuses: {0}")]
    Refused(String),
    /// It sends what it should not.
    #[error(
        "the other side misbehaves: more than {STRIKES_MAX} messages were none, not asked for, or forged"
    )]
    Misbehaves,
    /// No memory is left for it.
    #[error("the relay's memory for clients is full")]
    NoRoom,
}

impl Ended {
    /// Whether it is better to come back late.
    pub(super) fn is_misbehaviour(&self) -> bool {
        matches!(self, Ended::Misbehaves)
    }
}

struct Talk<'f> {
    follower: &'f Follower,
    wire: Wire,
    /// The proof of the relay's own key that is being judged.
    proof: Option<Id>,
    is_proved: bool,
    /// Why nothing was shown before the key was proved.
    refused: Option<String>,
    /// Lists whose copies this connection has shown.
    is_there: HashSet<Source>,
    /// Lists that it has shown and that are not taken, and why.
    troubles: Vec<(Source, String)>,
    /// Whether all that is stored there has come.
    is_live: bool,
    confirm_at: Instant,
    strikes: u32,
}

/// Connects and listens until it ends.
pub(super) async fn run(follower: &Follower) -> Ended {
    let ledger = &follower.pipeline.memory.clients;
    let Some(_charge) = ledger.take(CONNECTION_BYTES + TLS_BYTES + 2 * MESSAGE_BYTES_MAX) else {
        return Ended::NoRoom;
    };
    if !follower.sources.iter().all(|source| follower.community.charge_copy(source, ledger)) {
        return Ended::NoRoom;
    }
    let wire = match wire::connect(&follower.follow.relay, Reach::Anywhere, MESSAGE_BYTES_MAX).await {
        Ok(wire) => wire,
        Err(lost) => return lost.into(),
    };
    let talk = Talk {
        follower,
        wire,
        proof: None,
        is_proved: false,
        refused: None,
        is_there: HashSet::new(),
        troubles: Vec::new(),
        is_live: false,
        confirm_at: Instant::now() + CONFIRM_EVERY,
        strikes: 0,
    };
    talk.converse().await
}

impl Talk<'_> {
    async fn converse(mut self) -> Ended {
        self.ask();
        loop {
            let heard = tokio::select! {
                heard = self.wire.hear() => Some(heard),
                () = sleep_until(self.confirm_at) => None,
            };
            let done = match heard {
                Some(Ok(text)) => self.hear(&text).await,
                Some(Err(lost)) => return lost.into(),
                None => self.alarm(),
            };
            if let Err(ended) = done {
                return ended;
            }
            if self.strikes > STRIKES_MAX {
                return Ended::Misbehaves;
            }
        }
    }

    /// Looks again whether all is still there: of what was deleted no relay tells.
    fn alarm(&mut self) -> Result<(), Ended> {
        if let Some(why) = self.refused.take() {
            return Err(Ended::Refused(why));
        }
        self.confirm_at = Instant::now() + CONFIRM_EVERY;
        self.is_there.clear();
        self.is_live = false;
        self.ask();
        Ok(())
    }

    fn ask(&mut self) {
        let identifiers: Vec<&str> =
            self.follower.sources.iter().map(|source| source.kind.identifier()).collect();
        let authors: Vec<String> =
            self.follower.sources.iter().take(1).map(|source| source.key.to_string()).collect();
        let mut filter: Map<String, Value> = Map::new();
        filter.insert("kinds".to_owned(), json!([sets::KIND.0]));
        filter.insert("authors".to_owned(), json!(authors));
        filter.insert("#d".to_owned(), json!(identifiers));
        self.wire.say(elsewhere::req(NAME, &[filter]));
    }

    async fn hear(&mut self, text: &str) -> Result<(), Ended> {
        match Heard::from_json(text) {
            Some(Heard::Event(name, event)) if name == NAME => {
                self.event(*event);
                self.note();
                sleep(PAUSE).await;
            }
            Some(Heard::Eose(name)) if name == NAME => {
                self.is_live = true;
                self.confirm();
                self.note();
            }
            // Where a key is to be proved first it is asked again after.
            Some(Heard::Closed(name, why)) if name == NAME => {
                let waits = why.starts_with("auth-required:") && !self.is_proved;
                if !waits || self.follower.community.signer().is_none() {
                    return Err(Ended::Refused(why));
                }
                self.refused = Some(why);
                self.confirm_at = Instant::now() + JUDGEMENT_MAX;
            }
            Some(Heard::Auth(challenge)) => self.log_in(&challenge),
            Some(Heard::Ok(id, is_taken, why)) if self.proof == Some(id) => {
                match (is_taken, self.refused.take()) {
                    (false, Some(_)) => return Err(Ended::Refused(why)),
                    // What everybody may read is shown nevertheless.
                    (false, None) => {}
                    (true, _) => {
                        self.is_proved = true;
                        self.ask();
                    }
                }
            }
            Some(Heard::Event(..)) | None => {
                self.strikes += 1;
                sleep(PAUSE).await;
            }
            Some(_) => sleep(PAUSE).await,
        }
        Ok(())
    }

    /// Proves the relay's own key (NIP-42), where it has one.
    fn log_in(&mut self, challenge: &str) {
        let Some(signer) = self.follower.community.signer() else { return };
        let tags =
            [&["relay", &*self.follower.follow.relay][..], &["challenge", challenge]].into_iter().collect();
        let proof = signer.sign(self.follower.pipeline.clock.now(), Kind::AUTH, tags, String::new());
        let Ok(json) = String::from_utf8(proof.to_json()) else { return };
        self.wire.say(elsewhere::auth(&json));
        (self.proof, self.is_proved) = (Some(proof.id), false);
    }

    /// Notes how it goes, of each list.
    fn note(&self) {
        for source in &self.follower.sources {
            let trouble = self.troubles.iter().find(|(of, _)| of == source).map(|(_, why)| why.clone());
            let is_missing = self.is_live && !self.is_there.contains(source);
            let trouble = trouble.or_else(|| is_missing.then(|| "the relay has no such list".to_owned()));
            self.follower.community.note_list(source, true, trouble);
        }
    }

    /// Keeps that the lists which this connection has shown are there at this time.
    fn confirm(&self) {
        let Follower { pipeline, community, .. } = self.follower;
        let now = pipeline.clock.now();
        tokio::task::block_in_place(|| {
            for source in &self.is_there {
                let group = community.confirm_copy(source, now, pipeline.bodies.store());
                // What could not be kept is kept the next time.
                if let Err(error) = pipeline.change_state(group) {
                    tracing::debug!("{}: cannot keep when a list was seen: {error}", community.path());
                }
            }
        });
    }

    fn event(&mut self, event: Event) {
        let wanted = self
            .follower
            .sources
            .iter()
            .find(|source| source.key == event.pubkey && sets::kind_of(&event) == Some(source.kind));
        let Some(&source) = wanted else {
            self.strikes += 1;
            return;
        };
        self.troubles.retain(|(of, _)| *of != source);
        match self.take(&source, event) {
            Ok(()) => drop(self.is_there.insert(source)),
            Err(why) => {
                // What is kept is there no more: it lapses by and by.
                self.is_there.remove(&source);
                let (path, list) = (self.follower.community.path(), source.kind.identifier());
                tracing::warn!("{path}: the list {list} of {}: {why}", self.follower.follow.relay);
                self.troubles.push((source, why));
            }
        }
    }

    /// Takes a list up that is newer than its copy, or finds that it is that.
    fn take(&mut self, source: &Source, event: Event) -> Result<(), String> {
        let Follower { pipeline, community, follow, .. } = self.follower;
        let now = pipeline.clock.now();
        if let Some((id, made_at)) = community.copy_of(source) {
            if id == event.id {
                return Ok(());
            }
            if event.created_at < made_at || event.created_at == made_at && event.id > id {
                return Err("the relay shows an older version than the one that is kept".to_owned());
            }
        }
        let settings = community.settings();
        if event.created_at > now.saturating_add(settings.limits.created_at_future_seconds_max) {
            return Err("it is dated in the future".to_owned());
        }
        let event = Verified::check(event, &mut Vec::new()).map_err(|forgery| {
            self.strikes += 1;
            format!("it is forged: {}", Refusal::from(forgery).sentence)
        })?;
        let what_keeps = (pipeline.bodies.store(), &pipeline.memory.clients);
        let (group, copy) = community.begin_copy(source, &event, follow.entries_max, now, what_keeps)?;
        tokio::task::block_in_place(|| pipeline.change_state(group)).map_err(|error| error.to_string())?;
        community.finish_copy(copy);
        tracing::info!(
            "{}: the list {} of {} is taken up as of {}",
            community.path(),
            source.kind.identifier(),
            follow.relay,
            event.created_at
        );
        Ok(())
    }
}
