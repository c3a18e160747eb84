//! Octets: published packets, and everything that can be wrong with one.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{FAILURE, Making, REQUEST, SECRET, SUCCESS, Sent, WELL, answer, question, server, station};
use crate::codec::DecodeError;
use crate::crypto::hex;
use crate::radius::answer::{Grants, accept, challenge, check, rejection};
use crate::radius::client::SocketId;
use crate::radius::event::Discard;
use crate::radius::request::{Cause, Record, Status, Unsent, Use};
use crate::radius::wire::{AttributeList, Code, Kind, Packet, TooLong, write_request};
use crate::secret::Secret;
use crate::time::Now;

const CHAP_REQUEST: &str = "2aee86f08d0d55969ca5978e0d3367a2";

fn secret() -> Secret {
    Secret::from(SECRET)
}

fn authenticator(text: &str) -> [u8; 16] {
    hex(text).try_into().unwrap()
}

// RFC 2865 §7.1 and §7.2
#[test]
fn the_published_answers_belong_to_their_requests_and_to_no_other() {
    let first = "02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103";
    let second = "02010038 15efbc7dab26cfa3dc34d9c03c8601a4 060600000002 070600000001 0806fffffffe
                  0a0600000002 0d0600000001 0c06000005dc";
    for (answer, request) in [(first, "0f403f9473978057bd83d5cb98f4227a"), (second, CHAP_REQUEST)] {
        let octets = hex(answer);
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.code, Code::AccessAccept);

        assert_eq!(check(&packet, &authenticator(request), &secret(), false), Ok(()));
        assert_eq!(
            check(&packet, &authenticator(request), &secret(), true),
            Err(Discard::NoMessageAuthenticator)
        );
        assert_eq!(check(&packet, &[1; 16], &secret(), false), Err(Discard::WrongAuthenticator));
        let other = Secret::from(&b"xyzzy5462"[..]);
        assert_eq!(check(&packet, &authenticator(request), &other, false), Err(Discard::WrongAuthenticator));
    }
}

// RFC 5997 §6.1 and §6.2
#[test]
fn the_published_probes_are_what_we_would_send() {
    for (identifier, random, packet) in [
        (
            0xda,
            "8a54f4686fb394c52866e302185d0623",
            "0cda0026 8a54f4686fb394c52866e302185d0623 5012 5a665e2e1e8411f3e243822097c84fa3",
        ),
        (
            0xb3,
            "925f6b66dd5fed571fcb1db7ad388260",
            "0cb30026 925f6b66dd5fed571fcb1db7ad388260 5012 e8d6eabda910875cd91fdade26367858",
        ),
    ] {
        let list = AttributeList::default();
        let written =
            write_request((Code::StatusServer, identifier), &authenticator(random), &list, &secret());

        assert_eq!(written, Ok(hex(packet)));
    }
    let answer = hex("02da0014 ef0d552a4bf2d693ec2b6fe8b5411d66");
    let packet = Packet::decode(&answer).unwrap();
    let request = authenticator("8a54f4686fb394c52866e302185d0623");
    assert_eq!(check(&packet, &request, &secret(), false), Ok(()));
}

#[test]
fn a_question_begins_with_its_message_authenticator_and_says_where_the_client_is() {
    let unsent = Unsent::access(&question(1, &[2; 600]), Some(b"state"));
    let (octets, request) = unsent.write(Now::default(), &server(1), 9, [3; 16]).unwrap();
    let packet = Packet::decode(&octets).unwrap();

    assert_eq!((packet.code, packet.identifier, packet.authenticator), (Code::AccessRequest, 9, request));
    let kinds: Vec<u8> = packet.attributes().map(|attribute| attribute.kind.0).collect();
    assert_eq!(kinds, [80, 32, 1, 6, 12, 4, 61, 87, 30, 31, 44, 24, 79, 79, 79]);
    let value = |kind| packet.all(kind).next().unwrap();
    assert_eq!(value(Kind::NAS_IDENTIFIER), b"gw1");
    assert_eq!(value(Kind::USER_NAME), b"alice");
    assert_eq!(value(Kind::NAS_IP_ADDRESS), [192, 0, 2, 1]);
    assert_eq!(value(Kind::NAS_PORT_TYPE), [0, 0, 0, 5]);
    assert_eq!(value(Kind::CALLED_STATION_ID), b"192.0.2.1");
    assert_eq!(value(Kind::CALLING_STATION_ID), b"198.51.100.7");
    assert_eq!(value(Kind::STATE), b"state");
    let lengths: Vec<usize> = packet.all(Kind::EAP_MESSAGE).map(<[u8]>::len).collect();
    assert_eq!(lengths, [253, 253, 94]);
}

