//! Invariants of all that reads what strangers, operators or a disk hand over: nothing panics, work stays within a
//! bound by the length of what came, what was read can be written and read again, and a naive reading agrees. In:
//! bytes. Out: whether they were well-formed, or a panic that says which promise is broken. Only in tests, which try
//! random inputs, and in fuzz/, where coverage guides them to the same functions.

mod asked;
mod chance;
mod elsewhere;
mod invoices;
mod rules;
mod search;
mod settings;
mod stored;
#[cfg(test)]
mod tests;
mod texts;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use chance::Chance;

/// What any input may take, unless its target needs more, and what each of its bytes adds: a hundred times and more of
/// what is usual.
const TIME_BASE: Duration = Duration::from_millis(100);
const TIME_PER_BYTE: Duration = Duration::from_micros(20);

/// How often a slow input is tried before it counts as slow.
const TRIES: usize = 5;

/// Something that reads bytes, and what must hold of it.
pub struct Target {
    /// Its name, and that of its folder in fuzz/findings/.
    pub name: &'static str,
    /// Longer inputs are not tried: what hands them over does not take more, or they show nothing new.
    pub bytes_max: usize,
    /// What any input may take.
    time: Duration,
    build: fn(&mut Chance) -> Vec<u8>,
    check: fn(&[u8]) -> bool,
}

/// Everything that is tried.
pub const TARGETS: &[Target] = &[
    wire::MESSAGE,
    wire::EVENT,
    wire::FILTER,
    elsewhere::HEARD,
    elsewhere::RELAYS,
    elsewhere::SETS,
    texts::GEOHASH,
    texts::DOMAIN,
    texts::BLOCKLIST,
    texts::AMOUNT,
    search::SEARCH,
    invoices::INVOICE,
    settings::CONFIG,
    rules::RULES,
    asked::TOKEN,
    asked::CALL,
    crate::net::probe::REQUEST,
    crate::nips::nip77::probe::NEGENTROPY,
    crate::nips::nip77::probe::RECONCILIATION,
    crate::net::deflate::probe::OFFER,
    crate::net::deflate::probe::DEFLATE,
    stored::RECORD,
    stored::COPY,
    crate::store::probe::VALUE,
    crate::store::probe::KEY,
    crate::index::probe::SNAPSHOT,
    crate::backup::probe::MANIFEST,
];

impl Target {
    /// One that is built and checked so.
    pub(crate) const fn new(
        name: &'static str,
        bytes_max: usize,
        build: fn(&mut Chance) -> Vec<u8>,
        check: fn(&[u8]) -> bool,
    ) -> Target {
        Target { name, bytes_max, time: TIME_BASE, build, check }
    }

    /// The same where any input may take longer, as it asks for work that its length says nothing of.
    pub(crate) const fn within(self, time: Duration) -> Target {
        Target { time, ..self }
    }

    /// Tries an input; true when it was well-formed.
    ///
    /// # Panics
    /// When it breaks a promise: one of the target's own, or the bound on its time.
    pub fn check(&self, bytes: &[u8]) -> bool {
        let most = self.time + TIME_PER_BYTE * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let began = Instant::now();
        let is_good = (self.check)(bytes);
        if began.elapsed() <= most {
            return is_good;
        }
        // Machines pause, and others take their turns: what counts is this thread's own time.
        let mut least = Duration::MAX;
        for _ in 0..TRIES {
            let (began, before) = (Instant::now(), own_time());
            (self.check)(bytes);
            let took = own_time().zip(before).map_or(began.elapsed(), |(now, before)| now - before);
            least = least.min(took);
            if least <= most {
                return is_good;
            }
        }
        panic!("{}: {} bytes took {least:?}, more than {most:?}", self.name, bytes.len());
    }

    /// An input that is mostly well-formed: the same one for the same seed.
    pub fn build(&self, seed: u64) -> Vec<u8> {
        let mut bytes = (self.build)(&mut Chance::new(seed));
        bytes.truncate(self.bytes_max);
        bytes
    }

    /// An input with a few changes: the same ones for the same seed.
    pub fn mutate(&self, bytes: &[u8], seed: u64) -> Vec<u8> {
        Chance::new(seed).mutated(bytes, self.bytes_max)
    }
}

/// How long this thread has run, where Linux tells.
pub(crate) fn own_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
