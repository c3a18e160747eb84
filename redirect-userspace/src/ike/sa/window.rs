//! Message IDs: which request is answered, which is repeated, which response is waited for.
//!
//! Both directions have a window of one (`RFC 7296 §2.3`): a request is answered before the next one
//! is taken in, and ours is answered before we send another.
//!
//! # Invariants
//!
//! - A request is acted upon once. Its response is kept until the next request comes, and sent again
//!   for each repetition.
//! - A request of ours is repeated without a change of a single octet.
//! - Message IDs never begin anew: at their end there is no next request.
//!
//! # References
//!
//! `RFC 7296 §2.1` to `§2.4`.

use std::time::Duration;

use crate::ike::config::Retransmission;
use crate::ike::wire::{ExchangeType, MessageId};
use crate::time::{Instant, Now};

/// One message: a datagram, or its fragments.
pub(crate) type Datagrams = Box<[Box<[u8]>]>;

/// Both halves of the window.
#[derive(Debug)]
pub(crate) struct Window {
    /// The peer's next request; `None` when the numbers are used up.
    expected: Option<MessageId>,
    /// The one that was answered last.
    last: Option<MessageId>,
    /// Our response to its last one.
    answer: Option<Datagrams>,
    /// Our next request; `None` when the numbers are used up.
    next: Option<MessageId>,
    waiting: Option<Box<Waiting>>,
}

/// A request of ours that is not answered yet.
#[derive(Debug)]
struct Waiting {
    id: MessageId,
    exchange: ExchangeType,
    datagrams: Datagrams,
    interval: Duration,
    repeat_at: Instant,
    give_up_at: Instant,
}

/// What a request of the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// The next one.
    New,
    /// The last one again.
    Repeated,
    /// None of those.
    Outside,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<'a> {
    /// Nothing.
    Nothing,
    /// The request is to be sent again.
    Repeat(&'a [Box<[u8]>]),
    /// The peer does not answer.
    Dead,
}

impl Window {
    /// A window whose next messages are these: the peer's request, and ours.
    pub(crate) const fn new(expected: MessageId, next: MessageId) -> Self {
        Self { expected: Some(expected), last: None, answer: None, next: Some(next), waiting: None }
    }

    /// What a request with this number is.
    pub(crate) fn requested(&self, id: MessageId) -> Requested {
        if Some(id) == self.expected {
            Requested::New
        } else if Some(id) == self.last {
            Requested::Repeated
        } else {
            Requested::Outside
        }
    }

    /// The number of the peer's next request.
    pub(crate) const fn expected(&self) -> Option<MessageId> {
        self.expected
    }

    /// Keeps the response to the peer's request, which is answered by it.
    pub(crate) fn answered(&mut self, datagrams: Datagrams) {
        self.last = self.expected;
        self.expected = self.expected.and_then(MessageId::next);
        self.answer = Some(datagrams);
    }

    /// The response to the peer's last request.
    pub(crate) fn answer(&self) -> &[Box<[u8]>] {
        self.answer.as_deref().unwrap_or_default()
    }

    /// The number of our next request, while none is waiting for its response.
    pub(crate) const fn next(&self) -> Option<MessageId> {
        if self.waiting.is_some() { None } else { self.next }
    }

    /// Whether a request of ours waits for its response.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// A request of ours, with the number [`Self::next`], was sent.
    pub(crate) fn sent(
        &mut self,
        now: Now,
        exchange: ExchangeType,
        datagrams: Datagrams,
        settings: &Retransmission,
    ) {
        let Some(id) = self.next else { return };
        self.next = id.next();
        self.waiting = Some(Box::new(Waiting {
            id,
            exchange,
            datagrams,
            interval: settings.first,
            repeat_at: now.mono + settings.first,
            give_up_at: now.mono + settings.patience,
        }));
    }

