//! A table for people and JSON for the rest.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// Everything one run has found.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Several figures of one scenario: name, value, unit.
    pub(crate) fn scenario(&mut self, case: &str, figures: &[(&str, f64, &str)]) {
        let text: Vec<_> =
            figures.iter().map(|(name, value, unit)| format!("{name} {value:.2}{unit}")).collect();
        println!("{case:<32} {}", text.join("  "));
        let values: Map<_, _> = figures
            .iter()
            .enumerate()
            .map(|(at, (name, value, unit))| (format!("{at} {name} {unit}").trim().to_owned(), json!(value)))
            .collect();
        self.rows.push(json!({"case": case, "figures": values}));
    }

    /// A figure without a bar.
    pub(crate) fn figure(&mut self, what: &str, case: &str, value: f64) {
        println!("{what:<36} {case:<16} {value:>8.3}");
        self.rows.push(json!({"what": what, "case": case, "value": value}));
    }

    /// A figure where less is better.
    pub(crate) fn bar(&mut self, what: &str, case: &str, value: f64, must: f64, aim: f64) {
        let is_met = value <= must;
        self.failed |= !is_met;
        let verdict = match (is_met, value <= aim) {
            (_, true) => "reaches the aim",
            (true, false) => "meets the bar",
            (false, false) => "MISSES THE BAR",
        };
        println!("{what:<36} {case:<16} {value:>8.4} (must {must:.3}, aim {aim:.3}) {verdict}");
        self.rows.push(json!({
            "what": what, "case": case, "value": value, "must-at-most": must, "aim-at-most": aim,
        }));
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
