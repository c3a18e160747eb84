//! The gateway's numbers for Prometheus. Every label is one of a closed set of words.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::control::{Durations, IkeFigures};
use crate::ike::{CountSnapshot, Counters, Discard, Failure, RedirectExchange, RedirectRefusal, SaState};
use crate::telemetry::metrics::{counter, counters, gauge, gauges, sentence};

/// All of them.
pub(in crate::telemetry) fn encode(encoder: &mut DescriptorEncoder<'_>, figures: &IkeFigures) -> fmt::Result {
    let IkeFigures { counts, counters, carried, durations, radius, gate_asked, gate_good } = figures;
    crate::telemetry::radius::encode(encoder, radius)?;
    sas(encoder, counts)?;
    handshakes(encoder, counters, durations)?;
    exchanges(encoder, counters)?;
    self::counters(
        encoder,
        "ike_gate_cookies",
        "Cookies that the fast path asked for in the gateway's place, and good ones that it was brought",
        [("asked", *gate_asked), ("good", *gate_good)]
            .into_iter()
            .map(|(what, count)| ([("what", what)], count)),
    )?;
    traffic(encoder, "bytes", "Octets of inner packets", [carried.bytes_in, carried.bytes_out])?;
    traffic(encoder, "packets", "Inner packets", [carried.packets_in, carried.packets_out])
}

fn sas(encoder: &mut DescriptorEncoder<'_>, counts: &CountSnapshot) -> fmt::Result {
    let states = [(SaState::HalfOpen, counts.half_open), (SaState::Established, counts.established)];
    gauges(
        encoder,
        "ike_sas",
        "IKE SAs there are, before and after authentication",
        states.into_iter().map(|(state, count)| ([("state", state.as_str())], number(count))),
    )?;
    gauge(encoder, "ike_child_sas", "Child SAs there are", number(counts.children))
}

fn handshakes(
    encoder: &mut DescriptorEncoder<'_>,
    counters: &Counters,
    durations: &Durations,
) -> fmt::Result {
    let established = counters.established_responder.saturating_add(counters.established_initiator);
    let failures = Failure::ALL.iter().zip(counters.failures);
    let failures = failures.map(|(failure, count)| ([("result", failure.as_str())], count));
    self::counters(
        encoder,
        "ike_handshakes",
        "IKE SAs that were established, and those that were not, by the reason",
        std::iter::once(([("result", "established")], established)).chain(failures),
    )?;
    let name = "ike_handshake_duration_seconds";
    let help = sentence("Time from the first message of an IKE SA until it was established");
    let buckets: Vec<_> = durations
        .buckets()
        .map(|(bound, count)| (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), count))
        .collect();
    let mut metric = encoder.encode_descriptor(name, &help, None, MetricType::Histogram)?;
    let sum = durations.sum().as_secs_f64();
    metric.encode_histogram::<NoLabelSet>(sum, durations.count(), &buckets, None)
}

fn exchanges(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    self::counters(
        encoder,
        "ike_discards",
        "Datagrams that were not acted upon, by the reason",
        Discard::ALL
            .iter()
            .zip(counters.discards)
            .map(|(discard, count)| ([("reason", discard.as_str())], count)),
    )?;
    self::counters(
        encoder,
        "ike_redirects_refused",
        "Redirects that this node did not follow as a client, by the reason",
        RedirectRefusal::ALL
            .iter()
            .zip(counters.redirects_refused)
            .map(|(reason, count)| ([("reason", reason.as_str())], count)),
    )?;
    self::counters(
        encoder,
        "ike_rekeys",
        "SAs in the place of others with older keys",
        [("ike", counters.ike_rekeys), ("child", counters.child_rekeys)]
            .into_iter()
            .map(|(kind, count)| ([("kind", kind)], count)),
    )?;
    self::counters(
        encoder,
        "ike_redirects",
        "Clients that the gateway told to go to another one, by the exchange",
        RedirectExchange::ALL
            .iter()
            .zip(counters.redirects)
            .map(|(exchange, count)| ([("exchange", exchange.as_str())], count)),
    )?;
    self::counters(
        encoder,
        "ike_tickets",
        "Clients that asked for a ticket, and got one or none",
        [("granted", counters.tickets_granted), ("refused", counters.tickets_refused)]
            .into_iter()
            .map(|(result, count)| ([("result", result)], count)),
    )?;
    for (name, help, count) in [
        ("ike_init_requests", "IKE_SA_INIT requests that were taken in", counters.init_requests),
        ("ike_resume_requests", "IKE_SESSION_RESUME requests that were taken in", counters.resume_requests),
        ("ike_resumed", "IKE SAs that go on with an earlier session, by a ticket", counters.resumed),
        ("ike_cookies", "Cookies that were asked for", counters.cookies),
        (
            "ike_redirects_followed",
            "Redirects that this node followed as a client",
            counters.redirects_followed,
        ),
        (
            "ike_unknown_answered",
            "Requests for IKE SAs that there are not, and that were answered so",
            counters.unknown_answered,
        ),
        ("ike_retransmissions", "Requests of this node that were repeated", counters.retransmissions),
        ("ike_children", "Child SAs that came up", counters.children),
        ("ike_updates", "Moves of clients to other addresses", counters.updates),
        ("ike_updates_refused", "Moves of clients that were refused", counters.updates_refused),
        (
            "ike_updates_checked",
            "Clients that have shown that they are where they say",
            counters.checks_passed,
        ),
        ("ike_roamed", "Moves of this node to other addresses, as a client", counters.roamed),
    ] {
        counter(encoder, name, help, count)?;
    }
    Ok(())
}

/// What all Child SAs have carried, by direction.
fn traffic(encoder: &mut DescriptorEncoder<'_>, what: &str, help: &str, counts: [u64; 2]) -> fmt::Result {
    counters(
        encoder,
        &format!("ike_child_{what}"),
        &format!("{help} that Child SAs have carried"),
        ["in", "out"].into_iter().zip(counts).map(|(direction, count)| ([("direction", direction)], count)),
    )
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
