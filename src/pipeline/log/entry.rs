//! Entries of the log as bytes. In: what is published. Out: bytes, and back. A version that is not known is an error:
//! a node that passed over what it does not understand would have another store than the others.

use serde::{Deserialize, Serialize};

use super::voice::Voice;
use crate::event::Id;

/// The version of all that is written here.
const VERSION: u8 = 1;

const EVENT: u8 = 1;
const REMOVE: u8 = 2;
const DECIDE: u8 = 3;
const RULES: u8 = 4;
const BASE: u8 = 5;
const RELEASE: u8 = 6;
const REFRESH: u8 = 7;

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) process: u64,
    pub(super) number: u64,
}

/// How a node took something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    /// Its settings.
    pub(super) settings: u64,
    /// Whether these count here: they have rules that look at stored events, or the relay says something of it.
    pub(super) is_ruled: bool,
    /// Whether it is held for a verdict.
    pub(super) is_held: bool,
    /// In whose name its node speaks.
    pub(super) voice: Voice,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Event {
        community: &'a str,
        /// When its node admitted it; `None` for what no rule is asked about.
        admitted_at: Option<u64>,
        taken: Taken,
        record: &'a [u8],
    },
    Remove {
        community: &'a str,
        ids: Vec<Id>,
    },
    Release {
        community: &'a str,
        ids: Vec<Id>,
    },
    /// As JSON, which `admin/` reads and writes.
    Decide(Taken, &'a [u8]),
    Refresh {
        community: &'a str,
        now: u64,
        taken: Taken,
    },
    Rules {
        digest: u64,
        text: &'a str,
    },
    Base(Base),
}

/// The first entry: what the log begins upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    /// The node that began it.
    pub(super) node: String,
    /// Whether that node's store held anything then, which nodes that begin here do not have.
    pub(super) has_events: bool,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is of a later version of plaza; upgrade this node")]
    Version,
    #[error("it is damaged, or of something else")]
    Damaged,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Unreadable::Damaged)?;
        self.0 = left;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        let bytes = self.take(8)?.try_into().map_err(|_| Unreadable::Damaged)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.take(1)?[0])
    }

    fn taken(&mut self) -> Result<(Taken, bool), Unreadable> {
        let flags = self.byte()?;
        let (settings, voice) = (self.number()?, Voice(self.number()?));
        let taken = Taken { settings, is_ruled: flags & 2 != 0, is_held: flags & 4 != 0, voice };
        Ok((taken, flags & 1 != 0))
    }

    fn ids(&self) -> Result<Vec<Id>, Unreadable> {
        let (ids, rest) = self.0.as_chunks::<32>();
        if rest.is_empty() { Ok(ids.iter().map(|id| Id(*id)).collect()) } else { Err(Unreadable::Damaged) }
    }

    fn text(&mut self) -> Result<&'a str, Unreadable> {
        let length = usize::from(self.byte()?) | usize::from(self.byte()?) << 8;
        std::str::from_utf8(self.take(length)?).map_err(|_| Unreadable::Damaged)
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // Paths of communities are much shorter.
    let length = text.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

/// `bit` is one that stands beside what is said here.
fn write_taken(taken: Taken, bit: bool, out: &mut Vec<u8>) {
    out.push(u8::from(bit) | u8::from(taken.is_ruled) << 1 | u8::from(taken.is_held) << 2);
    out.extend_from_slice(&taken.settings.to_le_bytes());
    out.extend_from_slice(&taken.voice.0.to_le_bytes());
}

fn write_ids(kind: u8, community: &str, ids: &[Id], out: &mut Vec<u8>) {
    out.push(kind);
    write_text(community, out);
    ids.iter().for_each(|id| out.extend_from_slice(&id.0));
}

