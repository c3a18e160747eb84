//! What happens between the gateway and its RADIUS servers, in the words of the daemon.
//!
//! Servers are those of the configuration, so that they may be labels. Secrets are never shown.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Severity;
use super::log::{TARGET, line};
use super::metrics::{counter, counters, gauges};
use crate::control::RadiusFigures;
use crate::radius::{Discard, Event, Outcome, ServerState};

use tracing::{error, info, warn};

/// The name operators see.
pub(super) const fn name(event: &Event) -> &'static str {
    match event {
        Event::ServerDead { .. } => "radius-server-dead",
        Event::ServerBack { .. } => "radius-server-back",
        Event::Discarded { .. } => "radius-discarded",
        Event::Failed { .. } => "radius-failed",
        Event::Said { .. } => "radius-said",
    }
}

/// How much it matters.
pub(super) const fn severity(event: &Event) -> Severity {
    match event {
        Event::ServerBack { .. } | Event::Said { .. } => Severity::Info,
        Event::Discarded { .. } | Event::Failed { .. } => Severity::Warn,
        Event::ServerDead { .. } => Severity::Error,
    }
}

/// Its details by name.
pub(super) fn fields(event: &Event) -> Vec<(&'static str, String)> {
    match event {
        Event::ServerDead { server, role, cause, dead_time } => vec![
            ("server", server.to_string()),
            ("role", role.to_string()),
            ("reason", cause.to_string()),
            ("for-s", dead_time.as_secs().to_string()),
        ],
        Event::ServerBack { server, role, after } => vec![
            ("server", server.to_string()),
            ("role", role.to_string()),
            ("after-s", after.as_secs().to_string()),
        ],
        Event::Discarded { server, discard, count } => vec![
            ("server", server.to_string()),
            ("reason", discard.to_string()),
            ("count", count.to_string()),
        ],
        Event::Failed { result, detail, count } => vec![
            ("reason", result.to_string()),
            ("detail", or_nothing(detail).to_owned()),
            ("count", count.to_string()),
        ],
        Event::Said { is_accepted, detail, count } => vec![
            ("result", told(*is_accepted).to_owned()),
            ("detail", detail.clone()),
            ("count", count.to_string()),
        ],
    }
}

/// A sentence about it.
pub(super) fn display(event: &Event, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::ServerDead { server, role, cause, dead_time } => {
            let time = dead_time.as_secs();
            write!(f, "RADIUS server {server} ({role}) is left alone for {time} s: {cause}")
        }
        Event::ServerBack { server, role, after } => {
            write!(f, "RADIUS server {server} ({role}) is back after {} s", after.as_secs())
        }
        Event::Discarded { server, discard, count } => {
            write!(
                f,
                "{count} datagrams from RADIUS servers were not used: {discard}, the last one of {server}"
            )
        }
        Event::Failed { result, detail, count } => {
            write!(f, "{count} requests to RADIUS servers came to nothing: {result}: {}", or_nothing(detail))
        }
        Event::Said { is_accepted, detail, count } => {
            let result = told(*is_accepted);
            write!(
                f,
                "{count} messages of RADIUS servers to clients that were {result}, the last one to {detail}"
            )
        }
    }
}

/// Writes one event.
pub(super) fn write(event: &super::Event, what: &Event) {
    match what {
        Event::ServerDead { server, role, cause, dead_time } => line!(
            event,
            "RADIUS server does not answer",
            "server" = server.to_string(),
            "role" = role.as_str(),
            "reason" = cause.as_str(),
            "for-s" = dead_time.as_secs()
        ),
        Event::ServerBack { server, role, after } => line!(
            event,
            "RADIUS server is back",
            "server" = server.to_string(),
            "role" = role.as_str(),
            "after-s" = after.as_secs()
        ),
        Event::Discarded { server, discard, count } => line!(
            event,
            "datagrams of RADIUS servers not used",
            "server" = server.to_string(),
            "reason" = discard.as_str(),
            "count" = count
        ),
        Event::Failed { result, detail, count } => line!(
            event,
            "requests to RADIUS servers came to nothing",
            "reason" = result.as_str(),
            "detail" = or_nothing(detail),
            "count" = count
        ),
        Event::Said { is_accepted, detail, count } => line!(
            event,
            "RADIUS server says to a client",
            "result" = told(*is_accepted),
            "detail" = detail,
            "count" = count
        ),
    }
}

/// What became of a client that was told something.
const fn told(is_accepted: bool) -> &'static str {
    if is_accepted { "accepted" } else { "refused" }
}

const fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// The numbers for Prometheus.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, figures: &RadiusFigures) -> fmt::Result {
    let RadiusFigures { counters: counts, servers } = figures;
    counters(
        encoder,
        "radius_requests",
        "Requests to RADIUS servers, by what became of them",
        Outcome::ALL.iter().zip(counts.outcomes).map(|(it, count)| ([("result", it.as_str())], count)),
    )?;
    counters(
        encoder,
        "radius_discards",
        "Datagrams of RADIUS servers that were not used, by the reason",
        Discard::ALL.iter().zip(counts.discards).map(|(it, count)| ([("reason", it.as_str())], count)),
    )?;
    counter(
        encoder,
        "radius_retransmissions",
        "Packets that were sent to RADIUS servers again",
        counts.retransmissions,
    )?;
    counter(
        encoder,
        "radius_fail_overs",
        "Requests that went on to another RADIUS server",
        counts.fail_overs,
    )?;
    let servers: Vec<_> = servers.iter().map(|server| (server.address.to_string(), server)).collect();
    gauges(
        encoder,
        "radius_server_up",
        "Whether a RADIUS server answers, as far as is known",
        servers.iter().map(|(address, server)| {
            let labels = [("server", address.as_str()), ("role", server.role.as_str())];
            (labels, i64::from(server.state == ServerState::Up))
        }),
    )
}

#[cfg(test)]
pub(super) mod fixtures {
    use std::time::Duration;

    use super::*;
    use crate::radius::{DeathCause, Role};

    pub(in crate::telemetry) fn events() -> Vec<Event> {
        let server = "10.50.0.200:1812".parse().unwrap();
        let role = Role::Authentication;
        vec![
            Event::ServerDead {
                server,
                role,
                cause: DeathCause::Unanswered,
                dead_time: Duration::from_secs(60),
            },
            Event::ServerBack { server, role, after: Duration::from_secs(61) },
            Event::Discarded { server, discard: Discard::WrongAuthenticator, count: 3 },
            Event::Failed { result: Outcome::Overflow, detail: String::new(), count: 4 },
            Event::Said { is_accepted: false, detail: "alice: account locked".to_owned(), count: 1 },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_which_server_and_why() {
        let events = fixtures::events().into_iter().map(super::super::Event::Radius);

        assert_eq!(
            events.map(|event| event.to_string()).collect::<Vec<_>>(),
            [
                "RADIUS server 10.50.0.200:1812 (authentication) is left alone for 60 s: unanswered",
                "RADIUS server 10.50.0.200:1812 (authentication) is back after 61 s",
                "3 datagrams from RADIUS servers were not used: wrong-authenticator, the last one of \
                 10.50.0.200:1812",
                "4 requests to RADIUS servers came to nothing: overflow: none",
                "1 messages of RADIUS servers to clients that were refused, the last one to alice: account \
                 locked",
            ]
        );
    }
}
