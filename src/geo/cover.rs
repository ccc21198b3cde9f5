//! How a shape becomes cells: from coarse to fine, splitting only cells that its border passes. In: a shape, a
//! precision, a bound. Out: cells that cover it. Pure.

use std::cmp::Reverse;

use super::bounds::Bounds;
use super::geohash::Geohash;

/// Cells of one covering at most: 32 KiB, and enough for a border that nobody can tell from the true one.
pub const CELLS_MAX: usize = 4_096;

/// How a cell lies to a shape.
pub(super) enum Lies<Near> {
    /// It shares no more than a border with the shape.
    Outside,
    /// The shape holds all of it.
    Inside,
    /// Some of it; what the shape remembers is handed to the cell's parts.
    Border(Near),
}

/// What an area may be made of.
pub(super) trait Shape {
    /// What is worth knowing of the surroundings of one cell when its parts are looked at.
    type Near;

    /// What is near to the whole earth.
    fn everywhere(&self) -> Self::Near;

    /// How a cell lies, whose parent had this near it.
    fn lies(&self, cell: &Bounds, near: &Self::Near) -> Lies<Self::Near>;
}

/// The parts of a cell that touch the shape.
struct Split<Near> {
    inside: Vec<Geohash>,
    border: Vec<(Geohash, Near)>,
}

impl<Near> Split<Near> {
    fn of(cells: impl Iterator<Item = Geohash>, shape: &impl Shape<Near = Near>, near: &Near) -> Split<Near> {
        let mut split = Split { inside: Vec::new(), border: Vec::new() };
        for cell in cells {
            match shape.lies(&cell.bounds(), near) {
                Lies::Outside => {}
                Lies::Inside => split.inside.push(cell),
                Lies::Border(near) => split.border.push((cell, near)),
            }
        }
        split
    }

    fn len(&self) -> usize {
        self.inside.len() + self.border.len()
    }
}

/// Cells that cover a shape, in no order. Each touches it, so no point of a cell is farther from the shape than
/// that cell's diagonal. Cells at the border have `precision` characters, or fewer where more than `cells_max`
/// cells would be needed: then those cells are split first that have most to lose.
pub(super) fn cover<S: Shape>(shape: &S, precision: usize, cells_max: usize) -> Vec<Geohash> {
    let Split { mut inside, mut border } = Split::of(Geohash::roots(), shape, &shape.everywhere());
    for _ in 1..precision.min(Geohash::LENGTH_MAX) {
        let splits: Vec<Split<S::Near>> =
            border.iter().map(|(cell, near)| Split::of(cell.children(), shape, near)).collect();
        let count = inside.len() + splits.iter().map(Split::len).sum::<usize>();
        if count > cells_max {
            let whole: Vec<Geohash> = border.into_iter().map(|(cell, _)| cell).collect();
            inside.extend(split_some(&whole, splits, cells_max.saturating_sub(inside.len())));
            return inside;
        }
        border.clear();
        for split in splits {
            inside.extend(split.inside);
            border.extend(split.border);
        }
    }
    inside.extend(border.into_iter().map(|(cell, _)| cell));
    inside
}

/// Splits as many of the cells as room allows, those first of which most parts are dropped.
fn split_some<Near>(cells: &[Geohash], splits: Vec<Split<Near>>, room: usize) -> Vec<Geohash> {
    let mut order: Vec<(Geohash, Split<Near>)> = cells.iter().copied().zip(splits).collect();
    order.sort_by_key(|(cell, split)| (split.len(), Reverse(*cell)));
    let mut count = order.len();
    let mut chosen = Vec::with_capacity(room);
    for (cell, split) in order {
        let more = (count + split.len()).saturating_sub(1);
        if more <= room {
            count = more;
            chosen.extend(split.inside);
            chosen.extend(split.border.into_iter().map(|(part, _)| part));
        } else {
            chosen.push(cell);
        }
    }
    chosen
}
