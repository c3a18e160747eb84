//! Signatures, and a chain of two certificates: what authentication by certificate adds.

use std::hint::black_box;
use std::time::Duration;

use redirect_userspace::crypto::Legacy;
use redirect_userspace::crypto::sign::{Curve, PrivateKey, Scheme, Sha2};
use redirect_userspace::crypto::x509::{Certificate, Revocation, TrustStore};
use redirect_userspace::time::UnixTime;

use crate::table::Table;

/// A file that the unit tests read, too.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!("../../src/crypto/testdata/", $name))
    };
}

pub(crate) fn run() {
    let keys: [(&str, &[u8], Scheme); 8] = [
        ("RSA 2048, PKCS #1, SHA-256", made!("rsa.pem"), Scheme::RsaPkcs1(Sha2::Sha256)),
        ("RSA 2048, PSS, SHA-256", made!("rsa.pem"), Scheme::RsaPss(Sha2::Sha256)),
        ("RSA 2048, PKCS #1, SHA-1", made!("rsa.pem"), Scheme::RsaSha1(Legacy::permit())),
        ("ECDSA P-256", made!("p256.pem"), Scheme::Ecdsa(Sha2::Sha256)),
        ("ECDSA P-256, fixed", made!("p256.pem"), Scheme::EcdsaFixed(Curve::P256)),
        ("ECDSA P-384", made!("p384.pem"), Scheme::Ecdsa(Sha2::Sha384)),
        ("ECDSA P-521", made!("p521.pem"), Scheme::Ecdsa(Sha2::Sha512)),
        ("Ed25519", made!("ed25519.pem"), Scheme::Ed25519),
    ];
    let message = [7; 600];
    for (name, pem, scheme) in keys {
        let key = PrivateKey::from_pem(pem).unwrap();
        let signature = key.sign(scheme, &message).unwrap();
        Table::new(name)
            .row("sign", || {
                black_box(key.sign(scheme, black_box(&message)).unwrap());
            })
            .row("verify", || {
                key.public().verify(scheme, black_box(&message), &signature).unwrap();
            })
            .run();
    }
    chain();
}

/// ECDSA P-256 throughout: a root, a CA, a gateway.
fn chain() {
    let one = |pem: &[u8]| Certificate::list_from_pem(pem).unwrap().pop().unwrap();
    let (gateway, ca) = (one(made!("gateway.pem")), one(made!("ca.pem")));
    let mut store = TrustStore::new(Revocation::Relaxed);
    store.add_anchor(one(made!("root.pem"))).unwrap();
    let mut with_list = TrustStore::new(Revocation::Relaxed);
    with_list.add_anchor(one(made!("root.pem"))).unwrap();
    with_list.add_crls_from_pem(made!("ca-crl.pem")).unwrap();
    // 2030-01-01.
    let now = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));
    Table::new("certificates, ECDSA P-256")
        .row("read one", || {
            black_box(Certificate::from_der(black_box(gateway.der())).unwrap());
        })
        .row("validate a chain of two", || {
            store.validate(&gateway, &[ca.der()], now).unwrap();
        })
        .row("with a list of revoked ones", || {
            with_list.validate(&gateway, &[ca.der()], now).unwrap();
        })
        .run();
}
