//! Proposals as they are configured, offered and chosen.
//!
//! A configured proposal is a string in strongSwan's syntax, such as
//! `aes256gcm16-prfsha384-ecp384`: keywords joined by hyphens, each an algorithm. Several for the
//! same purpose are alternatives, the preferred one first. Weak algorithms have no place in it.
//!
//! Of several proposals the first of ours that the peer offers as well is chosen. Within it the key
//! exchange method is the one that the peer has sent a public value for, if it will do: any other
//! costs another round trip. No method is used twice for one SA.
//!
//! # References
//!
//! `RFC 7296 §2.7`, `§3.3`; `RFC 8247` (which algorithms are weak), `RFC 8221` (the same for ESP);
//! `RFC 9370 §2.2.1` (additional key exchanges).

mod additional;
mod keyword;

use std::fmt::{Display, Formatter};
use std::num::{NonZeroU8, NonZeroU64};
use std::str::FromStr;

use super::wire::{
    ChildProtocol, ChildSpi, Encryption, Integrity, KeyExchangeMethod, Prf, Proposal, ProposalSpi, Sa,
    SequenceNumbers, Transform, TransformType,
};

pub use additional::Additional;
use keyword::Meaning;

/// What an IKE SA may be protected with. Never without encryption, PRF and key exchange method;
/// integrity where the encryption needs it and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeProposal(Alternatives);

/// What an ESP SA may be protected with. Never without encryption; integrity where the encryption
/// needs it and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspProposal(Alternatives);

/// An encryption algorithm and its key length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cipher {
    /// The algorithm.
    pub algorithm: Encryption,
    /// Bits of its key, where that is not fixed.
    pub key_bits: Option<u16>,
}

/// What an IKE SA is protected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSuite {
    /// Encryption.
    pub cipher: Cipher,
    /// Integrity, where the encryption does not take care of it.
    pub integrity: Option<Integrity>,
    /// Pseudorandom function.
    pub prf: Prf,
    /// Key exchange method.
    pub key_exchange: KeyExchangeMethod,
    /// Those after it.
    pub additional: Additional,
}

/// What an ESP SA is protected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EspSuite {
    /// Encryption.
    pub cipher: Cipher,
    /// Integrity, where the encryption does not take care of it.
    pub integrity: Option<Integrity>,
    /// Key exchange method, where its keys are not derived from those of the IKE SA alone.
    pub key_exchange: Option<KeyExchangeMethod>,
    /// Those after it.
    pub additional: Additional,
    /// Sequence numbers.
    pub sequence_numbers: SequenceNumbers,
}

/// A suite that was chosen from an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<S> {
    /// The suite.
    pub suite: S,
    /// The offered proposal it is from: its number and the peer's SPI.
    pub number: NonZeroU8,
    /// Protocol and SPI of the peer.
    pub spi: ProposalSpi,
    /// Transforms that the answer has.
    transforms: Vec<Transform>,
}

impl<S> Choice<S> {
    /// The answer, with our own SPI.
    #[must_use]
    pub fn answer(self, spi: ProposalSpi) -> Sa {
        Sa::one(Proposal { number: self.number, spi, transforms: self.transforms })
    }
}

/// Why nothing was chosen from an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// None of our proposals is among those offered: NO_PROPOSAL_CHOSEN.
    #[error("no proposal of the peer is one of ours")]
    NoProposal,
    /// A proposal would do, but with another key exchange: INVALID_KE_PAYLOAD.
    #[error("{wanted} is wanted for the key exchange")]
    OtherMethod {
        /// The method that is wanted.
        wanted: KeyExchangeMethod,
    },
}

/// The peer has chosen what was not offered (`RFC 7296 §3.3.6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer has chosen what was not offered")]
pub struct NotOffered;

impl IkeProposal {
    /// The key exchange methods, the preferred one first; at least one.
    pub fn key_exchanges(&self) -> impl Iterator<Item = KeyExchangeMethod> {
        self.0.key_exchanges()
    }

