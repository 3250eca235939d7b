//! The figures: collected while they are measured, then shown as a table in Markdown and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Spread;

/// What a run of everything may take.
const WHOLE_RUN_SECONDS: f64 = 600.0;

#[derive(Serialize)]
pub struct Report {
    machine: Machine,
    quick: bool,
    seconds: Vec<(String, f64)>,
    figures: Vec<Figure>,
}

/// One thing that was measured.
#[derive(Serialize)]
pub struct Figure {
    pub benchmark: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub product: Spread,
    /// What the floor gave in the rounds beside.
    pub floor: Option<Spread>,
    /// Product by floor, round by round.
    pub ratio: Option<Spread>,
    pub aim: Option<Aim>,
}

/// What the ratio is to be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// The product's own figure, whatever the floor does.
    Under(f64),
}

impl Aim {
    fn text(self, figure: &Figure) -> String {
        let ratio = figure.ratio.map_or(f64::NAN, |ratio| ratio.median);
        let (sign, aim, met) = match self {
            Self::AtLeast(aim) => ("≥", format!("{aim:.2}"), ratio >= aim),
            Self::AtMost(aim) => ("≤", format!("{aim:.2}"), ratio <= aim),
            Self::Under(aim) => ("<", format!("{aim} {}", figure.unit), figure.product.median < aim),
        };
        format!("{sign} {aim}: {}", if met { "met" } else { "missed" })
    }
}

impl Report {
    pub fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, seconds: Vec::new(), figures: Vec::new() }
    }

    /// Rounds of the product beside rounds of the floor.
    pub fn compare(
        &mut self,
        benchmark: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        (product, floor): (&[f64], &[f64]),
        aim: Option<Aim>,
    ) {
        self.add(Figure {
            benchmark,
            what: what.into(),
            unit,
            product: Spread::of(product),
            floor: Some(Spread::of(floor)),
            ratio: Some(Spread::ratio(product, floor)),
            aim,
        });
    }

    /// Rounds that nothing is held against.
    pub fn alone(
        &mut self,
        benchmark: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        product: &[f64],
    ) {
        let product = Spread::of(product);
        self.add(Figure { benchmark, what: what.into(), unit, product, floor: None, ratio: None, aim: None });
    }

    fn add(&mut self, figure: Figure) {
        eprintln!("{}", figure.row());
        self.figures.push(figure);
    }

    pub fn took(&mut self, benchmark: &str, time: Duration) {
        self.seconds.push((benchmark.to_owned(), time.as_secs_f64()));
    }

    /// A run of everything is to be short enough to be made often.
    pub fn finish(&mut self, time: Duration, all: bool) {
        self.took("all together", time);
        if all {
            let (product, aim) = (Spread::of(&[time.as_secs_f64()]), Some(Aim::Under(WHOLE_RUN_SECONDS)));
            let what = "the whole run".to_owned();
            self.add(Figure { benchmark: "all", what, unit: "s", product, floor: None, ratio: None, aim });
        }
    }

    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// In Markdown: median (least to most).
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.machine.text());
        if self.quick {
            text.push_str("--quick: these figures say that everything runs, not what it costs.\n");
        }
        text.push_str(
            "\n| benchmark | what | product | floor | product / floor | aim |\n|---|---|---|---|---|---|\n",
        );
        for figure in &self.figures {
            text.push_str(&figure.row());
            text.push('\n');
        }
        text.push('\n');
        for (name, seconds) in &self.seconds {
            // Writing to a String cannot fail.
            let _ = write!(text, "{name} {seconds:.0} s; ");
        }
        text.truncate(text.trim_end_matches("; ").len());
        text
    }
}

impl Figure {
    fn row(&self) -> String {
        let unit = self.unit;
        let value = |spread: &Spread| {
            let digits = digits(spread.median);
            let Spread { median, min, max } = spread;
            format!("{median:.digits$} {unit} ({min:.digits$}–{max:.digits$})")
        };
        let ratio = self.ratio.map_or(String::new(), |ratio| {
            format!("**{:.2}** ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
        });
        let aim = self.aim.map_or(String::new(), |aim| aim.text(self));
        let floor = self.floor.as_ref().map_or(String::new(), value);
        format!(
            "| {} | {} | {} | {floor} | {ratio} | {aim} |",
            self.benchmark,
            self.what,
            value(&self.product)
        )
    }
}

/// Three figures that matter are enough.
fn digits(value: f64) -> usize {
    match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    }
}
