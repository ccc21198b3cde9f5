//! Plain arrays on their way into a snapshot and back. In: slices, or a reader. Out: bytes with a checksum,
//! or what they hold. Believes nothing that it reads: lengths may be damaged.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Read, Write};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::snapshot::SnapshotError;

/// A read array is filled by this many bytes at a time, so that a damaged length ends the file before it fills
/// the memory.
const STEP_BYTES: usize = 4 << 20;

/// Up to this size an array gets its whole memory at once; what is not filled is never touched.
const AHEAD_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(STEP_BYTES <= AHEAD_BYTES_MAX);

/// Values that are their own bytes.
pub(super) trait Plain: FromBytes + IntoBytes + Immutable + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + Copy> Plain for T {}

/// Takes bytes and counts their checksum.
pub(super) struct Sink<'w, W> {
    out: &'w mut W,
    checksum: crc32fast::Hasher,
}

impl<'w, W: Write> Sink<'w, W> {
    pub(super) fn new(out: &'w mut W) -> Self {
        Sink { out, checksum: crc32fast::Hasher::new() }
    }

    /// The values without their number.
    pub(super) fn values<T: Plain>(&mut self, values: &[T]) -> io::Result<()> {
        self.checksum.update(values.as_bytes());
        self.out.write_all(values.as_bytes())
    }

    pub(super) fn number(&mut self, number: u64) -> io::Result<()> {
        self.values(&[number])
    }

    /// An array: how many values, and these.
    pub(super) fn array<T: Plain>(&mut self, values: &[T]) -> io::Result<()> {
        self.number(values.len() as u64)?;
        self.values(values)
    }

    /// A map as an array of keys and one of values.
    pub(super) fn map<K: Plain, V: Plain>(&mut self, map: &HashMap<K, V>) -> io::Result<()> {
        let (keys, values): (Vec<K>, Vec<V>) = map.iter().map(|(&key, &value)| (key, value)).unzip();
        self.array(&keys)?;
        self.array(&values)
    }

    /// Ends with the checksum.
    pub(super) fn finish(self) -> io::Result<()> {
        self.out.write_all(&self.checksum.finalize().to_le_bytes())
    }
}

/// Gives back what a [`Sink`] took.
pub(super) struct Source<'r, R> {
    input: &'r mut R,
    checksum: crc32fast::Hasher,
}

impl<'r, R: Read> Source<'r, R> {
    pub(super) fn new(input: &'r mut R) -> Self {
        Source { input, checksum: crc32fast::Hasher::new() }
    }

    /// So many values.
    pub(super) fn values<T: Plain>(&mut self, count: usize) -> Result<Vec<T>, SnapshotError> {
        let mut values: Vec<T> = Vec::new();
        let no_room = |_| SnapshotError::Damaged("a length");
        values.try_reserve_exact(count.min(AHEAD_BYTES_MAX / size_of::<T>())).map_err(no_room)?;
        let step = (STEP_BYTES / size_of::<T>()).max(1);
        while values.len() < count {
            let start = values.len();
            let more = step.min(count - start);
            values.try_reserve(more).map_err(no_room)?;
            values.resize(start + more, T::new_zeroed());
            let bytes = values[start..].as_mut_bytes();
            self.input.read_exact(bytes)?;
            self.checksum.update(bytes);
        }
        Ok(values)
    }

    pub(super) fn number(&mut self) -> Result<u64, SnapshotError> {
        let mut number = [0];
        self.input.read_exact(number.as_mut_bytes())?;
        self.checksum.update(number.as_bytes());
        Ok(number[0])
    }

    pub(super) fn array<T: Plain>(&mut self) -> Result<Vec<T>, SnapshotError> {
        // What is numbered has 32-bit numbers.
        let count = u32::try_from(self.number()?).map_err(|_| SnapshotError::Damaged("a length"))?;
        self.values(count as usize)
    }

    pub(super) fn pairs<K: Plain, V: Plain>(&mut self) -> Result<Vec<(K, V)>, SnapshotError> {
        let (keys, values) = (self.array::<K>()?, self.array::<V>()?);
        check(keys.len() == values.len(), "a map")?;
        Ok(keys.into_iter().zip(values).collect())
    }

    pub(super) fn map<K: Plain + Eq + Hash, V: Plain>(&mut self) -> Result<HashMap<K, V>, SnapshotError> {
        Ok(self.pairs()?.into_iter().collect())
    }

    /// Reads the checksum and compares it.
    pub(super) fn finish(self) -> Result<(), SnapshotError> {
        let mut expected = [0; 4];
        self.input.read_exact(&mut expected)?;
        check(self.checksum.finalize() == u32::from_le_bytes(expected), "the checksum")
    }
}

/// An error that names what is wrong, unless all is right.
pub(super) fn check(is_right: bool, what: &'static str) -> Result<(), SnapshotError> {
    if is_right { Ok(()) } else { Err(SnapshotError::Damaged(what)) }
}

/// Checks that every number is below a bound, and that none stands twice: numbers that may be used again.
pub(super) fn check_free(numbers: &[u32], bound: usize) -> Result<(), SnapshotError> {
    let mut seen = vec![false; bound];
    let is_new =
        |&number: &u32| seen.get_mut(number as usize).is_some_and(|seen| !std::mem::replace(seen, true));
    check(numbers.iter().all(is_new), "a list of free numbers")
}