    /// Whether a suite is one that it stands for.
    #[must_use]
    pub fn has(&self, suite: &IkeSuite) -> bool {
        let IkeSuite { cipher, integrity, prf, key_exchange, additional } = *suite;
        let cipher = Transform::Encryption(cipher.algorithm, cipher.key_bits);
        let integrity = integrity.map(Transform::Integrity);
        let all = [cipher, Transform::Prf(prf), Transform::KeyExchange(key_exchange)];
        let has = |transform: &Transform| self.0.transforms.contains(transform);
        let is_right = |(index, method)| {
            let wanted = Transform::AdditionalKeyExchange(index, method);
            // Where there is none, none may be there.
            has(&wanted) || (is_none(&wanted) && self.0.of(wanted.kind()).next().is_none())
        };
        all.iter().chain(&integrity).all(has) && additional.places().all(is_right)
    }

    /// Whether additional key exchanges may come of it.
    #[must_use]
    pub fn has_additional(&self) -> bool {
        self.0.transforms.iter().any(|transform| is_additional(transform) && !is_none(transform))
    }

    /// Chooses from what the peer offers, who has sent a public value for `sent`; with additional key
    /// exchanges only where they `can_follow`.
    ///
    /// # Errors
    ///
    /// [`NoChoice`]
    pub fn choose<'a>(
        ours: impl IntoIterator<Item = &'a Self>,
        offer: &Sa,
        sent: KeyExchangeMethod,
        can_follow: bool,
    ) -> Result<Choice<IkeSuite>, NoChoice> {
        let is_ike = |proposal: &&Proposal| matches!(proposal.spi, ProposalSpi::Ike(_));
        for ours in ours {
            for theirs in offer.proposals().iter().filter(is_ike) {
                let Some(transforms) = ours.0.common(theirs, Some(sent)) else { continue };
                let Some(suite) = IkeSuite::of(&transforms) else { continue };
                if !can_follow && !suite.additional.is_empty() {
                    continue;
                }
                if suite.key_exchange != sent {
                    return Err(NoChoice::OtherMethod { wanted: suite.key_exchange });
                }
                return Ok(Choice { suite, number: theirs.number, spi: theirs.spi.clone(), transforms });
            }
        }
        Err(NoChoice::NoProposal)
    }

    /// Offers all of `ours`, with our SPI when an IKE SA is rekeyed. `None` if there are no
    /// proposals, or more than 255.
    #[must_use]
    pub fn offer<'a>(ours: impl IntoIterator<Item = &'a Self>, spi: Option<NonZeroU64>) -> Option<Sa> {
        offer(ours.into_iter().map(|ours| ours.0.transforms.clone()), &ProposalSpi::Ike(spi))
    }
}

impl EspProposal {
    /// The key exchange methods, the preferred one first; none where keys are derived from those of
    /// the IKE SA alone.
    pub fn key_exchanges(&self) -> impl Iterator<Item = KeyExchangeMethod> {
        self.0.key_exchanges()
    }

    /// Chooses from what the peer offers. In IKE_AUTH there is no key exchange, whatever the
    /// proposals say (`RFC 7296 §1.2`); elsewhere `exchange` says for which method the peer has
    /// sent a public value, if for any.
    ///
    /// # Errors
    ///
    /// [`NoChoice`]
    pub fn choose(ours: &[Self], offer: &Sa, exchange: EspExchange) -> Result<Choice<EspSuite>, NoChoice> {
        let is_esp = |proposal: &&Proposal| matches!(proposal.spi, ProposalSpi::Child(ChildProtocol::Esp, _));
        for ours in ours {
            for theirs in offer.proposals().iter().filter(is_esp) {
                let (transforms, sent) = match exchange {
                    EspExchange::IkeAuth => {
                        (ours.without_key_exchange().common(&stripped(theirs), None), None)
                    }
                    EspExchange::CreateChildSa(sent) => (ours.0.common(theirs, sent), sent),
                };
                let Some(transforms) = transforms else { continue };
                let Some(suite) = EspSuite::of(&transforms) else { continue };
                // RFC 7296 §3.3.6: with the method NONE a public value that came is ignored.
                if let Some(wanted) = suite.key_exchange.filter(|wanted| Some(*wanted) != sent) {
                    return Err(NoChoice::OtherMethod { wanted });
                }
                return Ok(Choice { suite, number: theirs.number, spi: theirs.spi.clone(), transforms });
            }
        }
        Err(NoChoice::NoProposal)
    }

