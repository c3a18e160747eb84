//! What the reports teach about redirects and sessions.
//!
//! Two numbers are the same for all members, since the same clients come to all: how many SAs a
//! redirect leads to, and how soon SAs end. Between two reports a member's SAs change by
//!
//! ```text
//! change = sas_per_redirect * redirects - ending_rate * (SAs * seconds) + noise
//! ```
//!
//! and each pair of reports is one such equation. They are solved by a Kalman filter with two
//! states, which fall back to their prior values where nothing is learned. A flood of redirects
//! that no client follows shows as redirects without change: within a few reports, of whichever
//! member, redirects count next to nothing.

/// The two numbers, and how sure they are.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    /// SAs that a redirect leads to; and the rate at which an SA ends, per second.
    state: [f64; 2],
    /// Covariance of the two.
    spread: [[f64; 2]; 2],
}

/// What happened on one member between two reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lesson {
    /// Redirects whose SAs the second report counts and the first one did not.
    pub(super) redirects: f64,
    /// SAs, summed up over the seconds between.
    pub(super) sa_seconds: f64,
    /// By how much the SAs changed.
    pub(super) change: f64,
}

impl Learned {
    pub(super) const fn new() -> Self {
        Self {
            state: [PRIOR_SAS_PER_REDIRECT, PRIOR_ENDING_RATE],
            spread: [[PRIOR_SPREAD_SAS, 0.0], [0.0, PRIOR_SPREAD_RATE]],
        }
    }

    /// How many SAs a redirect leads to.
    pub(super) fn sas_per_redirect(&self) -> f64 {
        let [sas, _] = self.state;
        sas.clamp(0.0, MOST_SAS_PER_REDIRECT)
    }

    /// The part of all SAs that ends in a second.
    pub(super) fn ending_rate(&self) -> f64 {
        let [_, rate] = self.state;
        rate.clamp(0.0, MOST_ENDING_RATE)
    }

    /// Lets `seconds` pass: what was learned becomes less sure.
    pub(super) fn forget(&mut self, seconds: f64) {
        let keep = (-seconds / MEMORY).exp();
        let gone = keep.mul_add(-keep, 1.0);
        let [sas, rate] = self.state;
        let [[a, b], [c, d]] = self.spread;
        self.state = [
            keep.mul_add(sas - PRIOR_SAS_PER_REDIRECT, PRIOR_SAS_PER_REDIRECT),
            keep.mul_add(rate - PRIOR_ENDING_RATE, PRIOR_ENDING_RATE),
        ];
        let same = keep * keep;
        self.spread = [
            [same.mul_add(a, gone * PRIOR_SPREAD_SAS), same * b],
            [same * c, same.mul_add(d, gone * PRIOR_SPREAD_RATE)],
        ];
    }

    pub(super) fn learn(&mut self, lesson: Lesson) {
        let [sas, rate] = self.state;
        let [[a, b], [c, d]] = self.spread;
        let (x, y) = (lesson.redirects, -lesson.sa_seconds);
        let expected = sas.mul_add(x, rate * y);
        // Arrivals and ends are events of a Poisson process, and each is worth about two SAs.
        let events = self.sas_per_redirect() * x - self.ending_rate() * y;
        let noise = 2.0f64.mul_add(events, NOISE);
        let (p, q) = (a.mul_add(x, b * y), c.mul_add(x, d * y));
        let variance = x.mul_add(p, y * q) + noise;
        // A member that restarts loses all its SAs at once: that says nothing about the others.
        let most = SURPRISE * variance.sqrt();
        let surprise = (lesson.change - expected).clamp(-most, most);
        let (gain_sas, gain_rate) = (p / variance, q / variance);
        self.state = [gain_sas.mul_add(surprise, sas), gain_rate.mul_add(surprise, rate)];
        self.spread = [
            [gain_sas.mul_add(-p, a), gain_sas.mul_add(-q, b)],
            [gain_rate.mul_add(-p, c), gain_rate.mul_add(-q, d)],
        ];
        let [sas, rate] = self.state;
        self.state = [sas.clamp(0.0, MOST_SAS_PER_REDIRECT), rate.clamp(0.0, MOST_ENDING_RATE)];
    }
}

/// An IKE SA and a Child SA.
const PRIOR_SAS_PER_REDIRECT: f64 = 2.0;
/// Variance of that: clients fail, repeat themselves, or have several Child SAs.
const PRIOR_SPREAD_SAS: f64 = 0.25;
/// VPN sessions last long.
const PRIOR_ENDING_RATE: f64 = 0.0;
/// Variance of that, in 1/s².
const PRIOR_SPREAD_RATE: f64 = 0.01;
/// Seconds after which the prior counts again about as much as what was learned.
const MEMORY: f64 = 300.0;
/// A redirect hardly leads to more SAs than that.
const MOST_SAS_PER_REDIRECT: f64 = 16.0;
/// SAs hardly last for less than a second.
const MOST_ENDING_RATE: f64 = 1.0;
/// Variance of a change for which there is no reason.
const NOISE: f64 = 8.0;
/// Standard deviations that a surprise is taken for at most.
const SURPRISE: f64 = 4.0;
