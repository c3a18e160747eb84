//! Tickets, from one node to another.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::crypto::hex;
use crate::ike::proposal::IkeProposal;
use crate::rng::Rng;

/// A key with this number.
fn key(number: u8) -> TicketKey {
    TicketKey::new(&Secret::new(vec![number; 32])).unwrap()
}

fn sealer(number: u8) -> Sealer {
    Sealer::new("gw1", "group1", Some(key(number)), Vec::new())
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_epoch(Duration::from_secs(seconds))
}

const ISSUED: u64 = 1_800_000_000;

fn ticket() -> Ticket {
    let proposal: IkeProposal = "aes256-sha256-modp2048".parse().unwrap();
    let offer = IkeProposal::offer(&[proposal], None).unwrap();
    let spi = |number| std::num::NonZeroU64::new(number).unwrap();
    let address = |address: &str, lease| Address {
        pool: Name::new("ra4").unwrap(),
        address: address.parse().unwrap(),
        lease,
    };
    Ticket {
        origin: Origin {
            issuer: "gw1".into(),
            run: 0x0102_0304_0506_0708,
            spis: (SpiI(spi(0x11)), SpiR(spi(0x22))),
        },
        issued_at: at(ISSUED),
        expires_at: at(ISSUED + 3_600),
        profile: Name::new("remote-access").unwrap(),
        basis: Basis {
            authenticated_at: at(ISSUED - 100),
            means: Means::Signature,
            valid_until: Some(at(ISSUED + 86_400)),
            eap_identity: Some("alice".into()),
        },
        initiator: Id::Email("alice@example.net".into()),
        responder: Id::Fqdn("vpn.example.net".into()),
        suite: IkeSuite::chosen(&offer, &offer).unwrap().suite,
        key: Secret::new(vec![0x5a; 32]),
        addresses: vec![address("10.99.0.7", 3), address("fd99::7", 4)],
    }
}

fn sealed() -> Vec<u8> {
    sealer(1).seal(&mut Rng::from_number(1), &ticket()).unwrap().1
}

fn open(octets: &[u8]) -> Result<Ticket, Unusable> {
    sealer(1).open(at(ISSUED + 10), octets).map(|(_, ticket)| ticket)
}

#[test]
fn a_ticket_comes_back_as_it_was_made_with_its_name() {
    let sealer = sealer(1);
    let (id, octets) = sealer.seal(&mut Rng::from_number(1), &ticket()).unwrap();

    assert_eq!(sealer.open(at(ISSUED + 10), &octets), Ok((id, ticket())));
    let plain = Ticket {
        basis: Basis { valid_until: None, eap_identity: None, means: Means::SharedKey, ..ticket().basis },
        addresses: Vec::new(),
        ..ticket()
    };
    let (other, octets) = sealer.seal(&mut Rng::from_number(2), &plain).unwrap();
    assert_eq!(sealer.open(at(ISSUED + 10), &octets), Ok((other, plain)));
    assert_ne!(id, other);
}

#[test]
fn nothing_of_its_content_can_be_seen_in_a_ticket() {
    let octets = sealed();

    assert!(octets.len() < 400, "{}", octets.len());
    for secret in [&b"alice"[..], b"vpn.example", b"ra4", &[0x5a; 8], b"gw1", b"group1"] {
        assert!(!octets.windows(secret.len()).any(|window| window == secret), "{secret:?}");
    }
    assert!(!format!("{:?}", ticket()).contains("5a5a") && !format!("{:?}", ticket()).contains("90, 90"));
}

#[test]
fn a_ticket_looks_as_the_table_says() {
    let octets = sealed();

    // version, fingerprint of the cluster, name of the key
    assert_eq!(octets[..9], hex("02 9751aa28 368e7d22")[..], "{:02x?}", &octets[..9]);
}

#[test]
fn a_truncated_ticket_is_refused_at_every_length() {
    let octets = sealed();

    for length in 0..octets.len() {
        let refused = open(&octets[..length]).unwrap_err();
        assert!(matches!(refused, Unusable::Malformed { .. } | Unusable::Forged), "{length}: {refused}");
    }
    let long = [&octets[..], &[0; MAX_LENGTH]].concat();
    assert_eq!(open(&long), Err(Unusable::Malformed { length: long.len() }));
}

#[test]
fn a_ticket_with_any_bit_changed_is_refused() {
    let octets = sealed();

    for bit in 0..8 * octets.len() {
        let mut forged = octets.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let refused = open(&forged).unwrap_err();
        let expected = match bit / 8 {
            0 => Unusable::Version { version: forged[0] },
            1..5 => Unusable::OtherCluster,
            5..9 => Unusable::UnknownKey,
            _ => Unusable::Forged,
        };
        assert_eq!(refused, expected, "bit {bit}");
    }
}

