//! Postings: lists of ordinals in the order of their heads, oldest first. Owns the memory of all of
//! them. In: ordinals and a way to compare them. Out: positions and ordinals. Never reads a head itself
//! but through [`Order`].
//!
//! A list of one lives in its handle; up to [`BLOCK_MAX`] ordinals are a block of an array that all short lists
//! share; longer ones are rows of leaves, so that an insertion in
//! the middle of a million moves at most one leaf.

use std::cmp::Ordering;
use std::io::{self, Read, Write};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::arena::Arena;
use super::bytes::{Sink, Source, check, check_free};
use super::snapshot::SnapshotError;

/// Ordinals in the largest block and in a full leaf.
const BLOCK_MAX: usize = 512;

/// In place of a length: the list is a tree.
const TREE: u32 = u32::MAX;

/// Compares stored events by `(created_at, id descending)`: the reverse of NIP-01's order.
pub(super) trait Order {
    /// How `left` stands to `right`.
    fn compare(&self, left: u32, right: u32) -> Ordering;
}

/// A handle to a list; what it means only [`Lists`] knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Posting {
    /// Ordinals in the list, or [`TREE`].
    len: u32,
    /// The only ordinal, the offset of a block, or the number of a tree.
    at: u32,
}

#[derive(Debug, Default)]
struct Tree {
    len: usize,
    /// None is empty.
    leaves: Vec<Vec<u32>>,
}

/// The memory of all postings.
#[derive(Debug, Default)]
pub(super) struct Lists {
    blocks: Arena<u32>,
    trees: Vec<Tree>,
    free_trees: Vec<u32>,
}

/// A place between two ordinals of a list; reading goes from here towards older ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    posting: Posting,
    leaf: u32,
    /// How many ordinals of the leaf (or block) lie before this place.
    position: u32,
}

impl Lists {
    /// How many ordinals a list has.
    pub(super) fn len(&self, posting: Posting) -> usize {
        match posting.len {
            TREE => self.trees[posting.at as usize].len,
            len => len as usize,
        }
    }

    fn block(&self, posting: Posting) -> &[u32] {
        self.blocks.get(posting.at, posting.len as usize)
    }

    /// Puts an ordinal that is not in the list where it belongs.
    pub(super) fn insert(&mut self, posting: &mut Posting, ordinal: u32, order: &impl Order) {
        match posting.len {
            0 => *posting = Posting { len: 1, at: ordinal },
            TREE => self.trees[posting.at as usize].insert(ordinal, order),
            1 => {
                let pair = if order.compare(posting.at, ordinal).is_lt() {
                    [posting.at, ordinal]
                } else {
                    [ordinal, posting.at]
                };
                *posting = Posting { len: 2, at: self.blocks.store(&pair) };
            }
            len if len as usize == BLOCK_MAX => {
                let tree = Tree { len: BLOCK_MAX, leaves: vec![self.block(*posting).to_vec()] };
                self.blocks.release(posting.at, BLOCK_MAX);
                *posting = Posting { len: TREE, at: self.adopt(tree) };
                self.trees[posting.at as usize].insert(ordinal, order);
            }
            len => {
                let len = len as usize;
                let position = position_for(self.block(*posting), ordinal, order);
                self.resize_block(posting, len + 1);
                let block = self.blocks.get_mut(posting.at, len + 1);
                block.copy_within(position..len, position + 1);
                block[position] = ordinal;
            }
        }
    }

    /// Takes an ordinal out; nothing happens when it is not there.
    pub(super) fn remove(&mut self, posting: &mut Posting, ordinal: u32, order: &impl Order) {
        match posting.len {
            0 => {}
            TREE => {
                let tree = &mut self.trees[posting.at as usize];
                tree.remove(ordinal, order);
                if tree.len == 0 {
                    tree.leaves = Vec::new();
                    self.free_trees.push(posting.at);
                    *posting = Posting::default();
                }
            }
            1 => {
                if posting.at == ordinal {
                    *posting = Posting::default();
                }
            }
            len => {
                let len = len as usize;
                let position = position_for(self.block(*posting), ordinal, order);
                if self.block(*posting).get(position) != Some(&ordinal) {
                    return;
                }
                let block = self.blocks.get_mut(posting.at, len);
                block.copy_within(position + 1.., position);
                if len == 2 {
                    let last = block[0];
                    self.blocks.release(posting.at, 2);
                    *posting = Posting { len: 1, at: last };
                } else {
                    self.resize_block(posting, len - 1);
                }
            }
        }
    }

    fn resize_block(&mut self, posting: &mut Posting, len: usize) {
        posting.at = self.blocks.resize(posting.at, posting.len as usize, len);
        posting.len = len as u32;
    }

    fn adopt(&mut self, tree: Tree) -> u32 {
        match self.free_trees.pop() {
            Some(at) => {
                self.trees[at as usize] = tree;
                at
            }
            None => {
                self.trees.push(tree);
                (self.trees.len() - 1) as u32
            }
        }
    }

