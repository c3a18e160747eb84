//! What both sides do between IKE_SA_INIT and IKE_AUTH: further key exchanges, one in each
//! IKE_INTERMEDIATE exchange.
//!
//! Nothing of it is authenticated when it happens. Both sides keep a code of all they have sent and
//! received ([`Transcript`]), which AUTH covers.
//!
//! # Picture
//!
//! ```text
//! initiator                                     responder
//! IKE_SA_INIT ◀───── first key exchange ──────▶              keys 1
//! IKE_INTERMEDIATE, Message ID 1 ◀── ADDKE1 ──▶  with keys 1; keys 2
//! IKE_INTERMEDIATE, Message ID 2 ◀── ADDKE2 ──▶  with keys 2; keys 3
//! IKE_AUTH, Message ID 3 ◀────────────────────▶  with keys 3
//! ```
//!
//! # References
//!
//! `RFC 9242 §3`, `RFC 9370 §2.2.2`.

use crate::codec::Writer;
use crate::crypto::prf::{PrfKey, PrfOutput};
use crate::ike::event::Failure;
use crate::ike::message::Verified;
use crate::ike::proposal::Additional;
use crate::ike::rules::{self, Outside};
use crate::ike::sa::context::Refusal;
use crate::ike::sa::payloads::{self, unreadable};
use crate::ike::wire::{
    Chain, Direction, ExchangeType, FragmentNumber, Header, KeyExchange as KePayload, KeyExchangeMethod,
    Message, MessageId, OriginalRole, PayloadType, begin_encrypted,
};

/// Stands for all messages of the exchanges so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// IntAuth_i
    initiator: Option<PrfOutput>,
    /// IntAuth_r
    responder: Option<PrfOutput>,
}

/// The key exchanges that are to come before IKE_AUTH, and how far they have come.
#[derive(Debug)]
pub(crate) struct Further {
    methods: Additional,
    done: usize,
    transcript: Transcript,
    /// What AUTH has of them, once they are over.
    between: Box<[u8]>,
}

impl Further {
    /// `None` if there are none.
    pub(crate) fn new(methods: Additional) -> Option<Box<Self>> {
        let (transcript, between) = (Transcript::default(), Box::default());
        (!methods.is_empty()).then(|| Box::new(Self { methods, done: 0, transcript, between }))
    }

    /// The method of the next one.
    pub(crate) fn next(&self) -> Option<KeyExchangeMethod> {
        self.methods.methods().nth(self.done)
    }

    /// What AUTH covers of them; empty until they are over.
    pub(crate) fn between(&self) -> &[u8] {
        &self.between
    }

    /// One is done: what the initiator has said and what the responder, with the keys of both from before
    /// it. `next` is the Message ID of what comes then.
    pub(crate) fn done(
        &mut self,
        (proof_i, request): (&PrfKey, Spoken<'_>),
        (proof_r, response): (&PrfKey, Spoken<'_>),
        next: MessageId,
    ) {
        self.transcript.add(OriginalRole::Initiator, proof_i, request);
        self.transcript.add(OriginalRole::Responder, proof_r, response);
        self.done += 1;
        if self.next().is_none() {
            self.between = self.transcript.conclude(next);
        }
    }
}

/// What AUTH covers of the exchanges in between.
pub(crate) fn between(further: Option<&Further>) -> &[u8] {
    further.map(Further::between).unwrap_or_default()
}

/// A message as it is authenticated: what stands before its payloads, and its payloads in clear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoken<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) plain: &'a [u8],
}

impl Transcript {
    /// Takes in a message of a side, whose SK_p is `key`: the one from before the exchange.
    // RFC 9242 §3.3.2: IntAuth_n = prf(SK_pn, IntAuth_n-1 | IntAuth_nA | IntAuth_nP)
    pub(crate) fn add(&mut self, side: OriginalRole, key: &PrfKey, spoken: Spoken<'_>) {
        let last = match side {
            OriginalRole::Initiator => &mut self.initiator,
            OriginalRole::Responder => &mut self.responder,
        };
        let before = last.as_ref().map(PrfOutput::expose).unwrap_or_default();
        *last = Some(key.compute(&[before, spoken.head, spoken.plain]));
    }

