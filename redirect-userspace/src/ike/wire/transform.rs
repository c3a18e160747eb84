//! Transforms: the algorithms that a proposal is made of (`RFC 7296 §3.3.2`, `§3.3.5`).

use crate::codec::{DecodeError, Reader, Writer};

use super::{EncodeError, fit, wire_enum};

wire_enum! {
    /// What a transform is an algorithm for.
    pub enum TransformType: u8 {
        /// Encryption.
        Encryption = 1 => "ENCR",
        /// Pseudorandom function.
        Prf = 2 => "PRF",
        /// Integrity.
        Integrity = 3 => "INTEG",
        /// Key exchange method.
        KeyExchange = 4 => "KE",
        /// Sequence numbers of ESP and AH.
        SequenceNumbers = 5 => "ESN",
        /// First additional key exchange (`RFC 9370`).
        AdditionalKeyExchange1 = 6 => "ADDKE1",
        /// Second additional key exchange.
        AdditionalKeyExchange2 = 7 => "ADDKE2",
        /// Third additional key exchange.
        AdditionalKeyExchange3 = 8 => "ADDKE3",
        /// Fourth additional key exchange.
        AdditionalKeyExchange4 = 9 => "ADDKE4",
        /// Fifth additional key exchange.
        AdditionalKeyExchange5 = 10 => "ADDKE5",
        /// Sixth additional key exchange.
        AdditionalKeyExchange6 = 11 => "ADDKE6",
        /// Seventh additional key exchange.
        AdditionalKeyExchange7 = 12 => "ADDKE7",
    }
}

wire_enum! {
    /// Encryption algorithms.
    pub enum Encryption: u16 {
        /// DES.
        Des = 2 => "DES",
        /// Triple DES.
        TripleDes = 3 => "3DES",
        /// None.
        Null = 11 => "NULL",
        /// AES, CBC mode.
        AesCbc = 12 => "AES_CBC",
        /// AES, counter mode.
        AesCtr = 13 => "AES_CTR",
        /// AES, CCM mode, 8 octets of ICV.
        AesCcm8 = 14 => "AES_CCM_8",
        /// AES, CCM mode, 12 octets of ICV.
        AesCcm12 = 15 => "AES_CCM_12",
        /// AES, CCM mode, 16 octets of ICV.
        AesCcm16 = 16 => "AES_CCM_16",
        /// AES, GCM mode, 8 octets of ICV.
        AesGcm8 = 18 => "AES_GCM_8",
        /// AES, GCM mode, 12 octets of ICV.
        AesGcm12 = 19 => "AES_GCM_12",
        /// AES, GCM mode, 16 octets of ICV.
        AesGcm16 = 20 => "AES_GCM_16",
        /// No encryption, AES-GMAC as integrity.
        NullAesGmac = 21 => "NULL_AUTH_AES_GMAC",
        /// Camellia, CBC mode.
        CamelliaCbc = 23 => "CAMELLIA_CBC",
        /// ChaCha20 with Poly1305.
        ChaCha20Poly1305 = 28 => "CHACHA20_POLY1305",
    }
}

impl Encryption {
    /// Whether it protects integrity as well, so that no integrity transform goes with it.
    #[must_use]
    pub const fn is_aead(self) -> bool {
        match self {
            Self::AesCcm8
            | Self::AesCcm12
            | Self::AesCcm16
            | Self::AesGcm8
            | Self::AesGcm12
            | Self::AesGcm16
            | Self::NullAesGmac
            | Self::ChaCha20Poly1305 => true,
            Self::Des
            | Self::TripleDes
            | Self::Null
            | Self::AesCbc
            | Self::AesCtr
            | Self::CamelliaCbc
            | Self::Unknown(_) => false,
        }
    }

    /// Whether a key length goes with it (`RFC 7296 §3.3.5`); `None` when we cannot know.
    #[must_use]
    pub const fn has_key_length(self) -> Option<bool> {
        match self {
            Self::AesCbc
            | Self::AesCtr
            | Self::AesCcm8
            | Self::AesCcm12
            | Self::AesCcm16
            | Self::AesGcm8
            | Self::AesGcm12
            | Self::AesGcm16
            | Self::NullAesGmac
            | Self::CamelliaCbc => Some(true),
            Self::Des | Self::TripleDes | Self::Null | Self::ChaCha20Poly1305 => Some(false),
            Self::Unknown(_) => None,
        }
    }
}

