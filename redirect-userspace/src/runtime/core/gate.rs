//! The gate: while the gateway on this node wants cookies, the fast path asks for them, so that a flood
//! does not reach it.
//!
//! # Picture
//!
//! ```text
//! a worker wants cookies ──▶ closed ──▶ none wants them any more, and few come without ──▶ open
//!                               ▲                            │ for CALM
//!                               └──── many come without ─────┘
//! ```

use std::time::Duration;

use anyhow::Result;
use common::cookie::Key;
use common::maps::Gate as Map;

use super::Core;
use crate::config::vips_to_map;
use crate::ike::CookieKeys;
use crate::telemetry::Event;
use crate::time::{Instant, Now};

/// Whether cookies are asked for, and what was said of it.
#[derive(Debug)]
pub(super) struct Gate {
    keys: CookieKeys,
    /// What the map holds.
    written: Map,
    /// Since when nobody needs it closed; `None` while it is open, or somebody does.
    calm_since: Option<Instant>,
    /// What was counted when it was looked at last.
    asked: u64,
    looked_at: Instant,
}

impl Gate {
    pub(super) fn new(now: Now, keys: CookieKeys) -> Self {
        Self { keys, written: Map::new(), calm_since: None, asked: 0, looked_at: now.mono }
    }

    /// The keys that the workers have as well.
    pub(super) fn keys(&self) -> CookieKeys {
        self.keys.clone()
    }

    const fn is_closed(&self) -> bool {
        self.written.control.armed != 0
    }

    /// Whether it is to be closed now: `are_wanted` by a worker, so many `asked` for so far.
    fn judge(&mut self, now: Now, are_wanted: bool, asked: u64) -> bool {
        let period = now.mono.since(self.looked_at);
        let more = asked.saturating_sub(self.asked);
        self.asked = asked;
        self.looked_at = now.mono;
        let is_flooded = u128::from(more) * 1_000 >= u128::from(FLOOD) * period.as_millis() && more > 0;
        if are_wanted || (self.is_closed() && is_flooded) {
            self.calm_since = None;
            return true;
        }
        if !self.is_closed() {
            return false;
        }
        let since = *self.calm_since.get_or_insert(now.mono);
        let is_over = now.mono >= since + CALM;
        if is_over {
            self.calm_since = None;
        }
        !is_over
    }

    /// The map's next content; two steps where a key changes: a reader that comes in between finds the
    /// key that it looks for.
    fn next(&self, now: Now, is_closed: bool, addresses: u32) -> [Map; 2] {
        let (current, previous) = self.keys.at(now);
        let mut keys = self.written.keys;
        let mut put = |key: Key| {
            let [even, odd] = &mut keys;
            *(if key.number & 1 == 0 { even } else { odd }) = key;
        };
        previous.into_iter().for_each(&mut put);
        put(current);
        let first = Map { keys, ..self.written };
        let mut control = self.written.control;
        control.armed = u32::from(is_closed);
        control.vips = addresses;
        [first, Map { control, keys, current: current.number }]
    }
}

impl Core {
    /// Opens or closes the gate, and gives it other keys when it is time.
    pub(super) fn tend_gate(&mut self) -> Result<()> {
        let now = self.clock.now();
        let Some(gateway) = &self.gateway else { return Ok(()) };
        let are_wanted = gateway.wants_cookies();
        let counts = self.paths.gate_counts()?;
        let was_closed = self.gate.is_closed();
        let is_closed = self.gate.judge(now, are_wanted, counts.asked) && self.paths.has_xdp();
        if !is_closed && !was_closed {
            return Ok(());
        }
        let addresses = vips_to_map(&self.gated());
        let count = self.paths.set_gated(&addresses)?;
        for map in self.gate.next(now, is_closed, count) {
            if map != self.gate.written {
                self.paths.set_gate(&map)?;
                self.gate.written = map;
            }
        }
        if is_closed != was_closed {
            self.record(&Event::GateChanged { is_closed, asked: counts.asked, good: counts.good });
        }
        Ok(())
    }

