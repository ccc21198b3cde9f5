//! How runs end: in order, in the middle of everything, and with a disk that takes nothing more. What was acknowledged by
//! then is looked for in what is on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use plaza::community::Community;
use plaza::event::{Event, PublicKey};
use plaza::pipeline::Part;

use super::{Round, TURNS_MAX, World};
use crate::common::folder::copy;
use crate::house::House;
use crate::judge::told;
use crate::oracle::Oracle;
use crate::record::{Change, Record, Sent};

impl Round<'_> {
    /// The relay is stopped in order after so many steps, and started again.
    pub(super) async fn stop(mut self, after: usize) {
        for _ in 0..after {
            self.step().await;
        }
        self.house.relay.stop();
        self.tell(format_args!("the relay is stopping"));
        for _ in 0..after {
            self.work();
        }
        for _ in 0..TURNS_MAX {
            self.settle();
            if !self.house.has_sessions() {
                break;
            }
            // Who says nothing is not waited for.
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(!self.house.has_sessions(), "sessions end when the relay stops");
        let Round { world, house, records, .. } = self;
        house.into_relay().close().expect("everything is on disk");
        check_kept(world, &records, &world.open());
    }

    /// The relay is killed after so many steps, and another one started on what is on disk.
    pub(super) async fn kill(mut self, after: usize) {
        for _ in 0..after {
            self.step().await;
        }
        self.tell(format_args!("the relay is killed"));
        let left = self.copy_disk();
        // What was said by then may be read later.
        for client in 0..self.clients.len() {
            while self.hear(client) {}
        }
        let Round { world, house, records, .. } = self;
        house.into_relay().close().expect("everything is on disk");
        check_kept(world, &records, &world.open_at(&left));
    }

    /// The disk takes nothing more after so many steps, and all else goes on until nothing moves any more; then another
    /// relay is started on what is on disk. What was acknowledged is there: nothing is said before it is true.
    pub(super) async fn cut(mut self, after: usize) {
        for _ in 0..after {
            self.step().await;
        }
        self.tell(format_args!("the disk takes nothing more"));
        self.house.relay.cut_disk();
        let left = self.copy_disk();
        for _ in 0..after {
            self.work();
        }
        self.settle();
        let Round { world, house, records, .. } = self;
        drop(house);
        check_kept(world, &records, &world.open_at(&left));
    }

    /// What is on disk now, in a folder of its own.
    fn copy_disk(&self) -> PathBuf {
        let left = self.world.folder.path().join("left");
        copy(&self.world.data(), &left);
        left
    }
}

/// Whether one event takes another away, says the model.
fn removes(oracle: &Oracle, remover: &Event, event: &Event) -> bool {
    let mut two = Oracle::new(oracle.now, false);
    two.stored.push(event.clone());
    two.publish(remover, true, &[remover.pubkey]);
    two.sweep();
    !two.stored.iter().any(|stored| stored.id == event.id)
}

/// After a start all that was acknowledged is there, unless something that was sent takes it away; and what was taken
/// away, and acknowledged so, is gone.
fn check_kept(world: &World, records: &[Record], house: &House) {
    house.relay.sweep();
    while house.relay.step(Part::Writer) {}
    for (town, record) in records.iter().enumerate() {
        check_kept_in(&world.oracles[town], record, &house.community(town));
    }
}

/// The same of one community, which a model describes as it was when the round began.
fn check_kept_in(oracle: &Oracle, record: &Record, community: &Community) {
    let is_kept = |event: &Event| !(20_000..30_000).contains(&event.kind.0);
    let answered = |sent: &&Sent| sent.answer.as_ref().is_some_and(|(_, ok, _)| *ok) && is_kept(&sent.event);
    let acknowledged: Vec<&Sent> = record.sent.iter().filter(answered).collect();
    let before = oracle.stored.iter().map(|event| (event, 0));
    let after = acknowledged.iter().filter_map(|sent| Some((&sent.event, sent.answer.as_ref()?.0)));
    for (event, at) in before.chain(after) {
        let removers = record.sent.iter().filter(|sent| sent.is_true && removes(oracle, &sent.event, event));
        let removers: Vec<&Sent> = removers.filter(|sent| sent.event.id != event.id).collect();
        let is_there = community.index().contains(&event.id);
        assert!(is_there || !removers.is_empty(), "acknowledged and lost: {}", told(event));
        let is_said_gone = |sent: &&Sent| {
            sent.at > at && sent.answer.as_ref().is_some_and(|(_, ok, prefix)| *ok && prefix.is_empty())
        };
        let gone_by = removers.iter().find(|sent| is_said_gone(sent)).filter(|_| is_there);
        assert!(gone_by.is_none(), "removed by {gone_by:?}, and back: {}", told(event));
    }
    let known = community.known();
    let mut bans: BTreeMap<PublicKey, bool> = oracle.banned.iter().map(|key| (*key, true)).collect();
    for change in &record.changes {
        match change {
            Change::Author(key, is_banned) => drop(bans.insert(*key, *is_banned)),
            Change::Event(id) => assert!(known.moderation.event(id).is_some(), "a ban is kept"),
            Change::Stored(_) | Change::Swept => {}
        }
    }
    for (key, is_banned) in bans {
        assert_eq!(known.moderation.author(&key).is_some(), is_banned, "bans are kept");
    }
}
