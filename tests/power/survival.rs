//! What is left when the power is cut: all that is safe, and of the rest what a seeded chance lets survive.
//! As mean as POSIX allows; never touches what a sync returned for.

use std::collections::BTreeMap;

use crate::disk::{Disk, File, Names, What};
use crate::random::Chance;

/// What becomes of writes and names that are not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survival {
    /// All of it is lost.
    Nothing,
    /// All of it is kept, and safe from then on.
    Everything,
    /// The power stays: only the program ends. All of it is kept, and no safer than before.
    PowerStays,
    /// All of it but the lengths of files.
    AllButLengths,
    /// What happened up to some moment, over all files.
    UpToAMoment,
    /// Each piece of so many bytes was written at a moment of its own: so many in a hundred as they are, others
    /// as they once were. Lengths and names are pieces too.
    Pieces { bytes: usize, kept_percent: u64 },
}

impl Survival {
    /// One of all kinds, the mean ones most often.
    pub(crate) fn any(chance: &mut Chance) -> Survival {
        match chance.below(12) {
            0..=1 => Survival::Nothing,
            2 => Survival::Everything,
            3..=4 => Survival::PowerStays,
            5 => Survival::AllButLengths,
            6..=7 => Survival::UpToAMoment,
            _ => Survival::Pieces {
                bytes: *chance.pick(&[512, 4_096]),
                kept_percent: *chance.pick(&[3, 30, 50, 70, 97]),
            },
        }
    }
}

impl Disk {
    /// Cuts the power. What the disk holds afterwards is all safe, unless the power stayed.
    pub(crate) fn cut(&mut self, survival: Survival, chance: &mut Chance) {
        if survival == Survival::PowerStays {
            return;
        }
        let moments = self.files.values().flat_map(|file| &file.changes).map(|change| change.moment);
        let oldest = moments.chain(self.moves.iter().map(|change| change.moment)).min().unwrap_or(0);
        let last = match survival {
            Survival::Nothing => 0,
            Survival::UpToAMoment => (oldest + chance.below(self.moment - oldest + 2)).saturating_sub(1),
            _ => self.moment,
        };
        // Numbers of nodes make it the same for the same seed.
        let mut nodes: Vec<_> = self.files.keys().copied().collect();
        nodes.sort_unstable();
        for node in nodes {
            let Some(file) = self.files.get_mut(&node) else { continue };
            match survival {
                Survival::Pieces { bytes, kept_percent } => keep_pieces(file, bytes, kept_percent, chance),
                _ => keep_until(file, last, survival == Survival::AllButLengths),
            }
        }
        self.cut_names(survival, last, chance);
        self.settle();
    }

    fn cut_names(&mut self, survival: Survival, last: u64, chance: &mut Chance) {
        let moves = std::mem::take(&mut self.moves);
        let journalled = chance.below(moves.len() as u64 + 1) as usize;
        for (at, change) in moves.iter().enumerate() {
            let survives = match survival {
                Survival::Pieces { .. } if self.names == Names::InOneJournal => at < journalled,
                Survival::Pieces { kept_percent, .. } => chance.percent(kept_percent),
                _ => change.moment <= last,
            };
            if survives {
                change.apply(&mut self.folders);
            }
        }
    }
}

fn keep_until(file: &mut File, last: u64, with_old_length: bool) {
    let length = file.safe.len();
    for change in file.changes.iter().filter(|change| change.moment <= last) {
        change.what.apply(&mut file.safe);
    }
    if with_old_length {
        file.safe.resize(length, 0);
    }
}

/// Each piece that was touched is as it was after some of the changes; so is the length.
fn keep_pieces(file: &mut File, piece_bytes: usize, kept_percent: u64, chance: &mut Chance) {
    let mut some_of = |changes: usize| match chance.percent(kept_percent) {
        true => changes,
        false => chance.below(changes as u64) as usize,
    };
    let mut lengths = vec![file.safe.len()];
    let mut touched: BTreeMap<usize, Vec<&What>> = BTreeMap::new();
    for change in &file.changes {
        let before = *lengths.last().unwrap_or(&0);
        let (range, after) = match &change.what {
            What::Write { offset, data } => (*offset..offset + data.len(), before.max(offset + data.len())),
            What::Resize { bytes } => (*bytes..before.max(*bytes), *bytes),
        };
        if !range.is_empty() {
            for piece in range.start / piece_bytes..=(range.end - 1) / piece_bytes {
                touched.entry(piece).or_default().push(&change.what);
            }
        }
        if after != before {
            lengths.push(after);
        }
    }
    let longest = lengths.iter().copied().max().unwrap_or(0);
    file.safe.resize(longest.next_multiple_of(piece_bytes), 0);
    for (piece, changes) in touched {
        let start = piece * piece_bytes;
        let content = &mut file.safe[start..start + piece_bytes];
        for what in &changes[..some_of(changes.len())] {
            apply_to_piece(what, start, content);
        }
    }
    let length = if lengths.len() == 1 { lengths[0] } else { lengths[some_of(lengths.len() - 1)] };
    file.safe.resize(length, 0);
}

/// The part of a change that falls into the piece that starts at `start`.
fn apply_to_piece(what: &What, start: usize, piece: &mut [u8]) {
    let end = start + piece.len();
    match what {
        What::Write { offset, data } => {
            let (from, to) = (start.max(*offset), end.min(offset + data.len()));
            if from < to {
                piece[from - start..to - start].copy_from_slice(&data[from - offset..to - offset]);
            }
        }
        What::Resize { bytes } => piece[(*bytes).clamp(start, end) - start..].fill(0),
    }
}
