//! Where what would go to the writer becomes entries of the log. In: events in their turns, sweeps, removals,
//! decisions. Out: entries as bytes, and what waits for each; to the writer what concerns this node alone. Never decides
//! what becomes of an event.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::mpsc;

use super::entry::{Origin, Said, Taken, encode};
use super::{Asker, Entry, Log, Outbound, Stop, Voice, Waiting, What, rulebook};
use crate::admin::{Decided, Done};
use crate::community::Community;
use crate::config::Settings;
use crate::event::{Event, Id, KindClass};
use crate::index::{Index, Stored};
use crate::nips::nip43::asks_to_join_or_leave;
use crate::pipeline::groups;
use crate::pipeline::members::{Code, Invitation};
use crate::pipeline::release::{Release, is_held};
use crate::pipeline::turns::Turns;
use crate::pipeline::writer::{Checked, Remove, Sweep, WriterInput};
use crate::rule::{Prefix, Refusal};
use crate::store::{CommunityId, StoreError};

/// Events that one entry removes.
const REMOVED_AT_ONCE: usize = 2_000;

/// How often it is looked whether all is answered, when nothing more will come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked whether the log is reached, when there is something to say.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// The settings of a community as of an event, with their digest and text.
struct Version {
    of: Arc<Settings>,
    digest: u64,
    text: String,
}

pub(super) struct Inlet {
    log: Arc<Log>,
    input: Receiver<WriterInput>,
    writer: Sender<WriterInput>,
    outbound: mpsc::UnboundedSender<Outbound>,
    stop: Stop,
    turns: Turns,
    next: u64,
    versions: HashMap<CommunityId, Version>,
}

/// A part of a subject: what a path is, in letters that have no meaning there.
fn token(path: &str) -> String {
    let name = path.trim_matches('/');
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    match name {
        "" => "_root".to_owned(),
        name if name.bytes().all(|byte| plain(&byte)) => name.to_owned(),
        name => format!("_{}", hex::encode(name)),
    }
}

fn class(event: &Event) -> &'static str {
    match event.kind.class() {
        KindClass::Regular => "regular",
        KindClass::Replaceable => "replaceable",
        KindClass::Addressable => "addressable",
        KindClass::Ephemeral => "ephemeral",
    }
}

impl Inlet {
    pub(super) fn new(
        log: Arc<Log>,
        input: Receiver<WriterInput>,
        writer: Sender<WriterInput>,
        outbound: mpsc::UnboundedSender<Outbound>,
        stop: Stop,
    ) -> Inlet {
        let (turns, versions) = (Turns::default(), HashMap::new());
        Inlet { log, input, writer, outbound, stop, turns, next: 0, versions }
    }

