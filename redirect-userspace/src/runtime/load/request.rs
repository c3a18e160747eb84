//! IKE_SA_INIT requests without their arithmetic, and a strict reader of what comes back.
//!
//! # References
//!
//! `RFC 7296 §1.2`, `§2.6`; `RFC 5685 §3`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::gateway::GatewayAddress;
use crate::ike::config::{Connection, Name, Profile, Settings, Upkeep};
use crate::ike::rules::{self, Form, Outside};
use crate::ike::wire::{
    Chain, Direction, ExchangeType, Message, MessageId, NotifyContent, NotifyType, OriginalRole, PayloadType,
};
use crate::ike::{Command, Endpoint, Input, Output, Pools, Shard};
use crate::machine::{Machine as _, Outbox};
use crate::rng::Rng;
use crate::time::Now;

/// Octets of our nonces.
pub(super) const NONCE: usize = 32;
/// Octets in front of the first payload.
const HEADER: usize = 28;
/// Where the header names the first payload, and where it has its length.
const NEXT: usize = 16;
const LENGTH: std::ops::Range<usize> = 24..28;

/// The first message of our initiator. Each request is one with an SPI and a nonce of its own; the key
/// exchange is that of all.
#[derive(Debug)]
pub(super) struct Template {
    octets: Vec<u8>,
    nonce_at: usize,
}

impl Template {
    /// What the initiator says first with these settings.
    pub(super) fn new(
        now: Now,
        (local, gateway): (IpAddr, SocketAddr),
        profile: Profile,
        settings: Settings,
        rng: Rng,
    ) -> Result<Self> {
        let name: Name = profile.name.clone();
        let connection = Connection {
            profile: Arc::new(profile),
            remotes: vec![gateway],
            wants_ipv4: true,
            wants_ipv6: false,
            upkeep: Upkeep::default(),
        };
        // The hashes of addresses are of another SPI in every request but the first: a gateway sees a NAT.
        let local = if local.is_unspecified() { gateway.ip() } else { local };
        let settings = Settings { connections: vec![Arc::new(connection)], ..settings };
        let mut endpoint = Endpoint::new(now, Shard::SOLE, Arc::new(settings), Box::new(Pools::new()), rng);
        let mut out = Outbox::new();
        let command = Command::Initiate { connection: name, local };
        endpoint.step(now, Input::Command(command), &mut out);
        let first = out.drain().find_map(|output| {
            if let Output::Transmit { octets, .. } = output { Some(octets) } else { None }
        });
        let octets = first.context("the initiator has nothing to say: are the proposals right?")?;
        let nonce_at = nonce_at(&octets).context("the initiator's request has no nonce of 32 octets")?;
        Ok(Self { octets, nonce_at })
    }

    /// A request.
    pub(super) fn request(&self, spi: u64, nonce: &[u8; NONCE], cookie: Option<&[u8]>) -> Vec<u8> {
        let mut request = self.octets.clone();
        put(&mut request, 0, &spi.to_be_bytes());
        put(&mut request, self.nonce_at, nonce);
        if let Some(cookie) = cookie {
            // RFC 7296 §2.6: in front, and everything else as it was.
            let length = u16::try_from(8 + cookie.len()).unwrap_or(u16::MAX);
            let mut notify = vec![request.get(NEXT).copied().unwrap_or_default(), 0];
            notify.extend(length.to_be_bytes());
            notify.extend([0, 0]);
            notify.extend(u16::from(NotifyType::Cookie).to_be_bytes());
            notify.extend(cookie);
            put(&mut request, NEXT, &[u8::from(PayloadType::Notify)]);
            request.splice(HEADER..HEADER, notify);
            let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
            put(&mut request, LENGTH.start, &length.to_be_bytes());
        }
        request
    }
}

