//! Our redirect over our own fallback, which makes the same decision over sockets.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use redirect_userspace::fastpath::memory::{MemoryTables, SharedTables};
use redirect_userspace::fastpath::userspace::{Discard, Options, Userspace};
use redirect_userspace::testing::fixtures::VIP4;

use crate::Objects;
use crate::report::Report;
use crate::sockets::Sockets;
use crate::{cost, lab};

pub(crate) fn run(report: &mut Report, objects: &Objects) -> Result<()> {
    let world = cost::world();
    let mut sockets = Sockets::new(objects, &world)?;
    let mut tables = MemoryTables::new(world.control.multiplier);
    tables.set_vips(&world.vips)?;
    for (index, gateway) in (0..).zip(&world.gateways) {
        tables.set_gateway(index, *gateway)?;
    }
    tables.publish(world.table);
    tables.arm();
    let tables = SharedTables::new(tables);
    // Its thread stays where it is started: in the far namespace, on the responder's core.
    let fallback = sockets.far.enter(|| {
        lab::pin(crate::RESPONDER_CORE)?;
        let options = Options { workers: NonZeroUsize::MIN, patience: Duration::MAX, ..Options::default() };
        let mut fallback = Userspace::start(&tables, Arc::new(Discard), options)?;
        fallback.set_vips(&[IpAddr::V4(VIP4)])?;
        Ok(fallback)
    })?;
    cost::compare(report, objects, &mut sockets, &[], "fallback", 8.0, 20.0)?;
    anyhow::ensure!(fallback.unsent() == 0, "{} replies were not sent", fallback.unsent());
    Ok(())
}
