//! One array that is cut into blocks of few sizes: the memory of all short lists. In: lengths. Out: where a block
//! of that many begins. Never knows what its items mean.

use std::io::{self, Read, Write};

use super::bytes::{Plain, Sink, Source, check};
use super::snapshot::SnapshotError;

/// Up to this length every block is as long as its list; longer ones have at most an eighth more.
const EXACT_MAX: usize = 16;

/// Block sizes between one power of two and the next.
const STEPS: usize = EXACT_MAX / 2;

/// Blocks in one array.
#[derive(Debug)]
pub(super) struct Arena<T> {
    items: Vec<T>,
    /// Where unused blocks begin, by class of size.
    free: Vec<Vec<u32>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { items: Vec::new(), free: Vec::new() }
    }
}

/// The class of blocks that hold `len` items, and their size. `len` is not 0.
fn class_of(len: usize) -> (usize, usize) {
    if len <= EXACT_MAX {
        return (len - 1, len);
    }
    let shift = (len - 1).ilog2() as usize - STEPS.ilog2() as usize;
    let steps = ((len - 1) >> shift) + 1;
    (EXACT_MAX + shift * STEPS + steps - 2 * STEPS - 1, steps << shift)
}

impl<T: Plain> Arena<T> {
    /// The first `len` items of the block that begins there.
    pub(super) fn get(&self, at: u32, len: usize) -> &[T] {
        &self.items[at as usize..][..len]
    }

    /// The same, to change.
    pub(super) fn get_mut(&mut self, at: u32, len: usize) -> &mut [T] {
        &mut self.items[at as usize..][..len]
    }

    /// A block for `len` items.
    pub(super) fn allocate(&mut self, len: usize) -> u32 {
        let (class, size) = class_of(len);
        if let Some(at) = self.free.get_mut(class).and_then(Vec::pop) {
            return at;
        }
        let at = self.items.len();
        self.items.resize(at + size, T::new_zeroed());
        at as u32
    }

    /// A block that holds these.
    pub(super) fn store(&mut self, items: &[T]) -> u32 {
        let at = self.allocate(items.len());
        self.get_mut(at, items.len()).copy_from_slice(items);
        at
    }

    /// Gives back the block of a list of `len` items.
    pub(super) fn release(&mut self, at: u32, len: usize) {
        let (class, _) = class_of(len);
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        self.free[class].push(at);
    }

    /// Makes a block of `old` items hold `new` ones, elsewhere when its size must change; returns where.
    pub(super) fn resize(&mut self, at: u32, old: usize, new: usize) -> u32 {
        if class_of(old) == class_of(new) {
            return at;
        }
        let to = self.allocate(new);
        let kept = old.min(new);
        self.items.copy_within(at as usize..at as usize + kept, to as usize);
        self.release(at, old);
        to
    }

    /// All items, those of unused blocks among them.
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    /// Whether a block for `len` items may begin there.
    pub(super) fn fits(&self, at: u32, len: usize) -> bool {
        len > 0 && at as usize + class_of(len).1 <= self.items.len()
    }

    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|class| class.capacity() * size_of::<u32>()).sum();
        self.items.capacity() * size_of::<T>() + free
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        sink.array(&self.items)?;
        sink.number(self.free.len() as u64)?;
        self.free.iter().try_for_each(|blocks| sink.array(blocks))
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let mut arena = Arena { items: source.array()?, free: Vec::new() };
        let classes = source.number()?;
        for class in 0..classes {
            let blocks: Vec<u32> = source.array()?;
            let size = size_of_class(class as usize);
            let fits = |&at: &u32| size.is_some_and(|size| at as usize + size <= arena.items.len());
            check(blocks.iter().all(fits), "a list of free blocks")?;
            arena.free.push(blocks);
        }
        Ok(arena)
    }
}

/// The size of a class's blocks; `None` beyond what 32 bits can count.
fn size_of_class(class: usize) -> Option<usize> {
    if class < EXACT_MAX {
        return Some(class + 1);
    }
    let (shift, steps) = ((class - EXACT_MAX) / STEPS + 1, (class - EXACT_MAX) % STEPS);
    (shift < 32).then(|| (STEPS + steps + 1) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_little_is_lost() {
        let mut before = (0, 1);
        for len in 1..100_000 {
            let (class, size) = class_of(len);
            assert_eq!(size_of_class(class), Some(size), "{len}");
            assert!(len <= size && size <= len + len / 8 + 1, "{len} in {size}");
            assert!((class, size) == before || class == before.0 + 1 && size > before.1, "{len}");
            before = (class, size);
        }
        assert_eq!(class_of(16), (15, 16));
        assert_eq!(class_of(17), (16, 18));
        assert_eq!(size_of_class(10_000), None);
    }

    #[test]
    fn blocks_are_used_again() {
        let mut arena = Arena::default();
        let one = arena.store(&[1_u32, 2, 3]);
        let other = arena.store(&[4, 5]);
        let moved = arena.resize(one, 3, 20);
        assert_eq!(&arena.get(moved, 20)[..3], [1, 2, 3]);
        assert_eq!(arena.resize(moved, 20, 19), moved);
        assert_eq!(arena.allocate(3), one);
        assert_eq!(arena.get(other, 2), [4, 5]);
        assert!(arena.fits(moved, 20) && !arena.fits(moved, 21) && !arena.fits(0, 0));
    }
}