/// An entry as bytes.
pub(super) fn encode(origin: Origin, said: &Said<'_>) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&origin.process.to_le_bytes());
    out.extend_from_slice(&origin.number.to_le_bytes());
    match said {
        Said::Event { community, admitted_at, taken, record } => {
            out.push(EVENT);
            write_text(community, &mut out);
            write_taken(*taken, admitted_at.is_some(), &mut out);
            out.extend_from_slice(&admitted_at.unwrap_or(0).to_le_bytes());
            out.extend_from_slice(record);
        }
        Said::Remove { community, ids } => write_ids(REMOVE, community, ids, &mut out),
        Said::Release { community, ids } => write_ids(RELEASE, community, ids, &mut out),
        Said::Decide(taken, json) => {
            out.push(DECIDE);
            write_taken(*taken, false, &mut out);
            out.extend_from_slice(json);
        }
        Said::Refresh { community, now, taken } => {
            out.push(REFRESH);
            write_text(community, &mut out);
            write_taken(*taken, false, &mut out);
            out.extend_from_slice(&now.to_le_bytes());
        }
        Said::Rules { digest, text } => {
            out.push(RULES);
            out.extend_from_slice(&digest.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Said::Base(base) => {
            out.push(BASE);
            // A name and a truth value always become JSON.
            out.extend(serde_json::to_vec(base).unwrap_or_default());
        }
    }
    out
}

/// An entry of bytes.
///
/// # Errors
/// When they are none that this version knows.
pub(super) fn decode(bytes: &[u8]) -> Result<(Origin, Said<'_>), Unreadable> {
    let mut bytes = Bytes(bytes);
    if bytes.byte()? != VERSION {
        return Err(Unreadable::Version);
    }
    let origin = Origin { process: bytes.number()?, number: bytes.number()? };
    let said = match bytes.byte()? {
        EVENT => {
            let community = bytes.text()?;
            let (taken, is_admitted) = bytes.taken()?;
            let at = bytes.number()?;
            Said::Event { community, admitted_at: is_admitted.then_some(at), taken, record: bytes.0 }
        }
        REMOVE => Said::Remove { community: bytes.text()?, ids: bytes.ids()? },
        RELEASE => Said::Release { community: bytes.text()?, ids: bytes.ids()? },
        DECIDE => Said::Decide(bytes.taken()?.0, bytes.0),
        REFRESH => Said::Refresh { community: bytes.text()?, taken: bytes.taken()?.0, now: bytes.number()? },
        RULES => {
            let digest = bytes.number()?;
            Said::Rules { digest, text: std::str::from_utf8(bytes.0).map_err(|_| Unreadable::Damaged)? }
        }
        BASE => Said::Base(serde_json::from_slice(bytes.0).map_err(|_| Unreadable::Damaged)?),
        _ => return Err(Unreadable::Version),
    };
    Ok((origin, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went() {
        let origin = Origin { process: 7, number: u64::MAX };
        let taken =
            |is_ruled, is_held| Taken { settings: 1 << 60, is_ruled, is_held, voice: Voice(u64::MAX - 3) };
        let event = |admitted_at, is_ruled| Said::Event {
            community: "/berlin",
            admitted_at,
            taken: taken(is_ruled, !is_ruled),
            record: b"record",
        };
        let table = [
            event(Some(1_790_000_000), true),
            event(None, false),
            Said::Remove { community: "/", ids: vec![Id([1; 32]), Id([2; 32])] },
            Said::Remove { community: "/", ids: Vec::new() },
            Said::Release { community: "/", ids: vec![Id([3; 32])] },
            Said::Decide(taken(true, true), b"{}"),
            Said::Refresh { community: "/berlin", now: 1_790_000_000, taken: taken(false, false) },
            Said::Rules { digest: 9, text: "{\"a\":1}" },
            Said::Base(Base { node: "a".to_owned(), has_events: true }),
        ];
        for said in table {
            let bytes = encode(origin, &said);
            assert_eq!(decode(&bytes), Ok((origin, said.clone())));
            // What was cut off is never an entry of another length with another head.
            for length in 0..18 {
                assert_eq!(decode(&bytes[..length]), Err(Unreadable::Damaged), "{length} bytes of {said:?}");
            }
        }
    }

    /// Bytes of version 1: nodes of two versions work side by side, and what is in the log is older than an upgrade.
    #[test]
    fn entries_are_written_and_read_as_ever() {
        let origin = Origin { process: 0x0102, number: 3 };
        let taken = Taken { settings: 0x0405, is_ruled: true, is_held: true, voice: Voice(0x0607) };
        let base = Base { node: "a".to_owned(), has_events: false };
        let table = [
            (
                Said::Event { community: "/", admitted_at: Some(9), taken, record: b"r" },
                "0101002f0705040000000000000706000000000000090000000000000072",
            ),
            (
                Said::Remove { community: "/", ids: vec![Id([8; 32])] },
                "0201002f0808080808080808080808080808080808080808080808080808080808080808",
            ),
            (Said::Decide(taken, b"{}"), "0306050400000000000007060000000000007b7d"),
            (Said::Rules { digest: 5, text: "{}" }, "0405000000000000007b7d"),
            (Said::Base(base), "057b226e6f6465223a2261222c226861735f6576656e7473223a66616c73657d"),
            (
                Said::Release { community: "/", ids: vec![Id([8; 32])] },
                "0601002f0808080808080808080808080808080808080808080808080808080808080808",
            ),
            (
                Said::Refresh { community: "/", now: 9, taken },
                "0701002f06050400000000000007060000000000000900000000000000",
            ),
        ];
        for (said, rest) in table {
            let written = hex::encode(encode(origin, &said));
            assert_eq!(written, format!("0102010000000000000300000000000000{rest}"), "{said:?}");
        }
    }

    #[test]
    fn no_byte_that_is_changed_or_cut_off_panics() {
        let origin = Origin { process: 1, number: 2 };
        let taken = Taken::default();
        let table = [
            Said::Event { community: "/berlin", admitted_at: Some(9), taken, record: b"record" },
            Said::Remove { community: "/", ids: vec![Id([8; 32])] },
            Said::Decide(taken, b"{}"),
            Said::Refresh { community: "/", now: 9, taken },
        ];
        for said in table {
            let bytes = encode(origin, &said);
            let mut refused = 0;
            for at in 0..bytes.len() {
                refused += usize::from(decode(&bytes[..at]).is_err());
                for changed in 0..=u8::MAX {
                    let mut bytes = bytes.clone();
                    bytes[at] = changed;
                    refused += usize::from(decode(&bytes).is_err());
                }
            }
            assert!(refused > bytes.len(), "{said:?}");
        }
    }

    #[test]
    fn what_a_later_version_writes_is_told_apart_from_damage() {
        let mut bytes = encode(Origin { process: 1, number: 2 }, &Said::Decide(Taken::default(), b"{}"));
        bytes[17] = 99;
        assert_eq!(decode(&bytes), Err(Unreadable::Version), "a new sort of entry");
        bytes[0] = VERSION + 1;
        assert_eq!(decode(&bytes), Err(Unreadable::Version), "a new form of all");
        let mut ids = encode(Origin { process: 1, number: 2 }, &Said::Remove { community: "/", ids: vec![] });
        ids.push(0);
        assert_eq!(decode(&ids), Err(Unreadable::Damaged), "half an id");
    }
}
