//! Why a packet was redirected or left alone.
//!
//! Every packet has exactly one [`Reason`]. Its number indexes the per-CPU counter array, and its
//! name is what `redirectctl`, the metrics and the documentation print. Reasons are appended,
//! never renumbered: dashboards and pinned maps outlive the daemon.

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal; )+) => {
        /// One per distinguishable cause.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $( $(#[doc = $doc])+ $name = $number, )+
        }

        impl Reason {
            /// Every reason, in numeric order.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// The name operators see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => concat!($($doc),+), )+ }
            }
        }
    };
}

reasons! {
    /// The request was answered with a REDIRECT.
    Redirected = 0, "redirected";
    /// Neither IPv4 nor IPv6.
    NotIp = 1, "not-ip";
    /// IP, but not UDP.
    NotUdp = 2, "not-udp";
    /// UDP, but neither port 500 nor 4500.
    NotIkePort = 3, "not-ike-port";
    /// IKE to an address that is not a VIP of this node.
    NotVip = 4, "not-vip";
    /// The fast path is not armed (this node does not answer for the VIP now).
    Disarmed = 5, "disarmed";
    /// The frame ends inside an Ethernet, IP or UDP header.
    TruncatedFrame = 6, "truncated-frame";
    /// More than two VLAN tags.
    VlanDepth = 7, "vlan-depth";
    /// Ethernet multicast or broadcast, or a source address that is not unicast.
    NotUnicast = 8, "not-unicast";
    /// IPv4 options are present.
    Ipv4Options = 9, "ipv4-options";
    /// An IPv4 fragment.
    Ipv4Fragment = 10, "ipv4-fragment";
    /// IPv4 version, header length and total length disagree with the frame.
    Ipv4Length = 11, "ipv4-length";
    /// Wrong IPv4 header checksum.
    Ipv4Checksum = 12, "ipv4-checksum";
    /// An IPv6 extension header precedes UDP (fragments included).
    Ipv6Extension = 13, "ipv6-extension";
    /// IPv6 version and payload length disagree with the frame.
    Ipv6Length = 14, "ipv6-length";
    /// A source address or port that cannot be answered.
    BadSource = 15, "bad-source";
    /// The UDP length disagrees with the IP length.
    UdpLength = 16, "udp-length";
    /// IPv6 without UDP checksum.
    UdpChecksum = 17, "udp-checksum";
    /// Port 4500 without the non-ESP marker: ESP.
    Esp = 18, "esp";
    /// NAT keepalive.
    NatKeepalive = 19, "nat-keepalive";
    /// The IKE length field disagrees with the UDP length, or is shorter than a header.
    IkeLength = 20, "ike-length";
    /// The IKE message is longer than the fast path looks at.
    IkeTooLong = 21, "ike-too-long";
    /// Not major version 2.
    IkeVersion = 22, "ike-version";
    /// A response.
    IkeResponse = 23, "ike-response";
    /// IKE_SESSION_RESUME.
    SessionResume = 24, "session-resume";
    /// Another exchange than IKE_SA_INIT.
    OtherExchange = 25, "other-exchange";
    /// IKE_SA_INIT without the Initiator flag.
    NotInitiator = 26, "not-initiator";
    /// The initiator's SPI is zero.
    SpiInitiatorZero = 27, "spi-i-zero";
    /// The responder's SPI is set in a first message.
    SpiResponderSet = 28, "spi-r-set";
    /// IKE_SA_INIT with a Message ID other than zero.
    MessageId = 29, "message-id";
    /// A payload runs past the end of the message, or the chain ends too early.
    ChainTruncated = 30, "chain-truncated";
    /// A payload is shorter than its own header.
    PayloadLength = 31, "payload-length";
    /// Octets follow the last payload.
    ChainTrailing = 32, "chain-trailing";
    /// More payloads than the fast path walks.
    TooManyPayloads = 33, "too-many-payloads";
    /// An unknown payload with the critical bit.
    CriticalPayload = 34, "critical-payload";
    /// A known payload that has no place in an IKE_SA_INIT request.
    UnexpectedPayload = 35, "unexpected-payload";
    /// A second SA payload.
    SaDuplicate = 36, "sa-duplicate";
    /// No SA payload.
    SaMissing = 37, "sa-missing";
    /// An SA payload too short for a proposal.
    SaShort = 38, "sa-short";
    /// A second KE payload.
    KeDuplicate = 39, "ke-duplicate";
    /// No KE payload.
    KeMissing = 40, "ke-missing";
    /// A KE payload too short for a public value.
    KeShort = 41, "ke-short";
    /// A second nonce.
    NonceDuplicate = 42, "nonce-duplicate";
    /// No nonce.
    NonceMissing = 43, "nonce-missing";
    /// A nonce outside 16..256 octets.
    NonceLength = 44, "nonce-length";
    /// A notify payload shorter than its fixed part.
    NotifyShort = 45, "notify-short";
    /// REDIRECT_SUPPORTED or REDIRECTED_FROM with a wrong layout.
    NotifyMalformed = 46, "notify-malformed";
    /// A second REDIRECT_SUPPORTED or REDIRECTED_FROM.
    NotifyDuplicate = 47, "notify-duplicate";
    /// A COOKIE comes back: it belongs to the handler that issued it.
    Cookie = 48, "cookie";
    /// A puzzle solution comes back.
    Puzzle = 49, "puzzle";
    /// The client announced neither REDIRECT_SUPPORTED nor REDIRECTED_FROM.
    NoRedirectSupport = 50, "no-redirect-support";
    /// The client says it was redirected from this VIP: a loop.
    RedirectLoop = 51, "redirect-loop";
    /// The client's address is not within `accept-from`.
    ClientNotAccepted = 52, "client-not-accepted";
    /// The table has no gateway for this slot.
    NoGateway = 53, "no-gateway";
    /// The chosen gateway is this node.
    LocalIsLlg = 54, "local-is-llg";
    /// The chosen gateway has neither an address of the request's family nor a name.
    NoIdentity = 55, "no-identity";
    /// The reply would not be shorter than the request.
    ReplyNotShorter = 56, "reply-not-shorter";
    /// The packet could not be rewritten.
    RewriteFailed = 57, "rewrite-failed";
    /// Every gateway is overloaded, and such clients are to try again later.
    Refused = 58, "refused";
}

impl Reason {
    /// Number of counters: entries of the `COUNTERS` map.
    pub const COUNT: usize = Self::ALL.len();

    /// Position in the counter array.
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_dense_and_names_are_unique() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();

        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index() as usize, position, "{reason:?}");
        }
        assert_eq!(names.len(), Reason::COUNT);
    }

    #[test]
    fn names_are_kebab_case_and_meanings_are_sentences() {
        for reason in Reason::ALL {
            assert!(
                reason.name().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{reason:?}"
            );
            assert!(reason.meaning().ends_with('.'), "{reason:?}");
        }
    }
}
