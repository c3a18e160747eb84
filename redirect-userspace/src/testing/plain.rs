//! Protected messages in the open: with the provider without security, a test can read what two
//! endpoints say to each other, change it, and say something of its own.

#![expect(clippy::expect_used, reason = "test support may fail loudly")]

use crate::codec::Writer;
use crate::ike::rules::{self, Outside};
use crate::ike::wire::{
    Chain, ChainWriter, EncodeError, FragmentNumber, Header, Message, NotifyType, Payload, PayloadType,
    begin_encrypted, begin_fragment, encode_chain, encode_message,
};

/// A message: of an exchange with keys, what is inside its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Its header.
    pub header: Header,
    /// Whether the payloads are in an envelope.
    pub is_protected: bool,
    /// The type of the first payload.
    pub first: Option<PayloadType>,
    /// The payloads.
    pub octets: Vec<u8>,
}

/// What the provider without security puts around payloads under AES-GCM.
const IV: usize = 8;
/// The check value behind them, which is zero.
const ICV: usize = 16;

impl Plain {
    /// A message of one's own.
    ///
    /// # Panics
    ///
    /// It does not fit.
    #[must_use]
    pub fn new(
        header: Header,
        payloads: impl FnOnce(&mut ChainWriter<'_>) -> Result<(), EncodeError>,
    ) -> Self {
        let (first, octets) = encode_chain(payloads).expect("payloads that fit");
        Self { header, is_protected: true, first, octets }
    }

    /// Looks into a datagram that is a whole message.
    ///
    /// # Panics
    ///
    /// It is none, or a fragment of one.
    #[must_use]
    pub fn open(datagram: &[u8]) -> Self {
        Self::try_open(datagram).expect("a message")
    }

    /// The same; `None` when it is no whole message.
    #[must_use]
    pub fn try_open(datagram: &[u8]) -> Option<Self> {
        let message = Message::decode(datagram).ok()?;
        let header = message.header;
        match rules::outside(&message) {
            Ok(Outside::Encrypted(encrypted)) => {
                let content = encrypted.content;
                let body = content.get(IV..content.len().checked_sub(ICV)?)?;
                let (padding, body) = body.split_last()?;
                let octets = body.get(..body.len().checked_sub(usize::from(*padding))?)?.to_vec();
                Some(Self { header, is_protected: true, first: encrypted.first, octets })
            }
            _ => Some(Self {
                header,
                is_protected: false,
                first: message.payloads.first(),
                octets: message.payloads.octets().to_vec(),
            }),
        }
    }

    /// The payloads.
    ///
    /// # Panics
    ///
    /// They are malformed.
    #[must_use]
    pub fn chain(&self) -> Chain<'_> {
        Chain::decode(self.first, &self.octets).expect("payloads")
    }

    /// The types of the payloads in their order.
    #[must_use]
    pub fn kinds(&self) -> Vec<PayloadType> {
        self.chain().iter().map(|payload| payload.kind).collect()
    }

    /// The types of the notifies in their order.
    #[must_use]
    pub fn notifies(&self) -> Vec<NotifyType> {
        self.chain().notifies().map(|notify| notify.kind).collect()
    }

    /// The payloads, looked into.
    ///
    /// # Panics
    ///
    /// One is malformed.
    #[must_use]
    pub fn payloads(&self) -> Vec<Payload<'_>> {
        self.chain().iter().map(|raw| Payload::decode(&raw).expect("a payload")).collect()
    }

    /// The same message with other payloads: those that `change` makes of them.
    ///
    /// # Panics
    ///
    /// They do not fit.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Self {
        let mut payloads = self.payloads();
        change(&mut payloads);
        let written = encode_chain(|chain| payloads.iter().try_for_each(|payload| chain.push(payload)));
        let (first, octets) = written.expect("payloads that fit");
        Self { first, octets, ..self.clone() }
    }

    /// As a datagram.
    ///
    /// # Panics
    ///
    /// It does not fit.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        if !self.is_protected {
            let mut octets = encode_message(Vec::new(), &self.header, |_chain| Ok(())).expect("a header");
            if let Some(place) = octets.get_mut(16) {
                *place = PayloadType::to_next(self.first);
            }
            octets.extend_from_slice(&self.octets);
            let length = u32::try_from(octets.len()).expect("a length");
            for (place, octet) in octets.iter_mut().skip(24).zip(length.to_be_bytes()) {
                *place = octet;
            }
            return octets;
        }
        let mut out = Writer::new();
        begin_encrypted(&mut out, &self.header, self.first, IV + self.octets.len() + 1 + ICV)
            .expect("a message that fits");
        Self::finish(out, &self.octets)
    }

    /// As fragments of `each` octets of payloads.
    ///
    /// # Panics
    ///
    /// They do not fit.
    #[must_use]
    pub fn fragments(&self, each: usize) -> Vec<Vec<u8>> {
        let total = u16::try_from(self.octets.len().div_ceil(each)).expect("few fragments");
        let parts = self.octets.chunks(each).zip(1_u16..);
        let fragment = |(part, number): (&[u8], u16)| {
            let number = FragmentNumber::new(number, total).expect("a fragment");
            self.fragment(number, part)
        };
        parts.map(fragment).collect()
    }

    /// A fragment.
    ///
    /// # Panics
    ///
    /// It does not fit.
    #[must_use]
    pub fn fragment(&self, number: FragmentNumber, part: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        begin_fragment(&mut out, &self.header, self.first, number, IV + part.len() + 1 + ICV)
            .expect("a message that fits");
        Self::finish(out, part)
    }

    fn finish(mut out: Writer, part: &[u8]) -> Vec<u8> {
        out.zeros(IV);
        out.octets(part);
        out.u8(0);
        out.zeros(ICV);
        out.into_octets()
    }
}