fn put(octets: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = octets.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Where a message has its nonce.
fn nonce_at(octets: &[u8]) -> Option<usize> {
    let message = Message::decode(octets).ok()?;
    let mut at = HEADER;
    for payload in &message.payloads {
        if payload.kind == PayloadType::Nonce {
            return (payload.body.len() == NONCE).then_some(at + 4);
        }
        at += 4 + payload.body.len();
    }
    None
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Go there; with our nonce.
    Redirect(GatewayAddress),
    /// The gateway wants to make an SA.
    Response,
    /// The request is to come again, with this.
    Cookie(Vec<u8>),
    /// Something else is notified.
    Notify(NotifyType),
    /// A redirect that has not our nonce, or cannot be read.
    BadRedirect,
    /// No IKE_SA_INIT response.
    Malformed,
}

/// The SPI of the initiator of a message.
pub(super) fn spi_of(octets: &[u8]) -> Option<u64> {
    octets.first_chunk().map(|spi| u64::from_be_bytes(*spi))
}

/// Reads a reply to the request with this nonce. Its SPI has been looked at.
pub(super) fn read(octets: &[u8], nonce: &[u8; NONCE]) -> Reply {
    let Ok(message) = Message::decode(octets) else { return Reply::Malformed };
    let header = &message.header;
    let is_reply = header.exchange == ExchangeType::IkeSaInit
        && header.direction == Direction::Response
        && header.sender == OriginalRole::Responder
        && header.message_id == MessageId::FIRST;
    if !is_reply {
        return Reply::Malformed;
    }
    match rules::outside(&message) {
        Ok(Outside::Clear(Form::InitResponse)) => Reply::Response,
        Ok(Outside::Clear(_)) => notified(&message.payloads, nonce),
        Ok(Outside::Encrypted(_) | Outside::Fragment(_) | Outside::Hint) | Err(_) => Reply::Malformed,
    }
}

fn notified(chain: &Chain<'_>, nonce: &[u8; NONCE]) -> Reply {
    let wanted = |kind| chain.notify(kind);
    let notify = wanted(NotifyType::Cookie).or_else(|| wanted(NotifyType::Redirect));
    let Some(notify) = notify.or_else(|| chain.notifies().next()) else { return Reply::Malformed };
    match (notify.kind, notify.content()) {
        (_, Ok(NotifyContent::Cookie(cookie))) => Reply::Cookie(cookie.as_slice().to_vec()),
        (_, Ok(NotifyContent::Redirect { gateway, nonce: Some(echo) })) if echo.as_slice() == nonce => {
            Reply::Redirect(gateway)
        }
        (NotifyType::Redirect, _) => Reply::BadRedirect,
        (NotifyType::Cookie, Err(_)) => Reply::Malformed,
        (kind, _) => Reply::Notify(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::wire::{Cookie, Header, Nonce, SpiI, SpiR, encode_message};

    fn template() -> Template {
        let (local, gateway) = ([192, 0, 2, 1].into(), ([192, 0, 2, 2], 500).into());
        let (profile, settings) = super::super::bare("aes128gcm16-prfsha256-x25519", "aes128gcm16").unwrap();
        Template::new(Now::default(), (local, gateway), profile, settings, Rng::from_number(1)).unwrap()
    }

    const SPI: u64 = 0x0102_0304_0506_0708;
    const NONCES: [u8; NONCE] = [9; NONCE];

    fn reply(spi_r: u64, write: impl FnOnce(&mut crate::ike::wire::ChainWriter<'_>)) -> Vec<u8> {
        let header = Header {
            spi_i: SpiI(SPI.try_into().unwrap()),
            spi_r: spi_r.try_into().ok().map(SpiR),
            version: crate::ike::wire::Version::V2,
            exchange: ExchangeType::IkeSaInit,
            sender: OriginalRole::Responder,
            direction: Direction::Response,
            message_id: MessageId::FIRST,
        };
        encode_message(Vec::new(), &header, |chain| {
            write(chain);
            Ok(())
        })
        .unwrap()
    }

    fn redirect(nonce: Option<&[u8]>) -> Vec<u8> {
        let gateway = "192.0.2.9".parse().unwrap();
        let nonce = nonce.map(|nonce| Nonce::new(nonce).unwrap());
        reply(0, |chain| chain.notify(&NotifyContent::Redirect { gateway, nonce }).unwrap())
    }

    #[test]
    fn a_request_is_the_initiators_with_another_spi_and_nonce() {
        let template = template();

        let request = template.request(SPI, &NONCES, None);

        let message = Message::decode(&request).unwrap();
        assert_eq!(message.header.spi_i.0.get(), SPI);
        assert_eq!(message.payloads.find(PayloadType::Nonce).unwrap().body, NONCES);
        assert!(message.payloads.notify(NotifyType::RedirectSupported).is_some());
        assert!(matches!(rules::outside(&message), Ok(Outside::Clear(Form::InitRequest))));
        assert_ne!(template.octets, request);
    }

    #[test]
    fn a_cookie_stands_first_and_the_rest_is_as_it_was() {
        let template = template();
        let plain = template.request(SPI, &NONCES, None);

        let request = template.request(SPI, &NONCES, Some(&[5; 24]));

        let message = Message::decode(&request).unwrap();
        let first = message.payloads.notifies().next().unwrap();
        assert_eq!(first.content(), Ok(NotifyContent::Cookie(Cookie::new([5; 24].as_slice()).unwrap())));
        assert_eq!(request[HEADER + 32..], plain[HEADER..]);
        assert!(matches!(rules::outside(&message), Ok(Outside::Clear(Form::InitRequest))));
    }

    #[test]
    fn a_redirect_has_to_have_our_nonce() {
        let gateway = "192.0.2.9".parse().unwrap();
        assert_eq!(read(&redirect(Some(&NONCES)), &NONCES), Reply::Redirect(gateway));
        for wrong in [None, Some(&[8; 32][..]), Some(&[9; 31]), Some(&[9; 33])] {
            assert_eq!(read(&redirect(wrong), &NONCES), Reply::BadRedirect, "{wrong:?}");
        }
    }

    #[test]
    fn cookies_and_refusals_are_told_apart() {
        let cookie = Cookie::new(vec![5; 24]).unwrap();
        let cookie = reply(0, |chain| chain.notify(&NotifyContent::Cookie(cookie)).unwrap());
        assert_eq!(read(&cookie, &NONCES), Reply::Cookie(vec![5; 24]));
        let refusal = reply(0, |chain| chain.plain(NotifyType::NoProposalChosen).unwrap());
        assert_eq!(read(&refusal, &NONCES), Reply::Notify(NotifyType::NoProposalChosen));
    }

    #[test]
    fn what_is_cut_or_changed_is_no_reply() {
        let whole = redirect(Some(&NONCES));
        for length in 0..whole.len() {
            let read = read(&whole[..length], &NONCES);
            assert_eq!(read, Reply::Malformed, "{length} octets");
        }
        // A request, another exchange, another Message ID.
        for (at, value) in [(19, 0x08), (18, 35), (23, 1), (17, 0x10)] {
            let mut changed = whole.clone();
            changed[at] = value;
            assert_eq!(read(&changed, &NONCES), Reply::Malformed, "octet {at}");
        }
        assert_eq!(read(&template().request(SPI, &NONCES, None), &NONCES), Reply::Malformed);
    }
}
