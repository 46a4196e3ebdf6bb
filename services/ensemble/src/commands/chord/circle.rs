//! Draws the identifier circle in characters, to scale: 0 at the top, ids clockwise.
//!
//! A character is about twice as high as it is wide, so a circle is twice as many columns as rows.

use std::f64::consts::TAU;

use crate::paint::{Colour, Palette};

/// The fewest columns of a drawing.
pub(super) const NARROWEST: usize = 60;
/// The most: beyond, a circle is no easier to read.
pub(super) const WIDEST: usize = 200;
/// The most nodes of a drawing.
pub(super) const MARKS_LIMIT: usize = 60;
/// The largest circle's radius, in rows.
const LARGEST: usize = 24;

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// Where on the circle it is, from 0 to less than 1.
    pub(super) place: f64,
    pub(super) label: String,
    pub(super) colour: Colour,
    /// Whether it is there, and not only known.
    pub(super) solid: bool,
}

/// A circle with some marks, which are in order of their places, and some lines in its middle;
/// nothing when it would not fit.
pub(super) fn draw(
    marks: &[Mark],
    columns: usize,
    middle: &[String],
    palette: Palette,
) -> Option<String> {
    if columns < NARROWEST || marks.len() > MARKS_LIMIT {
        return None;
    }
    let columns = columns.min(WIDEST);
    let longest = marks.iter().map(|mark| mark.label.chars().count()).max().unwrap_or(0);
    let largest = (columns - 1).checked_sub(2 * (longest + 2))? / 4;
    let wanted = (4 + marks.len() / 3).max(6);
    let radii = wanted.min(largest)..=largest.min(LARGEST).max(wanted.min(largest));
    let layout = |radius| Layout::of(marks, radius, columns);
    // The smallest in which every label has room.
    let drawn = radii.clone().map(layout).find(|layout| layout.hidden == 0);
    let drawn = drawn.or_else(|| radii.map(layout).min_by_key(|layout| layout.hidden))?;
    let mut canvas = drawn.canvas;
    let top = (canvas.rows.len() / 2).saturating_sub(middle.len() / 2);
    for (line, text) in middle.iter().enumerate() {
        let length = text.chars().count();
        if length + 6 < 4 * drawn.radius {
            canvas.write(top + line, drawn.centre - length / 2, text, None);
        }
    }
    Some(canvas.paint(palette))
}

/// A drawing of one size.
struct Layout {
    radius: usize,
    /// The column of the middle.
    centre: usize,
    canvas: Canvas,
    /// Labels for which there is no room.
    hidden: usize,
}

impl Layout {
    fn of(marks: &[Mark], radius: usize, columns: usize) -> Self {
        let centre = columns / 2;
        let mut canvas = Canvas::new(columns, 2 * radius + 1);
        let steps = 32 * radius;
        for step in 0..steps {
            let (column, row) = cell(step as f64 / steps as f64, radius, centre);
            canvas.rows[row][column] = ('·', Some(Colour::Grey));
        }
        // Where the circle begins and ends in each row.
        let edges: Vec<(usize, usize)> = canvas.rows.iter().map(|row| edges(row)).collect();
        // The marks of each row, from left to right, to the left of the middle and to the right.
        let mut sides: Vec<[Vec<(usize, &Mark)>; 2]> = vec![Default::default(); canvas.rows.len()];
        for mark in marks {
            let (column, row) = cell(mark.place, radius, centre);
            let character = match (canvas.rows[row][column].0, mark.solid) {
                ('·', true) => '●',
                ('·', false) => '○',
                // There is one already.
                _ => '◉',
            };
            canvas.rows[row][column] = (character, Some(mark.colour));
            sides[row][usize::from(column >= centre)].push((column, mark));
        }
        let mut hidden = 0;
        for (row, [left, right]) in sides.iter_mut().enumerate() {
            let (first, last) = edges[row];
            for side in [&mut *left, &mut *right] {
                side.sort_by_key(|(column, _)| *column);
            }
            hidden += canvas.label(row, first, left, false);
            hidden += canvas.label(row, last, right, true);
        }
        Self { radius, centre, canvas, hidden }
    }
}

/// Column and row of a place of the circle.
fn cell(place: f64, radius: usize, centre: usize) -> (usize, usize) {
    let (sine, cosine) = (TAU * place).sin_cos();
    let column = centre as f64 + (2.0 * radius as f64 * sine).round();
    let row = radius as f64 - (radius as f64 * cosine).round();
    (column as usize, row as usize)
}

/// The first and the last column that is not empty.
fn edges(row: &[(char, Option<Colour>)]) -> (usize, usize) {
    let drawn = |cell: &(char, Option<Colour>)| cell.0 != ' ';
    let first = row.iter().position(drawn).unwrap_or(0);
    (first, row.iter().rposition(drawn).unwrap_or(0))
}

/// Rows of characters, with their colours.
struct Canvas {
    rows: Vec<Vec<(char, Option<Colour>)>>,
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Self {
        Self { rows: vec![vec![(' ', None); columns]; rows] }
    }

    fn write(&mut self, row: usize, column: usize, text: &str, colour: Option<Colour>) {
        for (cell, character) in self.rows[row][column..].iter_mut().zip(text.chars()) {
            *cell = (character, colour);
        }
    }

