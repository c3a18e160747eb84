//! What the workers tell the core: a board that they write on and it reads.
//!
//! # Invariants
//!
//! - Workers never wait, and the board does not grow without bounds: events that find no room are
//!   counted instead.
//! - A worker wakes the core once for all that it has to say after one turn or several, and not at
//!   all while the core has not read what is there.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::ike::UsedTicket;
use crate::telemetry::Event;

/// What is read at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// In the order in which each worker wrote it.
    pub(super) events: Vec<Event>,
    /// Tickets that clients have used here.
    pub(super) used: Vec<Arc<UsedTicket>>,
    /// How much there was no room for since the last page.
    pub(super) lost: u64,
    /// A thread has ended, and nobody told it to.
    pub(super) has_ended: bool,
}

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board {
    page: Mutex<Page>,
    bell: Notify,
}

impl Board {
    /// Puts up what a worker has to say: events, which are none afterwards, and tickets.
    pub(super) fn post(&self, heard: &mut Vec<Event>, used: &[Arc<UsedTicket>]) {
        if heard.is_empty() && used.is_empty() {
            return;
        }
        let was_empty = {
            let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = page.events.is_empty() && page.used.is_empty();
            let room = ROOM.saturating_sub(page.events.len());
            let lost = heard.len().saturating_sub(room);
            page.lost = page.lost.saturating_add(u64::try_from(lost).unwrap_or(u64::MAX));
            page.events.extend(heard.drain(..).take(room));
            let room = ROOM.saturating_sub(page.used.len());
            let lost = used.len().saturating_sub(room);
            page.lost = page.lost.saturating_add(u64::try_from(lost).unwrap_or(u64::MAX));
            page.used.extend(used.iter().take(room).cloned());
            was_empty
        };
        if was_empty {
            self.bell.notify_one();
        }
    }

    /// A worker has ended: the core cannot go on without it.
    pub(super) fn end(&self) {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        self.bell.notify_one();
    }

    /// Waits until something is there, and takes it.
    pub(super) async fn read(&self) -> Page {
        loop {
            {
                let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
                if page.has_ended || !page.events.is_empty() || !page.used.is_empty() {
                    return std::mem::take(&mut page);
                }
            }
            self.bell.notified().await;
        }
    }
}

/// Events, and tickets, that may wait for the core.
const ROOM: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::Event as IkeEvent;
    use crate::ike::ticket::TicketId;
    use crate::time::UnixTime;

    fn heard(number: usize) -> Event {
        Event::Ike(IkeEvent::CookiesChanged { are_wanted: true, half_open: number, is_crowded: false })
    }

    fn ticket(number: u8) -> Arc<UsedTicket> {
        Arc::new(UsedTicket { id: TicketId([number; 16]), expires_at: UnixTime::EPOCH, origin: None })
    }

    fn page_of(events: Vec<Event>, used: Vec<Arc<UsedTicket>>) -> Page {
        Page { events, used, lost: 0, has_ended: false }
    }

    fn poll(board: &Board) -> Option<Page> {
        let mut read = std::pin::pin!(board.read());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match Future::poll(read.as_mut(), &mut context) {
            std::task::Poll::Ready(page) => Some(page),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_posted_is_read_once_and_in_order() {
        let board = Board::default();
        board.post(&mut vec![heard(1), heard(2)], &[]);
        board.post(&mut vec![heard(3)], &[ticket(7)]);

        let page = poll(&board).unwrap();

        assert_eq!(page, page_of(vec![heard(1), heard(2), heard(3)], vec![ticket(7)]));
        assert_eq!(poll(&board), None);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_end_always_has_room() {
        let board = Board::default();
        board.post(&mut (0..ROOM - 1).map(heard).collect(), &[]);
        let mut rest: Vec<Event> = (0..10).map(heard).collect();
        let tickets: Vec<_> = (0..=ROOM).map(|_| ticket(1)).collect();
        board.post(&mut rest, &tickets);
        board.end();

        let page = poll(&board).unwrap();

        assert_eq!((page.events.len(), page.used.len(), page.lost, page.has_ended), (ROOM, ROOM, 10, true));
        assert!(rest.is_empty());
        assert_eq!(page.events.last(), Some(&heard(0)));
    }

    #[test]
    fn a_reader_that_waits_is_woken() {
        let board = Arc::new(Board::default());
        let writer = Arc::clone(&board);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let page = runtime.block_on(async {
            let (page, ()) = tokio::join!(board.read(), async { writer.post(&mut vec![], &[ticket(1)]) });
            page
        });

        assert_eq!(page, page_of(vec![], vec![ticket(1)]));
    }
}
