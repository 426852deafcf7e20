//! The ratios as a picture: a bar for each metric, from 1 to ours/best, on a logarithmic scale.
//!
//! An SVG without a background of its own, whose colours follow the reader's preference for light or dark.

use crate::{report::digits, results::Row};

const WIDTH: f64 = 860.0;
/// Where bars begin and end; the rest is for words.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 790.0;
const TOP: f64 = 58.0;
const LINE: f64 = 24.0;

/// Everything that is drawn fits between these, whatever the ratios are.
const RATIO_MIN: f64 = 0.01;
const RATIO_MAX: f64 = 100.0;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.head { font-size: 14px; font-weight: 600 }
.faint { fill: #57606a }
.grid { stroke: #d0d7de }
.one { stroke: #57606a; stroke-width: 1.5 }
.faster { fill: #2da44e }
.slower { fill: #d4732a }
.must { stroke: #24292f; stroke-width: 2 }
.moonshot { fill: #24292f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.grid { stroke: #3d444d }
.one { stroke: #9198a1 }
.faster { fill: #3fb950 }
.slower { fill: #db8b44 }
.must { stroke: #e6edf3 }
.moonshot { fill: #e6edf3 }
}
";

/// Draws all rows that have a ratio.
pub(crate) fn svg(rows: &[Row], title: &str) -> String {
    let bars: Vec<Bar<'_>> = rows.iter().filter_map(Bar::of).collect();
    let axis = Axis::around(&bars);
    let mut lines = 0.0;
    let mut body = String::new();
    for bar in &bars {
        body.push_str(&bar.draw(&axis, TOP + lines * LINE));
        lines += 1.0;
    }
    let bottom = TOP + lines * LINE;
    let height = bottom + 34.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <text class=\"head\" x=\"12\" y=\"22\">{title}</text>\n\
         <text class=\"faint\" x=\"12\" y=\"40\">ours as a multiple of the best peer; less is better; \
         a line marks what it must reach, a diamond what it is after</text>\n{grid}{body}</svg>\n",
        grid = axis.draw(bottom),
    )
}

/// One metric.
struct Bar<'a> {
    title: &'a str,
    ratio: f64,
    must: Option<f64>,
    moonshot: Option<f64>,
}

impl<'a> Bar<'a> {
    fn of(row: &'a Row) -> Option<Self> {
        let goal = row.metric.goal;
        Some(Self {
            title: row.metric.title,
            ratio: row.ratio().filter(|ratio| *ratio > 0.0)?,
            must: goal.and_then(|goal| row.bound_ratio(goal.must)),
            moonshot: goal.and_then(|goal| row.bound_ratio(goal.moonshot)),
        })
    }

    fn draw(&self, axis: &Axis, top: f64) -> String {
        let (one, end) = (axis.position(1.0), axis.position(self.ratio));
        let (from, width) = (one.min(end), (one - end).abs().max(1.0));
        let class = if self.ratio <= 1.0 { "faster" } else { "slower" };
        let middle = top + LINE / 2.0;
        let base = middle + 4.0;
        let mut text = format!(
            "<text x=\"{x:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{title}</text>\n\
             <rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n\
             <text class=\"faint\" x=\"{label:.1}\" y=\"{base:.1}\">{ratio}</text>\n",
            x = LEFT - 12.0,
            title = self.title,
            y = top + 5.0,
            height = LINE - 10.0,
            label = RIGHT + 14.0,
            ratio = digits(self.ratio),
        );
        if let Some(must) = self.must {
            line(&mut text, "must", axis.position(must), top + 2.0, top + LINE - 2.0);
        }
        if let Some(moonshot) = self.moonshot {
            let x = axis.position(moonshot);
            let diamond = format!(
                "<path class=\"moonshot\" d=\"M{x:.1} {a:.1}l5 5l-5 5l-5 -5z\"/>\n",
                a = middle - 5.0,
            );
            text.push_str(&diamond);
        }
        text
    }
}

/// From ratios to places.
struct Axis {
    least: f64,
    greatest: f64,
}

impl Axis {
    /// Wide enough for all bars and marks.
    fn around(bars: &[Bar<'_>]) -> Self {
        let marks = bars.iter().flat_map(|bar| [Some(bar.ratio), bar.must, bar.moonshot]).flatten();
        let marks: Vec<_> = marks.collect();
        let least = marks.iter().copied().fold(0.5, f64::min) * 0.8;
        let greatest = marks.iter().copied().fold(2.0, f64::max) * 1.25;
        Self { least: least.max(RATIO_MIN), greatest: greatest.min(RATIO_MAX) }
    }

    /// What lies outside is drawn at the edge.
    fn position(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.least, self.greatest);
        let part = (ratio / self.least).ln() / (self.greatest / self.least).ln();
        LEFT + part * (RIGHT - LEFT)
    }

    fn draw(&self, bottom: f64) -> String {
        let mut text = String::new();
        let ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        for tick in ticks.into_iter().filter(|tick| (self.least..=self.greatest).contains(tick)) {
            let class = if tick == 1.0 { "one" } else { "grid" };
            let x = self.position(tick);
            line(&mut text, class, x, TOP - 4.0, bottom + 4.0);
            let label = format!(
                "<text class=\"faint\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{tick}</text>\n",
                y = bottom + 20.0,
            );
            text.push_str(&label);
        }
        text
    }
}

fn line(text: &mut String, class: &str, x: f64, from: f64, to: f64) {
    let line = format!(
        "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>\n"
    );
    text.push_str(&line);
}