    /// Writes the labels of marks beside the circle; how many there was no room for.
    fn label(
        &mut self,
        row: usize,
        edge: usize,
        marks: &[(usize, &Mark)],
        to_the_right: bool,
    ) -> usize {
        // One space between the circle and the labels.
        let room = if to_the_right { self.rows[row].len() - edge - 2 } else { edge - 1 };
        let mut shown = marks.len();
        let text = |shown: usize| {
            let mut words: Vec<_> =
                marks[..shown].iter().map(|(_, mark)| mark.label.clone()).collect();
            if shown < marks.len() {
                words.push(format!("+{}", marks.len() - shown));
            }
            words.join(" ")
        };
        let length = |shown| text(shown).chars().count();
        while shown > 0 && length(shown) > room {
            shown -= 1;
        }
        let mut column = match to_the_right {
            true => edge + 2,
            false => edge.saturating_sub(1 + length(shown)),
        };
        for (_, mark) in &marks[..shown] {
            self.write(row, column, &mark.label, Some(mark.colour));
            column += mark.label.chars().count() + 1;
        }
        if shown < marks.len() {
            self.write(row, column, &format!("+{}", marks.len() - shown), None);
        }
        marks.len() - shown
    }

    /// The text, without what is empty on the left of all rows and on the right of each.
    fn paint(&self, palette: Palette) -> String {
        let drawn = |cell: &(char, Option<Colour>)| cell.0 != ' ';
        let left = self.rows.iter().filter_map(|row| row.iter().position(drawn)).min();
        let left = left.unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let end = row.iter().rposition(drawn).map_or(left, |last| last + 1);
            let mut rest = &row[left..end];
            while let Some((_, colour)) = rest.first() {
                let same = rest.iter().take_while(|cell| cell.1 == *colour).count();
                let part: String = rest[..same].iter().map(|cell| cell.0).collect();
                match colour {
                    Some(colour) => text += &palette.paint(*colour, part),
                    None => text += &part,
                }
                rest = &rest[same..];
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(ids: &[u64], of: u64) -> Vec<Mark> {
        let mark = |id: &u64| Mark {
            place: *id as f64 / of as f64,
            label: id.to_string(),
            colour: Colour::Green,
            solid: true,
        };
        ids.iter().map(mark).collect()
    }

    fn drawn(marks: &[Mark], columns: usize) -> String {
        draw(marks, columns, &[], Palette::plain()).expect("it fits")
    }

    #[test]
    fn the_documents_ring_is_drawn_to_scale() {
        let marks = marks(&[2, 16, 24, 25, 26, 31], 32);
        let middle = ["ensemble".to_owned(), "m = 5".to_owned()];
        let text = draw(&marks, 80, &middle, Palette::plain()).expect("it fits");
        let expected = [
            "       31 ···●······● 2",
            "       ····         ····",
            "     ···               ···",
            "    ··                   ··",
            "26 ·●                     ··",
            "25 ●       ensemble        ·",
            "24 ●         m = 5         ·",
            "   ·                       ·",
            "   ··                     ··",
            "    ··                   ··",
            "     ···               ···",
            "       ····         ····",
            "          ·····●····· 16",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_node_has_its_mark_and_its_label_at_any_width() {
        for count in 1..=60_u64 {
            for columns in [60, 80, 133, 200, 1000] {
                let ids: Vec<u64> = (0..count).map(|it| it * 1000 / count).collect();
                let text = drawn(&marks(&ids, 1000), columns);
                let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
                assert!(widest <= columns, "{widest} of {columns} columns:\n{text}");
                let words: Vec<&str> = text.split([' ', '·', '●', '◉', '\n']).collect();
                let labelled = ids.iter().filter(|id| words.contains(&&*id.to_string())).count();
                assert_eq!(labelled, ids.len(), "{columns} columns:\n{text}");
            }
        }
    }

    #[test]
    fn nodes_in_one_place_share_a_mark_and_have_their_labels() {
        let text = drawn(&marks(&[500, 501, 502], 1000), 60);
        assert!(text.contains('◉'), "{text}");
        assert!(
            text.lines().last().is_some_and(|row| row.ends_with("◉····· 500 501 502")),
            "{text}"
        );
        // More than there is room for are counted.
        let close: Vec<u64> = (0..60).map(|it| 999_000 + it).collect();
        let text = drawn(&marks(&close, 1_000_000), 60);
        assert!(text.contains('+'), "{text}");
        assert!(text.lines().all(|row| row.chars().count() <= 60), "{text}");
    }

    #[test]
    fn who_is_only_known_is_hollow() {
        let mut marks = marks(&[3, 7], 8);
        marks[1].solid = false;
        let text = drawn(&marks, 80);
        assert!(text.contains('○') && text.contains('●'), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        assert!(draw(&marks(&[1], 8), 59, &[], Palette::plain()).is_none());
        let many: Vec<u64> = (0..61).collect();
        assert!(draw(&marks(&many, 64), 80, &[], Palette::plain()).is_none());
        assert!(draw(&[], 60, &[], Palette::plain()).is_some());
    }

    #[test]
    fn the_quarters_of_the_circle_are_where_a_clock_has_them() {
        let text = drawn(&marks(&[0, 8, 16, 24], 32), 80);
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].ends_with(" 0"), "{text}");
        let middle = rows[rows.len() / 2];
        assert!(middle.starts_with("24 ●") && middle.ends_with("● 8"), "{text}");
        assert!(rows[rows.len() - 1].ends_with(" 16"), "{text}");
    }
}
