//! Proof that a peer knows the cluster's key, and the seal on every later frame.
//!
//! # Invariants
//!
//! - Both nonces, the versions, the version that was chosen and the cluster's name are part of
//!   what is proven: whoever changes one of them on the way makes the proofs fail.
//! - The two roles prove different things and seal with different keys, so nothing that was sent
//!   can be sent back.
//! - A frame is good once, in its place: it carries a number, and the numbers have no gaps.
//! - Of two keys that both sides know, the one counts that the slave would rather use: nobody on
//!   the way can have the other one used.
//! - Proofs and tags are compared in constant time; keys are zeroed when the connection ends.
//!
//! # Picture
//!
//! ```text
//! secret         = HMAC(cluster key, "CLB connection" | Offer frame | Challenge frame)
//! slave's proof  = HMAC(secret, "slave proof")      master's proof  = HMAC(secret, "master proof")
//! slave's key    = HMAC(secret, "slave frames")     master's key    = HMAC(secret, "master frames")
//!
//! second secret  = HMAC(secret of the accepted key, "accepted key" | slave's proof under its key)
//!
//! +--------+----------+---------- - - ---+---------+
//! | header | sequence | body             |   tag   |   sealed frame
//! |   4    |    8     |                  |   16    |
//! +--------+----------+---------- - - ---+---------+
//! tag = the first 16 octets of HMAC(key, header | sequence | SHA-256(body))
//! ```
//!
//! The body is hashed by itself, so that the master hashes what it tells everybody only once.
//!
//! # References
//!
//! `RFC 2104` (HMAC), `RFC 6234` (SHA-256), `RFC 4868 §2.6` (the tag keeps half of the output).

use std::sync::Arc;

use hmac::digest::Output;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::config::{ClusterKey, Settings};
use super::frame::{HEADER, header};
use super::wire::{SlaveProof, TWO_PROOFS};
use crate::codec::{DecodeError, Reader};
use crate::secret::{Secret, is_same};

/// Octets of a nonce.
pub(crate) const NONCE: usize = 32;
/// Octets of a proof.
pub(crate) const PROOF: usize = 32;
/// Octets of a sequence number.
pub(crate) const SEQUENCE: usize = 8;
/// Octets of a tag.
pub(crate) const TAG: usize = 16;
/// What sealing adds to a frame.
pub(crate) const SEAL: usize = SEQUENCE + TAG;

/// Side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that has dialled.
    Slave,
    /// The one that has listened.
    Master,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Slave => Self::Master,
            Self::Master => Self::Slave,
        }
    }

    const fn proof_label(self) -> &'static [u8] {
        match self {
            Self::Slave => b"slave proof",
            Self::Master => b"master proof",
        }
    }

    const fn frames_label(self) -> &'static [u8] {
        match self {
            Self::Slave => b"slave frames",
            Self::Master => b"master frames",
        }
    }
}

/// What both sides know of a connection once the nonces are exchanged, if they have the same key.
pub(crate) struct Handshake {
    secret: Secret,
}

impl Handshake {
    /// Begins with the two frames that were exchanged, whole.
    pub(crate) fn new(key: &ClusterKey, offer: &[u8], challenge: &[u8]) -> Self {
        let secret = hmac(key.secret(), &[b"CLB connection", offer, challenge]);
        Self { secret: Secret::from(&secret[..]) }
    }

    /// The same for a key that the slave only accepts. What is proven with it holds only together
    /// with `first`, the proof under the key that the slave would rather use.
    fn behind(&self, first: &[u8; PROOF]) -> Self {
        let secret = hmac(&self.secret, &[b"accepted key", first]);
        Self { secret: Secret::from(&secret[..]) }
    }

    /// The proof of one side.
    pub(crate) fn proof(&self, side: Side) -> [u8; PROOF] {
        hmac(&self.secret, &[side.proof_label()]).into()
    }

    /// Whether one side has proven that it knows the key.
    pub(crate) fn is_proven(&self, side: Side, proof: &[u8; PROOF]) -> bool {
        is_same(&self.proof(side), proof)
    }

    /// The seals of the connection, as `side` uses them.
    pub(crate) fn channel(&self, side: Side) -> Channel {
        let half = |side: Side| {
            let key = Secret::from(&hmac(&self.secret, &[side.frames_label()])[..]);
            Half { keyed: keyed(&key), sequence: 0 }
        };
        Channel { ours: half(side), theirs: half(side.other()) }
    }
}

/// The handshakes of a connection under each key that one side has.
pub(crate) struct Handshakes {
    own: Handshake,
    accepted: Option<Handshake>,
}

impl Handshakes {
    /// Begins with the two frames that were exchanged, whole.
    pub(crate) fn new(settings: &Settings, offer: &[u8], challenge: &[u8]) -> Self {
        let under = |key| Handshake::new(key, offer, challenge);
        Self { own: under(&settings.key), accepted: settings.accept_key.as_ref().map(under) }
    }

