use super::*;
use crate::crypto::hex;

const LEGACY: Legacy = Legacy::permit();
const ALL: [Integ; 4] =
    [Integ::HmacSha1_96(LEGACY), Integ::HmacSha256_128, Integ::HmacSha384_192, Integ::HmacSha512_256];

fn icv(integ: Integ, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut icv = vec![0; integ.icv_length()];
    IntegKey::new(integ, key).unwrap().sign(parts, &mut icv).unwrap();
    icv
}

// test of RFC 4868 §2.7.2: the first and second case of each hash.
#[test]
fn the_check_values_are_those_of_the_rfc() {
    let jefe = b"Jefe".repeat(16);
    let text: &[u8] = b"what do ya want for nothing?";
    let cases: [(Integ, &[u8], &[u8], &str); 6] = [
        (Integ::HmacSha256_128, &[0x0b; 32], b"Hi There", "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (Integ::HmacSha256_128, &jefe[..32], text, "167f928588c5cc2eef8e3093caa0e87c"),
        (Integ::HmacSha384_192, &[0x0b; 48], b"Hi There", "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (Integ::HmacSha384_192, &jefe[..48], text, "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d"),
        (
            Integ::HmacSha512_256,
            &[0x0b; 64],
            b"Hi There",
            "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        ),
        (
            Integ::HmacSha512_256,
            &jefe,
            text,
            "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
        ),
    ];
    for (integ, key, data, expected) in cases {
        assert_eq!(icv(integ, key, &[data]), hex(expected), "{integ:?}");
    }
}

// RFC 2202 §3, case 1, whose first 96 bits RFC 2404 §2 takes.
#[test]
fn hmac_sha1_96_is_truncated() {
    let icv = icv(Integ::HmacSha1_96(LEGACY), &[0x0b; 20], &[b"Hi ", b"There"]);

    assert_eq!(icv, hex("b617318655057264e28bc0b6"));
}

#[test]
fn a_check_value_holds_for_its_data_and_key_only() {
    for integ in ALL {
        let key = IntegKey::new(integ, &vec![1; integ.key_length()]).unwrap();
        let other = IntegKey::new(integ, &vec![2; integ.key_length()]).unwrap();
        let mut icv = vec![0; integ.icv_length()];
        key.sign(&[b"da", b"ta"], &mut icv).unwrap();

        assert_eq!(key.verify(&[b"data"], &icv), Ok(()));
        assert_eq!(key.verify(&[b"atad"], &icv), Err(IntegError::Mismatch));
        assert_eq!(other.verify(&[b"data"], &icv), Err(IntegError::Mismatch));
        for bit in 0..integ.icv_length() * 8 {
            let mut wrong = icv.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify(&[b"data"], &wrong), Err(IntegError::Mismatch));
        }
    }
}

#[test]
fn wrong_lengths_are_named() {
    for integ in ALL {
        for length in [0, integ.key_length() - 1, integ.key_length() + 1] {
            let refused = IntegKey::new(integ, &vec![0; length]).map(|_| ());
            assert_eq!(refused, Err(IntegError::KeyLength { integ, length }));
        }
        let key = IntegKey::new(integ, &vec![0; integ.key_length()]).unwrap();
        for length in [0, integ.icv_length() - 1, integ.icv_length() + 1] {
            let mut icv = vec![0; length];
            assert_eq!(key.sign(&[], &mut icv), Err(IntegError::IcvLength { integ, length }));
            assert_eq!(key.verify(&[], &icv), Err(IntegError::IcvLength { integ, length }));
        }
    }
}
