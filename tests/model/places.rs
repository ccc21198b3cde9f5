//! Places in filters, stated as plainly as can be: text that begins with text, and cells as squares on a
//! grid. Nothing of it is the relay's own.

use plaza::event::Event;
use plaza::filter::Filter;

const BASE32: &str = "0123456789bcdefghjkmnpqrstuvwxyz";

/// A filter as a client wrote it, for a relay that understands places or does not.
#[derive(Clone)]
pub(crate) struct Asked {
    /// As it was written.
    pub(crate) filter: Filter,
    /// Whether stars and tildes mean anything.
    pub(crate) has_places: bool,
}

/// A cell's column and row, and how many there are of each: bits of longitude and latitude take turns.
fn square(cell: &str) -> Option<(u64, u64, u64, u64)> {
    let (mut column, mut row, mut columns, mut rows) = (0, 0, 1, 1);
    let mut is_column = true;
    for character in cell.chars() {
        let value = BASE32.find(character)? as u64;
        for bit in (0..5).rev().map(|shift| (value >> shift) & 1) {
            if is_column {
                (column, columns) = (2 * column + bit, 2 * columns);
            } else {
                (row, rows) = (2 * row + bit, 2 * rows);
            }
            is_column = !is_column;
        }
    }
    Some((column, row, columns, rows))
}

/// Whether two cells of one size are the same or touch, around the world and over its poles.
fn touch(one: &str, other: &str) -> bool {
    let (Some((column, row, columns, rows)), Some((other_column, other_row, ..))) =
        (square(one), square(other))
    else {
        return false;
    };
    let apart = |there: u64| {
        let steps = column.abs_diff(there);
        steps.min(columns - steps)
    };
    let is_polar = row == other_row && (row == 0 || row == rows - 1);
    row.abs_diff(other_row) <= 1 && apart(other_column) <= 1
        || is_polar && apart((other_column + columns / 2) % columns) <= 1
}

fn is_cell(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.chars().all(|character| BASE32.contains(character))
}

/// Whether a value of `#g` asks for a place.
fn asks_for(value: &str, place: &str) -> bool {
    if let Some(prefix) = value.strip_suffix('*') {
        return place.starts_with(prefix);
    }
    match value.strip_prefix('~') {
        Some(cell) => place.get(..cell.len()).is_some_and(|start| touch(cell, start)),
        None => value == place,
    }
}

impl Asked {
    /// Whether an event is one that was asked for.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        let mut rest = self.filter.clone();
        rest.tags.retain(|(letter, _)| *letter != b'g' || !self.has_places);
        let places: Vec<&str> =
            event.tags.iter().filter(|tag| tag.get(0) == Some("g")).filter_map(|tag| tag.get(1)).collect();
        let mut conditions = self.filter.tags.iter().filter(|(letter, _)| *letter == b'g');
        rest.matches(event)
            && (!self.has_places
                || conditions.all(|(_, values)| {
                    values.iter().any(|value| places.iter().any(|place| asks_for(value, place)))
                }))
    }

    /// Whether it asks in a form that does not exist.
    pub(crate) fn is_refused(&self) -> bool {
        let values = self.filter.tags.iter().filter(|(letter, _)| *letter == b'g').flat_map(|(_, all)| all);
        let is_wrong = |value: &String| {
            value.contains(['*', '~'])
                && !value.strip_suffix('*').is_some_and(is_cell)
                && !value.strip_prefix('~').is_some_and(is_cell)
        };
        self.has_places && values.into_iter().any(is_wrong)
    }
}
