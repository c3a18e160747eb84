//! The gateway's events in the words of the daemon.
//!
//! Identities are shown: of a peer that has proved who it is they are what an operator looks for,
//! of one that has not, the endpoint tells them at a limited rate. Keys never are.

pub(super) mod log;
pub(super) mod metrics;

use std::fmt;
use std::time::Duration;

use super::Severity;
use super::clb::or_none;
use super::elected::list;
use crate::ike::{CloseReason, Event, Failure, SaLabel};

/// The name operators see.
pub(super) const fn name(event: &Event) -> &'static str {
    match event {
        Event::Established { .. } => "sa-established",
        Event::Refused { .. } => "sa-refused",
        Event::ConnectFailed { .. } => "connect-failed",
        Event::Closed { .. } => "sa-closed",
        Event::ChildUp { .. } => "child-up",
        Event::ChildRefused { .. } => "child-refused",
        Event::ChildDown { .. } => "child-down",
        Event::Rekeyed { .. } => "sa-rekeyed",
        Event::Redirected { .. } => "sa-redirected",
        Event::Wanted { .. } => "connection-wanted",
        Event::RedirectFollowed { .. } => "redirected",
        Event::RedirectRefused { .. } => "redirect-refused",
        Event::Moved { .. } => "sa-moved",
        Event::Roamed { .. } => "sa-roamed",
        Event::TicketRefused { .. } => "ticket-refused",
        Event::CookiesChanged { .. } => "cookies-changed",
    }
}

/// How much it matters.
pub(super) const fn severity(event: &Event) -> Severity {
    match event {
        Event::Established { .. }
        | Event::ChildUp { .. }
        | Event::Rekeyed { .. }
        | Event::Redirected { .. }
        | Event::Wanted { .. }
        | Event::RedirectFollowed { .. }
        | Event::Moved { .. }
        | Event::Roamed { .. }
        | Event::TicketRefused { .. }
        | Event::CookiesChanged { are_wanted: false, .. } => Severity::Info,
        Event::RedirectRefused { .. } | Event::CookiesChanged { are_wanted: true, .. } => Severity::Warn,
        Event::Refused { failure, .. }
        | Event::ConnectFailed { failure, .. }
        | Event::ChildRefused { failure, .. } => of_failure(*failure),
        Event::Closed { reason, .. } | Event::ChildDown { reason, .. } => of_end(*reason),
    }
}

const fn of_failure(failure: Failure) -> Severity {
    match failure {
        // The peer tries again, or has gone away.
        Failure::OtherGroup | Failure::Temporary | Failure::Timeout => Severity::Info,
        // The client goes on without its ticket.
        Failure::TicketsOff | Failure::TicketKey | Failure::TicketExpired | Failure::TicketRevoked => {
            Severity::Info
        }
        Failure::NoProposal
        | Failure::BadPublicValue
        | Failure::NoProfile
        | Failure::Authentication
        | Failure::Certificate
        | Failure::OtherIdentity
        | Failure::NoAddress
        | Failure::Selectors
        | Failure::Syntax
        | Failure::CriticalPayload
        | Failure::HalfOpenLimit
        | Failure::SourceLimit
        | Failure::PrefixLimit
        | Failure::SaLimit
        | Failure::ChildLimit
        | Failure::PeerRefused
        | Failure::Eap
        | Failure::EapLocked
        | Failure::EapGateway
        | Failure::TicketMalformed
        | Failure::TicketVersion
        | Failure::TicketCluster
        | Failure::TicketForged
        | Failure::TicketUsed
        | Failure::UnexpectedNat => Severity::Warn,
        Failure::Local | Failure::AaaUnreachable => Severity::Error,
    }
}

const fn of_end(reason: CloseReason) -> Severity {
    match reason {
        CloseReason::DeletedByPeer
        | CloseReason::Cleared
        | CloseReason::Superseded
        | CloseReason::Rekeyed
        | CloseReason::Redundant
        | CloseReason::Expired
        | CloseReason::WithIkeSa
        | CloseReason::Shutdown
        | CloseReason::Redirected
        | CloseReason::AddressGone
        | CloseReason::Drained
        | CloseReason::Resumed
        | CloseReason::SessionOver => Severity::Info,
        CloseReason::PeerDead | CloseReason::ProtocolError => Severity::Warn,
    }
}

