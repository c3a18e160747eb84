//! Which payloads each message may carry.
//!
//! A message is held against the table before any state code sees it: what is missing, what is
//! there too often and what does not belong there is decided here and nowhere else. What a message
//! is ([`Form`]) follows from the payloads it has, so that state code need not look for them.
//!
//! Payloads of unknown types are not counted: they are skipped, unless they are critical
//! (`RFC 7296 §2.5`). The order of payloads is free.
//!
//! # References
//!
//! `RFC 7296 §1`, `§2.16` and appendix C; `RFC 5723 §4.3`, `RFC 5685 §3` to `§6`, `RFC 6023`,
//! `RFC 9242 §3`, `RFC 9370 §2.2`.

use crate::codec::DecodeError;

use super::wire::{
    Chain, Direction, Encrypted, EncryptedFragment, ExchangeType, MAX_PAYLOADS, Message, Notify, NotifyType,
    PayloadType, RawPayload,
};

/// What a message is, by the payloads it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// IKE_SA_INIT: proposals, key exchange, nonce.
    InitRequest,
    /// IKE_SA_INIT: what was chosen, key exchange, nonce.
    InitResponse,
    /// IKE_SESSION_RESUME: nonce and ticket.
    ResumeRequest,
    /// IKE_SESSION_RESUME: nonce.
    ResumeResponse,
    /// IKE_INTERMEDIATE.
    Intermediate,
    /// IKE_AUTH: identity and proof.
    AuthRequest,
    /// IKE_AUTH: identity without proof, for which EAP is wanted.
    EapStart,
    /// IKE_AUTH: identity and proof.
    AuthResponse,
    /// IKE_AUTH: identity, and the first EAP packet.
    EapOffer,
    /// IKE_AUTH: an EAP packet.
    EapRound,
    /// IKE_AUTH: proof after EAP; in the response the Child SA as well.
    EapEnd,
    /// CREATE_CHILD_SA for another Child SA.
    NewChildRequest,
    /// CREATE_CHILD_SA for a Child SA in the place of another.
    RekeyChildRequest,
    /// CREATE_CHILD_SA, the answer to either.
    ChildResponse,
    /// CREATE_CHILD_SA for an IKE SA in the place of this one.
    RekeyIkeRequest,
    /// CREATE_CHILD_SA, the answer.
    RekeyIkeResponse,
    /// IKE_FOLLOWUP_KE.
    FollowupKe,
    /// INFORMATIONAL.
    Informational,
    /// A response that has nothing but notifies: a refusal, or a detour (COOKIE, REDIRECT).
    NotifyOnly,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A critical payload of a type that is not understood (`RFC 7296 §2.5`).
    #[error("a critical payload of the unknown type {0}")]
    UnsupportedCritical(u8),
    /// A type of exchange that is not understood.
    #[error("an exchange of the unknown type {0}")]
    UnknownExchange(u8),
    /// A payload that must be there is not.
    #[error("{0} is missing")]
    Missing(PayloadType),
    /// More of a payload than there may be.
    #[error("more {0} than there may be")]
    Surplus(PayloadType),
    /// A payload that has no business there.
    #[error("{0} does not belong here")]
    Misplaced(PayloadType),
    /// More than one notify of a type of which there is at most one.
    #[error("more than one {0}")]
    SurplusNotify(NotifyType),
    /// A notify that contradicts the payloads beside it.
    #[error("{0} contradicts the rest of the message")]
    ContradictingNotify(NotifyType),
    /// A payload that had to be looked into is malformed.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// What a datagram has to offer before anything is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside<'a> {
    /// All of it, in clear, of an exchange that has no keys yet.
    Clear(Form),
    /// Encrypted payloads.
    Encrypted(Encrypted<'a>),
    /// A part of encrypted payloads.
    Fragment(EncryptedFragment<'a>),
    /// Notifies in clear, of an exchange that has keys: a hint that proves nothing
    /// (`RFC 7296 §1.5`, `§2.21.4`).
    Hint,
}

/// Checks what stands in clear.
///
/// # Errors
///
/// What is wrong with it.
pub fn outside<'a>(message: &Message<'a>) -> Result<Outside<'a>, Violation> {
    let chain = &message.payloads;
    if !is_protected(message.header.exchange)? {
        return check(message.header.exchange, message.header.direction, chain).map(Outside::Clear);
    }
    critical(chain)?;
    // An envelope ends its message, so there is at most one.
    let envelope = chain.iter().find(|payload| payload.kind.is_envelope());
    let rows = if envelope.is_some() { ENVELOPE } else { NOTIFIES };
    count(chain, rows)?;
    match envelope {
        Some(payload) if payload.kind == PayloadType::Encrypted => {
            Ok(Outside::Encrypted(Encrypted::from_raw(&payload)))
        }
        Some(payload) => Ok(Outside::Fragment(EncryptedFragment::from_raw(&payload)?)),
        None => Ok(Outside::Hint),
    }
}

