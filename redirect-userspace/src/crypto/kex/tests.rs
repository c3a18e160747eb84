use super::*;

#[test]
fn both_sides_arrive_at_the_same_secret() {
    let mut rng = Rng::from_number(1);
    for group in Group::ALL {
        let one = KeyExchange::generate(group, &mut rng).unwrap();
        let other = KeyExchange::generate(group, &mut rng).unwrap();
        let (public, others_public) = (one.public().to_vec(), other.public().to_vec());

        let secret = one.agree(&others_public).unwrap();

        assert_eq!(public.len(), group.public_length());
        assert_ne!(public, others_public);
        assert_eq!(secret.len(), group.secret_length());
        assert_eq!(other.agree(&public).unwrap(), secret, "{group:?}");
    }
}

#[test]
fn the_same_generator_gives_the_same_private_value() {
    for group in Group::ALL {
        let public =
            |number| KeyExchange::generate(group, &mut Rng::from_number(number)).unwrap().public().to_vec();

        assert_eq!(public(7), public(7));
        assert_ne!(public(7), public(8));
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    let mut rng = Rng::from_number(2);
    for group in Group::ALL {
        for length in [0, 1, group.public_length() - 1, group.public_length() + 1, 65_535] {
            let exchange = KeyExchange::generate(group, &mut rng).unwrap();

            let refused = exchange.agree(&vec![4; length]);

            assert_eq!(refused, Err(KeyExchangeError::Length { group, length }));
        }
    }
}

#[test]
fn whatever_octets_come_they_are_taken_or_refused() {
    let mut rng = Rng::from_number(3);
    for group in [Group::P256, Group::P384, Group::P521, Group::Curve25519, Group::Modp2048] {
        for _ in 0..4 {
            let mut peer = vec![0; group.public_length()];
            rng.fill(&mut peer);
            let exchange = KeyExchange::generate(group, &mut rng).unwrap();

            match exchange.agree(&peer) {
                Ok(secret) => assert_eq!(secret.len(), group.secret_length()),
                Err(error) => assert_eq!(error, KeyExchangeError::OffCurve { group }),
            }
        }
    }
}