#[test]
fn a_client_without_a_name_is_called_by_its_address() {
    let mut nameless = question(1, REQUEST);
    nameless.user.clear();
    nameless.station.remote = "[::ffff:198.51.100.7]:500".parse().unwrap();
    nameless.station.local = "[2001:db8::1]:500".parse().unwrap();
    let (octets, _) = Unsent::access(&nameless, None).write(Now::default(), &server(1), 0, [0; 16]).unwrap();
    let packet = Packet::decode(&octets).unwrap();

    assert_eq!(packet.all(Kind::USER_NAME).collect::<Vec<_>>(), [b"198.51.100.7"]);
    assert_eq!(packet.all(Kind::NAS_IPV6_ADDRESS).next().unwrap().len(), 16);
    assert_eq!(packet.all(Kind::NAS_IP_ADDRESS).count() + packet.all(Kind::STATE).count(), 0);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let write = |unsent: &Unsent| unsent.write(Now::default(), &server(1), 0, [0; 16]).map(|_| ());
    let mut long = question(1, REQUEST);
    long.user = vec![b'a'; 254];
    let unsent = Unsent::access(&long, None);
    assert_eq!((unsent.fits(&server(1)), write(&unsent)), (false, Err(TooLong)));

    let mut fitting = 0;
    for length in 3_700..4_000 {
        let unsent = Unsent::access(&question(1, &vec![0; length]), None);
        assert_eq!(unsent.fits(&server(1)), write(&unsent).is_ok(), "{length}");
        fitting += usize::from(write(&unsent).is_ok());
    }
    assert!((1..300).contains(&fitting), "{fitting}");
}

fn record(status: Status) -> Record {
    Record {
        session: "s1".into(),
        status,
        user: b"alice"[..].into(),
        station: station(),
        ipv4: Some(Ipv4Addr::new(10, 99, 0, 7)),
        ipv6: None,
        class: [b"one".to_vec(), b"two".to_vec()].into(),
        lasted: Duration::from_secs(61),
        carried: Use { octets_in: (3 << 32) + 5, octets_out: 6, packets_in: 7, packets_out: 8 },
    }
}

#[test]
fn a_record_says_what_was_carried_and_why_it_is_the_last_one() {
    let stop = Unsent::accounting(Now::default(), &record(Status::Stop(Cause::AdminReset)));
    let later = Now::default().after(Duration::from_secs(40));
    let (octets, authenticator) = stop.write(later, &server(1), 5, [9; 16]).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let number = |kind| u32::from_be_bytes(packet.all(kind).next().unwrap().try_into().unwrap());

    assert_eq!((packet.code, packet.authenticator), (Code::AccountingRequest, authenticator));
    // RFC 2866 §3: made with zeros in the place of the authenticator, as Message-Authenticator is.
    let mut zeroed = octets.clone();
    zeroed[4..20].fill(0);
    assert_eq!(super::md5(&[&zeroed, SECRET]), authenticator);
    zeroed[22..38].fill(0);
    assert_eq!(super::hmac_md5(&secret(), &[&zeroed])[..], octets[22..38]);
    assert_eq!(number(Kind::ACCT_STATUS_TYPE), 2);
    assert_eq!(number(Kind::ACCT_DELAY_TIME), 40);
    assert_eq!(number(Kind::ACCT_SESSION_TIME), 61);
    assert_eq!((number(Kind::ACCT_INPUT_GIGAWORDS), number(Kind::ACCT_INPUT_OCTETS)), (3, 5));
    assert_eq!((number(Kind::ACCT_OUTPUT_GIGAWORDS), number(Kind::ACCT_OUTPUT_OCTETS)), (0, 6));
    assert_eq!((number(Kind::ACCT_INPUT_PACKETS), number(Kind::ACCT_OUTPUT_PACKETS)), (7, 8));
    assert_eq!(number(Kind::ACCT_TERMINATE_CAUSE), 6);
    assert_eq!(packet.all(Kind::CLASS).collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(packet.all(Kind::FRAMED_IP_ADDRESS).next(), Some(&[10, 99, 0, 7][..]));

    let start = Unsent::accounting(Now::default(), &record(Status::Start));
    let (octets, _) = start.write(Now::default(), &server(1), 5, [9; 16]).unwrap();
    assert_eq!(Packet::decode(&octets).unwrap().all(Kind::ACCT_SESSION_TIME).count(), 0);
}

/// A request to which the answers of this file are made.
fn asked() -> Sent {
    let (octets, _) = Unsent::access(&question(1, REQUEST), None)
        .write(Now::default(), &server(1), 1, authenticator(CHAP_REQUEST))
        .unwrap();
    Sent { socket: SocketId(0), server: server(1).address, octets }
}

/// Reads an Access-Accept of these attributes and an EAP Success.
fn accepted(attributes: &[(u8, &[u8])]) -> Result<(Option<Secret>, Grants), DecodeError> {
    let list = [&[(79, SUCCESS)], attributes].concat();
    let octets = answer(2, &asked(), &list, WELL);
    let packet = Packet::decode(&octets).unwrap();
    let request = authenticator(CHAP_REQUEST);
    assert_eq!(check(&packet, &request, &secret(), true), Ok(()));
    accept(&packet, &request, &secret()).map(|accept| (accept.msk, accept.grants))
}

// RFC 2548 §2.4.2 and §2.4.3: hidden by a program that shares nothing with this one.
const RECV: &str =
    "8abc198cc0f7433b83194a34d0af8b7b63cd641f9245f8f6269d0ba98c39bf8971b51c32784d47b139bf862232c41dadde6d";
const SEND: &str = "f0017aa1e2f4ed1d2de118872aa50dc784ead2b5d7aad923f0e711eb65b821b40806";

fn microsoft(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[0, 0, 1, 55, kind, u8::try_from(value.len() + 2).unwrap()], value].concat()
}

