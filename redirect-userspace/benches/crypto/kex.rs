//! Key exchanges: both halves of one, and what the MODP groups gain by short exponents and tables.

use std::hint::black_box;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U2048};
use redirect_userspace::crypto::kex::{Answer, Group, KeyExchange};
use redirect_userspace::rng::Rng;

use crate::table::Table;

pub(crate) fn run() {
    for group in Group::ALL {
        let mut rng = Rng::from_number(1);
        let mut again = Rng::from_number(2);
        let peer = KeyExchange::generate(group, &mut rng).unwrap().public().to_vec();
        let mut third = Rng::from_number(3);
        Table::new(format!("{group:?}"))
            .row("private and public value", || {
                black_box(KeyExchange::generate(group, &mut rng).unwrap());
            })
            .row("a whole exchange, responder", || {
                let answer = Answer::new(group, black_box(&peer), &mut again).unwrap();
                black_box(answer.secret().unwrap());
            })
            .row("a whole exchange, both sides", || {
                let exchange = KeyExchange::generate(group, &mut third).unwrap();
                let answer = Answer::new(group, exchange.public(), &mut third).unwrap();
                black_box(exchange.agree(answer.public()).unwrap());
            })
            .run();
    }
    modp();
}

/// Any odd modulus will do: the time depends on its length only.
fn modp() {
    let modulus = Odd::new(U2048::MAX).unwrap();
    let params = FixedMontyParams::new_vartime(modulus);
    let base = FixedMontyForm::new(&U2048::from_be_slice(&[0x5a; 256]), &params);
    let (short, full) = (U256::from_be_slice(&[0xa5; 32]), U2048::from_be_slice(&[0xa5; 256]));
    let mut product = base;
    Table::new("crypto-bigint, 2048 bits")
        .row("power with 256 bits", || {
            black_box(base.pow(black_box(&short)));
        })
        .row("power with 2048 bits", || {
            black_box(base.pow(black_box(&full)));
        })
        .row("product", || product = product.mul(&base))
        .run();
}
