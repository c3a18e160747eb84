//! Security Association payload: proposals (`RFC 7296 §3.3`, `§3.3.1`).

use std::num::{NonZeroU8, NonZeroU64};

use crate::codec::{DecodeError, Reader, Writer};

use super::header::PROTOCOL_IKE;
use super::{ChildProtocol, ChildSpi, EncodeError, Transform, TransformType, Unlisted, fit};

/// Proposals in the order of preference; in a response the one that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sa {
    /// At least one, with rising numbers.
    proposals: Vec<Proposal>,
}

impl Sa {
    /// `None` without a proposal, or when the numbers do not rise: an answer names a proposal by
    /// its number.
    #[must_use]
    pub fn new(proposals: Vec<Proposal>) -> Option<Self> {
        let is_rising = proposals.is_sorted_by(|first, second| first.number < second.number);
        (is_rising && !proposals.is_empty()).then_some(Self { proposals })
    }

    /// A single proposal: an answer.
    #[must_use]
    pub fn one(proposal: Proposal) -> Self {
        Self { proposals: vec![proposal] }
    }

    /// The proposals; at least one.
    #[must_use]
    pub fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// The proposals.
    #[must_use]
    pub fn into_proposals(self) -> Vec<Proposal> {
        self.proposals
    }

    /// Reads a payload's body.
    ///
    /// # Errors
    ///
    /// Lengths or counts that contradict each other, an SPI that the protocol does not have, no
    /// proposal at all, or numbers that do not rise. What is merely unknown is no error.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut proposals = Vec::new();
        let mut previous = 0;
        loop {
            let (proposal, is_last) = Proposal::read(&mut reader)?;
            let number = proposal.number.get();
            if number <= previous {
                return Err(DecodeError::Value { what: "proposal number", value: u64::from(number) });
            }
            previous = number;
            proposals.push(proposal);
            if is_last {
                break;
            }
        }
        reader.finish("SA payload")?;
        Ok(Self { proposals })
    }

    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When a length or count does not fit.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        let last = self.proposals.len().saturating_sub(1);
        for (position, proposal) in self.proposals.iter().enumerate() {
            proposal.encode(out, position == last)?;
        }
        Ok(())
    }
}

/// Which protocol a proposal is for, and the sender's SPI for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalSpi {
    /// IKE: none in IKE_SA_INIT, the sender's new one when an IKE SA is rekeyed.
    Ike(Option<NonZeroU64>),
    /// A Child SA.
    Child(ChildProtocol, ChildSpi),
    /// A protocol that is not known: the proposal must not be chosen.
    Unknown {
        /// Its number.
        protocol: Unlisted<u8>,
        /// The SPI, at most 255 octets.
        spi: Box<[u8]>,
    },
}

impl ProposalSpi {
    fn read(protocol: u8, spi: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(spi);
        let wrong = DecodeError::Length { what: "SPI of a proposal", value: spi.len() };
        match (protocol, ChildProtocol::from_number(protocol), spi.len()) {
            (PROTOCOL_IKE, _, 0) => Ok(Self::Ike(None)),
            (PROTOCOL_IKE, _, IKE_SPI_LENGTH) => {
                let what = "IKE SPI of a proposal";
                let spi = reader.u64(what)?;
                let spi = NonZeroU64::new(spi).ok_or(DecodeError::Value { what, value: 0 })?;
                Ok(Self::Ike(Some(spi)))
            }
            (_, Some(protocol), ChildSpi::LENGTH) => {
                Ok(Self::Child(protocol, ChildSpi::read(&mut reader, "SPI of a proposal")?))
            }
            (PROTOCOL_IKE, _, _) | (_, Some(_), _) => Err(wrong),
            (_, None, _) => Ok(Self::Unknown { protocol: Unlisted(protocol), spi: spi.into() }),
        }
    }
}