#[test]
fn the_key_is_what_the_gateway_receives_with_and_then_what_it_sends_with() {
    let (receive, send) = (microsoft(17, &hex(RECV)), microsoft(16, &hex(SEND)));
    let mut expected: Vec<u8> = (0..32).chain(100..116).collect();
    expected.resize(64, 0);

    let (msk, _) = accepted(&[(26, &send), (26, &receive)]).unwrap();
    assert_eq!(msk.unwrap().expose(), expected);
    let both = [&receive[..], &send[4..]].concat();
    let (msk, _) = accepted(&[(26, &both)]).unwrap();
    assert_eq!(msk.unwrap().expose(), expected);
    assert_eq!(accepted(&[(26, &receive)]).unwrap().0, None);
    let of_others = [&[0, 0, 0, 9], &send[4..]].concat();
    assert_eq!(accepted(&[(26, &of_others), (26, &receive)]).unwrap().0, None);
}

#[test]
fn a_key_that_cannot_be_is_refused() {
    let send = hex(SEND);
    let wrong: Vec<Vec<u8>> = vec![
        microsoft(17, &[]),
        microsoft(17, &send[..2]),
        microsoft(17, &send[..send.len() - 1]),
        microsoft(17, &[&[0x80, 1], &[7; 16][..]].concat()),
        [microsoft(17, &send), microsoft(17, &send)[4..].to_vec()].concat(),
        vec![0, 0, 1],
        vec![0, 0, 1, 55, 17],
        vec![0, 0, 1, 55, 17, 1],
        vec![0, 0, 1, 55, 17, 20, 1],
    ];
    for value in wrong {
        assert!(accepted(&[(26, &value)]).is_err(), "{value:02x?}");
    }
}

#[test]
fn what_a_client_may_do_is_read() {
    let grants = |attributes: &[(u8, &[u8])]| accepted(attributes).unwrap().1;

    let all = grants(&[
        (8, &[10, 99, 0, 7]),
        (27, &[0, 0, 14, 16]),
        (29, &[0, 0, 0, 1]),
        (85, &[0, 0, 0, 60]),
        (25, b"one"),
        (25, b"two"),
        (1, b"alice@example"),
        (33, b"proxy"),
        (200, b""),
    ]);
    assert_eq!(
        all,
        Grants {
            ipv4: Some([10, 99, 0, 7].into()),
            ipv6: None,
            session_timeout: Some(Duration::from_secs(3_600)),
            reauthenticates: true,
            interim: Some(Duration::from_secs(60)),
            class: vec![b"one".to_vec(), b"two".to_vec()],
            user: Some(b"alice@example".to_vec()),
        }
    );
    // RFC 2865 §5.8: the gateway chooses, or the client does.
    for address in [[255, 255, 255, 254], [255; 4]] {
        assert_eq!(grants(&[(8, &address)]), Grants::default());
    }
    assert_eq!(grants(&[(27, &[0; 4])]), Grants::default());
}

#[test]
fn an_ipv6_address_comes_whole_or_in_two_parts() {
    let ipv6 = |attributes: &[(u8, &[u8])]| accepted(attributes).unwrap().1.ipv6;
    let whole = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let network = [&[0, 64][..], &whole[..8]].concat();
    let single = [&[0, 128][..], &whole].concat();
    let expected = Some(whole.into());

    assert_eq!(ipv6(&[(168, &whole)]), expected);
    assert_eq!(ipv6(&[(97, &single)]), expected);
    assert_eq!(ipv6(&[(97, &network), (96, &whole[8..])]), expected);
    assert_eq!(ipv6(&[(97, &network)]), None);
    assert_eq!(ipv6(&[(96, &whole[8..])]), None);
}

