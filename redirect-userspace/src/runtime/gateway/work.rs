//! What a worker makes of what it is told, and of what IKE wants done.

use std::io::IoSlice;
use std::sync::Arc;

use super::door::Order;
use super::plane::Plane;
use super::worker::{Parts, Turn};
use crate::control::SaPage;
use crate::dataplane::News;
use crate::ike::{Command, Input, NAT_T_PORT, Output, Path};
use crate::machine::Machine as _;
use crate::telemetry::Event;
use crate::time::Now;

/// What is in a datagram.
#[derive(Debug, PartialEq, Eq)]
enum Content<'a> {
    /// An IKE message.
    Ike(&'a mut [u8]),
    /// An ESP packet.
    Esp(&'a mut [u8]),
    /// It has kept a NAT's mapping alive.
    Nothing,
}

/// What is in a datagram that came to this port (`RFC 3948 §2`).
fn content(port: u16, octets: &mut [u8]) -> Content<'_> {
    match octets {
        octets if port != NAT_T_PORT => Content::Ike(octets),
        [0, 0, 0, 0, message @ ..] => Content::Ike(message),
        [KEEPALIVE] | [] => Content::Nothing,
        packet => Content::Esp(packet),
    }
}

impl Turn {
    pub(super) fn datagram(&mut self, now: Now, path: Path, octets: &mut [u8]) {
        match content(path.local.port(), octets) {
            Content::Ike(octets) => self.step(now, Input::Datagram { path, octets }),
            Content::Esp(packet) => {
                if let Plane::Userspace(plane) = &mut self.parts.plane {
                    plane.receive(now, path, packet);
                }
            }
            Content::Nothing => {}
        }
    }

    /// Tells IKE what the data plane has seen.
    pub(super) fn tell(&mut self, now: Now) {
        for news in self.parts.plane.news() {
            match news {
                News::Moved(inbound, path) => self.step(now, Input::Moved { inbound, path }),
                News::Alive(inbound) => self.step(now, Input::Alive { inbound }),
                News::Worn(inbound) => self.step(now, Input::Worn { inbound, is_spent: false }),
                News::Spent(inbound) => self.step(now, Input::Worn { inbound, is_spent: true }),
                // Connections are with the first worker.
                News::Wanted(trap, packet) => match self.parts.others.first() {
                    Some(first) if self.parts.number != 0 => first.order(Order::Wanted(trap, packet)),
                    _ => self.step(now, Input::Wanted { trap, packet }),
                },
            }
        }
    }

    /// Tells IKE what servers have said.
    pub(super) fn hear_servers(&mut self, now: Now) {
        self.heard.extend(self.parts.radius.events());
        // An answer may lead to the next question, but that is not answered before the next turn.
        for answer in self.parts.radius.answers() {
            self.step(now, Input::Aaa(Box::new(answer)));
        }
    }

    pub(super) fn step(&mut self, now: Now, input: Input<'_>) {
        self.parts.endpoint.step(now, input, &mut self.out);
        self.carry_all_out();
    }