    /// The place after the last ordinal that is `old_enough`, which must hold for a beginning of the
    /// list and for nothing after it.
    pub(super) fn seek(&self, posting: Posting, old_enough: impl Fn(u32) -> bool) -> Cursor {
        let (leaf, position) = match posting.len {
            0 => (0, 0),
            1 => (0, usize::from(old_enough(posting.at))),
            TREE => {
                let leaves = &self.trees[posting.at as usize].leaves;
                let after =
                    leaves.partition_point(|leaf| leaf.first().is_some_and(|&first| old_enough(first)));
                let leaf = after.saturating_sub(1);
                (leaf, leaves[leaf].partition_point(|&ordinal| old_enough(ordinal)))
            }
            _ => (0, self.block(posting).partition_point(|&ordinal| old_enough(ordinal))),
        };
        Cursor { posting, leaf: leaf as u32, position: position as u32 }
    }

    /// The place after the newest ordinal.
    pub(super) fn newest(&self, posting: Posting) -> Cursor {
        match posting.len {
            TREE => {
                let leaves = &self.trees[posting.at as usize].leaves;
                let leaf = leaves.len() - 1;
                Cursor { posting, leaf: leaf as u32, position: leaves[leaf].len() as u32 }
            }
            len => Cursor { posting, leaf: 0, position: len },
        }
    }

    /// The next older ordinal.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<u32> {
        if cursor.position == 0 {
            if cursor.posting.len != TREE || cursor.leaf == 0 {
                return None;
            }
            cursor.leaf -= 1;
            cursor.position =
                self.trees[cursor.posting.at as usize].leaves[cursor.leaf as usize].len() as u32;
        }
        cursor.position -= 1;
        let position = cursor.position as usize;
        Some(match cursor.posting.len {
            1 => cursor.posting.at,
            TREE => self.trees[cursor.posting.at as usize].leaves[cursor.leaf as usize][position],
            _ => self.block(cursor.posting)[position],
        })
    }

    /// All ordinals, newest first.
    pub(super) fn iter(&self, posting: Posting) -> impl Iterator<Item = u32> {
        let mut cursor = self.newest(posting);
        std::iter::from_fn(move || self.next(&mut cursor))
    }

    /// About how many ordinals lie before this place: exact for blocks, to a leaf for trees.
    pub(super) fn about_before(&self, cursor: &Cursor) -> usize {
        cursor.leaf as usize * BLOCK_MAX + cursor.position as usize
    }
}

impl Lists {
    /// Bytes of memory that all of it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let leaf = |leaf: &Vec<u32>| size_of::<Vec<u32>>() + leaf.capacity() * size_of::<u32>();
        let trees = self.trees.iter().flat_map(|tree| &tree.leaves).map(leaf);
        self.blocks.memory_bytes() + trees.sum::<usize>()
    }

    /// All ordinals, oldest first.
    pub(super) fn oldest_first(&self, posting: Posting) -> impl Iterator<Item = u32> {
        let alone = (posting.len == 1).then_some(posting.at);
        let block: &[u32] = if matches!(posting.len, 0 | 1 | TREE) { &[] } else { self.block(posting) };
        let leaves: &[Vec<u32>] =
            if posting.len == TREE { &self.trees[posting.at as usize].leaves } else { &[] };
        alone.into_iter().chain(block.iter().copied()).chain(leaves.iter().flatten().copied())
    }

    pub(super) fn write<W: Write>(&self, sink: &mut Sink<'_, W>) -> io::Result<()> {
        self.blocks.write(sink)?;
        sink.number(self.trees.len() as u64)?;
        for tree in &self.trees {
            let lens: Vec<u32> = tree.leaves.iter().map(|leaf| leaf.len() as u32).collect();
            sink.array(&lens)?;
            tree.leaves.iter().try_for_each(|leaf| sink.values(leaf))?;
        }
        sink.array(&self.free_trees)
    }

    pub(super) fn read<R: Read>(source: &mut Source<'_, R>) -> Result<Self, SnapshotError> {
        let mut lists = Lists { blocks: Arena::read(source)?, ..Lists::default() };
        for _ in 0..source.number()? {
            let mut tree = Tree::default();
            for len in source.array::<u32>()? {
                check(len > 0, "the length of a leaf")?;
                tree.leaves.push(source.values(len as usize)?);
                tree.len += len as usize;
            }
            lists.trees.push(tree);
        }
        lists.free_trees = source.array()?;
        check_free(&lists.free_trees, lists.trees.len())?;
        let is_empty = |&at: &u32| lists.trees[at as usize].leaves.is_empty();
        let empty = lists.trees.iter().filter(|tree| tree.leaves.is_empty()).count();
        check(lists.free_trees.iter().all(is_empty) && lists.free_trees.len() == empty, "a tree")?;
        Ok(lists)
    }

    /// Checks all numbers in lists, which must be below `bound`; returns what checks a handle. Handles that
    /// pass may be used in any way; only trees that two of them share could still do harm, and do not pass.
    pub(super) fn checker(&self, bound: usize) -> Result<impl FnMut(Posting) -> bool, SnapshotError> {
        let is_right = |words: &[u32]| {
            words.is_empty() || words.iter().fold(0, |most, &word| most.max(word)) < bound as u32
        };
        check(is_right(self.blocks.items()), "a block of a list")?;
        check(
            self.trees.iter().flat_map(|tree| &tree.leaves).all(|leaf| is_right(leaf)),
            "a leaf of a list",
        )?;
        let mut seen: Vec<bool> = self.trees.iter().map(|tree| tree.leaves.is_empty()).collect();
        Ok(move |posting: Posting| match posting.len {
            0 => true,
            1 => (posting.at as usize) < bound,
            TREE => seen.get_mut(posting.at as usize).is_some_and(|seen| !std::mem::replace(seen, true)),
            len => len as usize <= BLOCK_MAX && self.blocks.fits(posting.at, len as usize),
        })
    }
}