    /// What a slave sends, and the handshakes by which it may be answered.
    pub(crate) fn prove(self, version: u8) -> (SlaveProof, Vec<Handshake>) {
        let first = self.own.proof(Side::Slave);
        let accepted = self.accepted.filter(|_| version >= TWO_PROOFS);
        let accepted = accepted.map(|accepted| accepted.behind(&first));
        let second = accepted.as_ref().map(|accepted| accepted.proof(Side::Slave));
        (SlaveProof { first, second }, [Some(self.own), accepted].into_iter().flatten().collect())
    }

    /// The master's proof and its seals, for a slave that has proven to know one of the keys.
    pub(crate) fn answer(&self, proof: &SlaveProof) -> Option<([u8; PROOF], Channel)> {
        let known = || [Some(&self.own), self.accepted.as_ref()].into_iter().flatten();
        let answer = |handshake: &Handshake| (handshake.proof(Side::Master), handshake.channel(Side::Master));
        if let Some(handshake) = known().find(|handshake| handshake.is_proven(Side::Slave, &proof.first)) {
            return Some(answer(handshake));
        }
        let second = proof.second.as_ref()?;
        let mut behind = known().map(|handshake| handshake.behind(&proof.first));
        behind.find(|handshake| handshake.is_proven(Side::Slave, second)).as_ref().map(answer)
    }
}

/// A body that is sealed for many peers.
#[derive(Clone, Debug)]
pub(crate) struct SharedBody {
    octets: Arc<[u8]>,
    digest: Output<Sha256>,
}

impl SharedBody {
    /// Hashes the body.
    pub(crate) fn new(octets: Vec<u8>) -> Self {
        let digest = Sha256::digest(&octets);
        Self { octets: octets.into(), digest }
    }

    /// The body.
    pub(crate) const fn octets(&self) -> &Arc<[u8]> {
        &self.octets
    }
}

/// Why a sealed frame is not used. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    /// It is not laid out like one.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// It was sealed for another place: a replay, or something is missing.
    #[error("frame {got} where {expected} was to come")]
    Sequence {
        /// The number that was to come.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// It was not sealed with the key of this direction, or it was changed on the way.
    #[error("the tag is wrong")]
    Tag,
}

/// The seals of both directions of one connection.
pub(crate) struct Channel {
    ours: Half,
    theirs: Half,
}

impl Channel {
    /// Appends a sealed frame.
    pub(crate) fn seal(&mut self, kind: u8, body: &[u8], octets: &mut Vec<u8>) {
        let (start, tag) = self.ours.seal(kind, body.len(), &Sha256::digest(body));
        octets.reserve(start.len() + body.len() + tag.len());
        octets.extend_from_slice(&start);
        octets.extend_from_slice(body);
        octets.extend_from_slice(&tag);
    }

    /// Seals a body that others get as well: what is sent before it, and what is sent after it.
    pub(crate) fn seal_shared(
        &mut self,
        kind: u8,
        body: &SharedBody,
    ) -> ([u8; HEADER + SEQUENCE], [u8; TAG]) {
        self.ours.seal(kind, body.octets.len(), &body.digest)
    }

    /// Checks a frame of the peer and gives its type and body.
    ///
    /// # Errors
    ///
    /// The frame is not good here; nothing of it may be used.
    pub(crate) fn open<'a>(&mut self, frame: &'a [u8]) -> Result<(u8, &'a [u8]), SealError> {
        let (kind, sealed) = super::frame::split(frame)?;
        let mut reader = Reader::new(sealed);
        let sequence = reader.u64("sequence number")?;
        let Some((body, tag)) = reader.as_slice().split_last_chunk::<TAG>() else {
            let what = "tag";
            return Err(DecodeError::Truncated { what, need: TAG, have: reader.remaining() }.into());
        };
        let start = start(kind, frame.len(), sequence);
        if !is_same(&self.theirs.tag(&start, &Sha256::digest(body)), tag) {
            return Err(SealError::Tag);
        }
        let expected = self.theirs.sequence;
        if sequence != expected {
            return Err(SealError::Sequence { expected, got: sequence });
        }
        self.theirs.sequence = expected.wrapping_add(1);
        Ok((kind, body))
    }
}

/// The seal of one direction.
struct Half {
    /// HMAC that has taken in the key.
    keyed: Hmac<Sha256>,
    /// Number of the next frame. 64 bits do not run out.
    sequence: u64,
}

