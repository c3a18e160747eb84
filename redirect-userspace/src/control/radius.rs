//! What `show radius` shows: the servers that know the users, and what became of what they were asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RadiusFigures;
use crate::radius::{Discard, Outcome, Role, ServerSnapshot, ServerState};

/// The servers of RADIUS, and what became of requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RadiusView {
    /// The servers, in the order in which they are asked: first who lets clients in, then who keeps
    /// accounts.
    pub servers: Vec<RadiusServerView>,
    /// Requests by what became of them, every outcome.
    pub results: BTreeMap<String, u64>,
    /// Datagrams that were not used by why, every reason.
    pub discards: BTreeMap<String, u64>,
}

/// One server in one role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RadiusServerView {
    /// Where it is.
    pub server: String,
    /// What it is asked for: `authentication` or `accounting`.
    pub role: String,
    /// `up`; `dead`: left alone; `probed`: asked whether it is back. Of several workers the one that
    /// has the most against it counts.
    pub state: String,
    /// Milliseconds for which it is not up.
    pub dead_ms: Option<u64>,
    /// Milliseconds it takes to answer; none before its first answer.
    pub rtt_ms: Option<f64>,
    /// Requests that were sent to it, probes included.
    pub requests: u64,
    /// Those that it has answered.
    pub answered: u64,
    /// Packets that were sent to it again.
    pub retransmissions: u64,
    /// Packets that were not answered in time.
    pub timeouts: u64,
    /// Datagrams of it that were not used.
    pub discarded: u64,
    /// Requests that it has not answered yet.
    pub outstanding: u64,
    /// Requests that wait until one of those is answered.
    pub waiting: u64,
}

impl From<&RadiusFigures> for RadiusView {
    fn from(figures: &RadiusFigures) -> Self {
        let RadiusFigures { counters, servers } = figures;
        let results = Outcome::ALL.iter().map(Outcome::to_string).zip(counters.outcomes);
        let discards = Discard::ALL.iter().map(Discard::to_string).zip(counters.discards);
        Self {
            servers: servers.iter().map(RadiusServerView::from).collect(),
            results: results.collect(),
            discards: discards.collect(),
        }
    }
}

impl From<&ServerSnapshot> for RadiusServerView {
    fn from(server: &ServerSnapshot) -> Self {
        let ServerSnapshot { address, role, state, since, outstanding, waiting, tally } = server;
        Self {
            server: address.to_string(),
            role: role.to_string(),
            state: state.to_string(),
            dead_ms: (*state != ServerState::Up).then(|| whole(since.as_millis())),
            rtt_ms: tally.round_trip.map(millis),
            requests: tally.requests,
            answered: tally.answered,
            retransmissions: tally.retransmissions,
            timeouts: tally.unanswered,
            discarded: tally.discarded,
            outstanding: whole(*outstanding),
            waiting: whole(*waiting),
        }
    }
}

impl RadiusServerView {
    /// Whether it keeps accounts.
    #[must_use]
    pub fn is_accounting(&self) -> bool {
        self.role == Role::Accounting.as_str()
    }
}

fn whole(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// Milliseconds with microseconds behind the point.
fn millis(time: Duration) -> f64 {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures;
    use super::*;

    #[test]
    fn show_radius_has_every_field() {
        let view = RadiusView::from(&fixtures::figures().radius);

        let value = serde_json::to_value(&view).unwrap();

        assert_eq!(
            value["servers"],
            json!([
                {"server": "10.50.0.200:1812", "role": "authentication", "state": "dead", "dead-ms": 61_000,
                 "rtt-ms": 1.25, "requests": 907, "answered": 901, "retransmissions": 7, "timeouts": 9,
                 "discarded": 2, "outstanding": 3, "waiting": 0},
                {"server": "10.50.0.200:1813", "role": "accounting", "state": "up", "dead-ms": null,
                 "rtt-ms": null, "requests": 0, "answered": 0, "retransmissions": 0, "timeouts": 0,
                 "discarded": 0, "outstanding": 0, "waiting": 0},
            ])
        );
        assert_eq!((&value["results"]["accepted"], &value["results"]["rejected"]), (&json!(1), &json!(0)));
        assert_eq!(value["discards"]["wrong-authenticator"], json!(1));
        assert_eq!(view.results.len(), Outcome::ALL.len());
        assert_eq!(serde_json::from_value::<RadiusView>(value).unwrap(), view);
    }

    #[test]
    fn a_server_that_one_worker_has_lost_is_shown_so_with_what_all_have_counted() {
        let [server, _] = &fixtures::figures().radius.servers[..] else { panic!("two servers") };
        let other = ServerSnapshot { state: ServerState::Up, ..server.clone() };
        let mut figures = RadiusFigures::default();
        figures.add(&crate::radius::Counters::default(), &[other]);
        figures.add(&crate::radius::Counters::default(), std::slice::from_ref(server));

        let view = RadiusView::from(&figures);

        assert_eq!(view.servers.len(), 1);
        assert_eq!((&*view.servers[0].state, view.servers[0].dead_ms), ("dead", Some(61_000)));
        assert_eq!((view.servers[0].requests, view.servers[0].rtt_ms), (2 * 907, Some(1.25)));
    }
}
