//! Nobody carries packets: for measurements of IKE alone.

use std::collections::HashMap;

use super::{DataPlane, InstallError};
use crate::ike::wire::ChildSpi;
use crate::ike::{InstallChild, Outer, Trap, TrapId, Usage};

/// Keeps what it is told about and does nothing with it.
#[derive(Debug, Default)]
pub struct Nobody {
    installed: HashMap<ChildSpi, ()>,
}

impl DataPlane for Nobody {
    fn install(&mut self, child: InstallChild) -> Result<(), InstallError> {
        match self.installed.insert(child.inbound, ()) {
            None => Ok(()),
            Some(()) => Err(InstallError::Spi),
        }
    }

    fn switch(&mut self, _inbound: ChildSpi) {}

    fn redirect(&mut self, _inbound: ChildSpi, _outer: Outer) {}

    fn remove(&mut self, inbound: ChildSpi) {
        self.installed.remove(&inbound);
    }

    fn watch(&mut self, _trap: Trap) -> Result<(), InstallError> {
        Ok(())
    }

    fn unwatch(&mut self, _trap: TrapId) {}

    fn usage(&self, inbound: ChildSpi) -> Option<Usage> {
        self.installed.get(&inbound).map(|()| Usage::default())
    }
}