    /// Whether this is the response that is waited for.
    pub(crate) fn is_awaited(&self, id: MessageId, exchange: ExchangeType) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.id == id && waiting.exchange == exchange)
    }

    /// The response came.
    pub(crate) fn responded(&mut self) {
        self.waiting = None;
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.repeat_at.min(waiting.give_up_at))
    }

    /// What is due by now.
    pub(crate) fn due(&mut self, now: Now, settings: &Retransmission) -> Due<'_> {
        match &mut self.waiting {
            Some(waiting) if waiting.give_up_at <= now.mono => Due::Dead,
            Some(waiting) if waiting.repeat_at <= now.mono => {
                waiting.interval = waiting.interval.saturating_mul(2).min(settings.longest);
                waiting.repeat_at = now.mono + waiting.interval;
                Due::Repeat(&waiting.datagrams)
            }
            Some(_) | None => Due::Nothing,
        }
    }

    /// The response is waited for as long as at the beginning.
    pub(crate) fn hold_out(&mut self, now: Now, settings: &Retransmission) {
        if let Some(waiting) = &mut self.waiting {
            waiting.give_up_at = now.mono + settings.patience;
        }
    }

    /// The request that waits, for sending it on another path at once.
    pub(crate) fn outstanding(&self) -> &[Box<[u8]>] {
        self.waiting.as_ref().map(|waiting| &*waiting.datagrams).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(octet: u8) -> Datagrams {
        vec![vec![octet].into_boxed_slice()].into_boxed_slice()
    }

    #[test]
    fn a_request_is_new_once_and_repeated_until_the_next_one() {
        let mut window = Window::new(MessageId(1), MessageId(0));

        assert_eq!(window.requested(MessageId(1)), Requested::New);
        assert_eq!(window.requested(MessageId(0)), Requested::Outside, "nothing was answered yet");
        window.answered(message(7));
        assert_eq!(window.requested(MessageId(1)), Requested::Repeated);
        assert_eq!(window.answer(), &*message(7));
        assert_eq!(window.requested(MessageId(2)), Requested::New);
        assert_eq!(window.requested(MessageId(3)), Requested::Outside);
        window.answered(message(8));
        assert_eq!(window.requested(MessageId(1)), Requested::Outside);
        assert_eq!(window.answer(), &*message(8));
    }

    #[test]
    fn a_request_of_ours_is_repeated_ever_more_slowly_until_the_peer_is_dead() {
        let settings = Retransmission {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(3),
            patience: Duration::from_secs(10),
        };
        let mut window = Window::new(MessageId(0), MessageId(5));
        let start = Now::default();
        assert_eq!(window.next(), Some(MessageId(5)));
        window.sent(start, ExchangeType::Informational, message(1), &settings);
        assert_eq!((window.next(), window.is_waiting()), (None, true));

        let mut repeated = Vec::new();
        for second in 1..=10 {
            let now = start.after(Duration::from_secs(second));
            match window.due(now, &settings) {
                Due::Nothing => {}
                Due::Repeat(datagrams) => {
                    assert_eq!(datagrams, &*message(1));
                    repeated.push(second);
                }
                Due::Dead => {
                    assert_eq!(second, 10);
                }
            }
        }
        assert_eq!(repeated, [1, 3, 6, 9]);
    }

    #[test]
    fn only_the_response_to_our_request_is_awaited() {
        let mut window = Window::new(MessageId(0), MessageId(5));
        let settings = Retransmission::default();
        window.sent(Now::default(), ExchangeType::CreateChildSa, message(1), &settings);

        assert!(!window.is_awaited(MessageId(4), ExchangeType::CreateChildSa));
        assert!(!window.is_awaited(MessageId(5), ExchangeType::Informational));
        assert!(window.is_awaited(MessageId(5), ExchangeType::CreateChildSa));
        window.responded();
        assert!(!window.is_awaited(MessageId(5), ExchangeType::CreateChildSa));
        assert_eq!((window.next(), window.deadline()), (Some(MessageId(6)), None));
    }

    // test of RFC 7296 §2.2
    #[test]
    fn the_last_request_of_all_is_acted_upon_once_like_every_other() {
        let mut window = Window::new(MessageId(u32::MAX), MessageId(0));
        assert_eq!(window.requested(MessageId(u32::MAX)), Requested::New);
        window.answered(message(7));

        assert_eq!(window.requested(MessageId(u32::MAX)), Requested::Repeated);
        assert_eq!(window.requested(MessageId(0)), Requested::Outside, "numbers never begin anew");
        assert_eq!(window.expected(), None);
    }

    #[test]
    fn numbers_are_used_up_and_not_used_again() {
        let mut window = Window::new(MessageId(0), MessageId(u32::MAX));
        window.sent(Now::default(), ExchangeType::Informational, message(1), &Retransmission::default());
        window.responded();

        assert_eq!(window.next(), None);
    }
}
