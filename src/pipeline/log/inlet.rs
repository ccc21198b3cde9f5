//! Where what would go to the writer becomes entries of the log. In: events in their turns, sweeps, removals,
//! decisions. Out: entries as bytes, and what waits for each; to the writer what concerns this node alone. Never decides
//! what becomes of an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::mpsc;

use super::entry::{Origin, Said, encode};
use super::{Entry, Log, Outbound, Stop, Waiting, What, rulebook};
use crate::community::Community;
use crate::config::Settings;
use crate::event::{Event, Id, KindClass};
use crate::index::{Index, Stored};
use crate::pipeline::turns::Turns;
use crate::pipeline::writer::{Checked, Remove, Sweep, WriterInput};
use crate::store::CommunityId;

/// Events that one entry removes.
const REMOVED_AT_ONCE: usize = 2_000;

/// How often it is looked whether all is answered, when nothing more will come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
        while let Ok(input) = self.input.recv() {
            match input {
                WriterInput::Events(events) => {
                    events.into_iter().for_each(|(turn, checked)| self.turns.add(turn, checked));
                    while let Some(checked) = self.turns.take() {
                        self.event(checked);
                    }
                }
                WriterInput::Sweep(sweep) => self.sweep(&sweep),
                WriterInput::Remove(Remove { community, found, done }) => {
                    self.remove(&community, found.iter().map(|found| found.id).collect(), done);
                }
                WriterInput::Decide(decision) => self.decide(decision),
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

    fn event(&mut self, checked: Checked) {
        if let Some(refusal) = self.log.refusal() {
            return Waiting::Event(Box::new(checked)).fail(refusal, &self.log.store);
        }
        let community = Arc::clone(&checked.community);
        let token = token(community.path());
        if checked.event.kind.class() == KindClass::Ephemeral {
            return self.ephemeral(checked, &token);
        }
        let rules = community.rules();
        let retention = &rules.settings.retention;
        let is_ruled =
            checked.admitted_at.is_some() && (rules.policy.asks_the_store() || retention.bounds_authors());
        let settings = self.version(&community, &rules.settings);
        if is_ruled && self.log.name(settings) {
            let text = self.versions.get(&community.id).map(|version| version.text.clone());
            let said = Said::Rules { digest: settings, text: &text.unwrap_or_default() };
            self.publish(&said, &format!("{token}.rules"), None);
        }
        let said = Said::Event {
            community: community.path(),
            admitted_at: checked.admitted_at,
            settings,
            is_ruled,
            record: &checked.record,
        };
        let origin = self.origin();
        let bytes = encode(origin, &said);
        let subject = format!("{token}.{}", class(&checked.event));
        // Copies that come by other nodes have the same id.
        let message = format!("{}-{token}", checked.event.id);
        self.send(origin, bytes, &subject, message, Some(Waiting::Event(Box::new(checked))));
    }

    /// What is not stored goes to this node's own writer at once, and to the others as it may.
    fn ephemeral(&mut self, checked: Checked, token: &str) {
        let said = Said::Event {
            community: checked.community.path(),
            admitted_at: checked.admitted_at,
            settings: 0,
            is_ruled: false,
            record: &checked.record,
        };
        let bytes = encode(self.origin(), &said);
        let subject = format!("{}.live.{token}", self.log.settings.name);
        let _ = self.outbound.send(Outbound::Ephemeral { subject, bytes });
        let what = What::Event { checked: Box::new(checked), settings: 0, is_ruled: false };
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
        let most = (*events_max).min(REMOVED_AT_ONCE);
        let ids = |index: &Index, found: &[Stored]| -> Vec<Id> {
            found.iter().map(|stored| index.id_of(*stored)).collect()
        };
        let mut gone = {
            let index = community.index();
            ids(&index, &index.expired(*now, most))
        };
        if gone.is_empty() && community.index().has_vanishing() {
            let mut index = community.index_mut();
            let vanishing = index.vanishing(most);
            gone = ids(&index, &vanishing);
        }
        self.remove(community, gone, done.clone());
    }

    fn remove(&mut self, community: &Arc<Community>, ids: Vec<Id>, done: Sender<usize>) {
        if ids.is_empty() || self.log.refusal().is_some() {
            // Who asked looks again in a while.
            let _ = done.send(0);
            return;
        }
        let said = Said::Remove { community: community.path(), ids };
        let subject = format!("{}.removals", token(community.path()));
        self.publish(&said, &subject, Some(Waiting::Remove(done)));
    }

    fn decide(&mut self, decision: crate::admin::Decided) {
        if self.log.refusal().is_some() {
            return decision.refuse(&self.log.store);
        }
        let subject = format!("{}.decisions", token(decision.community.path()));
        let json = decision.to_json();
        self.publish(&Said::Decide(&json), &subject, Some(Waiting::Decide(decision)));
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
