//! Tables of text that read well as they are and as markdown.

use crate::{
    measure::Summary,
    results::{Cell, Found, Row},
    workload::{OURS, Unit, Workload},
};

/// What stands where there is nothing.
const NOTHING: &str = "–";

/// Ours beside the best peer, with the goals: a line for each metric.
pub(crate) fn summary(rows: &[Row]) -> String {
    let header = [
        "workload",
        "ours",
        "best peer",
        "",
        "ours/best",
        "must",
        "moonshot",
        "verdict",
        "CPU ours/best",
    ];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    for row in rows {
        let with_span = |cell: Option<&Cell>| {
            cell.map_or_else(nothing, |cell| Scale::of(row, Some(cell)).with_span(cell))
        };
        let goal = row.metric.goal;
        lines.push(vec![
            row.metric.title.to_owned(),
            with_span(row.cell(OURS)),
            with_span(row.best()),
            row.best().map_or_else(nothing, |best| best.pool.to_owned()),
            row.ratio().map_or_else(nothing, digits),
            goal.map_or_else(nothing, |goal| goal.must.to_string()),
            goal.map_or_else(nothing, |goal| goal.moonshot.to_string()),
            row.verdict().to_string(),
            row.cpu_ratio().map_or_else(nothing, digits),
        ]);
    }
    table(&lines)
}

/// What every pool reached: a line for each metric, a column for each pool.
pub(crate) fn details(rows: &[Row]) -> String {
    let mut pools: Vec<&str> = Vec::new();
    for cell in rows.iter().flat_map(|row| &row.cells) {
        if !pools.contains(&cell.pool) {
            pools.push(cell.pool);
        }
    }
    let mut header = vec!["workload".to_owned(), "unit".to_owned()];
    header.extend(pools.iter().copied().map(str::to_owned));
    let mut lines = vec![header];
    for row in rows {
        // One for the whole line: that which suits ours, or else the best.
        let scale = Scale::of(row, row.cell(OURS).or_else(|| row.best()));
        let mut line = vec![row.metric.title.to_owned(), scale.name.to_owned()];
        line.extend(
            pools.iter().map(|pool| row.cell(pool).map_or_else(nothing, |cell| scale.bare(cell))),
        );
        lines.push(line);
    }
    table(&lines)
}

/// What went wrong, a line each.
pub(crate) fn failures(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        for cell in &row.cells {
            if let Found::Panics(message) | Found::Fails(message) = &cell.found {
                // The rest of a message is advice.
                let message = message.split_once(". ").map_or(message.as_str(), |(first, _)| first);
                let line = format!("{}, {}: {message}", row.metric.title, cell.pool);
                lines.push(line);
            }
        }
    }
    lines
}

/// What each workload does.
pub(crate) fn definitions(workloads: &[Workload]) -> String {
    let lines =
        workloads.iter().map(|workload| format!("- `{}`: {}.\n", workload.name, workload.about));
    lines.collect()
}

fn nothing() -> String {
    NOTHING.to_owned()
}

/// The unit in which something is shown.
struct Scale {
    name: &'static str,
    divisor: f64,
}

impl Scale {
    /// The one that suits a cell of the row.
    fn of(row: &Row, cell: Option<&Cell>) -> Self {
        let value = cell.and_then(Cell::value).unwrap_or(0.0);
        let (name, divisor) = match row.metric.unit {
            Unit::Nanoseconds if value < 1e3 => ("ns", 1.0),
            Unit::Nanoseconds if value < 1e6 => ("us", 1e3),
            Unit::Nanoseconds => ("ms", 1e6),
            Unit::Bytes if value < 4096.0 => ("B", 1.0),
            Unit::Bytes => ("KiB", 1024.0),
            Unit::Number => ("", 1.0),
        };
        Self { name, divisor }
    }

    fn bare(&self, cell: &Cell) -> String {
        match &cell.found {
            Found::Measured { value, .. } => digits(value.median / self.divisor),
            Found::Deadlocks => "deadlocks".to_owned(),
            Found::Panics(_) => "panics".to_owned(),
            Found::Fails(_) => "fails".to_owned(),
        }
    }

    fn with_span(&self, cell: &Cell) -> String {
        let Found::Measured { value: Summary { least, greatest, .. }, .. } = &cell.found else {
            return self.bare(cell);
        };
        let (bare, name) = (self.bare(cell), self.name);
        let separator = if name.is_empty() { "" } else { " " };
        if least == greatest {
            return format!("{bare}{separator}{name}");
        }
        let (least, greatest) = (digits(least / self.divisor), digits(greatest / self.divisor));
        format!("{bare}{separator}{name} [{least}–{greatest}]")
    }
}

/// Three digits are all that a measurement of this kind has.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Pads columns; the first line is the header. All but the first column are numbers, more or less, and go to the right.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let cell =
                if column == 0 { format!("| {cell}{pad} ") } else { format!("| {pad}{cell} ") };
            text.push_str(&cell);
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let rule = "-".repeat(width + 1);
                let rule = if column == 0 { format!("|{rule}-") } else { format!("|{rule}:") };
                text.push_str(&rule);
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    //! Numbers and tables as they are to be read.

    use super::{digits, table};

    #[test]
    fn three_digits() {
        let shown = [0.0, 0.001_234, 0.012_34, 0.123_4, 1.234, 12.34, 123.4, 1234.5].map(digits);
        assert_eq!(shown, ["0", "0.0012", "0.012", "0.12", "1.23", "12.3", "123", "1234"]);
    }

    #[test]
    fn columns_line_up() {
        let line = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(&[line("what", "n"), line("é", "12345")]);
        assert_eq!(text, "| what |     n |\n|------|------:|\n| é    | 12345 |\n");
    }
}