/// Its details by name.
pub(super) fn fields(event: &Event) -> Vec<(&'static str, String)> {
    match event {
        Event::Established { sa, is_initiator, suite, took, addresses, is_resumed } => of(
            sa,
            [
                ("role", role(*is_initiator).to_owned()),
                ("suite", suite.to_string()),
                ("took-ms", millis(*took).to_string()),
                ("addresses", or_nothing(&list(addresses)).to_owned()),
                ("by", means(*is_resumed).to_owned()),
            ],
        ),
        Event::Refused { peer, identity, failure, detail, count } => vec![
            ("peer", peer.to_string()),
            ("identity", or_none(identity.as_ref())),
            ("reason", failure.to_string()),
            ("detail", or_nothing(detail).to_owned()),
            ("count", count.to_string()),
        ],
        Event::ConnectFailed { connection, failure, detail } => vec![
            ("connection", connection.to_string()),
            ("reason", failure.to_string()),
            ("detail", or_nothing(detail).to_owned()),
        ],
        Event::Closed { sa, reason, age } => {
            of(sa, [("reason", reason.to_string()), ("age-s", age.as_secs().to_string())])
        }
        Event::ChildUp { sa, inbound, outbound, suite, replaces } => of(
            sa,
            [
                ("spi-in", inbound.to_string()),
                ("spi-out", outbound.to_string()),
                ("suite", suite.to_string()),
                ("replaces", or_none(replaces.as_ref())),
            ],
        ),
        Event::ChildRefused { sa, failure, detail } => {
            of(sa, [("reason", failure.to_string()), ("detail", or_nothing(detail).to_owned())])
        }
        Event::ChildDown { sa, inbound, reason } => {
            of(sa, [("spi-in", inbound.to_string()), ("reason", reason.to_string())])
        }
        Event::Rekeyed { sa, by_us } => of(sa, [("by", side(*by_us).to_owned())]),
        Event::Redirected { sa, to, why } => of(sa, [("to", to.to_string()), ("reason", why.to_string())]),
        Event::Wanted { connection, from, to } => {
            vec![("connection", connection.to_string()), ("from", from.to_string()), ("to", to.to_string())]
        }
        Event::RedirectFollowed { connection, from, to, exchange } => vec![
            ("connection", connection.to_string()),
            ("from", from.to_string()),
            ("to", to.to_string()),
            ("exchange", exchange.to_string()),
        ],
        Event::RedirectRefused { connection, from, to, reason, count } => vec![
            ("connection", or_none(connection.as_ref())),
            ("from", from.to_string()),
            ("to", or_none(to.as_ref())),
            ("reason", reason.to_string()),
            ("count", count.to_string()),
        ],
        Event::Moved { sa, from } => of(sa, [("from", from.to_string())]),
        Event::Roamed { sa, from, to } => of(sa, [("from", from.to_string()), ("to", to.to_string())]),
        Event::TicketRefused { connection, gateway } => {
            vec![("connection", connection.to_string()), ("gateway", gateway.to_string())]
        }
        Event::CookiesChanged { are_wanted, half_open, is_crowded } => {
            vec![
                ("wanted", are_wanted.to_string()),
                ("half-open", half_open.to_string()),
                ("crowded", is_crowded.to_string()),
            ]
        }
    }
}

