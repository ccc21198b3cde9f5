//! The parsed file with its positions. In: the text of relay.toml. Out: where a key stands, and what stands
//! there. Never judges a value.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// relay.toml as it was written.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

/// One key of the file, its place and its value.
pub(super) struct Entry<'d> {
    pub(super) key: &'d str,
    pub(super) line: usize,
    pub(super) value: &'d DeValue<'d>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, toml::de::Error> {
        Ok(Self { text, root: DeTable::parse(text)? })
    }

    /// The sections, or the stray keys outside of any section, in the order of the file.
    pub(super) fn top(&self) -> Vec<Entry<'_>> {
        self.entries(self.root.get_ref())
    }

    /// The keys of a table, in the order of the file.
    pub(super) fn entries<'d>(&self, table: &'d DeTable<'d>) -> Vec<Entry<'d>> {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        keys.into_iter()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                line: line_at(self.text, key.span().start),
                value: value.get_ref(),
            })
            .collect()
    }

    /// The line of a dotted key, if the file sets it.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        self.find(key).map(|(start, _)| line_at(self.text, start))
    }

    /// The line of one element of a list, or else of its key.
    pub(super) fn line_of_element(&self, key: &str, index: usize) -> Option<usize> {
        let element = self.elements(key).nth(index).map(|element| element.span().start);
        element.map(|start| self.line_at(start)).or_else(|| self.line_of(key))
    }

    /// The elements of a list with their places; none if the key is not set or is no list.
    pub(super) fn elements(&self, key: &str) -> impl Iterator<Item = &Spanned<DeValue<'t>>> {
        let value = self.find(key).map(|(_, value)| value);
        value.and_then(|value| value.get_ref().as_array()).into_iter().flat_map(|list| list.iter())
    }

    /// The dotted key, `section.key`, whose value covers the span.
    pub(super) fn key_at(&self, span: &Range<usize>) -> Option<String> {
        for (section, body) in self.root.get_ref() {
            for (key, value) in body.get_ref().as_table().into_iter().flatten() {
                if value.span().start <= span.start && span.end <= value.span().end {
                    return Some(format!("{}.{}", section.get_ref(), key.get_ref()));
                }
            }
        }
        None
    }

    /// What the file says in a span.
    pub(super) fn source(&self, span: &Range<usize>) -> &'t str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn line_at(&self, offset: usize) -> usize {
        line_at(self.text, offset)
    }

    fn find(&self, key: &str) -> Option<(usize, &Spanned<DeValue<'t>>)> {
        let (section, name) = key.split_once('.')?;
        let body = self.root.get_ref().get(section)?.get_ref().as_table()?;
        let (name, value) = body.get_key_value(name)?;
        Some((name.span().start, value))
    }
}

/// The line, counted from 1, in which a byte of the text lies.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    text.as_bytes().iter().take(end).filter(|byte| **byte == b'\n').count() + 1
}
