//! Memory of an SA in use: what is free again when the gateway is gone.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rig::Rig;

/// SAs at a time: few, and many.
const COUNTS: [usize; 2] = [1_000, 10_000];
/// What one may need.
const BAR: usize = 5_000;

pub(crate) fn run() {
    println!("\n{:<40} {:>10} {:>12}", "memory of an SA with a Child SA", "octets", "allocations");
    for count in COUNTS {
        let empty = measure(0, count);
        let full = measure(count, count);
        let (octets, allocations) = ((full.0 - empty.0) / count, (full.1 - empty.1) as f64 / count as f64);
        println!("  {:<38} {octets:>10} {allocations:>12.1}", format!("one of {count}"));
        assert!(octets <= BAR, "{octets} octets are more than {BAR}");
    }
}

/// Octets and allocations of a gateway with so many SAs.
fn measure(count: usize, clients: usize) -> (usize, usize) {
    let mut rig = Rig::new(clients);
    for _ in 0..count {
        rig.handshake();
    }
    let gateway = rig.into_gateway();
    let before = (OCTETS.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
    drop(gateway);
    (before.0 - OCTETS.load(Ordering::Relaxed), before.1 - ALLOCATIONS.load(Ordering::Relaxed))
}

static OCTETS: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and what is in use of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        OCTETS.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        OCTETS.fetch_sub(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}