/// Checks the payloads of a message: those in clear of IKE_SA_INIT and IKE_SESSION_RESUME, those
/// from inside the encrypted payload of all others.
///
/// # Errors
///
/// What is wrong with them.
pub fn check(exchange: ExchangeType, direction: Direction, chain: &Chain<'_>) -> Result<Form, Violation> {
    is_protected(exchange)?;
    critical(chain)?;
    let rule = FORMS
        .iter()
        .filter(|rule| rule.exchange == exchange && rule.direction == direction)
        .find(|rule| rule.when.is_met(chain))
        .ok_or_else(|| Violation::UnknownExchange(exchange.into()))?;
    count(chain, rule.rows)?;
    if let Some(missing) = rule.incomplete(chain) {
        return Err(Violation::Missing(missing));
    }
    notifies(chain, rule.form)
}

/// Whether the payloads of an exchange are encrypted.
fn is_protected(exchange: ExchangeType) -> Result<bool, Violation> {
    match exchange {
        ExchangeType::IkeSaInit | ExchangeType::IkeSessionResume => Ok(false),
        ExchangeType::IkeAuth
        | ExchangeType::CreateChildSa
        | ExchangeType::Informational
        | ExchangeType::IkeIntermediate
        | ExchangeType::IkeFollowupKe => Ok(true),
        ExchangeType::Unknown(number) => Err(Violation::UnknownExchange(number.value())),
    }
}

fn critical(chain: &Chain<'_>) -> Result<(), Violation> {
    for payload in chain {
        if let PayloadType::Unknown(number) = payload.kind
            && payload.is_critical
        {
            return Err(Violation::UnsupportedCritical(number.value()));
        }
    }
    Ok(())
}

/// Counts payloads; says what is in the way before what is missing.
fn count(chain: &Chain<'_>, rows: &[Row]) -> Result<(), Violation> {
    for payload in chain {
        let is_known = !matches!(payload.kind, PayloadType::Unknown(_));
        if is_known && !rows.iter().any(|row| row.payload == payload.kind) {
            return Err(Violation::Misplaced(payload.kind));
        }
    }
    for row in rows {
        let found = chain.count(row.payload);
        if found < row.min {
            return Err(Violation::Missing(row.payload));
        }
        if found > row.max {
            return Err(Violation::Surplus(row.payload));
        }
    }
    Ok(())
}

/// Looks at the types of the notifies, and refines the form by them.
fn notifies(chain: &Chain<'_>, form: Form) -> Result<Form, Violation> {
    let is_notify = |payload: &RawPayload<'_>| payload.kind == PayloadType::Notify;
    let mut rekeys = false;
    let mut once = [false; AT_MOST_ONCE.len()];
    for payload in chain.iter().filter(is_notify) {
        let kind = Notify::decode(payload.body)?.kind;
        for (single, seen) in AT_MOST_ONCE.iter().zip(&mut once) {
            if *single == kind && std::mem::replace(seen, true) {
                return Err(Violation::SurplusNotify(kind));
            }
        }
        if CONTRADICTIONS.contains(&(form, kind)) {
            return Err(Violation::ContradictingNotify(kind));
        }
        rekeys |= kind == NotifyType::RekeySa;
    }
    Ok(if form == Form::NewChildRequest && rekeys { Form::RekeyChildRequest } else { form })
}

