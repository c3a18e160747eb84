//! What was measured, for people and for scripts. Names of fields do not change.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::runtime::load::{InitOutcome, Latencies, Outcome, Pace};

/// How one followed the other.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct How {
    mode: &'static str,
    rate: Option<u32>,
    parallel: Option<usize>,
}

impl From<Pace> for How {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Open { rate } => Self { mode: "open", rate: Some(rate), parallel: None },
            Pace::Closed { parallel } => Self { mode: "closed", rate: None, parallel: Some(parallel) },
        }
    }
}

/// Latencies in milliseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Millis {
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

impl From<&Latencies> for Millis {
    fn from(latencies: &Latencies) -> Self {
        let part = |part| millis(latencies.permille(part));
        Self {
            min: millis(latencies.least()),
            p50: part(500),
            p90: part(900),
            p99: part(990),
            p999: part(999),
            max: millis(latencies.most()),
        }
    }
}

impl Millis {
    fn text(&self) -> String {
        let Self { min, p50, p90, p99, p999, max } = self;
        format!(
            "latency: min {min:.3} ms, p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}\n"
        )
    }
}

/// What [`run_init`](crate::runtime::load::run_init) has found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct InitView {
    #[serde(flatten)]
    how: How,
    seconds: f64,
    sent: u64,
    pub(super) done: u64,
    failed: u64,
    per_second: f64,
    replies: BTreeMap<String, u64>,
    redirected_to: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    unexpected: u64,
    behind_ms: f64,
    latency_ms: Millis,
}

impl InitView {
    pub(super) fn new(pace: Pace, outcome: InitOutcome) -> Self {
        let InitOutcome {
            sent,
            done,
            failed,
            replies,
            gateways,
            errors,
            unexpected,
            behind,
            took,
            latencies,
        } = outcome;
        Self {
            how: pace.into(),
            seconds: took.as_secs_f64(),
            sent,
            done,
            failed,
            per_second: per_second(done, took),
            replies,
            redirected_to: gateways,
            errors,
            unexpected,
            behind_ms: millis(behind),
            latency_ms: (&latencies).into(),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { sent, done, failed, seconds, per_second, .. } = self;
        let mut text = format!(
            "{sent} requests in {seconds:.2} s, {done} answered: {per_second:.0}/s, {failed} failed\n{}",
            self.latency_ms.text()
        );
        list(&mut text, "replies", &self.replies);
        list(&mut text, "redirected to", &self.redirected_to);
        list(&mut text, "failed", &self.errors);
        behind(&mut text, self.behind_ms);
        text
    }
}

/// What [`run_client`](crate::runtime::load::run_client) has found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HandshakeView {
    #[serde(flatten)]
    how: How,
    resumed: bool,
    seconds: f64,
    pub(super) done: u64,
    failed: u64,
    per_second: f64,
    errors: BTreeMap<String, u64>,
    pub(super) reasons: Vec<String>,
    redirected_to: BTreeMap<String, u64>,
    behind_ms: f64,
    latency_ms: Millis,
}

impl HandshakeView {
    pub(super) fn new(pace: Pace, is_resumed: bool, outcome: Outcome) -> Self {
        let Outcome { done, failed, errors, reasons, gateways, behind, took, latencies } = outcome;
        Self {
            how: pace.into(),
            resumed: is_resumed,
            seconds: took.as_secs_f64(),
            done,
            failed,
            per_second: per_second(done, took),
            errors,
            reasons,
            redirected_to: gateways,
            behind_ms: millis(behind),
            latency_ms: (&latencies).into(),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { done, failed, seconds, per_second, .. } = self;
        let what = if self.resumed { "sessions resumed" } else { "handshakes" };
        let mut text = format!(
            "{done} {what} in {seconds:.2} s: {per_second:.0}/s, {failed} failed\n{}",
            self.latency_ms.text()
        );
        list(&mut text, "redirected to", &self.redirected_to);
        list(&mut text, "failed", &self.errors);
        behind(&mut text, self.behind_ms);
        text
    }
}

fn list(text: &mut String, what: &str, counts: &BTreeMap<String, u64>) {
    if !counts.is_empty() {
        let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what}: {}", counts.join(", "));
    }
}

/// A generator that does not keep up measures itself.
fn behind(text: &mut String, millis: f64) {
    if millis >= WORTH_SAYING {
        let _ = writeln!(text, "begun as much as {millis:.0} ms later than meant");
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn per_second(count: u64, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = count as f64;
    if took.is_zero() { 0.0 } else { count / took.as_secs_f64() }
}

/// Milliseconds of delay that a reader is told of.
const WORTH_SAYING: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies() -> Latencies {
        let mut latencies = Latencies::default();
        [1, 2, 3, 10].into_iter().for_each(|ms| latencies.note(Duration::from_millis(ms)));
        latencies
    }

    fn counts(name: &str, count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(name.to_owned(), count)])
    }

    #[test]
    fn the_figures_of_handshakes_are_those_of_the_outcome() {
        let view = HandshakeView::new(
            Pace::Closed { parallel: 2 },
            true,
            Outcome {
                done: 4,
                failed: 1,
                errors: counts("timeout", 1),
                reasons: vec!["timeout: nobody".to_owned()],
                gateways: counts("192.0.2.9", 3),
                behind: Duration::ZERO,
                took: Duration::from_secs(2),
                latencies: latencies(),
            },
        );

        let json = serde_json::to_value(&view).unwrap();

        let latency = &json["latency-ms"];
        assert_eq!((&latency["min"], &latency["max"]), (&1.0.into(), &10.0.into()));
        let p50 = latency["p50"].as_f64().unwrap();
        assert!((2.0..2.02).contains(&p50), "{p50}");
        let mut rest = json.clone();
        rest.as_object_mut().unwrap().remove("latency-ms");
        let expected = serde_json::json!({
            "mode": "closed", "rate": null, "parallel": 2, "resumed": true, "seconds": 2.0, "done": 4,
            "failed": 1, "per-second": 2.0, "errors": { "timeout": 1 }, "reasons": ["timeout: nobody"],
            "redirected-to": { "192.0.2.9": 3 }, "behind-ms": 0.0,
        });
        assert_eq!(rest, expected);
        let names: Vec<_> = latency.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names.len(), 6);
        assert!(
            ["min", "p50", "p90", "p99", "p99.9", "max"].iter().all(|name| names.contains(&(*name).into()))
        );
    }

    #[test]
    fn the_figures_of_requests_are_those_of_the_outcome() {
        let view = InitView::new(
            Pace::Open { rate: 1_000 },
            InitOutcome {
                sent: 5,
                done: 4,
                failed: 1,
                replies: counts("redirect", 4),
                gateways: counts("192.0.2.9", 4),
                errors: counts("no-reply", 1),
                unexpected: 2,
                behind: Duration::from_millis(7),
                took: Duration::from_secs(4),
                latencies: latencies(),
            },
        );

        let mut json = serde_json::to_value(&view).unwrap();

        json.as_object_mut().unwrap().remove("latency-ms").unwrap();
        let expected = serde_json::json!({
            "mode": "open", "rate": 1_000, "parallel": null, "seconds": 4.0, "sent": 5, "done": 4,
            "failed": 1, "per-second": 1.0, "replies": { "redirect": 4 },
            "redirected-to": { "192.0.2.9": 4 }, "errors": { "no-reply": 1 }, "unexpected": 2,
            "behind-ms": 7.0,
        });
        assert_eq!(json, expected);
        let text = view.text();
        for part in ["5 requests in 4.00 s, 4 answered: 1/s, 1 failed\n", "no-reply 1", "7 ms later"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
