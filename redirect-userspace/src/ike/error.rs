//! From reasons to notifies: the one place that says what a peer is told.
//!
//! # References
//!
//! `RFC 7296 §2.21`, `§3.10.1`.

use super::event::Failure;
use super::rules::Violation;
use super::wire::{ChainWriter, EncodeError, NotifyContent, NotifyType};

/// What the peer is told; `None` = nothing, or something that needs more than a type.
#[must_use]
pub(crate) const fn notify(failure: Failure) -> Option<NotifyType> {
    match failure {
        Failure::NoProposal => Some(NotifyType::NoProposalChosen),
        // RFC 7296 §2.21.2: whatever kept the peer from being authenticated, it is told one thing.
        Failure::NoProfile
        | Failure::Authentication
        | Failure::Certificate
        | Failure::OtherIdentity
        | Failure::Eap
        | Failure::EapLocked
        | Failure::EapGateway
        | Failure::AaaUnreachable => Some(NotifyType::AuthenticationFailed),
        Failure::NoAddress => Some(NotifyType::InternalAddressFailure),
        Failure::Selectors => Some(NotifyType::TsUnacceptable),
        Failure::BadPublicValue | Failure::Syntax => Some(NotifyType::InvalidSyntax),
        Failure::ChildLimit => Some(NotifyType::NoAdditionalSas),
        Failure::Temporary | Failure::Local => Some(NotifyType::TemporaryFailure),
        Failure::OtherGroup
        | Failure::CriticalPayload
        | Failure::HalfOpenLimit
        | Failure::SourceLimit
        | Failure::PrefixLimit
        | Failure::SaLimit
        | Failure::Timeout
        | Failure::PeerRefused => None,
        // RFC 5723 §4.3.2: whatever is wrong with a ticket, its sender is told one thing.
        Failure::TicketsOff
        | Failure::TicketMalformed
        | Failure::TicketVersion
        | Failure::TicketCluster
        | Failure::TicketKey
        | Failure::TicketForged
        | Failure::TicketExpired
        | Failure::TicketRevoked
        | Failure::TicketUsed => Some(NotifyType::TicketNack),
        Failure::UnexpectedNat => Some(NotifyType::UnexpectedNatDetected),
    }
}

/// Why a message that breaks the rules is refused.
#[must_use]
pub(crate) const fn failure(violation: &Violation) -> Failure {
    match violation {
        Violation::UnsupportedCritical(_) => Failure::CriticalPayload,
        Violation::UnknownExchange(_)
        | Violation::Missing(_)
        | Violation::Surplus(_)
        | Violation::Misplaced(_)
        | Violation::SurplusNotify(_)
        | Violation::ContradictingNotify(_)
        | Violation::Malformed(_) => Failure::Syntax,
    }
}

/// What the sender of a message that breaks the rules is told.
///
/// # Errors
///
/// Those of the chain.
pub(crate) fn answer(violation: &Violation, chain: &mut ChainWriter<'_>) -> Result<(), EncodeError> {
    match violation {
        // RFC 7296 §2.5: with the type of the payload that is not understood.
        Violation::UnsupportedCritical(kind) => {
            chain.notify(&NotifyContent::UnsupportedCriticalPayload(*kind))
        }
        Violation::UnknownExchange(_)
        | Violation::Missing(_)
        | Violation::Surplus(_)
        | Violation::Misplaced(_)
        | Violation::SurplusNotify(_)
        | Violation::ContradictingNotify(_)
        | Violation::Malformed(_) => chain.plain(NotifyType::InvalidSyntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_told_as_the_table_says() {
        let table: Vec<String> = Failure::ALL
            .iter()
            .map(|failure| format!("{failure}: {}", notify(*failure).map_or("-", |kind| kind.label())))
            .collect();

        assert_eq!(
            table,
            [
                "no-proposal-chosen: NO_PROPOSAL_CHOSEN",
                "other-group-wanted: -",
                "bad-public-value: INVALID_SYNTAX",
                "no-profile: AUTHENTICATION_FAILED",
                "authentication-failed: AUTHENTICATION_FAILED",
                "certificate-refused: AUTHENTICATION_FAILED",
                "other-identity: AUTHENTICATION_FAILED",
                "no-address: INTERNAL_ADDRESS_FAILURE",
                "traffic-selectors-unacceptable: TS_UNACCEPTABLE",
                "invalid-syntax: INVALID_SYNTAX",
                "unsupported-critical-payload: -",
                "half-open-limit: -",
                "source-limit: -",
                "prefix-limit: -",
                "sa-limit: -",
                "child-limit: NO_ADDITIONAL_SAS",
                "timeout: -",
                "peer-refused: -",
                "temporary-failure: TEMPORARY_FAILURE",
                "local-error: TEMPORARY_FAILURE",
                "eap-failed: AUTHENTICATION_FAILED",
                "eap-locked-out: AUTHENTICATION_FAILED",
                "eap-gateway-failed: AUTHENTICATION_FAILED",
                "aaa-unreachable: AUTHENTICATION_FAILED",
                "tickets-off: TICKET_NACK",
                "ticket-malformed: TICKET_NACK",
                "ticket-version: TICKET_NACK",
                "ticket-of-another-cluster: TICKET_NACK",
                "ticket-key-unknown: TICKET_NACK",
                "ticket-forged: TICKET_NACK",
                "ticket-expired: TICKET_NACK",
                "ticket-revoked: TICKET_NACK",
                "ticket-used: TICKET_NACK",
                "unexpected-nat: UNEXPECTED_NAT_DETECTED",
            ]
        );
    }
}