/// How often a payload may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    payload: PayloadType,
    min: usize,
    max: usize,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
struct Rule {
    exchange: ExchangeType,
    direction: Direction,
    form: Form,
    /// Of the rules for a message the first one counts whose condition is met.
    when: When,
    rows: &'static [Row],
    /// Payloads of which there are all or none.
    together: &'static [PayloadType],
}

impl Rule {
    fn incomplete(&self, chain: &Chain<'_>) -> Option<PayloadType> {
        let is_there = |kind: &&PayloadType| chain.find(**kind).is_some();
        let missing = self.together.iter().find(|kind| !is_there(kind));
        missing.filter(|_| self.together.iter().any(|kind| is_there(&kind))).copied()
    }
}

/// A condition for a form.
#[derive(Clone, Copy, Debug)]
enum When {
    /// None.
    Always,
    /// All of these are there.
    All(&'static [PayloadType]),
    /// One of these is there.
    Any(&'static [PayloadType]),
}

impl When {
    fn is_met(self, chain: &Chain<'_>) -> bool {
        let is_there = |kind: &PayloadType| chain.find(*kind).is_some();
        match self {
            Self::Always => true,
            Self::All(kinds) => kinds.iter().all(is_there),
            Self::Any(kinds) => kinds.iter().any(is_there),
        }
    }
}

const fn one(payload: PayloadType) -> Row {
    Row { payload, min: 1, max: 1 }
}

const fn maybe(payload: PayloadType) -> Row {
    Row { payload, min: 0, max: 1 }
}

const fn any(payload: PayloadType) -> Row {
    Row { payload, min: 0, max: MAX_PAYLOADS }
}

const fn some(payload: PayloadType) -> Row {
    Row { payload, min: 1, max: MAX_PAYLOADS }
}

/// Around an encrypted payload. Vendor IDs may stand anywhere.
const ENVELOPE: &[Row] =
    &[maybe(PayloadType::Encrypted), maybe(PayloadType::EncryptedFragment), any(PayloadType::Vendor)];

const NOTIFIES: &[Row] = &[some(PayloadType::Notify), any(PayloadType::Vendor)];

const CHILD: &[PayloadType] = &[PayloadType::Sa, PayloadType::TsI, PayloadType::TsR];

/// The table. `RFC 6023`: IKE_AUTH may do without a Child SA.
const FORMS: &[Rule] = &[
    Rule {
        exchange: ExchangeType::IkeSaInit,
        direction: Direction::Request,
        form: Form::InitRequest,
        when: When::Always,
        rows: &[
            one(PayloadType::Sa),
            one(PayloadType::KeyExchange),
            one(PayloadType::Nonce),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: &[],
    },
    Rule {
        exchange: ExchangeType::IkeSaInit,
        direction: Direction::Response,
        form: Form::InitResponse,
        when: When::Any(&[PayloadType::Sa, PayloadType::KeyExchange, PayloadType::Nonce]),
        rows: &[
            one(PayloadType::Sa),
            one(PayloadType::KeyExchange),
            one(PayloadType::Nonce),
            any(PayloadType::CertRequest),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: &[],
    },
    notify_only(ExchangeType::IkeSaInit),
    Rule {
        exchange: ExchangeType::IkeSessionResume,
        direction: Direction::Request,
        form: Form::ResumeRequest,
        when: When::Always,
        rows: &[one(PayloadType::Nonce), any(PayloadType::Notify), any(PayloadType::Vendor)],
        together: &[],
    },
    Rule {
        exchange: ExchangeType::IkeSessionResume,
        direction: Direction::Response,
        form: Form::ResumeResponse,
        when: When::Any(&[PayloadType::Nonce]),
        rows: &[one(PayloadType::Nonce), any(PayloadType::Notify), any(PayloadType::Vendor)],
        together: &[],
    },
    notify_only(ExchangeType::IkeSessionResume),
    intermediate(Direction::Request),
    intermediate(Direction::Response),
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Request,
        form: Form::AuthRequest,
        when: When::All(&[PayloadType::IdI, PayloadType::Auth]),
        rows: AUTH_REQUEST,
        together: CHILD,
    },
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Request,
        form: Form::EapStart,
        when: When::All(&[PayloadType::IdI]),
        rows: &[
            one(PayloadType::IdI),
            any(PayloadType::Cert),
            any(PayloadType::CertRequest),
            maybe(PayloadType::IdR),
            maybe(PayloadType::Configuration),
            maybe(PayloadType::Sa),
            maybe(PayloadType::TsI),
            maybe(PayloadType::TsR),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: CHILD,
    },
    eap_round(Direction::Request),
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Request,
        form: Form::EapEnd,
        when: When::Any(&[PayloadType::Auth]),
        rows: &[one(PayloadType::Auth), any(PayloadType::Notify), any(PayloadType::Vendor)],
        together: &[],
    },
    // Without anything to go by, the first message of the exchange is the measure.
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Request,
        form: Form::AuthRequest,
        when: When::Always,
        rows: AUTH_REQUEST,
        together: CHILD,
    },
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Response,
        form: Form::EapOffer,
        when: When::All(&[PayloadType::IdR, PayloadType::Eap]),
        rows: &[
            one(PayloadType::IdR),
            any(PayloadType::Cert),
            maybe(PayloadType::Auth),
            one(PayloadType::Eap),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: &[],
    },
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Response,
        form: Form::AuthResponse,
        when: When::All(&[PayloadType::IdR]),
        rows: &[
            one(PayloadType::IdR),
            any(PayloadType::Cert),
            one(PayloadType::Auth),
            maybe(PayloadType::Configuration),
            maybe(PayloadType::Sa),
            maybe(PayloadType::TsI),
            maybe(PayloadType::TsR),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: CHILD,
    },
    eap_round(Direction::Response),
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction: Direction::Response,
        form: Form::EapEnd,
        when: When::Any(&[PayloadType::Auth]),
        rows: &[
            one(PayloadType::Auth),
            maybe(PayloadType::Configuration),
            maybe(PayloadType::Sa),
            maybe(PayloadType::TsI),
            maybe(PayloadType::TsR),
            any(PayloadType::Notify),
            any(PayloadType::Vendor),
        ],
        together: CHILD,
    },
    notify_only(ExchangeType::IkeAuth),
    Rule {
        exchange: ExchangeType::CreateChildSa,
        direction: Direction::Request,
        form: Form::NewChildRequest,
        when: When::Any(&[PayloadType::TsI, PayloadType::TsR]),
        rows: CREATE_CHILD,
        together: &[],
    },
    Rule {
        exchange: ExchangeType::CreateChildSa,
        direction: Direction::Request,
        form: Form::RekeyIkeRequest,
        when: When::Always,
        rows: REKEY_IKE,
        together: &[],
    },
    Rule {
        exchange: ExchangeType::CreateChildSa,
        direction: Direction::Response,
        form: Form::ChildResponse,
        when: When::Any(&[PayloadType::TsI, PayloadType::TsR]),
        rows: CREATE_CHILD,
        together: &[],
    },
    Rule {
        exchange: ExchangeType::CreateChildSa,
        direction: Direction::Response,
        form: Form::RekeyIkeResponse,
        when: When::Any(&[PayloadType::Sa, PayloadType::KeyExchange, PayloadType::Nonce]),
        rows: REKEY_IKE,
        together: &[],
    },
    notify_only(ExchangeType::CreateChildSa),
    Rule {
        exchange: ExchangeType::IkeFollowupKe,
        direction: Direction::Request,
        form: Form::FollowupKe,
        when: When::Always,
        rows: &[one(PayloadType::KeyExchange), some(PayloadType::Notify), any(PayloadType::Vendor)],
        together: &[],
    },
    Rule {
        exchange: ExchangeType::IkeFollowupKe,
        direction: Direction::Response,
        form: Form::FollowupKe,
        when: When::Any(&[PayloadType::KeyExchange]),
        rows: &[one(PayloadType::KeyExchange), any(PayloadType::Notify), any(PayloadType::Vendor)],
        together: &[],
    },
    notify_only(ExchangeType::IkeFollowupKe),
    informational(Direction::Request),
    informational(Direction::Response),
];