wire_enum! {
    /// Pseudorandom functions.
    pub enum Prf: u16 {
        /// HMAC with MD5.
        HmacMd5 = 1 => "HMAC_MD5",
        /// HMAC with SHA-1.
        HmacSha1 = 2 => "HMAC_SHA1",
        /// AES-XCBC.
        Aes128Xcbc = 4 => "AES128_XCBC",
        /// HMAC with SHA-256.
        HmacSha2_256 = 5 => "HMAC_SHA2_256",
        /// HMAC with SHA-384.
        HmacSha2_384 = 6 => "HMAC_SHA2_384",
        /// HMAC with SHA-512.
        HmacSha2_512 = 7 => "HMAC_SHA2_512",
        /// AES-CMAC.
        Aes128Cmac = 8 => "AES128_CMAC",
    }
}

wire_enum! {
    /// Integrity algorithms.
    pub enum Integrity: u16 {
        /// None: the encryption takes care of it.
        None = 0 => "NONE",
        /// HMAC with MD5, 12 octets of it.
        HmacMd5_96 = 1 => "HMAC_MD5_96",
        /// HMAC with SHA-1, 12 octets of it.
        HmacSha1_96 = 2 => "HMAC_SHA1_96",
        /// AES-XCBC, 12 octets of it.
        AesXcbc96 = 5 => "AES_XCBC_96",
        /// AES-CMAC, 12 octets of it.
        AesCmac96 = 8 => "AES_CMAC_96",
        /// HMAC with SHA-256, 16 octets of it.
        HmacSha2_256_128 = 12 => "HMAC_SHA2_256_128",
        /// HMAC with SHA-384, 24 octets of it.
        HmacSha2_384_192 = 13 => "HMAC_SHA2_384_192",
        /// HMAC with SHA-512, 32 octets of it.
        HmacSha2_512_256 = 14 => "HMAC_SHA2_512_256",
    }
}

wire_enum! {
    /// Key exchange methods, formerly "Diffie-Hellman groups".
    pub enum KeyExchangeMethod: u16 {
        /// None.
        None = 0 => "NONE",
        /// 768 bit prime.
        Modp768 = 1 => "MODP_768",
        /// 1024 bit prime.
        Modp1024 = 2 => "MODP_1024",
        /// 1536 bit prime.
        Modp1536 = 5 => "MODP_1536",
        /// 2048 bit prime.
        Modp2048 = 14 => "MODP_2048",
        /// 3072 bit prime.
        Modp3072 = 15 => "MODP_3072",
        /// 4096 bit prime.
        Modp4096 = 16 => "MODP_4096",
        /// 6144 bit prime.
        Modp6144 = 17 => "MODP_6144",
        /// 8192 bit prime.
        Modp8192 = 18 => "MODP_8192",
        /// NIST P-256.
        Ecp256 = 19 => "ECP_256",
        /// NIST P-384.
        Ecp384 = 20 => "ECP_384",
        /// NIST P-521.
        Ecp521 = 21 => "ECP_521",
        /// 1024 bit prime, 160 bit subgroup.
        Modp1024Subgroup160 = 22 => "MODP_1024_160",
        /// 2048 bit prime, 224 bit subgroup.
        Modp2048Subgroup224 = 23 => "MODP_2048_224",
        /// 2048 bit prime, 256 bit subgroup.
        Modp2048Subgroup256 = 24 => "MODP_2048_256",
        /// NIST P-192.
        Ecp192 = 25 => "ECP_192",
        /// NIST P-224.
        Ecp224 = 26 => "ECP_224",
        /// Brainpool P224r1.
        Brainpool224 = 27 => "ECP_224_BP",
        /// Brainpool P256r1.
        Brainpool256 = 28 => "ECP_256_BP",
        /// Brainpool P384r1.
        Brainpool384 = 29 => "ECP_384_BP",
        /// Brainpool P512r1.
        Brainpool512 = 30 => "ECP_512_BP",
        /// X25519.
        Curve25519 = 31 => "CURVE_25519",
        /// X448.
        Curve448 = 32 => "CURVE_448",
        /// ML-KEM-512.
        MlKem512 = 35 => "ML_KEM_512",
        /// ML-KEM-768.
        MlKem768 = 36 => "ML_KEM_768",
        /// ML-KEM-1024.
        MlKem1024 = 37 => "ML_KEM_1024",
    }
}