#[test]
fn a_ticket_of_another_cluster_is_refused_even_with_the_same_key() {
    let other = Sealer::new("gw1", "group2", Some(key(1)), Vec::new());
    let octets = other.seal(&mut Rng::from_number(1), &ticket()).unwrap().1;

    assert_eq!(open(&octets), Err(Unusable::OtherCluster));
    // The fingerprint is only for the operator: the seal knows the cluster as well.
    let mut disguised = octets;
    disguised[..5].copy_from_slice(&sealed()[..5]);
    assert_eq!(open(&disguised), Err(Unusable::Forged));
}

#[test]
fn every_key_opens_and_only_the_active_one_seals() {
    let old = sealed();
    let rolling = Sealer::new("gw2", "group1", Some(key(2)), vec![key(1)]);
    let new = rolling.seal(&mut Rng::from_number(2), &ticket()).unwrap().1;
    let opens = |sealer: &Sealer, octets: &[u8]| {
        sealer.open(at(ISSUED), octets).map(|_| ()).map_err(|unusable| unusable.failure())
    };

    assert_eq!(opens(&rolling, &old), Ok(()));
    assert_eq!(opens(&rolling, &new), Ok(()));
    let prepared = Sealer::new("gw3", "group1", Some(key(1)), vec![key(2)]);
    assert_eq!(opens(&prepared, &new), Ok(()), "a member that has not gone over yet");
    assert_eq!(opens(&sealer(2), &old), Err(Failure::TicketKey), "the old key is removed");
    let reader = Sealer::new("gw4", "group1", None, vec![key(1), key(2)]);
    assert_eq!((opens(&reader, &old), opens(&reader, &new)), (Ok(()), Ok(())));
    assert!(!reader.makes_tickets());
    assert_eq!(reader.seal(&mut Rng::from_number(3), &ticket()), None);
}

#[test]
fn a_ticket_has_its_time() {
    let octets = sealed();
    let at_time = |seconds: u64| sealer(1).open(at(seconds), &octets).map(|_| ());

    assert_eq!(at_time(ISSUED + 3_599), Ok(()));
    assert_eq!(at_time(ISSUED + 3_600), Err(Unusable::Expired { expired_at: at(ISSUED + 3_600) }));
    assert_eq!(at_time(ISSUED - 300), Ok(()), "clocks differ a little");
    assert_eq!(at_time(ISSUED - 301), Err(Unusable::Early));
    let endless = Ticket { expires_at: at(u64::MAX), ..ticket() };
    let octets = sealer(1).seal(&mut Rng::from_number(1), &endless).unwrap().1;
    assert_eq!(sealer(1).open(at(ISSUED), &octets).map(|_| ()), Err(Unusable::Early));
}

#[test]
fn an_operator_revokes_all_sessions_that_were_authenticated_before_a_time() {
    let octets = sealed();
    let since = |seconds| sealer(1).with_not_before(at(seconds)).open(at(ISSUED), &octets).map(|_| ());

    assert_eq!(since(ISSUED - 100), Ok(()));
    assert_eq!(since(ISSUED - 99), Err(Unusable::Revoked));
}

#[test]
fn what_does_not_fit_is_no_ticket() {
    let long = |length| Ticket { initiator: Id::KeyId(vec![7; length].into()), ..ticket() };
    let seal = |length| sealer(1).seal(&mut Rng::from_number(1), &long(length));

    let rest = sealed().len() - "alice@example.net".len();
    let (_, longest) = seal(MAX_LENGTH - rest).unwrap();
    assert_eq!(longest.len(), MAX_LENGTH);
    assert!(open(&longest).is_ok());
    for length in [MAX_LENGTH - rest + 1, MAX_LENGTH, 60_000, 70_000] {
        assert_eq!(seal(length), None, "{length}");
    }
    let many = Ticket { addresses: vec![ticket().addresses[0].clone(); 3], ..ticket() };
    assert_eq!(sealer(1).seal(&mut Rng::from_number(1), &many), None);
}

#[test]
fn a_key_of_a_few_octets_is_refused() {
    let refused = TicketKey::new(&Secret::from(&b"fifteen octets!"[..])).unwrap_err();

    assert_eq!(refused.to_string(), "a reconnect key has at least 16 octets, not 15");
    assert!(key(1).is_same(&key(1)) && !key(1).is_same(&key(2)));
    assert_eq!(format!("{:?}", key(1)), "TicketKey(…)");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_refused_or_are_a_ticket(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        crate::testing::fuzz_ticket::ticket(&octets);
    }
}
