//! The gateway's events as log lines.

use tracing::{error, info, warn};

use super::{means, millis, or_nothing, role, side};
use crate::ike::{Event as IkeEvent, SaLabel};
use crate::telemetry::clb::or_none;
use crate::telemetry::elected::list;
use crate::telemetry::log::{TARGET, line};
use crate::telemetry::{Event, Severity};

/// A line about an SA.
macro_rules! sa_line {
    ($event:ident, $sa:ident, $words:literal $(, $field:literal = $value:expr)*) => {{
        let SaLabel { id, remote, identity, profile } = $sa;
        line!(
            $event,
            $words,
            "sa" = id.0,
            "peer" = remote.to_string(),
            "identity" = &**identity,
            "profile" = profile.as_str()
            $(, $field = $value)*
        );
    }};
}

/// Writes one event.
pub(in crate::telemetry) fn write(event: &Event, what: &IkeEvent) {
    match what {
        IkeEvent::Established { sa, is_initiator, suite, took, addresses, is_resumed } => {
            let addresses = list(addresses);
            sa_line!(
                event,
                sa,
                "SA established",
                "role" = role(*is_initiator),
                "suite" = &**suite,
                "took-ms" = millis(*took),
                "addresses" = or_nothing(&addresses),
                "by" = means(*is_resumed)
            );
        }
        IkeEvent::Refused { peer, identity, failure, detail, count } => {
            let (peer, identity) = (peer.to_string(), or_none(identity.as_ref()));
            line!(
                event,
                "peers refused",
                "peer" = peer,
                "identity" = identity,
                "reason" = failure.as_str(),
                "detail" = or_nothing(detail),
                "count" = count
            );
        }
        IkeEvent::ConnectFailed { connection, failure, detail } => {
            let connection = connection.as_str();
            line!(
                event,
                "connection does not come up",
                "connection" = connection,
                "reason" = failure.as_str(),
                "detail" = or_nothing(detail)
            );
        }
        IkeEvent::Closed { sa, reason, age } => {
            sa_line!(event, sa, "SA gone", "reason" = reason.as_str(), "age-s" = age.as_secs());
        }
        IkeEvent::ChildUp { sa, inbound, outbound, suite, replaces } => {
            sa_line!(
                event,
                sa,
                "Child SA up",
                "spi-in" = inbound.to_string(),
                "spi-out" = outbound.to_string(),
                "suite" = &**suite,
                "replaces" = or_none(replaces.as_ref())
            );
        }
        IkeEvent::ChildRefused { sa, failure, detail } => {
            sa_line!(
                event,
                sa,
                "Child SA refused",
                "reason" = failure.as_str(),
                "detail" = or_nothing(detail)
            );
        }
        IkeEvent::ChildDown { sa, inbound, reason } => {
            let inbound = inbound.to_string();
            sa_line!(event, sa, "Child SA gone", "spi-in" = inbound, "reason" = reason.as_str());
        }
        IkeEvent::Rekeyed { sa, by_us } => sa_line!(event, sa, "SA rekeyed", "by" = side(*by_us)),
        IkeEvent::Redirected { sa, to, why } => {
            sa_line!(event, sa, "client redirected", "to" = to.to_string(), "reason" = why.as_str());
        }
        IkeEvent::Wanted { connection, from, to } => line!(
            event,
            "connection wanted",
            "connection" = connection.as_str(),
            "from" = from.to_string(),
            "to" = to.to_string()
        ),
        IkeEvent::RedirectFollowed { connection, from, to, exchange } => {
            line!(
                event,
                "redirect followed",
                "connection" = connection.as_str(),
                "from" = from.to_string(),
                "to" = to.to_string(),
                "exchange" = exchange.to_string()
            );
        }
        IkeEvent::RedirectRefused { connection, from, to, reason, count } => {
            line!(
                event,
                "redirect not followed",
                "connection" = or_none(connection.as_ref()),
                "from" = from.to_string(),
                "to" = or_none(to.as_ref()),
                "reason" = reason.as_str(),
                "count" = count
            );
        }
        IkeEvent::Moved { sa, from } => sa_line!(event, sa, "peer moved", "from" = from.to_string()),
        IkeEvent::Roamed { sa, from, to } => {
            sa_line!(event, sa, "we moved", "from" = from.to_string(), "to" = to.to_string());
        }
        IkeEvent::TicketRefused { connection, gateway } => {
            let (connection, gateway) = (connection.as_str(), gateway.to_string());
            line!(event, "ticket refused", "connection" = connection, "gateway" = gateway);
        }
        IkeEvent::CookiesChanged { are_wanted, half_open, is_crowded } => {
            line!(event, "cookies", "wanted" = are_wanted, "half-open" = half_open, "crowded" = is_crowded);
        }
    }
}
