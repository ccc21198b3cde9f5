//! Plugins asked by hand, about one event after another: what `plaza explain --plugins` does. In: settings, events. Out:
//! what each plugin says, in the order of the chain, up to the first that refuses. Counts nothing and stores nothing; what
//! a plugin does besides, such as remembering an event, it does as ever.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::process::{Heard, Name, Process};
use super::wire::{self, Answer, Verdict};
use super::{Origin, dead};
use crate::config::{Plugin, Plugins, WhenDead};
use crate::event::Event;
use crate::rule::Refusal;

/// Lots of answers that wait to be looked at.
const HEARD_MAX: usize = 64;

/// How long it is waited for a plugin's end; it is killed before.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What one plugin says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The event may go on.
    Accepted,
    /// It is refused.
    Refused(Refusal),
    /// It is dropped, and its sender told that it was taken.
    Dropped,
    /// Nothing, for this reason; what becomes of the event then.
    Nothing(String, Result<(), Refusal>),
    /// It was not asked.
    NotAsked(&'static str),
}

struct Asked {
    plugin: Plugin,
    /// `None` when it has ended.
    process: Option<Process>,
    heard: Receiver<Heard>,
    /// Why it has ended.
    ended: String,
}

/// A chain that runs.
pub(crate) struct Dry(Vec<Asked>);

impl Dry {
    /// Starts all plugins of a community.
    ///
    /// # Errors
    /// When one of them cannot be run.
    pub(crate) fn start(community: &str, plugins: &Plugins) -> Result<Dry, String> {
        let mut all = Dry(Vec::new());
        for plugin in &plugins.chain {
            let name = Name { community: community.into(), plugin: plugin.name().into() };
            let (sender, heard) = bounded(HEARD_MAX);
            let process = Process::start(plugin, 0, &name, &sender);
            let process =
                process.map_err(|error| format!("the plugin {} cannot be run: {error}", plugin.name()))?;
            let (plugin, process, ended) = (plugin.clone(), Some(process), String::new());
            all.0.push(Asked { plugin, process, heard, ended });
        }
        Ok(all)
    }

    /// Asks them about an event: each one's name, and what it says.
    pub(crate) fn ask(&mut self, event: &Event, received_at: u64, origin: &Origin) -> Vec<(String, Said)> {
        let line = wire::request(&event.to_json(), received_at, origin);
        let mut is_over = false;
        let mut ask = |asked: &mut Asked| {
            let said = match is_over {
                true => Said::NotAsked("a plugin above does not let it pass"),
                false => asked.ask(event, &line),
            };
            is_over |= matches!(said, Said::Refused(_) | Said::Dropped | Said::Nothing(_, Err(_)));
            (asked.plugin.name().to_owned(), said)
        };
        self.0.iter_mut().map(&mut ask).collect()
    }
}

impl Asked {
    fn ask(&mut self, event: &Event, line: &[u8]) -> Said {
        if !self.plugin.kinds.is_empty() && !self.plugin.kinds.contains(event.kind) {
            return Said::NotAsked("it is not asked about this kind");
        }
        let Some(process) = &self.process else { return self.nothing(self.ended.clone()) };
        if !process.ask(line.to_vec()) {
            return self.nothing("it does not read what it was asked before".to_owned());
        }
        let until = Instant::now() + Duration::from_millis(self.plugin.timeout_milliseconds);
        loop {
            match self.heard.recv_deadline(until) {
                Ok(Heard::Answers(_, answers)) => {
                    // Others are late ones, or none.
                    let of_event = |answer: &Answer| answer.id == event.id;
                    if let Some(answer) = answers.into_iter().flatten().find(of_event) {
                        return match answer.verdict {
                            Verdict::Accept => Said::Accepted,
                            Verdict::Reject(refusal) => Said::Refused(refusal),
                            Verdict::ShadowReject => Said::Dropped,
                        };
                    }
                }
                Ok(Heard::Closed(_) | Heard::Gone(..)) => {
                    self.ended = format!("it has ended: {}", self.end());
                    return self.nothing(self.ended.clone());
                }
                Err(_) => {
                    let milliseconds = self.plugin.timeout_milliseconds;
                    return self.nothing(format!("it did not answer within {milliseconds} ms"));
                }
            }
        }
    }

    /// It has said nothing.
    fn nothing(&self, why: String) -> Said {
        let so = match self.plugin.when_dead {
            WhenDead::Accept => Ok(()),
            WhenDead::Refuse => Err(dead()),
        };
        Said::Nothing(why, so)
    }

    /// Has it end, with all that it has started; how it did.
    fn end(&mut self) -> String {
        self.process.take().into_iter().for_each(Process::end);
        let until = Instant::now() + LAST_WORDS;
        loop {
            match self.heard.recv_deadline(until) {
                Ok(Heard::Gone(_, how)) => return how,
                Ok(_) => {}
                Err(_) => return "nobody has seen how".to_owned(),
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.end();
        }
    }
}
