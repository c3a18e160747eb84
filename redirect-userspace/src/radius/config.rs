//! Which servers there are, and how long they are waited for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

/// What a gateway knows of its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked who may come in: the first of them that answers.
    pub authentication: Vec<Server>,
    /// Who is told what was used: the first of them that answers.
    pub accounting: Vec<Server>,
    /// How often sessions are told of, unless a server says.
    pub interim: Option<Duration>,
}

/// One server in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// What both sides know.
    pub secret: Secret,
    /// How the gateway calls itself.
    pub nas_identifier: Arc<str>,
    /// How long it is waited for before a packet is repeated, the first time.
    pub timeout: Duration,
    /// How often a packet is repeated before the next server is asked.
    pub retries: u32,
    /// How long it is left alone when it does not answer.
    pub dead_time: Duration,
    /// Whether it is asked whether it is back (`RFC 5997`). Otherwise the next request finds out.
    pub is_probed: bool,
}

impl Server {
    /// How long it is waited for unless the file says.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// How often a packet is repeated unless the file says: with the default timeout a client waits
    /// seven seconds for a server that is gone.
    pub const DEFAULT_RETRIES: u32 = 2;
    /// How long a server is left alone unless the file says.
    pub const DEFAULT_DEAD_TIME: Duration = Duration::from_secs(60);

    /// How long it is waited for after a packet was sent for the last of `sent` times.
    // RFC 5080 §2.2.1: twice as long each time, but no longer than MRT.
    pub(crate) fn patience(&self, sent: u32) -> Duration {
        let factor = 1_u32.checked_shl(sent.saturating_sub(1)).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(factor).min(LONGEST.max(self.timeout))
    }

    /// How long it is waited for altogether.
    pub(crate) fn whole_patience(&self) -> Duration {
        (1..=self.retries.saturating_add(1)).map(|sent| self.patience(sent)).sum()
    }
}

/// The longest time between two repetitions (`RFC 5080 §2.2.1`, MRT).
const LONGEST: Duration = Duration::from_secs(16);
