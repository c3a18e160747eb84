//! What notifies say beyond their type, read and written.

use super::{
    ChildProtocol, ChildSpi, Cookie, DecodeError, EncodeError, Fqdn, GatewayAddress, HashAlgorithms,
    IDENTITY_FQDN, IDENTITY_IPV4, IDENTITY_IPV6, IpAddr, Ipv4Addr, Ipv6Addr, MessageId, NonZeroU32, Nonce,
    Notify, NotifyContent, NotifyType, Opaque, Reader, Writer, fit, unicast,
};

/// Looks into SPI and data of a notify.
pub(super) fn read<'a>(notify: &Notify<'a>) -> Result<NotifyContent<'a>, DecodeError> {
    let what = notify.kind.label();
    let mut data = Reader::new(notify.data);
    let content = match notify.kind {
        NotifyType::ChildSaNotFound => {
            return child(notify, what).map(|(protocol, spi)| NotifyContent::ChildSaNotFound(protocol, spi));
        }
        NotifyType::RekeySa => {
            return child(notify, what).map(|(protocol, spi)| NotifyContent::RekeySa(protocol, spi));
        }
        NotifyType::UnsupportedCriticalPayload => NotifyContent::UnsupportedCriticalPayload(data.u8(what)?),
        NotifyType::InvalidMessageId => NotifyContent::InvalidMessageId(MessageId(data.u32(what)?)),
        NotifyType::InvalidSpi => NotifyContent::InvalidSpi(ChildSpi::read(&mut data, what)?),
        NotifyType::InvalidKePayload => NotifyContent::InvalidKePayload(data.u16(what)?.into()),
        NotifyType::SetWindowSize => {
            let size = NonZeroU32::new(data.u32(what)?).ok_or(DecodeError::Value { what, value: 0 })?;
            NotifyContent::SetWindowSize(size)
        }
        NotifyType::IpcompSupported => {
            NotifyContent::IpcompSupported { cpi: data.u16(what)?, transform: data.u8(what)? }
        }
        NotifyType::NatDetectionSource => NotifyContent::NatDetectionSource(data.array(what)?),
        NotifyType::NatDetectionDestination => NotifyContent::NatDetectionDestination(data.array(what)?),
        NotifyType::Cookie => NotifyContent::Cookie(Cookie::new(data.rest())?),
        NotifyType::AdditionalIp4Address => {
            NotifyContent::AdditionalIp4Address(data.array::<4>(what)?.into())
        }
        NotifyType::AdditionalIp6Address => {
            NotifyContent::AdditionalIp6Address(data.array::<16>(what)?.into())
        }
        // RFC 4555 §4.2.5
        NotifyType::Cookie2 => NotifyContent::Cookie2(between(8, 64, data.rest(), what)?),
        NotifyType::AuthLifetime => NotifyContent::AuthLifetime(data.u32(what)?),
        // RFC 5685 §9.1: no data. The fast path does not accept any either.
        NotifyType::RedirectSupported => NotifyContent::Plain(notify.kind),
        NotifyType::Redirect => {
            let gateway = gateway(&mut data, what)?;
            let nonce = match data.rest() {
                [] => None,
                nonce => Some(Nonce::new(nonce)?),
            };
            NotifyContent::Redirect { gateway, nonce }
        }
        NotifyType::RedirectedFrom => NotifyContent::RedirectedFrom(address(&mut data, what)?),
        NotifyType::TicketLtOpaque => {
            let lifetime = data.u32(what)?;
            NotifyContent::TicketLtOpaque { lifetime, ticket: Opaque(filled(data.rest(), what)?) }
        }
        NotifyType::TicketOpaque => NotifyContent::TicketOpaque(Opaque(filled(data.rest(), what)?)),
        // RFC 6290 §4.1
        NotifyType::QuickCrashDetection => {
            NotifyContent::QuickCrashDetection(Opaque(between(16, 128, data.rest(), what)?))
        }
        NotifyType::SignatureHashAlgorithms => {
            let octets = filled(data.rest(), what)?;
            if !octets.len().is_multiple_of(2) {
                return Err(DecodeError::Length { what, value: octets.len() });
            }
            NotifyContent::SignatureHashAlgorithms(HashAlgorithms(octets.into()))
        }
        NotifyType::PpkIdentity => {
            let kind = data.u8(what)?.into();
            NotifyContent::PpkIdentity { kind, id: filled(data.rest(), what)? }
        }
        NotifyType::NoPpkAuth => NotifyContent::NoPpkAuth(Opaque(filled(data.rest(), what)?)),
        NotifyType::AdditionalKeyExchange => NotifyContent::AdditionalKeyExchange(filled(data.rest(), what)?),
        // RFC 4555 §4.2.1, RFC 9242 §3.1: data that comes nevertheless is ignored.
        NotifyType::InvalidIkeSpi
        | NotifyType::InvalidMajorVersion
        | NotifyType::InvalidSyntax
        | NotifyType::NoProposalChosen
        | NotifyType::AuthenticationFailed
        | NotifyType::SinglePairRequired
        | NotifyType::NoAdditionalSas
        | NotifyType::InternalAddressFailure
        | NotifyType::FailedCpRequired
        | NotifyType::TsUnacceptable
        | NotifyType::InvalidSelectors
        | NotifyType::UnacceptableAddresses
        | NotifyType::UnexpectedNatDetected
        | NotifyType::TemporaryFailure
        | NotifyType::AuthorizationFailed
        | NotifyType::StateNotFound
        | NotifyType::TsMaxQueue
        | NotifyType::InitialContact
        | NotifyType::AdditionalTsPossible
        | NotifyType::UseTransportMode
        | NotifyType::HttpCertLookupSupported
        | NotifyType::EspTfcPaddingNotSupported
        | NotifyType::NonFirstFragmentsAlso
        | NotifyType::MobikeSupported
        | NotifyType::NoAdditionalAddresses
        | NotifyType::UpdateSaAddresses
        | NotifyType::NoNatsAllowed
        | NotifyType::MultipleAuthSupported
        | NotifyType::AnotherAuthFollows
        | NotifyType::TicketRequest
        | NotifyType::TicketAck
        | NotifyType::TicketNack
        | NotifyType::EapOnlyAuthentication
        | NotifyType::ChildlessSupported
        | NotifyType::FragmentationSupported
        | NotifyType::UsePpk
        | NotifyType::IntermediateSupported
        | NotifyType::Ip4Allowed
        | NotifyType::Ip6Allowed
        | NotifyType::Unknown(_) => return Ok(NotifyContent::Plain(notify.kind)),
    };
    data.finish(what)?;
    // RFC 7296 §3.10: these concern the IKE SA, which has no SPI here.
    match notify.spi {
        [] => Ok(content),
        spi => Err(DecodeError::Length { what: "SPI of a notify", value: spi.len() }),
    }
}