#[test]
fn attributes_that_cannot_be_make_the_answer_a_refusal() {
    let cases: [(u8, &[u8]); 13] = [
        (8, &[10, 0, 0]),
        (8, &[10, 0, 0, 1, 1]),
        (27, &[0, 0, 1]),
        (27, &[0; 5]),
        (29, &[]),
        (85, &[1]),
        (96, &[0; 7]),
        (97, &[0]),
        (97, &[0, 129, 1]),
        (97, &[0, 64, 1]),
        (97, &[0; 19]),
        (168, &[0; 15]),
        (168, &[0; 17]),
    ];
    for case in cases {
        assert!(accepted(&[case]).is_err(), "{case:?}");
    }
}

#[test]
fn packets_of_eap_are_joined_or_the_answer_is_none() {
    let long: Vec<u8> = [&[1, 8, 2, 0][..], &[7; 508]].concat();
    let parts: Vec<(u8, &[u8])> = long.chunks(253).map(|part| (79, part)).collect();
    let read = |attributes: &[(u8, &[u8])]| {
        let octets = answer(11, &asked(), attributes, WELL);
        challenge(&Packet::decode(&octets).unwrap()).map(|challenge| (challenge.eap, challenge.state))
    };

    assert_eq!(read(&parts), Ok((long.clone(), None)));
    assert_eq!(read(&[(24, b"x"), (79, REQUEST)]), Ok((REQUEST.to_vec(), Some(b"x".to_vec()))));
    for wrong in [
        &[][..],
        &[(79, &[1, 8][..])],
        &[(79, &[1, 8, 0, 6, 26])],
        &[(79, SUCCESS)],
        &[(79, &[1, 8, 0, 6, 26]), (24, b"x"), (79, b"y")],
        &[(24, b"x"), (24, b"y"), (79, REQUEST)],
        &parts[..2],
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
    // RFC 3579 §2.6.3: what is accepted has succeeded, whatever else is in it.
    for wrong in [&[][..], &[(79, FAILURE)], &[(79, REQUEST)]] {
        let octets = answer(2, &asked(), wrong, WELL);
        let packet = Packet::decode(&octets).unwrap();
        assert!(accept(&packet, &authenticator(CHAP_REQUEST), &secret()).is_err(), "{wrong:?}");
    }
    let octets = answer(3, &asked(), &[(18, b"no\x1b[2J\n"), (18, &[b'x'; 253])], WELL);
    let rejected = rejection(&Packet::decode(&octets).unwrap()).unwrap();
    assert_eq!((rejected.eap.len(), rejected.text.unwrap()), (0, format!("no [2J {}", "x".repeat(193))));
}

#[test]
fn an_answer_must_be_signed_as_a_whole_and_once() {
    let request = authenticator(CHAP_REQUEST);
    let judge = |octets: &[u8]| check(&Packet::decode(octets).unwrap(), &request, &secret(), true);
    let attributes: &[(u8, &[u8])] = &[(79, SUCCESS)];

    assert_eq!(judge(&answer(2, &asked(), attributes, WELL)), Ok(()));
    let broken = Making { breaks_message_authenticator: true, ..WELL };
    assert_eq!(judge(&answer(2, &asked(), attributes, broken)), Err(Discard::WrongMessageAuthenticator));
    let bare = Making { has_message_authenticator: false, ..WELL };
    assert_eq!(judge(&answer(2, &asked(), attributes, bare)), Err(Discard::NoMessageAuthenticator));
    let foreign = Making { secret: b"other", ..WELL };
    assert_eq!(judge(&answer(2, &asked(), attributes, foreign)), Err(Discard::WrongAuthenticator));
    let twice = answer(2, &asked(), &[(80, &[0; 16])], WELL);
    assert_eq!(judge(&twice), Err(Discard::Malformed));
    let short = answer(2, &asked(), &[(80, &[0; 15])], bare);
    assert_eq!(judge(&short), Err(Discard::Malformed));
    let good = answer(2, &asked(), attributes, WELL);
    for position in 0..good.len() {
        let mut changed = good.clone();
        changed[position] ^= 1;
        if let Ok(packet) = Packet::decode(&changed) {
            assert!(check(&packet, &request, &secret(), true).is_err(), "octet {position}");
        }
    }
}

#[test]
fn a_packet_that_is_cut_or_lies_about_its_length_is_none() {
    let good = answer(2, &asked(), &[(79, SUCCESS)], WELL);
    for length in 0..good.len() {
        assert!(Packet::decode(&good[..length]).is_err(), "{length}");
    }
    // RFC 2865 §3: what lies behind is padding.
    let padded = [&good[..], b"padding"].concat();
    assert_eq!(Packet::decode(&padded).unwrap().octets(), good);
    for (at, value) in [(3, 19), (2, 16), (21, 1), (21, 0), (21, 255), (good.len() - 17, 17)] {
        let mut wrong = good.clone();
        wrong[at] = value;
        assert!(Packet::decode(&wrong).is_err(), "octet {at} = {value}");
    }
}
