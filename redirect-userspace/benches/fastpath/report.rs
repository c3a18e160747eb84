//! Figures: minimum, median, ratio; a table for people and JSON for the rest.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// One figure, measured several times.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub fn json(&self) -> Value {
        json!({"min": self.min(), "median": self.median(), "max": self.max(), "samples": self.0})
    }
}

/// Everything one run has measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Ours over theirs, where less is better. `floor` is what both contain and neither causes.
    #[expect(clippy::too_many_arguments, reason = "one row of the table")]
    pub fn ratio(
        &mut self,
        what: &str,
        case: &str,
        unit: &str,
        ours: &Samples,
        theirs: &Samples,
        floor: &Samples,
        must: f64,
        aim: f64,
    ) {
        let (min, median) = (ours.min() / theirs.min(), ours.median() / theirs.median());
        let net = (ours.min() - floor.min()) / (theirs.min() - floor.min()).max(1.0);
        let verdict = verdict(median <= must, median <= aim);
        self.failed |= median > must;
        println!(
            "{what:<32} {case:<16} ours {:>5.0}/{:>5.0} {unit}  theirs {:>5.0}/{:>5.0} {unit}  floor {:>4.0}  \
             ratio {min:.2}/{median:.2} (must {must}, aim {aim}) {verdict}",
            ours.min(),
            ours.median(),
            theirs.min(),
            theirs.median(),
            floor.min(),
        );
        self.rows.push(json!({
            "what": what, "case": case, "unit": unit, "ours": ours.json(), "theirs": theirs.json(),
            "floor": floor.json(), "ratio-min": min, "ratio-median": median, "ratio-net": net,
            "must-at-most": must, "aim-at-most": aim,
        }));
    }

    /// Ours over theirs, where more is better.
    pub fn rate(
        &mut self,
        what: &str,
        case: &str,
        unit: &str,
        ours: &Samples,
        theirs: &Samples,
        must: f64,
        aim: f64,
    ) {
        let (best, median) = (ours.max() / theirs.max(), ours.median() / theirs.median());
        let verdict = verdict(median >= must, median >= aim);
        self.failed |= median < must;
        println!(
            "{what:<32} {case:<16} ours {:>9.0}/{:>9.0} {unit}  theirs {:>9.0}/{:>9.0} {unit}  \
             ratio {best:.2}/{median:.2} (must {must}, aim {aim}) {verdict}",
            ours.max(),
            ours.median(),
            theirs.max(),
            theirs.median(),
        );
        self.rows.push(json!({
            "what": what, "case": case, "unit": unit, "ours": ours.json(), "theirs": theirs.json(),
            "ratio-best": best, "ratio-median": median, "must-at-least": must, "aim-at-least": aim,
        }));
    }

    /// A figure of its own, where less is better.
    pub fn figure(&mut self, what: &str, case: &str, unit: &str, ours: &Samples, must: f64, aim: f64) {
        let verdict = verdict(ours.median() <= must, ours.median() <= aim);
        self.failed |= ours.median() > must;
        println!(
            "{what:<32} {case:<16} min {:>8.1} median {:>8.1} max {:>8.1} {unit} (must {must}, aim {aim}) {verdict}",
            ours.min(),
            ours.median(),
            ours.max(),
        );
        self.rows.push(json!({
            "what": what, "case": case, "unit": unit, "ours": ours.json(), "must-at-most": must, "aim-at-most": aim,
        }));
    }

    /// Writes the JSON; an error when a bar was missed.
    pub fn finish(&self, file: &Path) -> Result<()> {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(file, serde_json::to_string_pretty(&self.rows)?)?;
        println!("written to {}", file.display());
        anyhow::ensure!(!self.failed, "a figure misses its bar");
        Ok(())
    }
}

fn verdict(must: bool, aim: bool) -> &'static str {
    match (must, aim) {
        (_, true) => "reaches the aim",
        (true, false) => "meets the bar",
        (false, false) => "MISSES THE BAR",
    }
}