    /// The addresses of the gateway on this node, as far as they are known.
    fn gated(&self) -> Vec<std::net::IpAddr> {
        let own = self.config.node.addresses.as_ref();
        let own = own
            .into_iter()
            .flat_map(|own| own.ipv4().map(Into::into).into_iter().chain(own.ipv6().map(Into::into)));
        let engine = self.config.ike.as_ref().map(|ike| &ike.engine);
        let listen = engine.into_iter().flat_map(|engine| engine.listen.iter().copied());
        let all = own.chain(listen.filter(|address| !address.is_unspecified())).chain(self.vips());
        let mut addresses = Vec::new();
        for address in all {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }
}

/// Requests without a cookie a second that are a flood.
const FLOOD: u64 = 1_000;
/// How long there must be neither need nor flood before the gate is opened again.
const CALM: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn gate() -> (Gate, Now) {
        let now = Now::default();
        (Gate::new(now, CookieKeys::new(now, &mut Rng::from_number(1))), now)
    }

    /// Looks at it as the core does; says whether it is closed then.
    fn look(gate: &mut Gate, now: Now, are_wanted: bool, asked: u64) -> bool {
        let is_closed = gate.judge(now, are_wanted, asked);
        let [_, map] = gate.next(now, is_closed, 1);
        gate.written = map;
        is_closed
    }

    #[test]
    fn it_is_closed_as_long_as_a_worker_wants_it_and_a_while_longer() {
        let (mut gate, start) = gate();
        let at = |millis| start.after(Duration::from_millis(millis));
        assert!(!look(&mut gate, at(0), false, 0));
        assert!(look(&mut gate, at(100), true, 0));
        assert!(look(&mut gate, at(200), true, 3));
        assert!(look(&mut gate, at(300), false, 4));
        assert!(look(&mut gate, at(10_200), false, 5));
        assert!(!look(&mut gate, at(10_300), false, 6));
        assert!(!look(&mut gate, at(10_400), false, 6));
    }

    #[test]
    fn a_flood_keeps_it_closed_that_no_worker_sees_any_more() {
        let (mut gate, start) = gate();
        let mut asked = 0;
        assert!(look(&mut gate, start, true, asked));
        for second in 1..60 {
            asked += FLOOD;
            assert!(look(&mut gate, start.after(Duration::from_secs(second)), false, asked), "{second}");
        }
        // Fewer than that are clients.
        for second in 60..70 {
            asked += FLOOD - 1;
            assert!(look(&mut gate, start.after(Duration::from_secs(second)), false, asked), "{second}");
        }
        assert!(!look(&mut gate, start.after(Duration::from_secs(70)), false, asked));
    }

    #[test]
    fn a_flood_alone_closes_nothing() {
        let (mut gate, start) = gate();
        assert!(!look(&mut gate, start.after(Duration::from_secs(1)), false, 1_000_000));
    }

    #[test]
    fn keys_change_in_their_places_before_they_count() {
        let (mut gate, start) = gate();
        look(&mut gate, start, true, 0);
        let (first, _) = gate.keys.at(start);
        assert_eq!((gate.written.current, gate.written.keys[0]), (0, first));

        let later = start.after(Duration::from_secs(30));
        let [between, then] = gate.next(later, true, 1);

        let (second, _) = gate.keys.at(later);
        assert_eq!((between.current, between.keys), (0, [first, second]));
        assert_eq!((then.current, then.keys), (1, [first, second]));
        gate.written = then;
        // Long after, both places have others.
        let [between, then] = gate.next(start.after(Duration::from_secs(305)), true, 1);
        assert_eq!(then.keys.map(|key| key.number), [10, 9]);
        assert_eq!((between.current, then.current), (1, 10));
    }
}
