//! Postings: lists of ordinals in the order of their heads, oldest first. Owns the memory of all of
//! them. In: ordinals and a way to compare them. Out: positions and ordinals. Never reads a head itself
//! but through [`Order`].
//!
//! A list of one lives in its handle; up to [`BLOCK_MAX`] ordinals share one array with all other
//! small lists, cut into blocks of few sizes; longer ones are rows of leaves, so that an insertion in
//! the middle of a million moves at most one leaf.

use std::cmp::Ordering;

/// Ordinals in the largest block and in a full leaf.
const BLOCK_MAX: usize = 512;

/// How many ordinals a block of each class holds.
const CLASSES: [u16; 17] = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, BLOCK_MAX as u16];

/// In place of a length: the list is a tree.
const TREE: u32 = u32::MAX;

/// Compares stored events by `(created_at, id descending)`: the reverse of NIP-01's order.
pub(super) trait Order {
    /// How `left` stands to `right`.
    fn compare(&self, left: u32, right: u32) -> Ordering;
}

/// A handle to a list; what it means only [`Lists`] knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    words: Vec<u32>,
    /// Offsets of unused blocks, by class.
    free: [Vec<u32>; CLASSES.len()],
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

/// The smallest class that holds `len` ordinals; `len` is at most [`BLOCK_MAX`].
fn class_of(len: usize) -> usize {
    CLASSES.partition_point(|&size| usize::from(size) < len)
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
        &self.words[posting.at as usize..][..posting.len as usize]
    }

    fn allocate(&mut self, class: usize) -> u32 {
        if let Some(at) = self.free[class].pop() {
            return at;
        }
        let at = self.words.len();
        self.words.resize(at + usize::from(CLASSES[class]), 0);
        at as u32
    }

    /// Puts an ordinal that is not in the list where it belongs.
    pub(super) fn insert(&mut self, posting: &mut Posting, ordinal: u32, order: &impl Order) {
        match posting.len {
            0 => *posting = Posting { len: 1, at: ordinal },
            TREE => self.trees[posting.at as usize].insert(ordinal, order),
            1 => {
                let at = self.allocate(0);
                let pair = if order.compare(posting.at, ordinal).is_lt() {
                    [posting.at, ordinal]
                } else {
                    [ordinal, posting.at]
                };
                self.words[at as usize..][..2].copy_from_slice(&pair);
                *posting = Posting { len: 2, at };
            }
            len if len as usize == BLOCK_MAX => {
                let tree = Tree { len: BLOCK_MAX, leaves: vec![self.block(*posting).to_vec()] };
                self.free[CLASSES.len() - 1].push(posting.at);
                *posting = Posting { len: TREE, at: self.adopt(tree) };
                self.trees[posting.at as usize].insert(ordinal, order);
            }
            len => {
                let len = len as usize;
                let position = position_for(self.block(*posting), ordinal, order);
                self.resize_block(posting, len + 1);
                let block = &mut self.words[posting.at as usize..][..len + 1];
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
                self.words[posting.at as usize..][..len].copy_within(position + 1.., position);
                if len == 2 {
                    let last = self.words[posting.at as usize];
                    self.free[0].push(posting.at);
                    *posting = Posting { len: 1, at: last };
                } else {
                    self.resize_block(posting, len - 1);
                }
            }
        }
    }

    /// Makes a block hold `len` ordinals, in a smaller or larger one when its class changes.
    fn resize_block(&mut self, posting: &mut Posting, len: usize) {
        let (old, new) = (class_of(posting.len as usize), class_of(len));
        if old != new {
            let at = self.allocate(new);
            let kept = len.min(posting.len as usize);
            self.words.copy_within(posting.at as usize..posting.at as usize + kept, at as usize);
            self.free[old].push(posting.at);
            posting.at = at;
        }
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
            _ => self.words[cursor.posting.at as usize + position],
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

    /// Stores a list that is never ordered or changed: an event's own tag values. Returns where.
    pub(super) fn store_fixed(&mut self, values: &[u32]) -> Posting {
        match *values {
            [] => Posting::default(),
            [one] => Posting { len: 1, at: one },
            _ if values.len() > BLOCK_MAX => {
                let tree = Tree { len: values.len(), leaves: vec![values.to_vec()] };
                Posting { len: TREE, at: self.adopt(tree) }
            }
            _ => {
                let at = self.allocate(class_of(values.len()));
                self.words[at as usize..][..values.len()].copy_from_slice(values);
                Posting { len: values.len() as u32, at }
            }
        }
    }

    /// The values of a fixed list. The handle is borrowed because a list of one lives in it.
    pub(super) fn fixed<'a>(&'a self, posting: &'a Posting) -> &'a [u32] {
        match posting.len {
            0 => &[],
            1 => std::slice::from_ref(&posting.at),
            TREE => self.trees[posting.at as usize].leaves.first().map_or(&[], |leaf| leaf),
            _ => self.block(*posting),
        }
    }

    /// Gives back the memory of a fixed list.
    pub(super) fn free_fixed(&mut self, posting: Posting) {
        match posting.len {
            0 | 1 => {}
            TREE => {
                self.trees[posting.at as usize] = Tree::default();
                self.free_trees.push(posting.at);
            }
            len => self.free[class_of(len as usize)].push(posting.at),
        }
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

    #[test]
    fn fixed_lists_keep_their_order() {
        let mut lists = Lists::default();
        let mut kept = Vec::new();
        for len in [0, 1, 2, 3, 5, 511, 512, 513, 2_000] {
            let values: Vec<u32> = (0..len).rev().collect();
            kept.push((lists.store_fixed(&values), values));
        }
        for (handle, values) in &kept {
            assert_eq!(lists.fixed(handle), values);
        }
        for (handle, _) in kept {
            lists.free_fixed(handle);
        }
        let again = lists.store_fixed(&[7, 7]);
        assert_eq!(lists.fixed(&again), [7, 7]);
    }
}
