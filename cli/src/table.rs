//! Tables in the manner of `cf`: a heading, columns three spaces apart, no lines.

use crate::ui::printable;

const BETWEEN_COLUMNS: &str = "   ";

/// One cell: what is measured, and what is written (the same text, perhaps with a colour).
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    width: usize,
    text: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

// === impl Cell ===

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = printable(&text.into()).replace('\n', " ");
        Self {
            width: text.chars().count(),
            text,
        }
    }

    /// `painted` is `plain` with colours around it.
    pub(crate) fn painted(plain: &str, painted: String) -> Self {
        Self {
            width: plain.chars().count(),
            text: painted,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::plain(text)
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&'static str; N]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, heading first; `paint` colours a heading.
    pub(crate) fn lines(&self, paint: impl Fn(&str) -> String) -> Vec<String> {
        let headings: Vec<Cell> = self
            .headings
            .iter()
            .map(|heading| {
                Cell::painted(
                    heading,
                    if heading.is_empty() {
                        String::new()
                    } else {
                        paint(heading)
                    },
                )
            })
            .collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                std::iter::once(&headings)
                    .chain(&self.rows)
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.width)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        std::iter::once(&headings)
            .chain(&self.rows)
            .map(|row| line(row, &widths))
            .collect()
    }
}

fn line(row: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, cell) in row.iter().enumerate() {
        if column > 0 {
            line.push_str(BETWEEN_COLUMNS);
        }
        line.push_str(&cell.text);
        let width = widths.get(column).copied().unwrap_or(cell.width);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width)));
    }
    line.truncate(line.trim_end().len());
    line
}

/// `key:   value` lines with the values under each other.
pub(crate) fn key_values(pairs: &[(&str, String)]) -> Vec<String> {
    let width = pairs
        .iter()
        .map(|(key, _)| key.chars().count() + 1)
        .max()
        .unwrap_or(0);
    pairs
        .iter()
        .map(|(key, value)| {
            let line = format!("{:width$}{BETWEEN_COLUMNS}{value}", format!("{key}:"));
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["name", "requested state", "urls"]);
        table.row([
            "a-long-name".into(),
            "started".into(),
            "x.example.com".into(),
        ]);
        table.row(["b".into(), "stopped".into(), "".into()]);
        let lines = table.lines(str::to_owned);
        assert_eq!(
            lines,
            [
                "name          requested state   urls",
                "a-long-name   started           x.example.com",
                "b             stopped",
            ]
        );
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(["", "state", "since"]);
        table.row([
            "#0".into(),
            Cell::painted("up", "\x1b[1mup\x1b[0m".into()),
            "now".into(),
        ]);
        assert_eq!(
            table.lines(str::to_owned),
            ["     state   since", "#0   \x1b[1mup\x1b[0m      now"]
        );
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(["a"]);
        table.row(["x\ny\x1b[2J".into()]);
        assert_eq!(table.lines(str::to_owned)[1], "x y\u{fffd}[2J");
    }

    #[test]
    fn values_stand_under_each_other() {
        let lines = key_values(&[
            ("name", "hello".into()),
            ("requested state", "started".into()),
        ]);
        assert_eq!(
            lines,
            ["name:              hello", "requested state:   started"]
        );
    }
}
