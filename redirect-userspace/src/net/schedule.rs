//! Real-time scheduling for the thread that must not be late.
//!
//! An active router that says nothing for the hold time loses the virtual address, however busy
//! the machine is. With a hold time of 50 ms that thread has to run before everything else that
//! wants the processor.

#![expect(unsafe_code, reason = "real-time scheduling has no safe wrapper")]

use nix::errno::Errno;
use nix::libc;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// What the kernel has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How this thread is scheduled now.
    pub scheduling: Scheduling,
    /// Whether the memory of the process stays in memory: a page that has to be read back from
    /// a disk costs more than a hello time.
    pub memory: Memory,
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Before every thread that is not real-time. The threads and processes it starts are not.
    Fifo {
        /// 1 to 99.
        priority: u8,
    },
    /// As it was.
    Unchanged {
        /// Why it is no better.
        error: Errno,
    },
}

/// Where the memory of the process may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Locked, as it is used and as it grows.
    Locked,
    /// Left to the kernel: with the limit there is, the process would fail as it grows.
    Limited,
    /// Left to the kernel, which refused.
    Refused {
        /// Why.
        error: Errno,
    },
}

/// Puts the calling thread before all that are not real-time, with `priority` (1 to 99) among
/// those that are, and locks the memory of the process where that is safe.
///
/// Nothing of this is needed to work, only to be on time: what was not granted is worth a line in
/// the log.
#[must_use]
pub fn take_real_time(priority: u8) -> Granted {
    let scheduling = match fifo(priority) {
        Ok(()) => Scheduling::Fifo { priority },
        Err(error) => Scheduling::Unchanged { error },
    };
    Granted { scheduling, memory: lock_memory() }
}

fn fifo(priority: u8) -> nix::Result<()> {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    // What this thread starts, the notify hook for instance, must not starve the machine.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `parameter` lives beyond the call, which only reads it; thread 0 is the calling one.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) }).map(drop)
}

fn lock_memory() -> Memory {
    let is_unlimited = getrlimit(Resource::Memlock).current.is_none();
    let is_privileged = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !is_unlimited && !is_privileged {
        return Memory::Limited;
    }
    // Only what is touched: the stacks of threads are mostly never used.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match mlockall(flags) {
        Ok(()) => Memory::Locked,
        Err(error) => Memory::Refused { error: Errno::from_raw(error.raw_os_error()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy of this thread and whether its children get the ordinary one.
    fn policy() -> i32 {
        // SAFETY: takes no pointers; thread 0 is the calling one.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn what_is_said_to_be_granted_is_so() {
        let granted = std::thread::spawn(|| (take_real_time(10), policy())).join().unwrap();

        match granted {
            (Granted { scheduling: Scheduling::Fifo { priority: 10 }, .. }, policy) => {
                assert_eq!(policy, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK);
            }
            (Granted { scheduling: Scheduling::Unchanged { error }, .. }, policy) => {
                assert_eq!((error, policy), (Errno::EPERM, libc::SCHED_OTHER));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(policy(), libc::SCHED_OTHER, "other threads are left alone");
    }

    #[test]
    fn a_priority_beyond_the_range_is_refused() {
        let granted = std::thread::spawn(|| take_real_time(100)).join().unwrap();

        assert_eq!(granted.scheduling, Scheduling::Unchanged { error: Errno::EINVAL });
    }
}