    pub(super) fn carry_all_out(&mut self) {
        while let Some(output) = self.out.pop() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { path, octets } => {
                if path.has_marker() {
                    self.transmit(path, &[IoSlice::new(&[0; 4]), IoSlice::new(&octets)]);
                } else {
                    self.transmit(path, &[IoSlice::new(&octets)]);
                }
            }
            Output::Keepalive { path } => self.transmit(path, &[IoSlice::new(&[KEEPALIVE])]),
            Output::Install(child) => {
                let inbound = child.inbound;
                if let Some(session) = &child.session {
                    self.parts.radius.carries(inbound, session);
                }
                if let Err(error) = self.parts.plane.executor().install(*child) {
                    tracing::error!(%error, spi = %inbound, "a Child SA cannot work");
                }
            }
            Output::Switch { inbound } => self.parts.plane.executor().switch(inbound),
            Output::Move { inbound, outer } => self.parts.plane.executor().redirect(inbound, outer),
            Output::Remove { inbound } => {
                let Parts { radius, plane, .. } = &mut self.parts;
                radius.carried(inbound, |inbound| plane.usage(inbound));
                plane.executor().remove(inbound);
            }
            Output::Watch { connection, trap } => {
                if let Err(error) = self.parts.plane.executor().watch(trap) {
                    tracing::error!(%error, %connection, "no packet can bring a connection up");
                }
            }
            Output::Unwatch { trap } => self.parts.plane.executor().unwatch(trap),
            Output::Supersede { holder } => self.superseded.push(holder),
            Output::TicketUsed(used) => self.used.push(used.into()),
            Output::Locate { request, host } => self.locator.locate(request, host),
            Output::FindWays { asker, remotes } => self.locator.find_ways(asker, remotes, &self.parts.ports),
            Output::Aaa(request) => self.parts.radius.ask(*request),
            Output::AaaAbandoned(conversation) => self.parts.radius.abandon(conversation),
            Output::Account(account) => {
                let Parts { radius, plane, .. } = &mut self.parts;
                radius.account(&account, |inbound| plane.usage(inbound));
            }
            Output::Event(event) => self.heard.push(Event::Ike(event)),
        }
    }

    /// Sends a datagram; whoever misses it asks again.
    fn transmit(&self, path: Path, parts: &[IoSlice<'_>]) {
        let port = self.parts.ports.iter().find(|port| port.is_for(path.local));
        if let Some(port) = port
            && let Err(error) = port.send(path.local.ip(), path.remote, parts, None)
        {
            tracing::debug!(%error, remote = %path.remote, "a datagram of the gateway was not sent");
        }
    }

    pub(super) fn obey(&mut self, now: Now, order: Order) {
        match order {
            Order::Configure(settings, radius) => {
                self.step(now, Input::Configure(settings));
                self.parts.radius.configure(radius);
            }
            Order::Located(request, ways) => self.step(now, Input::Located { request, ways }),
            Order::Ways(asker, asked, ways) => self.step(now, Input::Ways { asker, asked, ways }),
            Order::Targets(targets) => self.step(now, Input::Targets(targets)),
            Order::HandOver(hand_over) => self.step(now, Input::HandOver(hand_over)),
            Order::Datagram(path, mut octets) => {
                self.datagram(now, path, &mut octets);
                self.tell(now);
            }
            Order::Command(command) => self.step(now, Input::Command(command)),
            Order::Wanted(trap, packet) => self.step(now, Input::Wanted { trap, packet }),
            Order::Supersede(holders) => {
                for holder in holders.iter().map(Arc::clone) {
                    self.step(now, Input::Supersede { holder });
                }
            }
            Order::Redirect(redirect, answer) => {
                let result = self.parts.endpoint.redirect(now, &redirect, &mut self.out);
                self.carry_all_out();
                let _gone = answer.send(result);
            }
            Order::TicketsUsed(tickets) => {
                for used in &*tickets {
                    self.step(now, Input::TicketUsed(used));
                }
            }
            Order::Count(selection, answer) => {
                let count = self.parts.endpoint.snapshot(now, &selection, usize::MAX).len();
                let _gone = answer.send(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Order::Page(query, answer) => {
                let sas = self.parts.endpoint.snapshot(now, &query.selection, usize::MAX);
                let plane = &self.parts.plane;
                let page = SaPage::pick(&query, sas, |sa| {
                    sa.children.iter().map(|child| plane.usage(child.inbound)).collect()
                });
                let _gone = answer.send(page);
            }
            Order::Stop => {
                self.step(now, Input::Command(Command::Shutdown));
                self.is_stopping = true;
            }
        }
    }
}

/// What keeps a NAT's mapping alive (`RFC 3948 §2.3`).
const KEEPALIVE: u8 = 0xff;

#[cfg(test)]
mod tests {
    use super::*;

    // NAT-04
    #[test]
    fn on_port_4500_only_what_has_the_marker_is_ike() {
        let message = [7, 7, 7, 7, 1, 2];
        assert_eq!(content(4500, &mut message.clone()), Content::Esp(&mut message.clone()));
        let mut marked = [&[0; 4], &message[..]].concat();
        assert_eq!(content(4500, &mut marked), Content::Ike(&mut message.clone()));
        assert_eq!(content(4500, &mut [KEEPALIVE]), Content::Nothing);
        assert_eq!(content(4500, &mut []), Content::Nothing);
    }

    // NAT-06
    #[test]
    fn on_port_500_everything_is_ike_and_nothing_is_a_marker() {
        let mut marked = [0, 0, 0, 0, 1, 2];
        assert_eq!(content(500, &mut marked), Content::Ike(&mut [0, 0, 0, 0, 1, 2]));
        assert_eq!(content(500, &mut [KEEPALIVE]), Content::Ike(&mut [KEEPALIVE]));
    }
}