impl NotifyContent<'_> {
    /// Appends a payload's body.
    ///
    /// # Errors
    ///
    /// When a length does not fit.
    pub fn encode(&self, out: &mut Writer) -> Result<(), EncodeError> {
        match self.child() {
            Some((protocol, spi)) => {
                let spi = spi.to_octets();
                Notify { kind: self.kind(), protocol: protocol.number(), spi: &spi, data: &[] }
                    .encode(out)?;
            }
            None => Notify::plain(self.kind()).encode(out)?,
        }
        match self {
            Self::UnsupportedCriticalPayload(kind) => out.u8(*kind),
            Self::InvalidMessageId(message_id) => out.u32(message_id.0),
            Self::InvalidSpi(spi) => out.octets(&spi.to_octets()),
            Self::InvalidKePayload(method) => out.u16((*method).into()),
            Self::SetWindowSize(size) => out.u32(size.get()),
            Self::IpcompSupported { cpi, transform } => {
                out.u16(*cpi);
                out.u8(*transform);
            }
            Self::NatDetectionSource(hash) | Self::NatDetectionDestination(hash) => out.octets(hash),
            Self::Cookie(cookie) => out.octets(cookie.as_slice()),
            Self::AdditionalIp4Address(address) => out.octets(&address.octets()),
            Self::AdditionalIp6Address(address) => out.octets(&address.octets()),
            Self::AuthLifetime(seconds) => out.u32(*seconds),
            Self::Redirect { gateway, nonce } => {
                match gateway {
                    GatewayAddress::Ipv4(address) => identity(out, IDENTITY_IPV4, &address.octets())?,
                    GatewayAddress::Ipv6(address) => identity(out, IDENTITY_IPV6, &address.octets())?,
                    GatewayAddress::Fqdn(name) => identity(out, IDENTITY_FQDN, name.as_str().as_bytes())?,
                }
                if let Some(nonce) = nonce {
                    nonce.encode(out);
                }
            }
            Self::RedirectedFrom(IpAddr::V4(address)) => identity(out, IDENTITY_IPV4, &address.octets())?,
            Self::RedirectedFrom(IpAddr::V6(address)) => identity(out, IDENTITY_IPV6, &address.octets())?,
            Self::TicketLtOpaque { lifetime, ticket } => {
                out.u32(*lifetime);
                out.octets(ticket.0);
            }
            Self::SignatureHashAlgorithms(algorithms) => out.octets(&algorithms.0),
            Self::PpkIdentity { kind, id } => {
                out.u8((*kind).into());
                out.octets(id);
            }
            Self::Cookie2(octets) | Self::AdditionalKeyExchange(octets) => out.octets(octets),
            Self::TicketOpaque(octets) | Self::QuickCrashDetection(octets) | Self::NoPpkAuth(octets) => {
                out.octets(octets.0);
            }
            Self::ChildSaNotFound(..) | Self::RekeySa(..) | Self::Plain(_) => {}
        }
        Ok(())
    }
}