/// Which SA, and the rest.
fn of<const N: usize>(sa: &SaLabel, rest: [(&'static str, String); N]) -> Vec<(&'static str, String)> {
    let SaLabel { id, remote, identity, profile } = sa;
    let mut fields = vec![
        ("sa", id.to_string()),
        ("peer", remote.to_string()),
        ("identity", identity.to_string()),
        ("profile", profile.to_string()),
    ];
    fields.extend(rest);
    fields
}

/// In words, for a person who reads one line.
pub(super) fn display(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::Established { sa, is_initiator, suite, took, addresses, is_resumed } => write!(
            f,
            "{sa} is up after {} ms by {}, we are its {}: {suite}, addresses {}",
            millis(*took),
            means(*is_resumed),
            role(*is_initiator),
            or_nothing(&list(addresses))
        ),
        Event::Refused { peer, identity, failure, detail, count } => write!(
            f,
            "{count} peers refused: {failure}, the last one {peer}, identity {}: {}",
            or_none(identity.as_ref()),
            or_nothing(detail)
        ),
        Event::ConnectFailed { connection, failure, detail } => {
            write!(f, "{connection} does not come up: {failure}: {}", or_nothing(detail))
        }
        Event::Closed { sa, reason, age } => write!(f, "{sa} is gone after {} s: {reason}", age.as_secs()),
        Event::ChildUp { sa, inbound, outbound, suite, replaces } => write!(
            f,
            "{sa}: Child SA {inbound}/{outbound} is up in the place of {}: {suite}",
            or_none(replaces.as_ref())
        ),
        Event::ChildRefused { sa, failure, detail } => {
            write!(f, "{sa}: Child SA refused: {failure}: {}", or_nothing(detail))
        }
        Event::ChildDown { sa, inbound, reason } => {
            write!(f, "{sa}: Child SA {inbound} is gone: {reason}")
        }
        Event::Rekeyed { sa, by_us } => write!(f, "{sa} has new keys, asked for by {}", side(*by_us)),
        Event::Redirected { sa, to, why } => write!(f, "{sa} was told to go to {to}: {why}"),
        Event::Wanted { connection, from, to } => {
            write!(f, "{connection} is brought up by a packet from {from} to {to}")
        }
        Event::RedirectFollowed { connection, from, to, exchange } => {
            write!(f, "{connection} goes from {from} to {to}, as it was told in {exchange}")
        }
        Event::RedirectRefused { connection, from, to, reason, count } => write!(
            f,
            "{count} redirects were not followed: {reason}, the last one by {from} to {}, connection {}",
            or_none(to.as_ref()),
            or_none(connection.as_ref())
        ),
        Event::Moved { sa, from } => write!(f, "{sa} was at {from} before"),
        Event::Roamed { sa, from, to } => write!(f, "{sa} leaves from {to}, not {from}"),
        Event::TicketRefused { connection, gateway } => {
            write!(f, "{connection} begins anew: {gateway} does not take its ticket")
        }
        Event::CookiesChanged { are_wanted, half_open, is_crowded } => {
            let crowd = if *is_crowded { " and a crowd of those who would like one" } else { "" };
            write!(f, "cookies are asked for: {are_wanted}, with {half_open} half-open SAs{crowd}")
        }
    }
}

const fn role(is_initiator: bool) -> &'static str {
    if is_initiator { "initiator" } else { "responder" }
}

/// What an IKE SA has come up by.
pub(super) const fn means(is_resumed: bool) -> &'static str {
    if is_resumed { "ticket" } else { "credentials" }
}

const fn side(is_us: bool) -> &'static str {
    if is_us { "us" } else { "the peer" }
}

