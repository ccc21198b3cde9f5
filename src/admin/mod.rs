//! Managing a community (nips/86.md): who may call which method, what each changes, and the record of it. In: calls
//! of people who have proved their key. Out: answers, and changes that are durable before they hold. Never speaks
//! HTTP; `src/net/manage.rs` does.

mod answers;
mod audit;
mod changes;
mod decision;
mod groups;
mod history;
mod queue;
mod sessions;
mod settings;
mod verdicts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::community::{Change, Community, Rules};
use crate::event::{Id, PublicKey};
use crate::nips::nip86::{self, Method};
use crate::nips::nip98::{Token, WINDOW_SECONDS};
use crate::pipeline::{Pipeline, StateChanging};
use crate::reload::Reloader;
use crate::rule::RelayNames;
use crate::rule::moderation::{Rank, Standing};
use crate::store::{CommunityId, Group, Store};
use changes::Made;
pub(crate) use decision::{Decided, Done};
pub use sessions::SessionId;
use sessions::Sessions;

/// Tokens that are remembered, so that none is used twice. More in two minutes than this are refused.
const TOKENS_MAX: usize = 10_000;

/// Who calls, and where.
pub struct Caller<'a> {
    /// The community that is managed.
    pub community: &'a Arc<Community>,
    /// The key that was proved.
    pub key: PublicKey,
    /// By which session, where it was proved earlier.
    pub session: Option<SessionId>,
    /// The URLs that name the relay where the call came in.
    pub relay: &'a RelayNames,
}

/// Why a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// It makes no sense here.
    #[error("{0}")]
    Refused(String),
    /// The relay could not.
    #[error("{0}")]
    Failed(String),
}

/// Carries calls out, one change at a time.
pub struct Admin {
    pipeline: Arc<Pipeline>,
    store: Arc<Store>,
    reloader: Arc<Reloader>,
    /// The number of the next entry of each community's record. Who holds it changes something, and nobody else.
    records: Mutex<HashMap<CommunityId, u64>>,
    /// Ids of tokens that were used, and until when they could be used again.
    tokens: Mutex<HashMap<Id, u64>>,
    /// Who has logged in, and where.
    sessions: Mutex<Sessions>,
}

impl Admin {
    /// Nothing done yet.
    pub(crate) fn new(pipeline: Arc<Pipeline>, store: Arc<Store>, reloader: Arc<Reloader>) -> Admin {
        let (records, tokens, sessions) = (Mutex::default(), Mutex::default(), Mutex::default());
        Admin { pipeline, store, reloader, records, tokens, sessions }
    }

    /// Where all is kept.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Takes a token, once.
    ///
    /// # Errors
    /// When it was taken before, or too many are remembered.
    pub fn take_token(&self, token: &Token, now: u64) -> Result<(), &'static str> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, until| *until >= now);
        }
        if tokens.len() >= TOKENS_MAX {
            return Err("too many requests at once; try again in two minutes");
        }
        // A token may be dated ahead by the window, and holds as long again.
        match tokens.insert(token.id, now + 2 * WINDOW_SECONDS) {
            Some(until) if until >= now => Err("this token was used before; sign a new one for each request"),
            _ => Ok(()),
        }
    }

    /// Carries a call out. Waits for the disk when it changes something.
    ///
    /// # Errors
    /// When the caller may not, or it makes no sense, or the store fails.
    pub fn call(&self, caller: &Caller<'_>, name: &str, method: &Method, now: u64) -> Result<Value, Denied> {
        self.begin(caller, name, method, now)?.finish()
    }

    /// Carries a call out up to where it would wait for the disk.
    ///
    /// # Errors
    /// When the caller may not, or it makes no sense.
    pub(crate) fn begin(
        &self,
        caller: &Caller<'_>,
        name: &str,
        method: &Method,
        now: u64,
    ) -> Result<Begun<'_>, Denied> {
        let rules = caller.community.rules();
        permit(&rules, &caller.key, name)?;
        if let Some(answer) = self.answer(caller, &rules, method, now) {
            return answer.map(Begun::Answered);
        }
        let reloaded = match method {
            Method::ReloadSettings => Some(self.reload(caller)?),
            _ => None,
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        // What was asked before may have changed meanwhile: nobody changes anything from here on.
        let rules = caller.community.rules();
        permit(&rules, &caller.key, name)?;
        let made = match (method, reloaded) {
            (_, Some(said)) => {
                let (changes, acts, releases) = (Vec::new(), Vec::new(), Vec::new());
                Made { changes, acts, answer: Value::from(&*said), about: Value::from(said), releases }
            }
            (Method::ChangeSettings(wanted), None) => self.change_settings(caller, &rules, wanted, now)?,
            (Method::GiveVerdicts(verdicts), None) => verdicts::of(verdicts, caller, &rules, now),
            (_, None) => changes::of(method, caller, &rules, now)?,
        };
        let entry = audit::Entry { at: now, by: caller.key.to_string(), method: name, about: made.about };
        let record = entry.json()?;
        let community = Arc::clone(caller.community);
        let (changes, acts) = (made.changes.clone(), made.acts);
        let (number, done) = match &self.pipeline.log {
            Some(_) => (
                None,
                self.pipeline.begin_decision(Decided { community, changes, acts, record, now, done: None }),
            ),
            None => {
                let number = audit::next(&mut records, &self.store, community.id)?;
                let mut group = Group::default();
                audit::put(community.id, number, &record, &mut group);
                let done = self.pipeline.begin_change_of_state(group, Some(community), changes, acts, now);
                (Some(number), done)
            }
        };
        Ok(Begun::Changing(Changing {
            admin: self,
            done,
            records,
            number,
            community: Arc::clone(caller.community),
            changes: made.changes,
            answer: made.answer,
            releases: made.releases,
            now,
        }))
    }

    /// Settings are those of the whole process.
    fn reload(&self, caller: &Caller<'_>) -> Result<String, Denied> {
        if caller.community.path() != "/" {
            return Err(Denied::Forbidden("settings are reloaded at the root community".to_owned()));
        }
        let reloaded = self.reloader.reload().map_err(|error| Denied::Refused(error.to_string()))?;
        tracing::info!("settings reloaded: {reloaded}");
        Ok(reloaded.to_string())
    }
}