const AUTH_REQUEST: &[Row] = &[
    one(PayloadType::IdI),
    any(PayloadType::Cert),
    any(PayloadType::CertRequest),
    maybe(PayloadType::IdR),
    one(PayloadType::Auth),
    maybe(PayloadType::Configuration),
    maybe(PayloadType::Sa),
    maybe(PayloadType::TsI),
    maybe(PayloadType::TsR),
    any(PayloadType::Notify),
    any(PayloadType::Vendor),
];

const EAP_ROUND: &[Row] = &[one(PayloadType::Eap), any(PayloadType::Notify), any(PayloadType::Vendor)];

const INTERMEDIATE: &[Row] =
    &[maybe(PayloadType::KeyExchange), any(PayloadType::Notify), any(PayloadType::Vendor)];

const INFORMATIONAL: &[Row] = &[
    any(PayloadType::Notify),
    any(PayloadType::Delete),
    maybe(PayloadType::Configuration),
    any(PayloadType::Vendor),
];

const CREATE_CHILD: &[Row] = &[
    one(PayloadType::Sa),
    one(PayloadType::Nonce),
    maybe(PayloadType::KeyExchange),
    one(PayloadType::TsI),
    one(PayloadType::TsR),
    maybe(PayloadType::Configuration),
    any(PayloadType::Notify),
    any(PayloadType::Vendor),
];

