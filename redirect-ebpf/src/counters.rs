//! Counting, per CPU: no atomics, no sharing. The daemon adds the CPUs up.

#![expect(unsafe_code, reason = "a per-CPU value is reached through a pointer")]

use common::gate::Asked;
use common::reason::Reason;

use crate::maps::{COOKIES, COUNTERS, REDIRECTS};

/// Counts a packet by its reason.
#[inline(always)]
pub(crate) fn packet(reason: Reason) {
    increment(COUNTERS.get_ptr_mut(reason.index()));
}

/// Counts a redirect to a gateway.
#[inline(always)]
pub(crate) fn redirect(gateway: u32) {
    increment(REDIRECTS.get_ptr_mut(gateway));
}

/// Counts what the guard has done.
#[inline(always)]
pub(crate) fn cookie(asked: Asked) {
    increment(COOKIES.get_ptr_mut(asked.index()));
}

#[inline(always)]
fn increment(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: the pointer comes from a map lookup that succeeded, and only this CPU, which
        // runs one XDP program at a time, writes through it.
        unsafe { *counter += 1 };
    }
}
