//! Sessions that are interrupted on purpose: what a client is left with when its gateway is gone.

use super::Endpoint;
use crate::ike::event::CloseReason;
use crate::ike::io::Output;
use crate::machine::Outbox;
use crate::time::Now;

impl Endpoint {
    /// Drops every SA as if its peer did not answer any more, and nothing is said. Tickets that were
    /// given to us stay good: what is brought up next goes on by them (`RFC 5723 §4.3.1`).
    pub fn interrupt(&mut self, now: Now, out: &mut Outbox<Output>) {
        for spi in self.table.spis() {
            let (table, mut ctx) = self.split(now, out);
            if let Some(mut sa) = table.take(spi) {
                sa.drop_silently(&mut ctx, CloseReason::PeerDead);
                table.remove(spi);
            }
        }
        self.attend(now, out);
    }
}
