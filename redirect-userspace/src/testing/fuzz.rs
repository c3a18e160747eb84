//! The bodies of the fuzz targets, so that tests can replay what they were fed.
//!
//! Each takes any octets and panics when a promise is broken.

use crate::ike::rules::{self, Outside};
use crate::ike::wire::{
    Auth, AuthMethod, Chain, Encrypted, Message, Payload, PayloadType, RawPayload, Signature, encode_chain,
    encode_message,
};

/// A datagram on the IKE ports, without the marker: what is decoded comes back.
pub fn ike_message(octets: &[u8]) {
    let Ok(message) = Message::decode(octets) else { return };
    assert_eq!(message.octets(), octets, "a message is its datagram");
    let payloads = ike_payloads(&message.payloads);
    if let Ok(Outside::Encrypted(Encrypted { content, .. })) = rules::outside(&message) {
        assert_eq!([message.before(content), content].concat(), octets, "an envelope is the end");
    }
    let Some(payloads) = payloads else { return };
    let written = encode_message(Vec::new(), &message.header, |chain| {
        payloads.iter().try_for_each(|payload| chain.push(payload))
    });
    assert_eq!(written.as_ref().err(), None, "what came in fits");
    let written = written.unwrap_or_default();
    let again = Message::decode(&written).ok();
    assert_eq!(again.map(|again| again.header), Some(message.header), "the header comes back");
    let again = again.and_then(|again| ike_payloads(&again.payloads));
    assert_eq!(again.as_ref(), Some(&payloads), "the payloads come back");
}

/// Payloads from inside an encrypted one. The first octet says what the first of them is.
pub fn ike_chain(octets: &[u8]) {
    let Some((first, octets)) = octets.split_first() else { return };
    let Ok(chain) = Chain::decode(PayloadType::from_next(*first), octets) else { return };
    assert_eq!(chain.octets(), octets, "a chain is all of its octets");
    let Some(payloads) = ike_payloads(&chain) else { return };
    let written = encode_chain(|chain| payloads.iter().try_for_each(|payload| chain.push(payload)));
    assert_eq!(written.as_ref().err(), None, "what came in fits");
    let (first, written) = written.unwrap_or_default();
    let again = Chain::decode(first, &written).ok();
    let again = again.and_then(|again| ike_payloads(&again));
    assert_eq!(again.as_ref(), Some(&payloads), "the payloads come back");
}

/// The body of a payload, whose type is the first octet.
pub fn ike_payload(octets: &[u8]) {
    let Some((kind, body)) = octets.split_first() else { return };
    let raw = RawPayload { kind: PayloadType::from(*kind), is_critical: false, next: None, body };
    look_into(&raw);
}

/// All payloads looked into; `None` when one is malformed.
fn ike_payloads<'a>(chain: &Chain<'a>) -> Option<Vec<Payload<'a>>> {
    chain.iter().map(|raw| look_into(&raw)).collect()
}

/// Decodes a payload and what can be decoded inside it.
fn look_into<'a>(raw: &RawPayload<'a>) -> Option<Payload<'a>> {
    let payload = Payload::decode(raw).ok()?;
    assert_eq!(payload.kind(), raw.kind, "a payload keeps its type");
    if let Payload::Notify(notify) = &payload
        && let Ok(content) = notify.content()
    {
        assert_eq!(content.kind(), notify.kind, "a notify keeps its type");
    }
    if let Payload::Auth(Auth { method: AuthMethod::Signature, data }) = &payload
        && let Ok(signature) = Signature::decode(data)
    {
        let parts = 1 + signature.algorithm.len() + signature.value.len();
        assert_eq!(parts, data.len(), "a signature is all of its data");
    }
    Some(payload)
}
