//! Telling everybody which tickets were used.

use super::{FromMaster, Master, MasterOutput, Octets, PeerId, Stage};
use crate::clb::frame::MAX_FROM_MASTER;
use crate::clb::tickets::{Pace, Source, TicketLog, Told, UsedTicket, longest_body};
use crate::machine::Outbox;
use crate::time::{Instant, Now, UnixTime};

use super::peer::MemberPeer;

/// What is known about used tickets, and who is to be told.
pub(super) struct Tickets {
    pub(super) log: TicketLog,
    pace: Pace,
    /// Whether a member may not have been told all that is new.
    has_news: bool,
    /// Whether a member may not have been told all that it has missed.
    has_missed: bool,
}

impl Tickets {
    pub(super) const fn new(log: TicketLog) -> Self {
        Self { log, pace: Pace::new(), has_news: false, has_missed: false }
    }

    /// What a member that has just come has been told.
    pub(super) fn told(&mut self) -> Told {
        let told = Told::new(&self.log);
        self.has_missed |= told.has_missed();
        told
    }

    /// Notes a ticket and says whether it is news.
    pub(super) fn note(&mut self, now: UnixTime, ticket: UsedTicket) -> bool {
        let is_news = self.log.note(now, ticket, Source::Below);
        self.has_news |= is_news;
        is_news
    }

    /// When somebody is to be told more, and why.
    pub(super) const fn deadlines(&self) -> [(Option<Instant>, &'static str); 2] {
        let news = if self.has_news { Some(self.pace.news_at) } else { None };
        let missed = if self.has_missed { Some(self.pace.missed_at) } else { None };
        [(news, "CLB used tickets"), (missed, "CLB used tickets that were missed")]
    }
}

impl Master {
    /// A slave says which tickets were used.
    pub(super) fn tickets_used(
        &mut self,
        now: Now,
        tickets: Vec<UsedTicket>,
        out: &mut Outbox<MasterOutput>,
    ) {
        for ticket in tickets {
            if self.tickets.note(now.wall, ticket.clone()) {
                out.push(MasterOutput::TicketUsed(ticket));
            }
        }
    }

    /// Tells every member what is new, and what it has missed, as far as it is time.
    pub(super) fn tell_tickets(&mut self, now: Instant, out: &mut Outbox<MasterOutput>) {
        if self.tickets.has_news && self.tickets.pace.news_at <= now {
            let longest = longest_body(MAX_FROM_MASTER);
            let (octets, is_more) = self.tell_each(
                |told, log| told.news(log, longest, |_| true),
                |told, log| told.has_news(log),
                out,
            );
            self.tickets.has_news = is_more;
            self.tickets.pace.told_news(now, octets);
        }
        if self.tickets.has_missed && self.tickets.pace.missed_at <= now {
            let share = Pace::share(self.peers.len(), MAX_FROM_MASTER);
            let (octets, is_more) = self.tell_each(
                |told, log| told.missed(log, share, |_| true),
                |told, _| told.has_missed(),
                out,
            );
            self.tickets.has_missed = is_more;
            self.tickets.pace.told_missed(now, octets);
        }
    }

    /// Gives every member a frame with what it gets next. Says how many octets that was, and whether
    /// there is more.
    fn tell_each(
        &mut self,
        next: impl Fn(&mut Told, &TicketLog) -> Vec<UsedTicket>,
        is_more: impl Fn(&Told, &TicketLog) -> bool,
        out: &mut Outbox<MasterOutput>,
    ) -> (usize, bool) {
        let (mut sent, mut is_any_behind) = (0, false);
        let log = &self.tickets.log;
        for (id, peer) in &mut self.peers {
            let Stage::Member(member) = &mut peer.stage else { continue };
            let tickets = next(&mut member.told, log);
            is_any_behind |= is_more(&member.told, log);
            if !tickets.is_empty() {
                sent += send(*id, member, tickets, out);
            }
        }
        (sent, is_any_behind)
    }
}

fn send(
    peer: PeerId,
    member: &mut MemberPeer,
    tickets: Vec<UsedTicket>,
    out: &mut Outbox<MasterOutput>,
) -> usize {
    let message = FromMaster::Tickets(tickets);
    let mut octets = Vec::new();
    member.channel.seal(message.kind(), &message.to_body(), &mut octets);
    let length = octets.len();
    out.push(MasterOutput::Write { peer, octets: Octets::Own(octets) });
    length
}
