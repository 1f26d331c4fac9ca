//! The table of figures, and how they are written.

use std::time::Duration;

const MEBIBYTE: f64 = (1 << 20) as f64;

/// Rows of figure, value, ratio to a baseline, and meaning; printed as a Markdown table.
#[derive(Default)]
pub struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds a figure that has no baseline.
    pub fn row(&mut self, figure: &str, value: String, meaning: &str) {
        self.add([figure.to_owned(), value, "–".to_owned(), meaning.to_owned()]);
    }

    /// Adds a figure that is `ratio` times its floor or its ceiling, which `meaning` names.
    pub fn row_over(&mut self, figure: &str, value: String, ratio: f64, meaning: &str) {
        self.add([figure.to_owned(), value, format!("{ratio:.2}"), meaning.to_owned()]);
    }

    /// Adds a row and prints it to the error output, because the whole table takes minutes.
    fn add(&mut self, row: [String; 4]) {
        eprintln!("{}: {} ({})", row[0], row[1], row[2]);
        self.0.push(row);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let header = ["Figure", "Value", "Ratio", "Meaning"].map(str::to_owned);
        let width = |column: usize| {
            self.0.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 4] = std::array::from_fn(width);
        let mut write = |row: &[String; 4], fill: char| {
            let cells: [String; 4] = std::array::from_fn(|column| {
                let padding = widths[column] - row[column].chars().count();
                format!("{}{}", row[column], String::from(fill).repeat(padding))
            });
            writeln!(formatter, "| {} |", cells.join(" | "))
        };
        write(&header, ' ')?;
        write(&[const { String::new() }; 4], '-')?;
        self.0.iter().try_for_each(|row| write(row, ' '))
    }
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", 1e3 * time.as_secs_f64())
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MEBIBYTE)
}