    /// Offers all of `ours`. `None` if there are no proposals, or more than 255.
    #[must_use]
    pub fn offer(ours: &[Self], spi: ChildSpi, exchange: EspExchange) -> Option<Sa> {
        let transforms = ours.iter().map(|ours| match exchange {
            EspExchange::IkeAuth => ours.without_key_exchange().transforms,
            EspExchange::CreateChildSa(_) => ours.0.transforms.clone(),
        });
        offer(transforms, &ProposalSpi::Child(ChildProtocol::Esp, spi))
    }

    fn without_key_exchange(&self) -> Alternatives {
        Alternatives { transforms: without_key_exchanges(&self.0.transforms) }
    }
}

/// Where an ESP SA is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EspExchange {
    /// In IKE_AUTH, where there is no key exchange.
    IkeAuth,
    /// In CREATE_CHILD_SA, with the method of the peer's public value, if it has sent one.
    CreateChildSa(Option<KeyExchangeMethod>),
}

impl IkeSuite {
    /// What the peer has chosen from our `offer`.
    ///
    /// # Errors
    ///
    /// It is not part of the offer, or not exactly one of everything.
    pub fn chosen(offer: &Sa, answer: &Sa) -> Result<Choice<Self>, NotOffered> {
        let proposal = chosen(offer, answer)?;
        let is_ike = matches!(proposal.spi, ProposalSpi::Ike(_));
        let suite = Self::of(&proposal.transforms).filter(|_| is_ike).ok_or(NotOffered)?;
        Ok(Choice::of(suite, proposal))
    }

    fn of(transforms: &[Transform]) -> Option<Self> {
        let sole = Sole::of(transforms)?;
        if sole.sequence_numbers.is_some() {
            return None;
        }
        Some(Self {
            cipher: sole.cipher?,
            integrity: sole.integrity,
            prf: sole.prf?,
            key_exchange: sole.key_exchange?,
            additional: sole.additional,
        })
    }
}

impl EspSuite {
    /// What the peer has chosen from our `offer`.
    ///
    /// # Errors
    ///
    /// It is not part of the offer, or not exactly one of everything.
    pub fn chosen(offer: &Sa, answer: &Sa) -> Result<Choice<Self>, NotOffered> {
        let proposal = chosen(offer, answer)?;
        let is_esp = matches!(proposal.spi, ProposalSpi::Child(ChildProtocol::Esp, _));
        let suite = Self::of(&proposal.transforms).filter(|_| is_esp).ok_or(NotOffered)?;
        Ok(Choice::of(suite, proposal))
    }

    fn of(transforms: &[Transform]) -> Option<Self> {
        let sole = Sole::of(transforms)?;
        if sole.prf.is_some() {
            return None;
        }
        Some(Self {
            cipher: sole.cipher?,
            integrity: sole.integrity,
            key_exchange: sole.key_exchange,
            additional: sole.additional,
            sequence_numbers: sole.sequence_numbers?,
        })
    }
}

impl<S> Choice<S> {
    fn of(suite: S, proposal: &Proposal) -> Self {
        Self {
            suite,
            number: proposal.number,
            spi: proposal.spi.clone(),
            transforms: proposal.transforms.clone(),
        }
    }
}