/// A call that has been carried out, or is about to be.
pub(crate) enum Begun<'a> {
    /// It only answers.
    Answered(Value),
    /// It changes something.
    Changing(Changing<'a>),
}

/// A change that is on its way to the disk. While there is one nobody else changes anything.
pub(crate) struct Changing<'a> {
    admin: &'a Admin,
    done: StateChanging,
    records: MutexGuard<'a, HashMap<CommunityId, u64>>,
    /// The number of its entry of the record; in a cluster its log gives it.
    number: Option<u64>,
    community: Arc<Community>,
    changes: Vec<Change>,
    answer: Value,
    /// Events that are held no more.
    releases: Vec<Id>,
    now: u64,
}

impl Begun<'_> {
    /// Whether it would not wait any more.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Begun::Answered(_) => true,
            Begun::Changing(changing) => changing.done.is_over(),
        }
    }

    /// Waits for the disk, and lets the change take effect.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn finish(self) -> Result<Value, Denied> {
        let Changing { admin, done, mut records, number, community, changes, answer, releases, now } =
            match self {
                Begun::Answered(answer) => return Ok(answer),
                Begun::Changing(changing) => changing,
            };
        admin.pipeline.finish_change_of_state(&done).map_err(|error| {
            tracing::error!("cannot keep what a moderator decided: {error}");
            // It may be there nevertheless when the store goes on, and its number taken.
            records.remove(&community.id);
            Denied::Failed("the relay could not store this; its operator is told".to_owned())
        })?;
        let is_about_settings = changes.iter().any(|change| matches!(change, Change::Setting(..)));
        match number {
            Some(number) => {
                records.insert(community.id, number + 1);
                take_effect(&community, &changes, now);
            }
            // It has taken effect already. Others decide as well.
            None => drop(records.remove(&community.id)),
        }
        if !releases.is_empty() {
            admin.pipeline.release(&community, releases);
        }
        if is_about_settings {
            admin.refresh()?;
        }
        Ok(answer)
    }
}

/// What is durable holds, also for who is connected.
fn take_effect(community: &Community, changes: &[Change], now: u64) {
    let is_about_people = changes.iter().any(|change| matches!(change, Change::Author(..)));
    let is_about_reports = changes.iter().any(|change| matches!(change, Change::Dismissal(..)));
    let bans = changes.iter().any(|change| matches!(change, Change::Author(..) | Change::Event(..)));
    // Elsewhere the writer has made it hold.
    if !community.has_members() {
        community.apply(changes.to_vec());
    }
    let blocks = changes.iter().any(|change| matches!(change, Change::Address(_, Some(_))));
    if bans {
        let rules = community.rules();
        community.live.withdraw(|id, author| rules.known.moderation.bans(id, author));
    }
    // Who reads as a member may be one no more.
    if is_about_people {
        community.recheck(now);
    }
    if is_about_reports {
        community.learn_hidden_anew();
    }
    if blocks {
        let rules = community.rules();
        community.connected.end("connections from this address are not taken here", |_, address| {
            rules.known.moderation.blocks(address)
        });
    }
}

/// Whether a caller may call a method.
fn permit(rules: &Rules, key: &PublicKey, name: &str) -> Result<(), Denied> {
    if may_call(rules, key, name) {
        return Ok(());
    }
    let sentence = match rules.rank(key) {
        Rank::Nobody => "this key manages nothing here",
        _ => "your role does not allow this method; supportedmethods lists yours",
    };
    Err(Denied::Forbidden(sentence.to_owned()))
}

/// Whether a key may call a method of this name: by its rank, or because it was given that method.
fn may_call(rules: &Rules, key: &PublicKey, name: &str) -> bool {
    let moderation = &rules.known.moderation;
    let is_banned = moderation.author(key) == Some(Standing::Banned);
    let rank = rules.rank(key);
    let given = moderation.staff.get(key).filter(|_| !is_banned);
    if name == "giveverdicts" && rules.settings.moderation_service.key() == Some(*key) {
        return true;
    }
    match nip86::rank_of(name) {
        // Who manages nothing is told nothing.
        Some(Rank::Nobody) => rank > Rank::Nobody || given.is_some_and(|duties| !duties.methods.is_empty()),
        Some(needed) => rank >= needed || given.is_some_and(|duties| duties.methods.contains(name)),
        None => false,
    }
}