    /// IntAuth; `auth` is the Message ID of the first IKE_AUTH request. Empty if there were none.
    pub(crate) fn conclude(&self, auth: MessageId) -> Box<[u8]> {
        match (&self.initiator, &self.responder) {
            (Some(initiator), Some(responder)) => {
                [initiator.expose(), responder.expose(), &auth.0.to_be_bytes()].concat().into()
            }
            (_, _) => Box::default(),
        }
    }
}

/// What stands before the payloads of a message: everything from the header to the one of the encrypted
/// payload, with the lengths that there would be if nothing was encrypted. `None` if it is too long.
pub(crate) fn head(header: &Header, first: Option<PayloadType>, plain: usize) -> Option<Vec<u8>> {
    let mut out = Writer::new();
    begin_encrypted(&mut out, header, first, plain).ok()?;
    Some(out.into_octets())
}

/// The same of a message that came. What came in fragments is as if it had come in one piece.
pub(crate) fn head_of(message: &Message<'_>, outside: &Outside<'_>, verified: &Verified) -> Option<Vec<u8>> {
    let plain = verified.plain().len();
    // As it came: whatever else stood in clear is covered as well.
    let mut head = match outside {
        Outside::Encrypted(encrypted) => message.before(encrypted.content).to_vec(),
        Outside::Fragment(_) => joined(verified.head())?,
        Outside::Clear(_) | Outside::Hint => return None,
    };
    let total = u32::try_from(head.len().checked_add(plain)?).ok()?;
    let payload = u16::try_from(plain.checked_add(PAYLOAD_HEADER)?).ok()?;
    head.get_mut(Header::LENGTH - 4..Header::LENGTH)?.copy_from_slice(&total.to_be_bytes());
    let end = head.len();
    head.get_mut(end.checked_sub(2)?..)?.copy_from_slice(&payload.to_be_bytes());
    Some(head)
}

/// What stands before the content of the first fragment, as it would before that of the whole message.
fn joined(head: &[u8]) -> Option<Vec<u8>> {
    let mut head = head.get(..head.len().checked_sub(FragmentNumber::LENGTH)?)?.to_vec();
    // Which payload comes next stands in the header, and then in each payload that there is in clear.
    let (mut names, mut next) = (NEXT_PAYLOAD, Header::LENGTH);
    while *head.get(names)? != u8::from(PayloadType::EncryptedFragment) {
        let length = head.get(next + 2..)?.first_chunk().map(|length| u16::from_be_bytes(*length))?;
        names = next;
        next = next.checked_add(usize::from(length).max(PAYLOAD_HEADER))?;
    }
    *head.get_mut(names)? = PayloadType::Encrypted.into();
    Some(head)
}

/// The peer's public value in a message, which is to be of this method.
pub(crate) fn public<'a>(chain: &Chain<'a>, method: KeyExchangeMethod) -> Result<KePayload<'a>, Refusal> {
    let public = payloads::public(chain).map_err(unreadable)?;
    public.filter(|public| public.method == method).ok_or_else(|| {
        Refusal::new(Failure::BadPublicValue, format!("no public value of {method}, or one of another group"))
    })
}

/// The payloads of a message of the exchange.
pub(crate) fn payloads_of(verified: &Verified, direction: Direction) -> Result<Chain<'_>, rules::Violation> {
    let chain = verified.chain()?;
    rules::check(ExchangeType::IkeIntermediate, direction, &chain)?;
    Ok(chain)
}