/// The proposal of an answer, if it is part of the offer.
fn chosen<'a>(offer: &Sa, answer: &'a Sa) -> Result<&'a Proposal, NotOffered> {
    let [answer] = answer.proposals() else { return Err(NotOffered) };
    let offered = offer.proposals().iter().find(|offered| offered.number == answer.number);
    let offered = offered.ok_or(NotOffered)?;
    // An algorithm NONE may be named that was only implied (`RFC 7296 §3.3.3`).
    let is_offered = |transform: &Transform| {
        offered.transforms.contains(transform)
            || (is_none(transform) && !offered.transforms.iter().any(|t| t.kind() == transform.kind()))
    };
    // RFC 9370 §2.2.1: an additional key exchange is left out only where NONE was offered.
    let is_there = |wanted: &Transform| {
        let of_kind = |transform: &&Transform| transform.kind() == wanted.kind();
        answer.transforms.iter().any(|transform| of_kind(&transform))
            || offered.transforms.iter().filter(of_kind).any(is_none)
    };
    // In IKE_AUTH none was offered.
    let is_whole = offered.transforms.iter().filter(|transform| is_additional(transform)).all(is_there);
    if is_whole && answer.transforms.iter().all(is_offered) { Ok(answer) } else { Err(NotOffered) }
}

fn offer(proposals: impl Iterator<Item = Vec<Transform>>, spi: &ProposalSpi) -> Option<Sa> {
    let numbered = proposals.enumerate().map(|(position, transforms)| {
        let number = u8::try_from(position + 1).ok().and_then(NonZeroU8::new)?;
        Some(Proposal { number, spi: spi.clone(), transforms })
    });
    numbered.collect::<Option<Vec<_>>>().and_then(Sa::new)
}

/// The proposal without a key exchange.
fn stripped(proposal: &Proposal) -> Proposal {
    Proposal { transforms: without_key_exchanges(&proposal.transforms), ..proposal.clone() }
}

fn without_key_exchanges(transforms: &[Transform]) -> Vec<Transform> {
    let is_other =
        |transform: &&Transform| transform.kind() != TransformType::KeyExchange && !is_additional(transform);
    transforms.iter().filter(is_other).cloned().collect()
}

/// Whether a transform is for an additional key exchange, usable or not.
fn is_additional(transform: &Transform) -> bool {
    (TransformType::AdditionalKeyExchange1..=TransformType::AdditionalKeyExchange7)
        .contains(&transform.kind())
}

/// Algorithms by type; several of one type are alternatives. None is weak, unusable or NONE, but for
/// a key exchange method, which may be NONE.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternatives {
    transforms: Vec<Transform>,
}

