//! What an operator with a foreign IKE daemon runs beside ours: it tells the number of SAs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::control::Control;
use crate::lab::nodes::Nodes;
use crate::lab::strongswan::SaCounter;
use crate::lab::wait::{Stopwatch, pause};

/// Time between two reports.
const INTERVAL: Duration = Duration::from_millis(500);
/// For how many seconds a report may be believed.
const VALID: u64 = 10;

/// Tells every node's daemon how many SAs its strongSwan has, until it is dropped.
#[derive(Debug)]
pub struct Agent {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts to report for all nodes, whether they have daemons at the moment or not.
    #[must_use]
    pub fn start(nodes: &Nodes) -> Self {
        let pairs: Vec<_> = nodes
            .nodes
            .iter()
            .map(|node| (node.control().clone(), SaCounter::of(node.namespace())))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let watch = Stopwatch::start();
                for pair in &pairs {
                    report(pair);
                }
                while watch.elapsed() < INTERVAL && !stopped.load(Ordering::Relaxed) {
                    pause();
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

fn report((control, counter): &(Control, SaCounter)) {
    // Either daemon may be down: then there is nothing to tell, or nobody to be told.
    if let Ok((ike_sas, child_sas)) = counter.counts() {
        let _unheard = control.report(ike_sas, child_sas, VALID);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there would be nothing left to stop.
            let _ended = thread.join();
        }
    }
}