wire_enum! {
    /// How ESP and AH count packets.
    pub enum SequenceNumbers: u16 {
        /// 32 bits.
        Short = 0 => "NO_EXT_SEQ",
        /// 64 bits, of which the lower half is sent.
        Extended = 1 => "EXT_SEQ",
    }
}

/// One algorithm of a proposal.
///
/// ```text
///  0                   1                   2                   3
/// ┌───────────────────────────────────────────────────────────────┐
/// │ Last or 3     │   Reserved    │        Transform length       │
/// │Transform type │   Reserved    │          Transform ID         │
/// │                      Transform attributes                     │
/// └───────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Encryption, with its key length in bits where one goes with it.
    Encryption(Encryption, Option<u16>),
    /// Pseudorandom function.
    Prf(Prf),
    /// Integrity.
    Integrity(Integrity),
    /// Key exchange.
    KeyExchange(KeyExchangeMethod),
    /// Sequence numbers.
    SequenceNumbers(SequenceNumbers),
    /// Additional key exchange, the first of which has the index 0.
    AdditionalKeyExchange(AdditionalIndex, KeyExchangeMethod),
    /// One that must not be chosen: its type is not known, it has attributes that are not
    /// known, or a key length where none may be, or none where one must be.
    Unusable {
        /// Its type. If that is not known, its whole proposal must not be chosen.
        kind: TransformType,
        /// Its number.
        id: u16,
        /// Its attributes, as they came.
        attributes: Box<[u8]>,
    },
}

/// Which of the seven additional key exchanges (`RFC 9370`), from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdditionalIndex(u8);

impl AdditionalIndex {
    /// How many there are.
    pub const COUNT: u8 = 7;