/// Where in a sorted run an ordinal is or belongs. The end is looked at first: most events are new.
fn position_for(run: &[u32], ordinal: u32, order: &impl Order) -> usize {
    match run.last() {
        Some(&last) if order.compare(last, ordinal).is_ge() => {
            run.partition_point(|&other| order.compare(other, ordinal).is_lt())
        }
        _ => run.len(),
    }
}

impl Tree {
    /// The leaf that an ordinal is in or belongs in.
    fn leaf_for(&self, ordinal: u32, order: &impl Order) -> usize {
        let last = self.leaves.len() - 1;
        let begins_before =
            |leaf: &Vec<u32>| leaf.first().is_some_and(|&first| order.compare(first, ordinal).is_le());
        if begins_before(&self.leaves[last]) {
            return last;
        }
        self.leaves.partition_point(begins_before).saturating_sub(1)
    }

    fn insert(&mut self, ordinal: u32, order: &impl Order) {
        let mut at = self.leaf_for(ordinal, order);
        let mut position = position_for(&self.leaves[at], ordinal, order);
        if self.leaves[at].len() == BLOCK_MAX {
            // Where events arrive in order, leaves stay full: only one in the middle is halved.
            let is_end = at == self.leaves.len() - 1 && position == BLOCK_MAX;
            let half = if is_end { BLOCK_MAX } else { BLOCK_MAX / 2 };
            let upper = self.leaves[at].split_off(half);
            self.leaves[at].shrink_to_fit();
            self.leaves.insert(at + 1, upper);
            if position > half || is_end {
                at += 1;
                position -= half;
            }
        }
        self.leaves[at].insert(position, ordinal);
        self.len += 1;
    }

    fn remove(&mut self, ordinal: u32, order: &impl Order) {
        let at = self.leaf_for(ordinal, order);
        let position = position_for(&self.leaves[at], ordinal, order);
        if self.leaves[at].get(position) != Some(&ordinal) {
            return;
        }
        self.leaves[at].remove(position);
        self.len -= 1;
        if self.leaves[at].is_empty() {
            self.leaves.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Natural;

    impl Order for Natural {
        fn compare(&self, left: u32, right: u32) -> Ordering {
            left.cmp(&right)
        }
    }

    fn all(lists: &Lists, posting: Posting) -> Vec<u32> {
        let mut found: Vec<u32> = lists.iter(posting).collect();
        found.reverse();
        found
    }

    /// A few lists share their memory and must each stay what a sorted set would be.
    #[test]
    fn lists_agree_with_sorted_sets() {
        let seed: u64 = 0x5eed_1157;
        let mut state = seed;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as u32) % below
        };
        let mut lists = Lists::default();
        let mut handles = [Posting::default(); 5];
        let mut naive = vec![std::collections::BTreeSet::new(); 5];
        for step in 0..60_000u32 {
            let which = random(5) as usize;
            // Lists grow for the first half and shrink in the second, across every class.
            let grows = random(10) < if step < 30_000 { 8 } else { 2 };
            let value = random(1 << (4 + which * 3));
            if grows {
                if naive[which].insert(value) {
                    lists.insert(&mut handles[which], value, &Natural);
                }
            } else {
                let value = naive[which].range(value..).next().copied().unwrap_or(value);
                naive[which].remove(&value);
                lists.remove(&mut handles[which], value, &Natural);
            }
            assert_eq!(lists.len(handles[which]), naive[which].len(), "seed {seed}, step {step}");
            if step % 500 == 0 {
                for (handle, naive) in handles.iter().zip(&naive) {
                    let expected: Vec<u32> = naive.iter().copied().collect();
                    assert_eq!(all(&lists, *handle), expected, "seed {seed}, step {step}");
                    let bound = random(70_000);
                    let mut cursor = lists.seek(*handle, |ordinal| ordinal < bound);
                    let older = naive.range(..bound).next_back().copied();
                    assert_eq!(lists.next(&mut cursor), older, "seed {seed}, step {step}, below {bound}");
                }
            }
        }
    }
}
