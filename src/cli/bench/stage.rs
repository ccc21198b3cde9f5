//! What all parts of a measurement share: which relay, which corpus, how much of what, and a store that is filled
//! once. In: the options. Out: relays that run, with what they have stored.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::corpus::{BEGINNING, Corpus, World};
use super::publish::{Pace, Publishers, deal};
use super::relay::{Relay, Settings, Target};
use super::sample::Sample;
use super::{Failure, Options};

/// Events that are made and signed before the clock starts, at a time.
pub(super) const BATCH_EVENTS: usize = 50_000;

/// A relay that serves, and what was sent to it.
pub(super) struct Filled {
    pub(super) corpus: Corpus,
    pub(super) sample: Sample,
}

/// The measurement.
pub(super) struct Stage {
    pub(super) options: Options,
    pub(super) target: Target,
    pub(super) world: Arc<World>,
    /// What is stored, once something is; the relay is stopped between parts.
    filled: Option<Filled>,
}

impl Stage {
    pub(super) fn new(options: Options, target: Target) -> Stage {
        Stage { options, target, world: World::new(), filled: None }
    }

    pub(super) fn folder(&self) -> &PathBuf {
        &self.options.folder
    }

    pub(super) fn corpus(&self, seed: u64) -> Corpus {
        Corpus::new(&self.world, seed, BEGINNING)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::Full { in_flight: self.options.in_flight }
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.options.patience_seconds)
    }

    /// Says on standard error what goes on, since standard output is for what was measured.
    pub(super) fn say(&self, words: impl std::fmt::Display) {
        eprintln!("bench: {words}");
    }

    /// Publishes the next events of a corpus, without measuring.
    pub(super) fn fill(&self, relay: &Relay, filled: &mut Filled, mut events: usize) -> Result<(), Failure> {
        let mut publishers = Publishers::connect(&relay.address, self.options.connections)?;
        while events > 0 {
            let batch = filled.corpus.events(events.min(BATCH_EVENTS));
            events -= batch.len();
            publishers.publish(&deal(&batch, self.options.connections), self.pace())?;
            filled.sample.observe(&batch);
        }
        Ok(())
    }

    /// A relay that has stored the corpus. What an earlier part has stored is used again.
    pub(super) fn filled(&mut self, settings: Settings) -> Result<(Relay, Filled), Failure> {
        if let Some(filled) = self.filled.take() {
            return Ok((self.target.launch(settings)?, filled));
        }
        self.say(format_args!("storing {} events", self.options.events));
        self.target.clear()?;
        let relay = self.target.launch(settings)?;
        let mut filled = Filled { corpus: self.corpus(self.options.seed), sample: Sample::new() };
        self.fill(&relay, &mut filled, self.options.events)?;
        Ok((relay, filled))
    }

    /// Keeps for other parts what is stored now.
    pub(super) fn keep(&mut self, filled: Filled) {
        self.filled = Some(filled);
    }

    /// An empty store; what was kept is gone.
    pub(super) fn empty(&mut self, settings: Settings) -> Result<Relay, Failure> {
        self.filled = None;
        self.target.clear()?;
        self.target.launch(settings)
    }
}