impl Half {
    fn seal(
        &mut self,
        kind: u8,
        body: usize,
        digest: &Output<Sha256>,
    ) -> ([u8; HEADER + SEQUENCE], [u8; TAG]) {
        let start = start(kind, HEADER + SEAL + body, self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        (start, self.tag(&start, digest))
    }

    fn tag(&self, start: &[u8; HEADER + SEQUENCE], digest: &Output<Sha256>) -> [u8; TAG] {
        let mut mac = self.keyed.clone();
        mac.update(start);
        mac.update(digest);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut tag = [0; TAG];
        for (place, octet) in tag.iter_mut().zip(whole) {
            *place = octet;
        }
        tag
    }
}

/// What comes before the body of a sealed frame of `length` octets.
fn start(kind: u8, length: usize, sequence: u64) -> [u8; HEADER + SEQUENCE] {
    let [a, b, c, d] = header(kind, length);
    let [e, f, g, h, i, j, k, l] = sequence.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn hmac(key: &Secret, parts: &[&[u8]]) -> Output<Sha256> {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
fn keyed(key: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(octets: &[u8]) -> ClusterKey {
        ClusterKey::new(Secret::from(octets)).unwrap()
    }

    fn handshake() -> Handshake {
        Handshake::new(&key(b"0123456789abcdef"), b"offer", b"challenge")
    }

    fn pair() -> (Channel, Channel) {
        (handshake().channel(Side::Slave), handshake().channel(Side::Master))
    }

    fn sealed(channel: &mut Channel, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        channel.seal(kind, body, &mut octets);
        octets
    }

    /// Computed with Python's `hmac` and `hashlib` from the picture above.
    #[test]
    fn proofs_and_tags_are_those_of_another_implementation() {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();

        assert_eq!(hex(&handshake().proof(Side::Slave)), SLAVE_PROOF);
        assert_eq!(hex(&handshake().proof(Side::Master)), MASTER_PROOF);
        let (mut slave, _) = pair();
        assert_eq!(hex(&sealed(&mut slave, 0x12, b"body")), FRAME_0);
        assert_eq!(hex(&sealed(&mut slave, 0x12, b"")), FRAME_1);
    }

    #[test]
    fn a_proof_holds_for_one_side_one_key_and_one_exchange() {
        let proof = handshake().proof(Side::Slave);

        assert!(handshake().is_proven(Side::Slave, &proof));
        assert!(!handshake().is_proven(Side::Master, &proof));
        let others = [
            Handshake::new(&key(b"0123456789abcdeF"), b"offer", b"challenge"),
            Handshake::new(&key(b"0123456789abcdef"), b"0ffer", b"challenge"),
            Handshake::new(&key(b"0123456789abcdef"), b"offer", b"challengE"),
        ];
        assert!(others.iter().all(|other| !other.is_proven(Side::Slave, &proof)));
    }

    #[test]
    fn sealed_frames_arrive_in_both_directions() {
        let (mut slave, mut master) = pair();

        for body in [&b"one"[..], b"", b"three"] {
            assert_eq!(master.open(&sealed(&mut slave, 0x11, body)), Ok((0x11, body)));
            assert_eq!(slave.open(&sealed(&mut master, 0x22, body)), Ok((0x22, body)));
        }
    }

    #[test]
    fn a_shared_body_is_sealed_like_any_other() {
        let (mut one, _) = pair();
        let (mut other, _) = pair();
        let body = SharedBody::new(b"for everybody".to_vec());

        let (start, tag) = one.seal_shared(0x22, &body);

        assert_eq!([&start[..], body.octets(), &tag].concat(), sealed(&mut other, 0x22, b"for everybody"));
    }

    #[test]
    fn a_change_of_any_bit_is_noticed() {
        let (mut slave, mut master) = pair();
        let good = sealed(&mut slave, 0x11, b"report");

        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(master.open(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(master.open(&good), Ok((0x11, &b"report"[..])));
    }

    #[test]
    fn a_frame_is_good_once_and_in_its_place() {
        let (mut slave, mut master) = pair();
        let frames = [sealed(&mut slave, 1, b"a"), sealed(&mut slave, 1, b"b"), sealed(&mut slave, 1, b"c")];

        assert_eq!(master.open(&frames[1]), Err(SealError::Sequence { expected: 0, got: 1 }));
        assert_eq!(master.open(&frames[0]), Ok((1, &b"a"[..])));
        assert_eq!(master.open(&frames[0]), Err(SealError::Sequence { expected: 1, got: 0 }));
        assert_eq!(master.open(&frames[2]), Err(SealError::Sequence { expected: 1, got: 2 }));
    }

    #[test]
    fn a_frame_cannot_be_sent_back_or_on_to_another_connection() {
        let (mut slave, _) = pair();
        let frame = sealed(&mut slave, 1, b"a");
        let mut other = Handshake::new(&key(b"0123456789abcdef"), b"offer", b"other").channel(Side::Master);

        assert_eq!(slave.open(&frame), Err(SealError::Tag));
        assert_eq!(other.open(&frame), Err(SealError::Tag));
    }

    #[test]
    fn a_frame_without_room_for_a_seal_is_malformed() {
        let (_, mut master) = pair();

        for extra in 0..SEAL {
            let frame = [&header(1, HEADER + extra)[..], &vec![0; extra]].concat();
            assert!(matches!(master.open(&frame), Err(SealError::Malformed(_))), "{extra}");
        }
    }

    const SLAVE_PROOF: &str = "a3e554e3487506e58995647c70dfbb15feca36d422dca7e17e4f8915d5301088";
    const MASTER_PROOF: &str = "7fa380dd3aeae0c182dc6016220f60894d509c213fcaae9f2b4d83c6f129279b";
    const FRAME_0: &str = "002012000000000000000000626f647914f07eb65a72ee0fc9eb0ac790765ff0";
    const FRAME_1: &str = "001c1200000000000000000137397e18023c1234b15a8dc9a7be1d81";
}
