//! The anti-replay window of one inbound SA, with extended sequence numbers.
//!
//! # Invariants
//!
//! - A sequence number is accepted once.
//! - What lies before the window is not accepted.
//! - [`Window::check`] changes nothing: a forged packet moves no window. Only [`Window::accept`]
//!   does, after the packet's integrity was verified.
//!
//! # References
//!
//! `RFC 4303 §3.4.3`, `§2.2.1`; `RFC 4303 Appendix A` (extended sequence numbers); the window is a
//! ring of words as in `RFC 6479`.

/// Sequence numbers that may arrive out of order: enough for a burst that several queues of a
/// network card have mixed up.
pub const WINDOW: u64 = 1_024;

const WORD: u64 = 64;
/// One word more than the window, so that the word that is being filled has no old bits.
const WORDS: usize = 17;
const _: () = assert!(WORDS as u64 * WORD == WINDOW + WORD);

/// Which sequence numbers have been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The highest one; 0 before the first packet.
    highest: u64,
    /// Bit `n % 64` of word `n / 64 % WORDS` says whether `n` has been seen.
    seen: [u64; WORDS],
    is_extended: bool,
}

/// Why a packet is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Replay {
    /// Its number was seen before.
    #[error("sequence number seen before")]
    Duplicate,
    /// Its number lies before the window.
    #[error("sequence number before the window")]
    Old,
    /// 0 is never sent (`RFC 4303 §2.2`).
    #[error("sequence number zero")]
    Zero,
}

impl Window {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new(is_extended: bool) -> Self {
        Self { highest: 0, seen: [0; WORDS], is_extended }
    }

    /// The highest number seen.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// The whole number of a packet that carries `low`: of the two halves that are possible, the
    /// one that puts it nearest to what was seen (`RFC 4303 Appendix A2.2`).
    #[must_use]
    pub const fn whole(&self, low: u32) -> u64 {
        if !self.is_extended {
            return low as u64;
        }
        let (top, bottom) = (self.highest >> 32, self.highest & 0xffff_ffff);
        let low = low as u64;
        let high = if bottom >= WINDOW - 1 {
            // The window lies within one subspace.
            if low + WINDOW > bottom { top } else { top + 1 }
        } else if low + WINDOW > bottom + (1 << 32) && top > 0 {
            // It begins in the subspace before.
            top - 1
        } else {
            top
        };
        (high << 32) | low
    }

    /// Whether a packet with this whole number may be new.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn check(&self, number: u64) -> Result<(), Replay> {
        if number == 0 {
            return Err(Replay::Zero);
        }
        if number > self.highest {
            return Ok(());
        }
        if self.highest - number >= WINDOW {
            return Err(Replay::Old);
        }
        let (word, bit) = place(number);
        match self.seen.get(word) {
            Some(seen) if seen & bit == 0 => Ok(()),
            _ => Err(Replay::Duplicate),
        }
    }

    /// Notes a packet whose integrity is verified.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; another packet with this number may have come in between.
    pub fn accept(&mut self, number: u64) -> Result<(), Replay> {
        self.check(number)?;
        if number > self.highest {
            // Words that come into the window are those of numbers nobody has seen.
            let (from, to) = (self.highest / WORD, number / WORD);
            for word in (from + 1..=to).take(WORDS) {
                if let Some(word) = self.seen.get_mut(index(word)) {
                    *word = 0;
                }
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }
}

fn place(number: u64) -> (usize, u64) {
    (index(number / WORD), 1 << (number % WORD))
}

fn index(word: u64) -> usize {
    usize::try_from(word % WORDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_accepted_once() {
        let mut window = Window::new(false);

        assert_eq!(window.accept(5), Ok(()));
        assert_eq!(window.accept(5), Err(Replay::Duplicate));
        assert_eq!(window.accept(3), Ok(()));
        assert_eq!(window.accept(3), Err(Replay::Duplicate));
        assert_eq!(window.accept(0), Err(Replay::Zero));
        assert_eq!(window.highest(), 5);
    }

    #[test]
    fn what_lies_before_the_window_is_old() {
        let mut window = Window::new(false);
        window.accept(2_000).unwrap();

        assert_eq!(window.accept(2_000 - WINDOW), Err(Replay::Old));
        assert_eq!(window.accept(2_000 - WINDOW + 1), Ok(()));
    }

    #[test]
    fn a_leap_forgets_everything_before() {
        let mut window = Window::new(false);
        for number in 1..=100 {
            window.accept(number).unwrap();
        }
        window.accept(1 << 40).unwrap();

        assert_eq!(window.check((1 << 40) - 1), Ok(()));
        assert_eq!(window.check(100), Err(Replay::Old));
    }

    #[test]
    fn checking_moves_nothing() {
        let window = Window::new(true);
        let before = window.clone();

        window.check(1 << 50).unwrap();

        assert_eq!(window, before);
    }

    #[test]
    fn the_upper_half_follows_the_window() {
        let mut window = Window::new(true);
        let turn = 1_u64 << 32;
        assert_eq!(window.whole(7), 7);

        window.accept(turn - 10).unwrap();
        assert_eq!(window.whole(u32::MAX), turn - 1);
        assert_eq!(window.whole(3), turn + 3, "the lower half has wrapped");

        window.accept(turn + 3).unwrap();
        assert_eq!(window.whole(u32::MAX - 5), turn - 6, "a late packet of the subspace before");
        assert_eq!(window.whole(9), turn + 9);

        window.accept(turn + 5_000).unwrap();
        assert_eq!(window.whole(5_000 - 1_023), turn + 5_000 - 1_023);
        assert_eq!(window.whole(1), 2 * turn + 1);
    }

    #[test]
    fn without_extension_the_number_is_the_whole_number() {
        let mut window = Window::new(false);
        window.accept(u64::from(u32::MAX)).unwrap();

        assert_eq!(window.whole(3), 3);
        assert_eq!(window.check(3), Err(Replay::Old));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(steps in proptest::collection::vec((0_u64..4, 0_u64..3_000), 1..400)) {
            let mut window = Window::new(true);
            let mut seen = BTreeSet::new();
            let mut highest = 0_u64;
            for (leap, offset) in steps {
                let number = (highest + leap * 700).saturating_sub(offset) + 1;
                let expected = if number <= highest && highest - number >= WINDOW {
                    Err(Replay::Old)
                } else if seen.contains(&number) {
                    Err(Replay::Duplicate)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(number), expected);
                prop_assert_eq!(window.accept(number), expected);
                if expected.is_ok() {
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }

        #[test]
        fn the_upper_half_is_found_within_the_window(
            start in 0_u64..1 << 40,
            steps in proptest::collection::vec((0_u64..2_000, 0_u64..WINDOW - 1), 1..100),
        ) {
            let mut window = Window::new(true);
            window.accept(start + WINDOW).unwrap();
            for (ahead, behind) in steps {
                let number = (window.highest() + ahead).saturating_sub(behind).max(1);
                let low = u32::try_from(number & 0xffff_ffff).unwrap();
                prop_assert_eq!(window.whole(low), number);
                let _seen_before = window.accept(number);
            }
        }
    }
}
