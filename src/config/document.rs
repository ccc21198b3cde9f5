//! The parsed file with its positions. In: the text of relay.toml. Out: where a key stands, what stands
//! there, and the tables that settings are read from. Never judges a value.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::error::{Fault, excerpt};
use super::explain;

/// What relay.toml says of the root, or of one community. In a community's table the keys that stand right
/// below `[[community]]` are those of `[relay]`, so that both are read alike.
#[derive(Clone)]
pub(super) struct Document<'t> {
    text: &'t str,
    table: DeTable<'t>,
    /// The community's path, and the line where it begins; `None` for the root.
    community: Option<(String, usize)>,
}

/// One key of the file, its place and its value.
pub(super) struct Entry<'d> {
    pub(super) key: &'d str,
    pub(super) line: usize,
    pub(super) value: &'d DeValue<'d>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, toml::de::Error> {
        Ok(Self { text, table: DeTable::parse(text)?.into_inner(), community: None })
    }

    /// Takes the communities out of the root, in the order of the file.
    pub(super) fn take_communities(&mut self) -> Result<Vec<Document<'t>>, Fault> {
        let Some((key, value)) = self.table.remove_entry("community") else { return Ok(Vec::new()) };
        let line = self.line_at(key.span().start);
        let wrong = |line: usize| Fault {
            line,
            key: "community".to_owned(),
            problem: "a community begins with [[community]] and its path".to_owned(),
            remedy: "write [[community]], below it path = \"/name\", and then its sections".to_owned(),
        };
        let DeValue::Array(list) = value.into_inner() else { return Err(wrong(line)) };
        let mut communities = Vec::new();
        for element in list {
            let start = element.span().start;
            let line = self.line_at(start);
            let DeValue::Table(table) = element.into_inner() else { return Err(wrong(line)) };
            let table = with_relay_section(table);
            let community = Document { text: self.text, table, community: None };
            let path = community.text_of("relay.path").ok_or_else(|| wrong(line))?.to_owned();
            communities.push(Document { community: Some((path, line)), ..community });
        }
        Ok(communities)
    }

    /// Takes a list of tables out of the root, each with the line where it begins.
    pub(super) fn take_list(&mut self, name: &str, form: &str) -> Result<Vec<(usize, DeTable<'t>)>, Fault> {
        let Some((key, value)) = self.table.remove_entry(name) else { return Ok(Vec::new()) };
        let wrong = |line: usize| Fault {
            line,
            key: name.to_owned(),
            problem: format!("must be one or more [[{name}]]"),
            remedy: format!("write {form}"),
        };
        let line = self.line_at(key.span().start);
        let DeValue::Array(list) = value.into_inner() else { return Err(wrong(line)) };
        let each = list.into_iter().map(|element| {
            let line = self.line_at(element.span().start);
            match element.into_inner() {
                DeValue::Table(table) => Ok((line, table)),
                _ => Err(wrong(line)),
            }
        });
        each.collect()
    }

    /// The path of the community; `None` for the root.
    pub(super) fn community(&self) -> Option<&str> {
        self.community.as_ref().map(|(path, _)| path.as_str())
    }

    /// A key as the file's reader knows it, with its community's path.
    pub(super) fn name_of(&self, key: &str) -> String {
        match &self.community {
            None => key.to_owned(),
            Some((path, _)) => {
                let key = key.strip_prefix("relay.").unwrap_or(key);
                format!("community[{}].{key}", excerpt(path).escape_debug())
            }
        }
    }

    /// Some of the sections, with what stands in them.
    pub(super) fn part(&self, wanted: impl Fn(&str) -> bool) -> DeTable<'t> {
        let mut part = self.table.clone();
        let unwanted: Vec<_> = part.keys().filter(|section| !wanted(section.get_ref())).cloned().collect();
        for section in unwanted {
            part.remove(&**section.get_ref());
        }
        part
    }

    /// Reads settings from a table that was made of this document's.
    pub(super) fn read<T: DeserializeOwned>(&self, table: DeTable<'t>) -> Result<T, Fault> {
        T::deserialize(Deserializer::from(Spanned::new(0..0, table)))
            .map_err(|cause| explain::wrong_value(self, &cause))
    }

    /// The sections, or the stray keys outside of any section, in the order of the file.
    pub(super) fn top(&self) -> Vec<Entry<'_>> {
        self.entries(&self.table)
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

    /// The line where to look for what is not set: that of the community, or the first one.
    pub(super) fn first_line(&self) -> usize {
        self.community.as_ref().map_or(1, |(_, line)| *line)
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
        for (section, body) in &self.table {
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

    fn text_of(&self, key: &str) -> Option<&str> {
        self.find(key).and_then(|(_, value)| value.get_ref().as_str())
    }

    fn find(&self, key: &str) -> Option<(usize, &Spanned<DeValue<'t>>)> {
        let (section, name) = key.split_once('.')?;
        let body = self.table.get(section)?.get_ref().as_table()?;
        let (name, value) = body.get_key_value(name)?;
        Some((name.span().start, value))
    }
}

/// Moves the keys of a community that are no sections below `relay`, where the root has them.
pub(super) fn with_relay_section(table: DeTable<'_>) -> DeTable<'_> {
    let (mut sections, mut relay) = (DeTable::new(), DeTable::new());
    for (key, value) in table {
        let is_section = value.get_ref().is_table();
        if is_section {
            sections.insert(key, value)
        } else {
            relay.insert(key, value)
        };
    }
    // A section of that name is a mistake, which stays to be told.
    if !sections.contains_key("relay") {
        let name = Spanned::new(0..0, Cow::Borrowed("relay"));
        sections.insert(name, Spanned::new(0..0, DeValue::Table(relay)));
    }
    sections
}

/// Two tables of sections as one; where both set a key, `over` wins.
pub(super) fn merged<'t>(mut base: DeTable<'t>, over: DeTable<'t>) -> DeTable<'t> {
    for (section, value) in over {
        let name = section.get_ref().clone();
        match (base.get_mut(&*name).map(Spanned::get_mut), value) {
            (Some(DeValue::Table(beneath)), value) if value.get_ref().is_table() => {
                if let DeValue::Table(table) = value.into_inner() {
                    beneath.extend(table);
                }
            }
            (_, value) => drop(base.insert(section, value)),
        }
    }
    base
}

/// The line, counted from 1, in which a byte of the text lies.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    text.as_bytes().iter().take(end).filter(|byte| **byte == b'\n').count() + 1
}