/// What is in a text that may be empty.
const fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod fixtures {
    use std::time::Duration;

    use crate::ike::config::Name;
    use crate::ike::wire::{ChildSpi, ExchangeType};
    use crate::ike::{CloseReason, Event, Failure, RedirectReason, RedirectRefusal, SaId, SaLabel};

    /// The SA of a client.
    pub(crate) fn sa() -> SaLabel {
        SaLabel {
            id: SaId(7),
            remote: "192.0.2.7:61234".parse().unwrap(),
            identity: "alice@example.net".into(),
            profile: Name::new("remote-access").unwrap(),
        }
    }

    /// One event of each kind.
    pub(crate) fn events() -> Vec<Event> {
        let [inbound, outbound] =
            [0xc232_0001, 0x3076_c002].map(|spi: u32| ChildSpi(spi.try_into().unwrap()));
        vec![
            Event::Established {
                sa: sa(),
                is_initiator: false,
                suite: "aes256gcm16-prfsha384-ecp384".into(),
                took: Duration::from_millis(35),
                addresses: vec!["10.98.0.1".parse().unwrap(), "fd98::1".parse().unwrap()],
                is_resumed: false,
            },
            Event::Refused {
                peer: "192.0.2.9:500".parse().unwrap(),
                identity: None,
                failure: Failure::NoProposal,
                detail: "offered aes128-sha1-modp1024, wanted aes256gcm16-prfsha384-ecp384".into(),
                count: 12,
            },
            Event::ConnectFailed {
                connection: Name::new("hq").unwrap(),
                failure: Failure::PeerRefused,
                detail: "AUTHENTICATION_FAILED".into(),
            },
            Event::Closed { sa: sa(), reason: CloseReason::PeerDead, age: Duration::from_secs(735) },
            Event::ChildUp { sa: sa(), inbound, outbound, suite: "aes256gcm16-noesn".into(), replaces: None },
            Event::ChildRefused { sa: sa(), failure: Failure::Selectors, detail: "".into() },
            Event::ChildDown { sa: sa(), inbound, reason: CloseReason::Rekeyed },
            Event::Rekeyed { sa: sa(), by_us: true },
            Event::Redirected { sa: sa(), to: "10.50.0.12".parse().unwrap(), why: RedirectReason::Drain },
            Event::Wanted {
                connection: Name::new("hq").unwrap(),
                from: "10.7.0.3".parse().unwrap(),
                to: "10.99.0.1".parse().unwrap(),
            },
            Event::RedirectFollowed {
                connection: Name::new("hq").unwrap(),
                from: "10.50.0.5:500".parse().unwrap(),
                to: "gw2.vpn.example.net".parse().unwrap(),
                exchange: ExchangeType::IkeSaInit,
            },
            Event::RedirectRefused {
                connection: Some(Name::new("hq").unwrap()),
                from: "10.50.0.5:500".parse().unwrap(),
                to: Some("203.0.113.9".parse().unwrap()),
                reason: RedirectRefusal::NotAllowed,
                count: 3,
            },
            Event::Moved { sa: sa(), from: "198.51.100.7:4500".parse().unwrap() },
            Event::Roamed {
                sa: sa(),
                from: "198.51.100.7:4500".parse().unwrap(),
                to: "198.51.100.8:4500".parse().unwrap(),
            },
            Event::TicketRefused {
                connection: Name::new("hq").unwrap(),
                gateway: "10.50.0.12:500".parse().unwrap(),
            },
            Event::CookiesChanged { are_wanted: true, half_open: 501, is_crowded: true },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_who_what_and_why() {
        let texts: Vec<_> =
            fixtures::events().into_iter().map(|event| super::super::Event::Ike(event).to_string()).collect();

        assert_eq!(
            texts,
            [
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) is up after 35 ms by credentials, we \
                 are its responder: aes256gcm16-prfsha384-ecp384, addresses 10.98.0.1, fd98::1",
                "12 peers refused: no-proposal-chosen, the last one 192.0.2.9:500, identity none: offered \
                 aes128-sha1-modp1024, wanted aes256gcm16-prfsha384-ecp384",
                "hq does not come up: peer-refused: AUTHENTICATION_FAILED",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) is gone after 735 s: peer-dead",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access): Child SA c2320001/3076c002 is \
                 up in the place of none: aes256gcm16-noesn",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access): Child SA refused: \
                 traffic-selectors-unacceptable: none",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access): Child SA c2320001 is gone: \
                 rekeyed",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) has new keys, asked for by us",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) was told to go to 10.50.0.12: drain",
                "hq is brought up by a packet from 10.7.0.3 to 10.99.0.1",
                "hq goes from 10.50.0.5:500 to gw2.vpn.example.net, as it was told in IKE_SA_INIT",
                "3 redirects were not followed: not-allowed, the last one by 10.50.0.5:500 to 203.0.113.9, \
                 connection hq",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) was at 198.51.100.7:4500 before",
                "SA 7 with alice@example.net at 192.0.2.7:61234 (remote-access) leaves from 198.51.100.8:4500, \
                 not 198.51.100.7:4500",
                "hq begins anew: 10.50.0.12:500 does not take its ticket",
                "cookies are asked for: true, with 501 half-open SAs and a crowd of those who would like one",
            ]
        );
    }

    #[test]
    fn what_a_peer_mends_by_itself_is_no_reason_to_worry() {
        let worrying = |severity| {
            Failure::ALL.iter().filter(move |failure| of_failure(**failure) == severity).map(|it| it.as_str())
        };

        assert_eq!(
            worrying(Severity::Info).collect::<Vec<_>>(),
            [
                "other-group-wanted",
                "timeout",
                "temporary-failure",
                "tickets-off",
                "ticket-key-unknown",
                "ticket-expired",
                "ticket-revoked"
            ]
        );
        assert_eq!(worrying(Severity::Error).collect::<Vec<_>>(), ["local-error", "aaa-unreachable"]);
        let ends = CloseReason::ALL.iter().filter(|reason| of_end(**reason) != Severity::Info);
        assert_eq!(ends.map(|end| end.as_str()).collect::<Vec<_>>(), ["peer-dead", "protocol-error"]);
    }
}
