//! Colours for a terminal, and tables for people.

use std::fmt::{self, Display};
use std::io::IsTerminal;

use chassis::Environment;

/// A terminal's colours by their ANSI number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
    Grey = 90,
}

/// The colours that tell services apart.
const OF_SERVICES: [Colour; 5] =
    [Colour::Cyan, Colour::Magenta, Colour::Green, Colour::Yellow, Colour::Blue];

impl Colour {
    /// The colour of the service at a position.
    pub(crate) fn of_service(position: usize) -> Self {
        OF_SERVICES[position % OF_SERVICES.len()]
    }
}

/// Whether to paint at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    on: bool,
}

impl Palette {
    /// Colours when standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn of_stdout(environment: &Environment) -> Self {
        let refused = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: std::io::stdout().is_terminal() && !refused }
    }

    /// No colours.
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    pub(crate) fn paint(self, colour: Colour, text: impl Display) -> String {
        if self.on { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_string() }
    }
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) struct Table {
    palette: Palette,
    rows: Vec<Vec<Cell>>,
}

/// A text in a table, perhaps coloured.
pub(crate) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    pub(crate) fn painted(text: impl Display, colour: Colour) -> Self {
        Self { text: text.to_string(), colour: Some(colour) }
    }
}

impl<T: Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), colour: None }
    }
}

impl Table {
    pub(crate) fn new<const N: usize>(palette: Palette, heading: [&str; N]) -> Self {
        let heading = heading.map(|text| Cell::painted(text, Colour::Grey));
        Self { palette, rows: vec![heading.into()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let text = match cell.colour {
                    Some(colour) => self.palette.paint(colour, &cell.text),
                    None => cell.text.clone(),
                };
                f.write_str(&text)?;
                let more = row[column + 1..].iter().any(|cell| !cell.text.is_empty());
                if more {
                    let gap = widths[column] - cell.text.chars().count() + 2;
                    write!(f, "{:gap$}", "")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(Palette::plain(), ["NAME", "X"]);
        table.row(["a".into(), 1.into()]);
        table.row(["longer".into(), Cell::painted("red", Colour::Red)]);
        assert_eq!(table.to_string(), "NAME    X\na       1\nlonger  red\n");
    }

    #[test]
    fn colours_do_not_widen_a_column() {
        let mut table = Table::new(Palette { on: true }, ["A", "B"]);
        table.row([Cell::painted("x", Colour::Red), "y".into()]);
        table.row(["no space at the end".into(), "".into()]);
        let text = table.to_string();
        assert!(text.contains(&format!("\x1b[31mx\x1b[0m{}y\n", " ".repeat(20))), "{text}");
        assert!(text.ends_with("at the end\n"), "{text}");
    }
}
