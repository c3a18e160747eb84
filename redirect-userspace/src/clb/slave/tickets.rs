//! Telling the master which tickets were used.

use super::{FromSlave, Slave, SlaveOutput, Stage};
use crate::clb::frame::MAX_FROM_SLAVE;
use crate::clb::tickets::{Pace, Source, TicketLog, Told, UsedTicket, longest_body};
use crate::machine::{Deadline, Outbox};
use crate::time::{Instant, UnixTime};

/// What is known about used tickets, and how fast the master is told.
pub(super) struct Tickets {
    pub(super) log: TicketLog,
    pace: Pace,
}

/// Frames that go at a time.
const FRAMES: usize = 16;

impl Tickets {
    pub(super) const fn new(log: TicketLog) -> Self {
        Self { log, pace: Pace::new() }
    }

    /// When the master is to be told more.
    pub(super) fn deadline(&self, told: &Told) -> Option<Deadline> {
        let news = told.has_news(&self.log).then_some(self.pace.news_at);
        let missed = told.has_missed().then_some(self.pace.missed_at);
        let at = [news, missed].into_iter().flatten().min()?;
        Some(Deadline { at, why: "CLB used tickets" })
    }

    /// What goes now.
    fn take(&mut self, now: Instant, told: &mut Told) -> Vec<Vec<UsedTicket>> {
        let longest = longest_body(MAX_FROM_SLAVE);
        // What a master has said the next one hears from all others, or has heard itself.
        let is_ours = |source| source == Source::Below;
        let mut frames = Vec::new();
        if told.has_news(&self.log) && self.pace.news_at <= now {
            let before = frames.len();
            while frames.len() < before + FRAMES && told.has_news(&self.log) {
                frames.push(told.news(&self.log, longest, is_ours));
            }
            self.pace.told_news(now, (frames.len() - before) * MAX_FROM_SLAVE);
        }
        if told.has_missed() && self.pace.missed_at <= now {
            let before = frames.len();
            while frames.len() < before + FRAMES && told.has_missed() {
                frames.push(told.missed(&self.log, longest, is_ours));
            }
            self.pace.told_missed(now, (frames.len() - before) * MAX_FROM_SLAVE);
        }
        frames.retain(|frame| !frame.is_empty());
        frames
    }
}

impl Slave {
    /// A master says which tickets were used.
    pub(super) fn tickets_used(
        &mut self,
        now: UnixTime,
        tickets: Vec<UsedTicket>,
        out: &mut Outbox<SlaveOutput>,
    ) {
        for ticket in tickets {
            if self.tickets.log.note(now, ticket.clone(), Source::Master) {
                out.push(SlaveOutput::TicketUsed(ticket));
            }
        }
    }

    /// Tells the master what it has not said itself, as far as it is time.
    pub(super) fn tell_tickets(&mut self, now: Instant, out: &mut Outbox<SlaveOutput>) {
        let Stage::Member(session) = &mut self.stage else { return };
        for tickets in self.tickets.take(now, &mut session.told) {
            self.tell(now, &FromSlave::Used(tickets), out);
        }
    }
}
