//! What happens to the cluster while clients arrive: a gateway fails and returns, the master is
//! killed and returns.

use std::time::Duration;

use anyhow::Result;

use crate::lab::nodes::Nodes;

/// How long all acts take, unless the demonstration is shorter.
const CYCLE: Duration = Duration::from_secs(60);

/// One act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    GatewayFails,
    GatewayReturns,
    MasterDies,
    MasterReturns,
}

/// The acts, each after a part of the cycle.
const ACTS: [(f64, Act); 4] =
    [(0.2, Act::GatewayFails), (0.4, Act::GatewayReturns), (0.6, Act::MasterDies), (0.8, Act::MasterReturns)];

/// Who is on stage.
#[derive(Debug)]
pub(super) struct Play {
    cycle: Duration,
    /// Acts played so far.
    played: usize,
    /// The node that is away.
    away: Option<String>,
}

impl Play {
    /// A play for a demonstration of this length, or without end.
    pub(super) fn new(time: Option<Duration>) -> Self {
        Self { cycle: time.map_or(CYCLE, |time| time.min(CYCLE)), played: 0, away: None }
    }

    /// Plays what is due `now`; returns what to tell of it.
    pub(super) fn go_on(&mut self, now: Duration, nodes: &mut Nodes) -> Result<Option<String>> {
        let (due, act) = self.upcoming();
        if now < due {
            return Ok(None);
        }
        self.played += 1;
        match act {
            Act::GatewayFails => self.gateway_fails(nodes).map(Some),
            Act::GatewayReturns | Act::MasterReturns => self.come_back(nodes),
            Act::MasterDies => self.master_dies(nodes).map(Some),
        }
    }

    /// Brings back who is away, for the end.
    pub(super) fn finish(&mut self, nodes: &mut Nodes) -> Result<Option<String>> {
        self.come_back(nodes)
    }

    fn upcoming(&self) -> (Duration, Act) {
        let cycles = u32::try_from(self.played / ACTS.len()).unwrap_or(u32::MAX);
        let mut acts = ACTS.into_iter().skip(self.played % ACTS.len());
        let (part, act) = acts.next().unwrap_or((1.0, Act::MasterReturns));
        (self.cycle.saturating_mul(cycles) + self.cycle.mul_f64(part), act)
    }

    fn gateway_fails(&mut self, nodes: &mut Nodes) -> Result<String> {
        let active = nodes.active()?;
        let slave = nodes.nodes.iter_mut().rev().find(|node| node.name != active);
        let Some(node) = slave else { return Ok(String::from("there is no slave to fail")) };
        let name = node.name.clone();
        let text = if node.charon().is_some() {
            format!("GATEWAY {name} FAILS: its redirectd and its strongSwan are killed")
        } else {
            format!("GATEWAY {name} FAILS: its redirectd is killed")
        };
        node.kill_charon();
        node.kill()?;
        self.away = Some(name);
        Ok(text)
    }

    fn master_dies(&mut self, nodes: &mut Nodes) -> Result<String> {
        let active = nodes.active()?;
        let node = nodes.node(&active)?;
        node.kill()?;
        let text = if node.charon().is_some() {
            format!("MASTER {active} IS KILLED: its redirectd; its strongSwan keeps its tunnels")
        } else {
            format!("MASTER {active} IS KILLED: its redirectd, and with it its tunnels")
        };
        self.away = Some(active);
        Ok(text)
    }

    fn come_back(&mut self, nodes: &mut Nodes) -> Result<Option<String>> {
        let Some(name) = self.away.take() else { return Ok(None) };
        let node = nodes.node(&name)?;
        if node.settings.ike.is_none() && node.charon().is_none() {
            node.start_charon()?;
        }
        node.spawn()?;
        Ok(Some(format!("{name} RETURNS")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_demonstration_shows_every_act() {
        let mut play = Play::new(Some(Duration::from_secs(20)));

        let mut acts = Vec::new();
        for _ in 0..ACTS.len() {
            acts.push(play.upcoming());
            play.played += 1;
        }

        assert_eq!(
            acts,
            [
                (Duration::from_secs(4), Act::GatewayFails),
                (Duration::from_secs(8), Act::GatewayReturns),
                (Duration::from_secs(12), Act::MasterDies),
                (Duration::from_secs(16), Act::MasterReturns),
            ]
        );
    }

    #[test]
    fn a_demonstration_without_end_repeats_its_acts() {
        let mut play = Play::new(None);
        play.played = 4;

        assert_eq!(play.upcoming(), (Duration::from_secs(72), Act::GatewayFails));
    }
}
