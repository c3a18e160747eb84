//! Files that `[ike]` names, read again after they have changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::ike::Reread;
use crate::crypto::x509::builder::{Owner, Recipe, UNTIL, pem};
use crate::crypto::x509::responder::Answer;
use crate::crypto::x509::{Certificate, ChainError};
use crate::ike::config::{LocalProof, RemoteProof};
use crate::ike::paper::PaperKind;

/// 2040-01-01, when everything that is made here has expired.
const LATER: UnixTime = UnixTime::from_epoch(Duration::from_secs(2_208_988_800));

/// A CA, a gateway with a certificate of it, and the directory where they are.
struct World {
    directory: TempDir,
    ca: Owner,
    gateway: Owner,
    text: String,
}

impl World {
    fn new(rest: &str) -> Self {
        let ca = Recipe::ca("ca").issue(None);
        let gateway = Recipe::gateway("vpn.example.net").issue(Some(&ca));
        let directory = TempDir::new();
        let text = format!(
            "[[ike.profile]]\nname = \"ra\"\nlocal-id = \"vpn.example.net\"\nlocal-auth = \"pubkey\"\n\
             remote-auth = \"pubkey\"\ncertificate = \"/pki/vpn.crt\"\nprivate-key = \"/pki/vpn.key\"\n\
             ca = \"/pki/ca.crt\"\n{rest}"
        );
        let text = after_start(&text).replace("/pki/", &format!("{}/", directory.path().display()));
        let world = Self { directory, ca, gateway, text };
        world.write("ca.crt", world.ca.pem());
        world.write("ca.crl", pem("X509 CRL", &world.ca.crl(&[], UNTIL)));
        world.write("vpn.crt", world.chain(&world.gateway));
        world.write_key(&world.gateway, 0o600);
        world.write("vpn.ocsp", Answer::good(2).sign(&world.ca));
        world
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn write_key(&self, owner: &Owner, mode: u32) {
        self.write("vpn.key", owner.key_pem());
        let path = self.directory.path().join("vpn.key");
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// The certificate of somebody, and that of the CA.
    fn chain(&self, owner: &Owner) -> String {
        owner.pem() + &self.ca.pem()
    }

    fn renewed(&self) -> Owner {
        Recipe::gateway("vpn.example.net").serial(3).issue(Some(&self.ca))
    }

    fn ike(&self) -> Ike {
        parse(&self.text).unwrap().ike.unwrap()
    }

    /// What was taken, and what was refused for which reason, without the directory.
    fn outcome(&self, reread: &Reread) -> (Vec<String>, Vec<String>) {
        let directory = format!("{}/", self.directory.path().display());
        let short = |text: String| text.replace(&directory, "");
        let taken = reread.taken.iter().map(|path| short(path.display().to_string())).collect();
        let refused = reread.refused.iter();
        let refused = refused.map(|(path, why)| short(format!("{}: {why}", path.display()))).collect();
        (taken, refused)
    }
}

/// The certificate that a gateway shows.
fn shown(ike: &Ike) -> Certificate {
    let LocalProof::Certificate(credential) = &ike.settings.profiles[0].authentication.local else {
        panic!("a certificate")
    };
    credential.chain[0].clone()
}

/// Whether clients with this certificate get in.
fn check(ike: &Ike, owner: &Owner) -> Result<(), ChainError> {
    let RemoteProof::Certificate(trust) = &ike.settings.profiles[0].authentication.remote else {
        panic!("a CA")
    };
    trust.validate(&owner.certificate(), &[], NOW)
}

const CRL: &str = "crl = \"/pki/ca.crl\"\n";
const OCSP: &str = "ocsp-response = \"/pki/vpn.ocsp\"\n";

fn none() -> (Vec<String>, Vec<String>) {
    (Vec::new(), Vec::new())
}

#[test]
fn what_has_not_changed_makes_no_difference() {
    let world = World::new(CRL);
    let ike = world.ike();

    let reread = ike.reread(NOW);

    assert_eq!(world.outcome(&reread), none());
    assert_eq!(reread.ike, ike);
    let mut files: Vec<String> = ike.files().iter().map(|path| path.display().to_string()).collect();
    files.sort();
    let names = ["ca.crl", "ca.crt", "vpn.crt", "vpn.key"];
    let paths = names.map(|name| world.directory.path().join(name).display().to_string());
    assert_eq!(files, paths);
}

#[test]
fn a_new_list_is_taken_and_counts() {
    let world = World::new(CRL);
    let ike = world.ike();
    let alice = Recipe::end_entity("CN=alice", &[]).serial(9).issue(Some(&world.ca));
    assert_eq!(check(&ike, &alice), Ok(()));

    world.write("ca.crl", pem("X509 CRL", &world.ca.crl(&[9], UNTIL)));
    let reread = ike.reread(NOW);

    assert_eq!(world.outcome(&reread), (vec!["ca.crl".to_owned()], vec![]));
    assert_ne!(reread.ike, ike);
    assert_eq!(check(&reread.ike, &alice), Err(ChainError::Revoked));
    // And so on from there.
    assert_eq!(world.outcome(&reread.ike.reread(NOW)), none());
}

#[test]
fn what_is_broken_leaves_the_old_one_in_use() {
    let world = World::new(CRL);
    let ike = world.ike();
    let good = fs::read(world.directory.path().join("ca.crl")).unwrap();

    for (content, why) in [
        (&b""[..], "no list of revoked certificates in the file"),
        (&good[..good.len() / 2], "not a PEM file"),
        (
            b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
            "not a list of revoked certificates, or one of an unknown kind",
        ),
    ] {
        world.write("ca.crl", content);
        let reread = ike.reread(NOW);
        assert_eq!(world.outcome(&reread), (vec![], vec![format!("ca.crl: \"ca.crl\": {why}")]));
        assert_eq!(reread.ike, ike);
    }
    fs::remove_file(world.directory.path().join("ca.crl")).unwrap();
    let gone = ike.reread(NOW);
    let (taken, refused) = world.outcome(&gone);
    assert!(taken.is_empty() && refused[0].contains("No such file"), "{refused:?}");
    world.write("ca.crl", good);
    assert_eq!(world.outcome(&gone.ike.reread(NOW)), none());
}

#[test]
fn one_broken_file_does_not_keep_the_others_from_being_taken() {
    let world = World::new(CRL);
    let ike = world.ike();
    let other = Recipe::ca("other").issue(None);
    let bob = Recipe::end_entity("CN=bob", &[]).issue(Some(&other));

    world.write("ca.crl", "rubbish");
    world.write("ca.crt", world.ca.pem() + &other.pem());
    let reread = ike.reread(NOW);

    let (taken, refused) = world.outcome(&reread);
    assert_eq!(taken, ["ca.crt"]);
    assert_eq!(refused, ["ca.crl: \"ca.crl\": no list of revoked certificates in the file"]);
    assert_eq!(check(&reread.ike, &bob), Ok(()));
}

#[test]
fn a_certificate_and_its_key_change_together() {
    let world = World::new(CRL);
    let (ike, renewed) = (world.ike(), world.renewed());

    world.write("vpn.crt", world.chain(&renewed));
    let half = ike.reread(NOW);
    world.write_key(&renewed, 0o600);
    world.write("ca.crl", "rubbish");
    let whole = half.ike.reread(NOW);

    let mismatch = "vpn.crt: \"vpn.key\": not the key of the certificate".to_owned();
    assert_eq!(world.outcome(&half), (vec![], vec![mismatch]));
    assert_eq!(shown(&half.ike).der(), world.gateway.der);
    let (taken, refused) = world.outcome(&whole);
    assert_eq!((taken, refused.len()), (vec!["vpn.crt".to_owned(), "vpn.key".to_owned()], 1));
    assert_eq!(shown(&whole.ike).der(), renewed.der);
}

#[test]
fn a_new_key_that_others_may_read_is_refused() {
    let world = World::new("");
    let ike = world.ike();
    let renewed = world.renewed();

    world.write("vpn.crt", world.chain(&renewed));
    world.write_key(&renewed, 0o640);
    let reread = ike.reread(NOW);

    let (taken, refused) = world.outcome(&reread);
    assert!(taken.is_empty(), "{taken:?}");
    let expected = "vpn.key: \"vpn.key\": mode 0640 lets others than the owner at the key: chmod 600";
    assert!(refused.iter().any(|why| why == expected), "{refused:?}");
    assert_eq!(shown(&reread.ike).der(), world.gateway.der);
}

#[test]
fn what_has_expired_keeps_nothing_else_from_being_taken() {
    let world = World::new(CRL);
    let ike = world.ike();
    assert!(Config::parse(Path::new("f"), &world.text, LATER).is_err());

    world.write("ca.crl", pem("X509 CRL", &world.ca.crl(&[9], "20450101000000Z")));
    assert_eq!(world.outcome(&ike.reread(LATER)), (vec!["ca.crl".to_owned()], vec![]));
    // But nothing that has expired is taken.
    let renewed = world.renewed();
    world.write("vpn.crt", world.chain(&renewed));
    world.write_key(&renewed, 0o600);
    let (_, refused) = world.outcome(&ike.reread(LATER));
    assert!(refused.iter().any(|why| why.contains("has expired")), "{refused:?}");
}

#[test]
fn a_response_is_shown_beside_the_certificate_that_it_is_about() {
    let world = World::new(OCSP);
    let ike = world.ike();
    let response = |ike: &Ike| shown(ike).staple().map(|staple| staple.der().to_vec());
    assert_eq!(response(&ike), fs::read(world.directory.path().join("vpn.ocsp")).ok());

    // The certificate is new: the old response says nothing of it.
    let renewed = world.renewed();
    world.write("vpn.crt", world.chain(&renewed));
    world.write_key(&renewed, 0o600);
    let reread = ike.reread(NOW);
    let (taken, refused) = world.outcome(&reread);
    assert_eq!(taken, ["vpn.crt", "vpn.key"]);
    assert_eq!(refused, ["vpn.ocsp: \"vpn.ocsp\": the OCSP response: about another certificate"]);
    assert_eq!((shown(&reread.ike).der(), response(&reread.ike)), (&*renewed.der, None));

    let fresh = Answer::good(3).sign(&world.ca);
    world.write("vpn.ocsp", &fresh);
    let reread = reread.ike.reread(NOW);
    assert_eq!(world.outcome(&reread), (vec!["vpn.ocsp".to_owned()], vec![]));
    assert_eq!(response(&reread.ike), Some(fresh));
}

#[test]
fn a_response_that_says_nothing_is_refused_with_the_reason() {
    let world = World::new(OCSP);
    let twin = Recipe::ca("ca").issue(None);
    let good = Answer::good(2).sign(&world.ca);

    for (response, why) in [
        (vec![], "cannot be read: OCSPResponse: 1 octets needed, 0 there"),
        (good[..100].to_vec(), "cannot be read: OCSPResponse: "),
        (vec![0; 16 * 1_024 + 1], "a file with an OCSP response has at most 16384 octets"),
        (Answer::good(7).sign(&world.ca), "about another certificate"),
        (Answer::revoked(2).sign(&world.ca), "the certificate was revoked"),
        (Answer::unknown(2).sign(&world.ca), "the responder does not know the certificate"),
        (Answer::good(2).by_name().sign_by(&world.ca, &twin), "the signature is wrong"),
    ] {
        world.write("vpn.ocsp", &response);
        let mistakes = mistakes(&world.text);
        assert!(mistakes.len() == 1 && mistakes[0].contains(why), "{why}: {mistakes:?}");
        assert!(mistakes[0].starts_with("13:17: "), "{mistakes:?}");
    }
    // Out of date is no mistake, and it is not shown.
    let old = Answer::good(2).valid("20260101000000Z", Some("20260102000000Z")).sign(&world.ca);
    world.write("vpn.ocsp", old);
    let ike = world.ike();
    assert!(!shown(&ike).staple().unwrap().is_current(NOW));
}

#[test]
fn everything_that_is_good_until_a_time_is_known() {
    let world = World::new(&format!("{CRL}{OCSP}"));
    world.write("ca.crl", pem("X509 CRL", &world.ca.crl(&[], "20280101000000Z")));

    let ike = world.ike();
    let papers: Vec<_> = ike
        .papers()
        .iter()
        .map(|paper| {
            let name = paper.file.file_name().unwrap().to_str().unwrap().to_owned();
            (paper.kind, name, paper.owner.to_string(), paper.until.since_epoch().as_secs())
        })
        .collect();

    let entry = |kind, file: &str, owner: &str, until| (kind, file.to_owned(), owner.to_owned(), until);
    let (y2028, y2036) = (1_830_297_600, 2_082_758_400);
    assert_eq!(
        papers,
        [
            entry(PaperKind::Own, "vpn.crt", "CN=vpn.example.net", y2036),
            entry(PaperKind::Chain, "vpn.crt", "CN=ca", y2036),
            entry(PaperKind::Ca, "ca.crt", "CN=ca", y2036),
            entry(PaperKind::Crl, "ca.crl", "CN=ca", y2028),
            entry(PaperKind::Ocsp, "vpn.ocsp", "CN=ca", y2036),
        ]
    );
}

#[test]
fn a_response_needs_a_certificate() {
    let world = World::new(OCSP);
    let text = world
        .text
        .replace("local-auth = \"pubkey\"", "local-auth = \"psk\"\npsk = \"x\"")
        .lines()
        .filter(|line| !line.starts_with("certificate") && !line.starts_with("private-key"))
        .collect::<Vec<_>>()
        .join("\n");

    let text = format!("{text}\n");
    assert_eq!(mistakes(&text), ["12:1: `ocsp-response` in [[ike.profile]] needs `local-auth = \"pubkey\"`"]);
}

#[test]
fn nothing_of_the_files_is_shown() {
    let world = World::new("");
    let shown = format!("{:?}", world.ike());
    let key = world.gateway.key_pem();
    let line = key.lines().nth(1).unwrap();

    assert!(shown.contains("vpn.key") && !shown.contains(line) && !shown.contains("BEGIN"), "{shown}");
}