/// A set of transforms: one of each type is chosen.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Last or 2     │   Reserved    │        Proposal length        │
/// │Proposal number│  Protocol ID  │   SPI size    │  Transforms   │
/// │                            SPI                                │
/// │                         Transforms                            │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its number: an answer has that of the proposal it accepts.
    pub number: NonZeroU8,
    /// Protocol and SPI.
    pub spi: ProposalSpi,
    /// Algorithms, at most 255. Several of one type are alternatives, the preferred one first.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// Whether protocol and transform types are all known. If not, the proposal must not be
    /// chosen (`RFC 7296 §3.3.6`).
    #[must_use]
    pub fn is_understood(&self) -> bool {
        let knows_types =
            self.transforms.iter().all(|transform| !matches!(transform.kind(), TransformType::Unknown(_)));
        knows_types && !matches!(self.spi, ProposalSpi::Unknown { .. })
    }

    fn read(reader: &mut Reader<'_>) -> Result<(Self, bool), DecodeError> {
        let is_last = is_last(reader, PROPOSAL_FOLLOWS, "last proposal")?;
        reader.u8("proposal")?;
        let length = usize::from(reader.u16("proposal length")?);
        let rest = length
            .checked_sub(BEFORE_NUMBER)
            .ok_or(DecodeError::Length { what: "proposal", value: length })?;
        let mut inner = reader.inner(rest, "proposal")?;
        let number = NonZeroU8::new(inner.u8("proposal number")?)
            .ok_or(DecodeError::Value { what: "proposal number", value: 0 })?;
        let protocol = inner.u8("protocol of a proposal")?;
        let spi_size = usize::from(inner.u8("SPI size of a proposal")?);
        let count = inner.u8("number of transforms")?;
        let spi = ProposalSpi::read(protocol, inner.take(spi_size, "SPI of a proposal")?)?;
        let mut transforms = Vec::new();
        for position in 1..=count {
            let (transform, is_last) = Transform::read(&mut inner)?;
            if is_last != (position == count) {
                return Err(DecodeError::Value { what: "last transform", value: u64::from(position) });
            }
            transforms.push(transform);
        }
        inner.finish("proposal")?;
        Ok((Self { number, spi, transforms }, is_last))
    }

    fn encode(&self, out: &mut Writer, is_last: bool) -> Result<(), EncodeError> {
        let start = out.len();
        out.u8(if is_last { 0 } else { PROPOSAL_FOLLOWS });
        out.u8(0);
        out.u16(0);
        out.u8(self.number.get());
        let count = fit(self.transforms.len(), "transforms of a proposal")?;
        let (protocol, spi): (u8, &[u8]) = match &self.spi {
            ProposalSpi::Ike(None) => (PROTOCOL_IKE, &[]),
            ProposalSpi::Ike(Some(spi)) => (PROTOCOL_IKE, &spi.get().to_be_bytes()),
            ProposalSpi::Child(protocol, spi) => (protocol.number(), &spi.to_octets()),
            ProposalSpi::Unknown { protocol, spi } => (protocol.value(), spi),
        };
        out.u8(protocol);
        out.u8(fit(spi.len(), "SPI of a proposal")?);
        out.u8(count);
        out.octets(spi);
        let last = self.transforms.len().saturating_sub(1);
        for (position, transform) in self.transforms.iter().enumerate() {
            transform.encode(out, position == last)?;
        }
        let length: u16 = fit(out.len() - start, "proposal")?;
        out.patch(start + 2, &length.to_be_bytes());
        Ok(())
    }
}

/// Reads the octet that says whether another substructure follows.
pub(super) fn is_last(reader: &mut Reader<'_>, follows: u8, what: &'static str) -> Result<bool, DecodeError> {
    match reader.u8(what)? {
        0 => Ok(true),
        value if value == follows => Ok(false),
        value => Err(DecodeError::Value { what, value: u64::from(value) }),
    }
}

/// In the first octet of a proposal: it is not the last one.
const PROPOSAL_FOLLOWS: u8 = 2;
/// Octets of a proposal before its number.
const BEFORE_NUMBER: usize = 4;
/// Octets of an IKE SPI.
const IKE_SPI_LENGTH: usize = 8;
