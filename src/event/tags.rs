//! An event's tags in one allocation of text: a follow list has hundreds of tags, and a `Vec` of
//! `Vec`s of `String`s would cost a thousand allocations for each.

use super::json::write_json_string;

/// The tags of an event, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    text: String,
    /// Where each value ends in `text`.
    value_ends: Vec<u32>,
    /// Where each tag ends in `value_ends`.
    tag_ends: Vec<u32>,
}

/// One tag: a name, a value, and whatever else its author wrote.
#[derive(Clone, Copy)]
pub struct Tag<'a> {
    tags: &'a Tags,
    start: usize,
    end: usize,
}

impl Tags {
    /// Appends a value to the tag that is being written. Text beyond 4 GiB cannot arise: a message is
    /// bounded far below that.
    pub(crate) fn push_value(&mut self, value: &str) {
        self.text.push_str(value);
        self.value_ends.push(self.text.len() as u32);
    }

    /// Ends the tag that is being written.
    pub(crate) fn end_tag(&mut self) {
        self.tag_ends.push(self.value_ends.len() as u32);
    }

    /// Takes all tags out and keeps the room for others; false when that is more than `bytes`.
    pub(super) fn clear_within(&mut self, bytes: usize) -> bool {
        self.text.clear();
        self.value_ends.clear();
        self.tag_ends.clear();
        self.text.capacity() + 4 * (self.value_ends.capacity() + self.tag_ends.capacity()) <= bytes
    }

    /// Appends a whole tag.
    pub fn push<'v>(&mut self, values: impl IntoIterator<Item = &'v str>) {
        for value in values {
            self.push_value(value);
        }
        self.end_tag();
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.tag_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tag_ends.is_empty()
    }

    /// Bytes of text in all values together.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The tags in order.
    pub fn iter(&self) -> impl Iterator<Item = Tag<'_>> {
        let mut start = 0;
        self.tag_ends.iter().map(move |&end| {
            let tag = Tag { tags: self, start, end: end as usize };
            start = end as usize;
            tag
        })
    }

    /// What a relay indexes (NIP-01): the letter and first value of each tag whose name is a single
    /// English letter and that has a value.
    pub fn indexed(&self) -> impl Iterator<Item = (u8, &str)> {
        self.iter().filter_map(|tag| match (tag.name().as_bytes(), tag.value()) {
            (&[letter], Some(value)) if letter.is_ascii_alphabetic() => Some((letter, value)),
            _ => None,
        })
    }

    /// The first values of the tags of this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |tag| tag.name() == name).filter_map(|tag| tag.value())
    }

    /// Appends the tags as JSON.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (number, tag) in self.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"[" } else { b",[" });
            for (position, value) in tag.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_json_string(value, out);
            }
            out.push(b']');
        }
        out.push(b']');
    }
}

impl<'a> Tag<'a> {
    /// The element at `position`: 0 is the name, 1 the value.
    pub fn get(&self, position: usize) -> Option<&'a str> {
        let at = self.start + position;
        if at >= self.end {
            return None;
        }
        let from = if at == 0 { 0 } else { self.tags.value_ends[at - 1] as usize };
        Some(&self.tags.text[from..self.tags.value_ends[at] as usize])
    }

    /// The first element; empty when the tag has none.
    pub fn name(&self) -> &'a str {
        self.get(0).unwrap_or("")
    }

    /// The second element.
    pub fn value(&self) -> Option<&'a str> {
        self.get(1)
    }

    /// How many elements the tag has, its name among them.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the tag has not even a name.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// All elements in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).filter_map(move |position| self.get(position))
    }
}

impl<'v, T: AsRef<[&'v str]>> FromIterator<T> for Tags {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        let mut all = Tags::default();
        for tag in tags {
            all.push(tag.as_ref().iter().copied());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_letters_with_a_value_are_indexed() {
        let tags: Tags = [
            &["e", "x", "relay"][..],
            &["E", "y"],
            &["p"],
            &[],
            &["proxy", "z"],
            &["1", "z"],
            &["ä", "z"],
            &["t", ""],
        ]
        .into_iter()
        .collect();
        assert_eq!(tags.indexed().collect::<Vec<_>>(), [(b'e', "x"), (b'E', "y"), (b't', "")]);
        assert_eq!(tags.len(), 8);
        assert_eq!(tags.iter().map(|tag| tag.len()).collect::<Vec<_>>(), [3, 2, 1, 0, 2, 2, 2, 2]);
    }
}