    /// `None` when there is no such key exchange.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < Self::COUNT { Some(Self(index)) } else { None }
    }

    /// The index.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Transform {
    /// What it is an algorithm for.
    #[must_use]
    pub fn kind(&self) -> TransformType {
        match self {
            Self::Encryption(..) => TransformType::Encryption,
            Self::Prf(_) => TransformType::Prf,
            Self::Integrity(_) => TransformType::Integrity,
            Self::KeyExchange(_) => TransformType::KeyExchange,
            Self::SequenceNumbers(_) => TransformType::SequenceNumbers,
            Self::AdditionalKeyExchange(index, _) => {
                TransformType::from(u8::from(TransformType::AdditionalKeyExchange1) + index.0)
            }
            Self::Unusable { kind, .. } => *kind,
        }
    }

    /// Its number in the registry of its type.
    #[must_use]
    pub fn id(&self) -> u16 {
        match self {
            Self::Encryption(id, _) => u16::from(*id),
            Self::Prf(id) => u16::from(*id),
            Self::Integrity(id) => u16::from(*id),
            Self::KeyExchange(id) | Self::AdditionalKeyExchange(_, id) => u16::from(*id),
            Self::SequenceNumbers(id) => u16::from(*id),
            Self::Unusable { id, .. } => *id,
        }
    }

    /// Reads one; says whether another follows.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(Self, bool), DecodeError> {
        let is_last = super::sa::is_last(reader, TRANSFORM_FOLLOWS, "last transform")?;
        reader.u8("transform")?;
        let length = usize::from(reader.u16("transform length")?);
        let rest = length
            .checked_sub(BEFORE_TYPE)
            .ok_or(DecodeError::Length { what: "transform", value: length })?;
        let mut inner = reader.inner(rest, "transform")?;
        let kind = TransformType::from(inner.u8("transform type")?);
        inner.u8("transform")?;
        let id = inner.u16("transform ID")?;
        let attributes = inner.rest();
        let key_length = Attributes::read(attributes)?;
        let transform = Self::judge(kind, id, key_length).unwrap_or_else(|| Self::Unusable {
            kind,
            id,
            attributes: attributes.into(),
        });
        Ok((transform, is_last))
    }

    /// `None` for what must not be chosen.
    fn judge(kind: TransformType, id: u16, attributes: Attributes) -> Option<Self> {
        let key_length = match attributes {
            Attributes::None => None,
            Attributes::KeyLength(bits) => Some(bits),
            Attributes::Other => return None,
        };
        let additional = |index| Some(Self::AdditionalKeyExchange(AdditionalIndex(index), id.into()));
        let transform = match kind {
            TransformType::Encryption => {
                let encryption = Encryption::from(id);
                let is_right = encryption.has_key_length().is_none_or(|has| has == key_length.is_some());
                return is_right.then_some(Self::Encryption(encryption, key_length));
            }
            TransformType::Prf => Some(Self::Prf(id.into())),
            TransformType::Integrity => Some(Self::Integrity(id.into())),
            TransformType::KeyExchange => Some(Self::KeyExchange(id.into())),
            TransformType::SequenceNumbers => Some(Self::SequenceNumbers(id.into())),
            TransformType::AdditionalKeyExchange1 => additional(0),
            TransformType::AdditionalKeyExchange2 => additional(1),
            TransformType::AdditionalKeyExchange3 => additional(2),
            TransformType::AdditionalKeyExchange4 => additional(3),
            TransformType::AdditionalKeyExchange5 => additional(4),
            TransformType::AdditionalKeyExchange6 => additional(5),
            TransformType::AdditionalKeyExchange7 => additional(6),
            TransformType::Unknown(_) => None,
        };
        // RFC 7296 §3.3.5: only encryption algorithms have key lengths.
        transform.filter(|_| key_length.is_none())
    }

    /// Appends it.
    pub(super) fn encode(&self, out: &mut Writer, is_last: bool) -> Result<(), EncodeError> {
        let start = out.len();
        out.u8(if is_last { 0 } else { TRANSFORM_FOLLOWS });
        out.u8(0);
        out.u16(0);
        out.u8(self.kind().into());
        out.u8(0);
        out.u16(self.id());
        match self {
            Self::Encryption(_, Some(bits)) => {
                out.u16(SHORT_ATTRIBUTE | KEY_LENGTH);
                out.u16(*bits);
            }
            Self::Unusable { attributes, .. } => out.octets(attributes),
            Self::Encryption(_, None)
            | Self::Prf(_)
            | Self::Integrity(_)
            | Self::KeyExchange(_)
            | Self::SequenceNumbers(_)
            | Self::AdditionalKeyExchange(..) => {}
        }
        let length: u16 = fit(out.len() - start, "transform")?;
        out.patch(start + 2, &length.to_be_bytes());
        Ok(())
    }
}

/// What the attributes of a transform come to.
#[derive(Clone, Copy)]
enum Attributes {
    None,
    /// In bits.
    KeyLength(u16),
    /// Something else, or more than that.
    Other,
}

impl Attributes {
    fn read(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let mut found = Self::None;
        while !reader.is_empty() {
            let kind = reader.u16("transform attribute")?;
            let value = reader.u16("transform attribute")?;
            if kind & SHORT_ATTRIBUTE == 0 {
                // The number is a length.
                reader.take(usize::from(value), "transform attribute")?;
            }
            found = match found {
                Self::None if kind == SHORT_ATTRIBUTE | KEY_LENGTH && value != 0 => Self::KeyLength(value),
                Self::None | Self::KeyLength(_) | Self::Other => Self::Other,
            };
        }
        Ok(found)
    }
}

/// In the first octet of a transform: it is not the last one.
const TRANSFORM_FOLLOWS: u8 = 3;
/// Octets of a transform before its type.
const BEFORE_TYPE: usize = 4;
/// An attribute's bit: its value takes two octets and has no length.
const SHORT_ATTRIBUTE: u16 = 0x8000;
/// The one attribute there is.
const KEY_LENGTH: u16 = 14;