/// The Child SA that a received notify is about.
fn child(notify: &Notify<'_>, what: &'static str) -> Result<(ChildProtocol, ChildSpi), DecodeError> {
    let protocol = ChildProtocol::from_number(notify.protocol).ok_or_else(|| DecodeError::Value {
        what: "protocol of a notify",
        value: u64::from(notify.protocol),
    })?;
    let mut spi = Reader::new(notify.spi);
    let found = ChildSpi::read(&mut spi, what)?;
    spi.finish(what)?;
    Ok((protocol, found))
}

/// A gateway's identity (`RFC 5685 §9.2`).
fn gateway(data: &mut Reader<'_>, what: &'static str) -> Result<GatewayAddress, DecodeError> {
    let kind = data.u8(what)?;
    let length = usize::from(data.u8(what)?);
    let mut identity = data.inner(length, what)?;
    let gateway = match kind {
        IDENTITY_IPV4 => GatewayAddress::Ipv4(usable(identity.array::<4>(what)?.into(), what)?),
        IDENTITY_IPV6 => GatewayAddress::Ipv6(usable(identity.array::<16>(what)?.into(), what)?),
        IDENTITY_FQDN => {
            let name = std::str::from_utf8(identity.rest()).ok();
            let name = name.and_then(|name| name.parse::<Fqdn>().ok());
            GatewayAddress::Fqdn(name.ok_or(DecodeError::Length { what, value: length })?)
        }
        _ => return Err(DecodeError::Value { what, value: u64::from(kind) }),
    };
    identity.finish(what)?;
    Ok(gateway)
}

/// An address that a client can be sent to.
fn usable<A: Copy + Into<IpAddr>>(address: A, what: &'static str) -> Result<A, DecodeError> {
    match unicast(address.into()) {
        Ok(()) => Ok(address),
        Err(_) => Err(DecodeError::Value { what, value: 0 }),
    }
}

/// The identity of a gateway that has redirected: an address (`RFC 5685 §9.3`).
fn address(data: &mut Reader<'_>, what: &'static str) -> Result<IpAddr, DecodeError> {
    let kind = data.u8(what)?;
    let length = data.u8(what)?;
    match (kind, length) {
        (IDENTITY_IPV4, 4) => Ok(Ipv4Addr::from(data.array::<4>(what)?).into()),
        (IDENTITY_IPV6, 16) => Ok(Ipv6Addr::from(data.array::<16>(what)?).into()),
        (IDENTITY_IPV4 | IDENTITY_IPV6, _) => Err(DecodeError::Length { what, value: usize::from(length) }),
        _ => Err(DecodeError::Value { what, value: u64::from(kind) }),
    }
}

fn identity(out: &mut Writer, kind: u8, octets: &[u8]) -> Result<(), EncodeError> {
    out.u8(kind);
    out.u8(fit(octets.len(), "identity of a gateway")?);
    out.octets(octets);
    Ok(())
}

fn filled<'a>(octets: &'a [u8], what: &'static str) -> Result<&'a [u8], DecodeError> {
    between(1, usize::MAX, octets, what)
}

fn between<'a>(
    least: usize,
    most: usize,
    octets: &'a [u8],
    what: &'static str,
) -> Result<&'a [u8], DecodeError> {
    if (least..=most).contains(&octets.len()) {
        Ok(octets)
    } else {
        Err(DecodeError::Length { what, value: octets.len() })
    }
}
