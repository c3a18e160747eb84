//! Delete payload (`RFC 7296 §3.11`).

use crate::codec::{DecodeError, Reader, Writer};

use super::header::PROTOCOL_IKE;
use super::{ChildProtocol, ChildSpi, EncodeError, fit};

/// What the sender has deleted.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Protocol ID   │   SPI size    │         Number of SPIs        │
/// │                             SPIs                              │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA that carries the message, and its Child SAs with it.
    Ike,
    /// Child SAs, by the SPIs of those that lead to the sender.
    Child(ChildProtocol, Vec<ChildSpi>),
}

impl Delete {
    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// An unknown protocol, an SPI size that is not the protocol's, or another number of SPIs
    /// than it says.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let protocol = reader.u8("protocol of a delete")?;
        let spi_size = usize::from(reader.u8("SPI size of a delete")?);
        let count = usize::from(reader.u16("number of SPIs of a delete")?);
        let delete = if protocol == PROTOCOL_IKE {
            // RFC 7296 §3.11: the IKE SA is that of the message.
            for (what, value) in [("SPI size of a delete", spi_size), ("SPIs of a delete", count)] {
                if value != 0 {
                    return Err(DecodeError::Length { what, value });
                }
            }
            Self::Ike
        } else {
            let Some(protocol) = ChildProtocol::from_number(protocol) else {
                return Err(DecodeError::Value { what: "protocol of a delete", value: u64::from(protocol) });
            };
            if spi_size != ChildSpi::LENGTH {
                return Err(DecodeError::Length { what: "SPI size of a delete", value: spi_size });
            }
            let mut spis = reader.inner(count * ChildSpi::LENGTH, "SPIs of a delete")?;
            let spis =
                (0..count).map(|_| ChildSpi::read(&mut spis, "SPI of a delete")).collect::<Result<_, _>>()?;
            Self::Child(protocol, spis)
        };
        reader.finish("D payload")?;
        Ok(delete)
    }

    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When there are more SPIs than the count can say.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        match self {
            Self::Ike => {
                out.u8(PROTOCOL_IKE);
                out.zeros(3);
            }
            Self::Child(protocol, spis) => {
                out.u8(protocol.number());
                out.u8(4);
                out.u16(fit(spis.len(), "SPIs of a delete")?);
                for spi in spis {
                    out.octets(&spi.to_octets());
                }
            }
        }
        Ok(())
    }
}