impl Alternatives {
    fn of(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |transform| transform.kind() == kind)
    }

    /// Whoever chooses takes what is left: with each of the first methods there must be something.
    fn check_key_exchanges(&self) -> Result<(), ProposalError> {
        let spi = ProposalSpi::Ike(None);
        let offer = Proposal { number: NonZeroU8::MIN, spi, transforms: self.transforms.clone() };
        let first: Vec<_> = self.key_exchanges().collect();
        let is_right = |sent| self.common(&offer, sent).is_some_and(|all| Sole::of(&all).is_some());
        let all = if first.is_empty() {
            is_right(None)
        } else {
            first.into_iter().all(|sent| is_right(Some(sent)))
        };
        all.then_some(()).ok_or(ProposalError::KeyExchanges)
    }

    fn key_exchanges(&self) -> impl Iterator<Item = KeyExchangeMethod> {
        self.of(TransformType::KeyExchange).map(|transform| KeyExchangeMethod::from(transform.id()))
    }

    /// One transform of each type that both have; `None` when that cannot be.
    fn common(&self, theirs: &Proposal, sent: Option<KeyExchangeMethod>) -> Option<Vec<Transform>> {
        if !theirs.is_understood() {
            return None;
        }
        let mut kinds: Vec<_> =
            self.transforms.iter().chain(&theirs.transforms).map(Transform::kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut common: Vec<Transform> = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let offered = || theirs.transforms.iter().filter(move |transform| transform.kind() == kind);
            let mut ours = self.of(kind).peekable();
            if ours.peek().is_none() {
                // RFC 7296 §3.3: what we do without the peer must be able to do without.
                let none = offered().find(|transform| is_none(transform))?;
                // Beside an encryption that needs none, no integrity is not named.
                if kind != TransformType::Integrity {
                    common.push(none.clone());
                }
                continue;
            }
            let sent = sent.map(Transform::KeyExchange).filter(|_| kind == TransformType::KeyExchange);
            // RFC 9370 §2.2.1: no method twice.
            let is_used = |transform: &Transform| {
                let same = |used: &Transform| method(used).is_some() && method(used) == method(transform);
                common.iter().any(same)
            };
            let is_common = |transform: &&Transform| {
                offered().any(|offered| offered == *transform) && !is_used(transform)
            };
            let as_sent = sent.as_ref().and_then(|sent| self.of(kind).filter(is_common).find(|t| *t == sent));
            let found = as_sent.or_else(|| self.of(kind).find(is_common)).cloned();
            if let Some(transform) = found {
                common.push(transform);
            } else if offered().next().is_some() || !ours.any(is_none) {
                return None;
            }
        }
        Some(common)
    }
}

/// The key exchange method of a transform, if it is for one and not NONE.
fn method(transform: &Transform) -> Option<KeyExchangeMethod> {
    match transform {
        Transform::KeyExchange(method) | Transform::AdditionalKeyExchange(_, method) => {
            Some(*method).filter(|method| *method != KeyExchangeMethod::None)
        }
        Transform::Encryption(..)
        | Transform::Prf(_)
        | Transform::Integrity(_)
        | Transform::SequenceNumbers(_)
        | Transform::Unusable { .. } => None,
    }
}

/// Whether a transform stands for the absence of an algorithm.
fn is_none(transform: &Transform) -> bool {
    match transform {
        Transform::Integrity(Integrity::None)
        | Transform::KeyExchange(KeyExchangeMethod::None)
        | Transform::AdditionalKeyExchange(_, KeyExchangeMethod::None) => true,
        Transform::Encryption(..)
        | Transform::Prf(_)
        | Transform::Integrity(_)
        | Transform::KeyExchange(_)
        | Transform::SequenceNumbers(_)
        | Transform::AdditionalKeyExchange(..)
        | Transform::Unusable { .. } => false,
    }
}

/// At most one algorithm of each type.
struct Sole {
    cipher: Option<Cipher>,
    prf: Option<Prf>,
    integrity: Option<Integrity>,
    key_exchange: Option<KeyExchangeMethod>,
    additional: Additional,
    sequence_numbers: Option<SequenceNumbers>,
}

impl Sole {
    /// `None` when there are two of a type, one that must not be chosen, integrity that does not go
    /// with the encryption, or key exchanges that are none.
    fn of(transforms: &[Transform]) -> Option<Self> {
        let mut kinds: Vec<_> = transforms.iter().map(Transform::kind).collect();
        kinds.sort_unstable();
        if kinds.windows(2).any(|pair| matches!(pair, [first, second] if first == second)) {
            return None;
        }
        let mut methods: Vec<_> = transforms.iter().filter_map(method).collect();
        methods.sort_unstable();
        if methods.windows(2).any(|pair| matches!(pair, [first, second] if first == second)) {
            return None;
        }
        let mut sole = Self {
            cipher: None,
            prf: None,
            integrity: None,
            key_exchange: None,
            additional: Additional::NONE,
            sequence_numbers: None,
        };
        for transform in transforms.iter().filter(|transform| !is_none(transform)) {
            match transform {
                Transform::Encryption(algorithm, key_bits) => {
                    sole.cipher = Some(Cipher { algorithm: *algorithm, key_bits: *key_bits });
                }
                Transform::Prf(prf) => sole.prf = Some(*prf),
                Transform::Integrity(integrity) => sole.integrity = Some(*integrity),
                Transform::KeyExchange(method) => sole.key_exchange = Some(*method),
                Transform::SequenceNumbers(numbers) => sole.sequence_numbers = Some(*numbers),
                Transform::AdditionalKeyExchange(index, method) => sole.additional.set(*index, *method),
                Transform::Unusable { .. } => return None,
            }
        }
        if sole.key_exchange.is_none() && !sole.additional.is_empty() {
            return None;
        }
        let cipher = sole.cipher?;
        (cipher.algorithm.is_aead() == sole.integrity.is_none()).then_some(sole)
    }
}

