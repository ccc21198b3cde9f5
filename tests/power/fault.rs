//! Faults of a disk that has power: what it is asked for fails, is slow, or is forgotten, for files of some name, from
//! some moment on, so many times. In: faults, and what is asked. Out: what goes wrong with it.

use std::time::Duration;

use fuser::Errno;

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Content of a file.
    Read,
    /// Content or length of a file is changed.
    Write,
    /// A name is made, changed or removed.
    Name,
    Sync,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// It fails, and nothing is done.
    Fails(Errno),
    /// A sync fails, what it was about is lost, and the next one succeeds: so it is once the kernel has told of an
    /// error.
    Forgets,
    /// It takes so long.
    Takes(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) asked: &'static [Asked],
    /// How names of the files begin; all do with nothing.
    pub(crate) name: &'static str,
    /// So many times all is well first.
    pub(crate) after: u64,
    /// And then it goes wrong so many times.
    pub(crate) times: u64,
    pub(crate) harm: Harm,
}

impl Fault {
    /// From now on, for all files, until it is mended.
    pub(crate) fn of(asked: &'static [Asked], harm: Harm) -> Fault {
        Fault { asked, name: "", after: 0, times: u64::MAX, harm }
    }

    /// Only of files whose names begin so.
    pub(crate) fn named(self, name: &'static str) -> Fault {
        Fault { name, ..self }
    }

    /// Only so many times.
    pub(crate) fn times(self, times: u64) -> Fault {
        Fault { times, ..self }
    }
}

/// All that is wrong with a disk.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) all: Vec<Fault>,
    /// How often something went wrong.
    pub(crate) met: u64,
}

impl Faults {
    /// What goes wrong with this; it counts.
    pub(crate) fn meet(&mut self, asked: Asked, name: &str) -> Option<Harm> {
        let about = |fault: &&mut Fault| fault.asked.contains(&asked) && name.starts_with(fault.name);
        let mut harm = None;
        for fault in self.all.iter_mut().filter(about) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 && harm.is_none() {
                fault.times -= 1;
                harm = Some(fault.harm);
            }
        }
        self.met += u64::from(harm.is_some());
        harm
    }
}