    pub(super) fn run(mut self) {
        while let Some(input) = self.next() {
            match input {
                WriterInput::Events(events) => {
                    events.into_iter().for_each(|(turn, checked)| self.turns.add(turn, checked));
                    while let Some(checked) = self.turns.take() {
                        self.take_up(checked);
                    }
                }
                WriterInput::Asked(events) => events.into_iter().for_each(|checked| self.event(checked)),
                WriterInput::Sweep(sweep) => self.sweep(&sweep),
                WriterInput::Remove(Remove { community, found, done }) => {
                    let asker = Asker { done, before: 0, is_sweep: false };
                    self.remove(&community, found.iter().map(|found| found.id).collect(), asker);
                }
                WriterInput::Release(release) => self.release(release),
                WriterInput::Decide(decision) => self.decide(decision),
                WriterInput::Refresh(community, now, done) => {
                    self.log.unsaid().push((community, now));
                    // It is said when the log is reached, for which nobody waits.
                    let _ = done.send(());
                }
                WriterInput::Invite(invitation) => self.invite(invitation),
                // These are about this node alone.
                input @ (WriterInput::State(..) | WriterInput::Ping(_) | WriterInput::Log(_)) => {
                    let _ = self.writer.send(input);
                }
            }
        }
        // What is published is answered, or given up when its time is over.
        while self.log.waiting() > 0 && !self.outbound.is_closed() {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.stop.send(true);
    }

    /// What comes next; `None` when nobody can send any more. What the relay has to say itself is said meanwhile, as soon
    /// as that can be.
    fn next(&mut self) -> Option<WriterInput> {
        loop {
            if !self.log.has_to_say() {
                return self.input.recv().ok();
            }
            if self.log.is_at_its_end() {
                self.log
                    .unsaid_to_say()
                    .into_iter()
                    .for_each(|(community, now)| self.refresh(&community, now));
            }
            match self.input.recv_timeout(TRY_EVERY) {
                Ok(input) => return Some(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn origin(&mut self) -> Origin {
        self.next += 1;
        Origin { process: self.log.process, number: self.next }
    }

    /// Publishes an entry, and has something wait for it.
    fn publish(&mut self, said: &Said<'_>, subject: &str, waiting: Option<Waiting>) {
        let origin = self.origin();
        let message = format!("{:x}-{}", origin.process, origin.number);
        self.send(origin, encode(origin, said), subject, message, waiting);
    }

    fn send(
        &mut self,
        origin: Origin,
        bytes: Vec<u8>,
        subject: &str,
        message: String,
        waiting: Option<Waiting>,
    ) {
        if let Some(waiting) = waiting {
            self.log.expect(origin.number, waiting);
        }
        let subject = format!("{}.log.{subject}", self.log.settings.name);
        // It ends only when its thread has panicked, and with it the process.
        let _ = self.outbound.send(Outbound::Entry { number: origin.number, subject, message, bytes });
    }

    /// Publishes an event whose turn has come, unless plugins are asked about it first.
    fn take_up(&mut self, checked: Checked) {
        let community = Arc::clone(&checked.community);
        match community.desk.get() {
            Some(desk) if checked.admitted_at.is_some() || checked.origin.is_some() => desk.take(checked),
            _ => self.event(checked),
        }
    }

    fn event(&mut self, checked: Checked) {
        let refused = |checked: Checked, refusal| {
            Waiting::Event(Box::new(checked)).fail(refusal, &self.log.store);
        };
        if let Some(refusal) = self.log.refusal() {
            return refused(checked, refusal);
        }
        let community = Arc::clone(&checked.community);
        let (event, voice) = (&checked.event, Voice::of(&community));
        if checked.admitted_at.is_none() && event.kind.manages_groups() && voice.has_groups() {
            // Who has read groups anew from stored events would know others than who goes on.
            let sentence =
                "what manages groups is not taken unasked in a cluster; bring it to a relay that is alone";
            return refused(checked, Refusal::new(Prefix::Error, "cluster.groups", sentence));
        }
        let token = token(community.path());
        let rules = community.rules();
        let is_of_members = voice.has_members() && asks_to_join_or_leave(event);
        if event.kind.class() == KindClass::Ephemeral && !is_of_members {
            return self.ephemeral(checked, &token);
        }
        let is_held = match is_held(&checked) {
            Ok(is_held) => is_held,
            Err(refusal) => return refused(checked, refusal),
        };
        let retention = &rules.settings.retention;
        let asks = rules.policy.asks_the_store() || retention.bounds_authors();
        let is_ruled = checked.admitted_at.is_some() && (asks || voice.answers(event));
        let taken = Taken { is_held, ..self.taken(&community, &rules.settings, is_ruled) };
        let admitted_at = checked.admitted_at;
        let said = Said::Event { community: community.path(), admitted_at, taken, record: &checked.record };
        let origin = self.origin();
        let bytes = encode(origin, &said);
        let subject = format!("{token}.{}", class(&checked.event));
        // Copies that come by other nodes have the same id.
        let message = format!("{}-{token}", checked.event.id);
        self.send(origin, bytes, &subject, message, Some(Waiting::Event(Box::new(checked))));
    }

    /// How this node takes something in a community; its settings are named in the log before, where they count there.
    fn taken(&mut self, community: &Community, settings: &Arc<Settings>, is_ruled: bool) -> Taken {
        let digest = self.version(community, settings);
        if is_ruled && self.log.name(digest) {
            let text = self.versions.get(&community.id).map(|version| version.text.clone());
            let said = Said::Rules { digest, text: &text.unwrap_or_default() };
            self.publish(&said, &format!("{}.rules", token(community.path())), None);
        }
        Taken { settings: digest, is_ruled, is_held: false, voice: Voice::of(community) }
    }

    /// What is not stored goes to this node's own writer at once, and to the others as it may.
    fn ephemeral(&mut self, checked: Checked, token: &str) {
        let said = Said::Event {
            community: checked.community.path(),
            admitted_at: checked.admitted_at,
            taken: Taken::default(),
            record: &checked.record,
        };
        let bytes = encode(self.origin(), &said);
        let subject = format!("{}.live.{token}", self.log.settings.name);
        let _ = self.outbound.send(Outbound::Ephemeral { subject, bytes });
        let what = What::Event(Box::new(checked), Taken::default());
        let _ = self.writer.send(WriterInput::Log(Entry { at: None, what, _room: None }));
    }

    /// The digest of a community's settings.
    fn version(&mut self, community: &Community, settings: &Arc<Settings>) -> u64 {
        match self.versions.get(&community.id) {
            Some(version) if Arc::ptr_eq(&version.of, settings) => version.digest,
            _ => {
                let (digest, text) = rulebook::write(settings);
                self.versions.insert(community.id, Version { of: Arc::clone(settings), digest, text });
                digest
            }
        }
    }

    /// Finds what is to be swept, as this node sees it: the entry names what goes, so that it is the same on all.
    fn sweep(&mut self, sweep: &Sweep) {
        let Sweep { community, now, events_max, done } = sweep;
        let ids = |index: &Index, found: &[Stored]| -> Vec<Id> {
            found.iter().map(|stored| index.id_of(*stored)).collect()
        };
        let mut gone = {
            let index = community.index();
            ids(&index, &index.expired(*now, *events_max))
        };
        if community.index().has_vanishing() && gone.len() < *events_max {
            let mut index = community.index_mut();
            let vanishing = index.vanishing(*events_max - gone.len());
            gone.extend(ids(&index, &vanishing));
        }
        let left_over = groups::left_over(community, *events_max - gone.len());
        gone.extend(ids(&community.index(), &left_over));
        let mut seen = HashSet::new();
        gone.retain(|id| seen.insert(*id));
        self.remove(community, gone, Asker { done: done.clone(), before: 0, is_sweep: true });
    }

    /// Has events removed, as many at once as one entry names; told with the last of them.
    fn remove(&mut self, community: &Arc<Community>, ids: Vec<Id>, asker: Asker) {
        if ids.is_empty() {
            return asker.tell(0);
        }
        if self.log.refusal().is_some() {
            return asker.fail();
        }
        let subject = format!("{}.removals", token(community.path()));
        let before = (ids.len() - 1) / REMOVED_AT_ONCE * REMOVED_AT_ONCE;
        let (earlier, last) = ids.split_at(before);
        for some in earlier.chunks(REMOVED_AT_ONCE) {
            self.publish(&Said::Remove { community: community.path(), ids: some.to_vec() }, &subject, None);
        }
        let said = Said::Remove { community: community.path(), ids: last.to_vec() };
        self.publish(&said, &subject, Some(Waiting::Remove(Asker { before, ..asker })));
    }

    fn release(&mut self, release: Release) {
        let Release { community, ids, done } = release;
        if ids.is_empty() || self.log.refusal().is_some() {
            // Who asked looks again in a while.
            return drop(done);
        }
        let said = Said::Release { community: community.path(), ids };
        let subject = format!("{}.removals", token(community.path()));
        self.publish(&said, &subject, Some(Waiting::Release(done)));
    }

    fn decide(&mut self, decision: Decided) {
        if self.log.refusal().is_some() {
            return decision.refuse(&self.log.store);
        }
        let community = Arc::clone(&decision.community);
        let taken = self.taken(&community, &community.settings(), community.signer().is_some());
        let subject = format!("{}.decisions", token(community.path()));
        let json = decision.to_json();
        self.publish(&Said::Decide(taken, &json), &subject, Some(Waiting::Decide(Box::new(decision))));
    }

    /// Has all nodes say what the relay itself has to say, where that is not stored as it is.
    fn refresh(&mut self, community: &Arc<Community>, now: u64) {
        let taken = self.taken(community, &community.settings(), true);
        let subject = format!("{}.decisions", token(community.path()));
        let waiting = Waiting::Refresh(Arc::clone(community), now);
        self.publish(&Said::Refresh { community: community.path(), now, taken }, &subject, Some(waiting));
    }

    /// A code is made here, and known on all nodes before it is given away.
    fn invite(&mut self, invitation: Invitation) {
        let (code, changes) = match invitation.code() {
            Code::Kept(code) => return invitation.give(Some(&code)),
            Code::NoRoom => return invitation.give(None),
            Code::New(code, changes) => (code, changes),
        };
        let (community, now) = (Arc::clone(&invitation.community), invitation.now);
        let done: Done = Box::new(move |result: Result<(), StoreError>| {
            invitation.give(result.is_ok().then_some(&*code));
        });
        let (acts, record) = (Vec::new(), Vec::new());
        self.decide(Decided { community, changes, acts, record, now, done: Some(done) });
    }
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn paths_become_parts_of_subjects() {
        let table = [("/", "_root"), ("/berlin", "berlin"), ("/a.b", "_612e62"), ("/a/b>", "_612f623e")];
        for (path, wanted) in table {
            assert_eq!(token(path), wanted);
        }
    }
}