/// Why a configured proposal is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A keyword that nobody knows.
    #[error("`{0}` is not a known algorithm")]
    Unknown(String),
    /// An algorithm that must not be used any more.
    #[error("`{keyword}` is refused: {reason}")]
    Weak {
        /// The keyword.
        keyword: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An algorithm that is good, but not there.
    #[error("`{0}` is not supported")]
    Unsupported(String),
    /// An algorithm that has no place in a proposal of this kind.
    #[error("`{0}` has no place in this proposal")]
    Misplaced(String),
    /// A keyword for the second time.
    #[error("`{0}` is there twice")]
    Repeated(String),
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Encryption that takes care of integrity beside encryption that does not.
    #[error("encryption with and without its own integrity must be in different proposals")]
    Mixed,
    /// Integrity beside encryption that takes care of it.
    #[error("the encryption takes care of integrity: `{0}` is too much")]
    SurplusIntegrity(String),
    /// Key exchange methods from which no suite can be made.
    #[error("each key exchange needs a method of its own, and additional ones need a first one")]
    KeyExchanges,
}

impl FromStr for IkeProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        let mut alternatives = parse(text, &[TransformType::SequenceNumbers])?;
        if alternatives.of(TransformType::Prf).next().is_none() {
            // As in strongSwan: the PRF follows from the integrity algorithm.
            let prfs: Vec<_> = alternatives.of(TransformType::Integrity).filter_map(prf_beside).collect();
            alternatives.transforms.extend(prfs);
        }
        for (kind, what) in [
            (TransformType::Prf, "a pseudorandom function, such as `prfsha256`,"),
            (TransformType::KeyExchange, "a key exchange method, such as `ecp256`,"),
        ] {
            if alternatives.of(kind).next().is_none() {
                return Err(ProposalError::Missing(what));
            }
        }
        if let Some(none) = alternatives.of(TransformType::KeyExchange).find(|transform| is_none(transform)) {
            return Err(ProposalError::Misplaced(keyword::of(none).into_owned()));
        }
        alternatives.transforms.sort_by_key(Transform::kind);
        alternatives.check_key_exchanges()?;
        Ok(Self(alternatives))
    }
}

impl FromStr for EspProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, ProposalError> {
        let mut alternatives = parse(text, &[TransformType::Prf])?;
        if alternatives.of(TransformType::SequenceNumbers).next().is_none() {
            alternatives.transforms.push(Transform::SequenceNumbers(SequenceNumbers::Short));
        }
        alternatives.transforms.sort_by_key(Transform::kind);
        alternatives.check_key_exchanges()?;
        Ok(Self(alternatives))
    }
}

