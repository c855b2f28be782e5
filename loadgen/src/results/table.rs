//! A table of text: names to the left, everything else to the right.

/// Rows of cells; each column is as wide as its widest cell.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a line of headings.
    pub(crate) fn with_head(cells: &[&str]) -> Self {
        Self { rows: vec![cells.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Lines without their ends, each after `indent`.
    pub(crate) fn lines(&self, indent: &str) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
        self.rows.iter().map(|row| line(indent, row, &widths)).collect()
    }
}

fn line(indent: &str, row: &[String], widths: &[usize]) -> String {
    let mut line = indent.to_owned();
    for (column, (cell, &width)) in row.iter().zip(widths).enumerate() {
        if column == 0 {
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("  {cell:>width$}"));
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::with_head(&["time", "count", "p99"]);
        table.row(["ack", "1,000", "842 µs"].map(str::to_owned));
        table.row(["delivery", "7", "1.20 ms"].map(str::to_owned));
        assert_eq!(table.lines("  "), ["  time      count      p99", "  ack       1,000   842 µs", "  delivery      7  1.20 ms"]);
    }
}
