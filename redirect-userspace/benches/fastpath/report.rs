//! Figures: minimum, median, ratio; a table for people and JSON for the rest.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// One figure, measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A figure that was measured once.
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The sample that `share` of all samples do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the length")]
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn json(&self) -> Value {
        json!({"min": self.min(), "median": self.median(), "max": self.max(), "samples": self.0})
    }
}

/// Everything one run has measured.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Ours over theirs, where less is better. `floor` is what both contain and neither causes.
    #[expect(clippy::too_many_arguments, reason = "one row of the table")]
    pub(crate) fn ratio(
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
    #[expect(clippy::too_many_arguments, reason = "one row of the table")]
    pub(crate) fn rate(
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
    pub(crate) fn figure(&mut self, what: &str, case: &str, unit: &str, ours: &Samples, must: f64, aim: f64) {
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

    /// A quantile of a figure, where less is better.
    #[expect(clippy::too_many_arguments, reason = "one row of the table")]
    pub(crate) fn tail(
        &mut self,
        what: &str,
        case: &str,
        unit: &str,
        ours: &Samples,
        share: f64,
        must: f64,
        aim: f64,
    ) {
        let value = ours.quantile(share);
        self.failed |= value > must || value.is_nan();
        let verdict = verdict(value <= must, value <= aim);
        // A ratio has no unit, and may be small.
        let digits = if unit.is_empty() { 3 } else { 1 };
        println!("{what:<32} {case:<16} {value:>8.digits$} {unit} (must {must}, aim {aim}) {verdict}");
        self.rows.push(json!({
            "what": what, "case": case, "unit": unit, "quantile": share, "value": value,
            "must-at-most": must, "aim-at-most": aim,
        }));
    }

    /// A figure that has to have one value, each time it is measured.
    pub(crate) fn exact(&mut self, what: &str, case: &str, unit: &str, ours: &Samples, must: f64) {
        let holds = ours.0.iter().all(|sample| sample.total_cmp(&must).is_eq()) && !ours.0.is_empty();
        self.failed |= !holds;
        let verdict = if holds { "as it must be" } else { "MISSES THE BAR" };
        println!(
            "{what:<32} {case:<16} min {:>10.3} max {:>10.3} {unit} (must {must:.3}) {verdict}",
            ours.min(),
            ours.max(),
        );
        self.rows.push(json!({
            "what": what, "case": case, "unit": unit, "ours": ours.json(), "must-be": must,
        }));
    }

    /// A figure without a bar.
    pub(crate) fn info(&mut self, what: &str, case: &str, unit: &str, ours: &Samples) {
        println!(
            "{what:<32} {case:<16} min {:>10.0} median {:>10.0} max {:>10.0} {unit}",
            ours.min(),
            ours.median(),
            ours.max(),
        );
        self.rows.push(json!({"what": what, "case": case, "unit": unit, "ours": ours.json()}));
    }

    /// Says aloud that a row is missing.
    pub(crate) fn missing(&mut self, what: &str, why: &anyhow::Error) {
        println!("{what:<32} NOT MEASURED: {why:#}");
        self.rows.push(json!({"what": what, "missing": format!("{why:#}")}));
    }

    /// Writes the JSON; an error when a bar was missed.
    pub(crate) fn finish(&self, file: &Path) -> Result<()> {
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