/// The keywords of a proposal of either kind.
fn parse(text: &str, misplaced: &[TransformType]) -> Result<Alternatives, ProposalError> {
    let mut transforms: Vec<Transform> = Vec::new();
    for word in text.split('-') {
        let transform = match keyword::meaning(word) {
            Some(Meaning::Algorithm(transform)) => transform,
            Some(Meaning::Weak(reason)) => {
                return Err(ProposalError::Weak { keyword: word.to_owned(), reason });
            }
            Some(Meaning::Unsupported) => return Err(ProposalError::Unsupported(word.to_owned())),
            None => return Err(ProposalError::Unknown(word.to_owned())),
        };
        if misplaced.contains(&transform.kind()) {
            return Err(ProposalError::Misplaced(word.to_owned()));
        }
        if transforms.contains(&transform) {
            return Err(ProposalError::Repeated(word.to_owned()));
        }
        transforms.push(transform);
    }
    let alternatives = Alternatives { transforms };
    let is_aead = |transform: &Transform| Encryption::from(transform.id()).is_aead();
    let mut ciphers = alternatives.of(TransformType::Encryption).map(is_aead);
    let Some(first) = ciphers.next() else { return Err(ProposalError::Missing("encryption")) };
    if ciphers.any(|other| other != first) {
        return Err(ProposalError::Mixed);
    }
    match alternatives.of(TransformType::Integrity).next() {
        Some(integrity) if first => {
            return Err(ProposalError::SurplusIntegrity(keyword::of(integrity).into_owned()));
        }
        None if !first => {
            return Err(ProposalError::Missing("integrity, such as `sha256`,"));
        }
        Some(_) | None => {}
    }
    drop(ciphers);
    Ok(alternatives)
}

fn prf_beside(integrity: &Transform) -> Option<Transform> {
    let Transform::Integrity(integrity) = integrity else { return None };
    match integrity {
        Integrity::HmacSha2_256_128 => Some(Transform::Prf(Prf::HmacSha2_256)),
        Integrity::HmacSha2_384_192 => Some(Transform::Prf(Prf::HmacSha2_384)),
        Integrity::HmacSha2_512_256 => Some(Transform::Prf(Prf::HmacSha2_512)),
        Integrity::None
        | Integrity::HmacMd5_96
        | Integrity::HmacSha1_96
        | Integrity::AesXcbc96
        | Integrity::AesCmac96
        | Integrity::Unknown(_) => None,
    }
}

/// As it would be configured.
impl Display for IkeSuite {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { cipher, integrity, prf, key_exchange, additional } = *self;
        let parts = [
            Some(Transform::Encryption(cipher.algorithm, cipher.key_bits)),
            integrity.map(Transform::Integrity),
            Some(Transform::Prf(prf)),
            Some(Transform::KeyExchange(key_exchange)),
        ];
        f.pad(&joined(parts.into_iter().flatten().chain(additional.transforms())))
    }
}

/// As it would be configured.
impl Display for EspSuite {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { cipher, integrity, key_exchange, additional, sequence_numbers } = *self;
        let parts = [
            Some(Transform::Encryption(cipher.algorithm, cipher.key_bits)),
            integrity.map(Transform::Integrity),
            key_exchange.map(Transform::KeyExchange),
        ];
        let parts = parts.into_iter().flatten().chain(additional.transforms());
        f.pad(&joined(parts.chain([Transform::SequenceNumbers(sequence_numbers)])))
    }
}

impl Display for IkeProposal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&joined(self.0.transforms.iter().cloned()))
    }
}

impl Display for EspProposal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(&joined(self.0.transforms.iter().cloned()))
    }
}

/// Transforms as keywords, for people; those that have none by their names. Ends after about `most`
/// characters.
pub(crate) fn words(transforms: &[Transform], most: usize) -> String {
    let mut text = String::new();
    for transform in transforms {
        if text.len() > most {
            text.push('…');
            break;
        }
        if !text.is_empty() {
            text.push('-');
        }
        let word = keyword::of(transform);
        if word.ends_with("unsupported") {
            text.push_str(&format!("{}:{}", transform.kind(), transform.id()));
        } else {
            text.push_str(&word);
        }
    }
    text
}

fn joined(parts: impl Iterator<Item = Transform>) -> String {
    parts.map(|part| keyword::of(&part)).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests;