/// RFC 7296 §1.3.2: never without a key exchange.
const REKEY_IKE: &[Row] = &[
    one(PayloadType::Sa),
    one(PayloadType::Nonce),
    one(PayloadType::KeyExchange),
    any(PayloadType::Notify),
    any(PayloadType::Vendor),
];

const fn notify_only(exchange: ExchangeType) -> Rule {
    Rule {
        exchange,
        direction: Direction::Response,
        form: Form::NotifyOnly,
        when: When::Always,
        rows: NOTIFIES,
        together: &[],
    }
}

const fn eap_round(direction: Direction) -> Rule {
    Rule {
        exchange: ExchangeType::IkeAuth,
        direction,
        form: Form::EapRound,
        when: When::Any(&[PayloadType::Eap]),
        rows: EAP_ROUND,
        together: &[],
    }
}

const fn intermediate(direction: Direction) -> Rule {
    Rule {
        exchange: ExchangeType::IkeIntermediate,
        direction,
        form: Form::Intermediate,
        when: When::Always,
        rows: INTERMEDIATE,
        together: &[],
    }
}

const fn informational(direction: Direction) -> Rule {
    Rule {
        exchange: ExchangeType::Informational,
        direction,
        form: Form::Informational,
        when: When::Always,
        rows: INFORMATIONAL,
        together: &[],
    }
}

/// Notifies of which a second one would leave open which counts.
const AT_MOST_ONCE: [NotifyType; 12] = [
    NotifyType::InvalidKePayload,
    NotifyType::SetWindowSize,
    NotifyType::Cookie,
    NotifyType::RekeySa,
    NotifyType::Cookie2,
    NotifyType::AuthLifetime,
    NotifyType::Redirect,
    NotifyType::RedirectedFrom,
    NotifyType::TicketLtOpaque,
    NotifyType::TicketOpaque,
    NotifyType::SignatureHashAlgorithms,
    NotifyType::AdditionalKeyExchange,
];

/// Notifies that say "not so" beside payloads that say "so".
const CONTRADICTIONS: [(Form, NotifyType); 5] = [
    (Form::InitResponse, NotifyType::Cookie),
    (Form::InitResponse, NotifyType::InvalidKePayload),
    (Form::InitResponse, NotifyType::Redirect),
    (Form::ResumeResponse, NotifyType::Cookie),
    (Form::ResumeResponse, NotifyType::Redirect),
];

#[cfg(test)]
mod tests;
