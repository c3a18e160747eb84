//! Child SAs at work.
//!
//! [`esp`] seals and opens packets, [`replay`] keeps count of them, [`bulk`] cuts and joins them. All
//! are pure. [`DataPlane`] is
//! what the IKE endpoints see of whoever carries the packets.

#![forbid(unsafe_code)]

pub mod bulk;
pub mod esp;
pub mod kernel;
pub mod none;
pub mod packet;
pub mod replay;
pub mod userspace;

mod held;
mod inside;
mod prefix;

use std::net::IpAddr;

use crate::ike::wire::ChildSpi;
use crate::ike::{InstallChild, Outer, Path, Trap, TrapId, Usage};

/// Who carries the packets of Child SAs. There is one for each worker; what one of them is told
/// holds for its own SAs, whoever sends or receives their packets.
///
/// SAs are named by the SPI that leads to us. What is said of an SA that is not there changes
/// nothing.
pub trait DataPlane {
    /// A Child SA begins its work: packets come in through it at once, and go out as
    /// [`InstallChild::is_outbound`] says. What went out through [`InstallChild::replaces`] then
    /// goes out through it without a packet lost in between.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn install(&mut self, child: InstallChild) -> Result<(), InstallError>;

    /// Packets go out through this SA from now on, in the place of the one it replaces.
    fn switch(&mut self, inbound: ChildSpi);

    /// Its packets travel another way than before.
    fn redirect(&mut self, inbound: ChildSpi, outer: Outer);

    /// A Child SA has ended.
    fn remove(&mut self, inbound: ChildSpi);

    /// The next packet that this is for, and that no SA takes, is told of, and no other one until this is
    /// said again. What was said by its number before holds no more.
    ///
    /// # Errors
    ///
    /// Why it cannot: then it is as before.
    fn watch(&mut self, trap: Trap) -> Result<(), InstallError>;

    /// Its packets need not be told of any more.
    fn unwatch(&mut self, trap: TrapId);

    /// How much it has carried.
    fn usage(&self, inbound: ChildSpi) -> Option<Usage>;
}

/// Something that IKE wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An authentic packet came from elsewhere.
    Moved(ChildSpi, Path),
    /// An authentic packet came.
    Alive(ChildSpi),
    /// It has carried as much as it should.
    Worn(ChildSpi),
    /// It has carried as much as it may, and carries nothing more.
    Spent(ChildSpi),
    /// There is a packet for a connection that is watched for: from where to where.
    Wanted(TrapId, (IpAddr, IpAddr)),
}

/// Why a Child SA cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// Its algorithms are not supported, or its keys do not fit them.
    #[error("the keys cannot be used")]
    Keys,
    /// Its SPI leads to another SA already.
    #[error("the SPI is in use")]
    Spi,
    /// The system refuses.
    #[error("the system refuses: {0}")]
    System(String),
}