/// Where the header says which payload comes first.
const NEXT_PAYLOAD: usize = 16;
/// Octets of the header of a payload.
const PAYLOAD_HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Provider;
    use crate::crypto::cipher::{Around, Encr, Protection, TrafficKeys};
    use crate::crypto::prf::Prf;
    use crate::ike::message::Channel;
    use crate::ike::sa::window::Window;
    use crate::ike::wire::{SpiI, SpiR, Version};
    use crate::rng::Rng;
    use std::num::NonZeroU64;

    // test of RFC 9242 §3.3.2
    #[test]
    fn every_message_is_covered_with_the_code_of_the_one_before_and_the_key_of_its_time() {
        let key = |octet| Provider::Real.prf(Prf::HmacSha256, &[octet; 32]);
        let spoken = |head, plain| Spoken { head, plain };
        let mut transcript = Transcript::default();
        assert_eq!(*transcript.conclude(MessageId(1)), [] as [u8; 0], "there was no exchange");

        transcript.add(OriginalRole::Initiator, &key(1), spoken(b"head", b"plain"));
        transcript.add(OriginalRole::Responder, &key(2), spoken(b"other", b""));
        transcript.add(OriginalRole::Initiator, &key(3), spoken(b"second", b"one"));
        transcript.add(OriginalRole::Responder, &key(4), spoken(b"answer", b"two"));

        let i1 = key(1).compute(&[b"headplain"]);
        let i2 = key(3).compute(&[i1.expose(), b"secondone"]);
        let r1 = key(2).compute(&[b"other"]);
        let r2 = key(4).compute(&[r1.expose(), b"answertwo"]);
        let expected = [i2.expose(), r2.expose(), &[0, 0, 0, 3]].concat();
        assert_eq!(*transcript.conclude(MessageId(3)), *expected);
    }

    /// A message with reserved bits, a payload in clear, and then one of this type with this content.
    fn sealed(kind: u8, first: u8, numbers: &[u8], plain: &[u8], keys: &TrafficKeys) -> Vec<u8> {
        let is_later = numbers.starts_with(&[0, 2]);
        let protection = keys.protection();
        let sealer = keys.sealer().unwrap();
        let (iv, icv) = (protection.iv_length(), protection.icv_length());
        let clear: &[u8] = if is_later { &[] } else { &[kind, 0x55, 0, 8, 1, 2, 3, 4] };
        let next = if is_later { kind } else { VENDOR };
        let length = u16::try_from(4 + numbers.len() + iv + plain.len() + 1 + icv).unwrap();
        let mut octets =
            [[0; 7].as_slice(), &[1], &[0; 7], &[2], &[next, 0x21, 43, 0x4e, 0, 0, 0, 1]].concat();
        let total = u32::try_from(28 + clear.len() + usize::from(length)).unwrap();
        octets.extend(total.to_be_bytes());
        octets.extend(clear);
        octets.extend([first, 0x2a]);
        octets.extend(length.to_be_bytes());
        octets.extend(numbers);
        let head = octets.len();
        octets.extend(vec![0; iv]);
        octets.extend(plain);
        octets.extend(vec![0; 1 + icv]);
        let (head, rest) = octets.split_at_mut(head);
        let (iv, rest) = rest.split_at_mut(iv);
        let (body, icv) = rest.split_at_mut(plain.len() + 1);
        protection.write_iv(1, &mut Rng::from_number(1), iv).unwrap();
        sealer.seal(Around { head, iv, tail: &[] }, body, icv).unwrap();
        octets
    }

    /// What is authenticated of a message that comes in these datagrams.
    fn authenticated(datagrams: &[Vec<u8>], keys: [TrafficKeys; 2]) -> (Vec<u8>, Vec<u8>) {
        let [ours, theirs] = keys;
        let mut channel = Channel::new(ours, theirs, Window::new(MessageId(1), MessageId(1)));
        let mut result = None;
        for datagram in datagrams {
            let message = Message::decode(datagram).unwrap();
            let outside = rules::outside(&message).unwrap();
            let opened = channel.check(&message, &outside).unwrap();
            if let Some(verified) = channel.collect(&message.header, opened).unwrap() {
                let head = head_of(&message, &outside, &verified).unwrap();
                result = Some((head, verified.plain().to_vec()));
            }
        }
        result.unwrap()
    }

    // test of RFC 9242 §3.3.2, RFC 7383 §2.5.3
    #[test]
    fn a_message_in_fragments_is_authenticated_as_if_it_had_come_in_one_piece() {
        let keys = || {
            let protection = Protection::new(Encr::AesGcm256, None).unwrap();
            [1, 7].map(|fill| TrafficKeys::new(protection, &[fill; 36], &[]).unwrap())
        };
        let [_, theirs] = keys();
        let plain: Vec<u8> = (0..100).collect();
        let nonce = u8::from(PayloadType::Nonce);
        let whole = sealed(46, nonce, &[], &plain, &theirs);
        let fragments = vec![
            // The first one comes last, and it alone has what stands in clear.
            sealed(53, 0, &[0, 2, 0, 2], &plain[60..], &theirs),
            sealed(53, nonce, &[0, 1, 0, 2], &plain[..60], &theirs),
        ];

        let expected = authenticated(&[whole], keys());

        assert_eq!(authenticated(&fragments, keys()), expected);
        let reversed: Vec<Vec<u8>> = fragments.into_iter().rev().collect();
        assert_eq!(authenticated(&reversed, keys()), expected);
        let (head, covered) = expected;
        assert_eq!((head.len(), covered), (28 + 8 + 4, plain));
        assert_eq!(head[16..20], [VENDOR, 0x21, 43, 0x4e], "as it came");
        assert_eq!(head[24..], [0, 0, 0, 140, 46, 0x55, 0, 8, 1, 2, 3, 4, nonce, 0x2a, 0, 104]);
    }

    const VENDOR: u8 = 43;

    // test of RFC 9242 §3.3.2
    #[test]
    fn what_stands_before_the_payloads_has_lengths_as_if_nothing_was_encrypted() {
        let header = Header {
            spi_i: SpiI(NonZeroU64::new(1).unwrap()),
            spi_r: NonZeroU64::new(2).map(SpiR),
            version: Version::V2,
            exchange: ExchangeType::IkeIntermediate,
            sender: OriginalRole::Initiator,
            direction: Direction::Request,
            message_id: MessageId(1),
        };

        let head = head(&header, Some(PayloadType::KeyExchange), 100).unwrap();

        assert_eq!(head[16..20], [46, 0x20, 43, 0x08]);
        assert_eq!(head[24..], [0, 0, 0, 132, 34, 0, 0, 104]);
    }
}
