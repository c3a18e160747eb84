//! A small public key infrastructure, made anew for each laboratory: a CA, an intermediate one that
//! issues, and whatever certificates a test needs, the bad ones included.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Lab;
use super::process::{command, output};

/// Algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl Key {
    /// What `openssl genpkey` is told.
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::P256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::P384 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            Self::Ed25519 => &["-algorithm", "ED25519"],
            Self::Rsa2048 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        }
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Current,
    /// Not any more.
    Expired,
}

/// A private key and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// The certificate and that of the CA that has issued it, in PEM.
    pub chain: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// The CAs and what they have issued, in a directory of the laboratory.
#[derive(Clone, Debug)]
pub struct Pki {
    directory: PathBuf,
}

impl Pki {
    /// Makes the CA and the intermediate one.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn new(lab: &Lab) -> Result<Self> {
        Self::named(lab, "pki")
    }

    /// As [`Pki::new`], in a directory of that name: CAs that nobody else believes in.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn named(lab: &Lab, name: &str) -> Result<Self> {
        let pki = Self { directory: lab.directory().join(name) };
        fs::create_dir_all(&pki.directory)
            .with_context(|| format!("creating {}", pki.directory.display()))?;
        for ca in [ROOT, ISSUER, DEEPER] {
            fs::create_dir_all(pki.path(&format!("{ca}.new"))).context("creating a CA's directory")?;
            pki.write(&format!("{ca}.index"), "")?;
            pki.write(&format!("{ca}.number"), "01\n")?;
            pki.write(&format!("{ca}.index.attr"), "unique_subject = no\n")?;
        }
        pki.write(CONFIG, &configuration(&pki.directory))?;
        pki.key(ROOT, Key::P256)?;
        let subject = |name: &str| format!("/O=Laboratory/CN={name}");
        output(
            pki.openssl(&["req", "-new", "-x509", "-days", "30", "-key"])
                .arg(pki.path("root.key"))
                .args(["-subj", &subject("Laboratory CA"), "-extensions", "authority", "-out"])
                .arg(pki.path("root.crt")),
        )?;
        pki.key(ISSUER, Key::P256)?;
        pki.request(ISSUER, &subject("Laboratory issuing CA"))?;
        pki.sign(ROOT, ISSUER, "authority", Validity::Current)?;
        pki.key(DEEPER, Key::P256)?;
        pki.request(DEEPER, &subject("Laboratory deeper CA"))?;
        pki.sign(ISSUER, DEEPER, "authority", Validity::Current)?;
        Ok(pki)
    }

    /// Certificate of the CA that everybody knows.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path("root.crt")
    }

    /// Certificate of the CA between that one and the certificates.
    #[must_use]
    pub fn issuer(&self) -> PathBuf {
        self.path("issuer.crt")
    }

    /// Certificate of a CA below the one that issues certificates.
    #[must_use]
    pub fn deeper(&self) -> PathBuf {
        self.path("deeper.crt")
    }

    /// Issues a certificate for a name with these alternative names, as OpenSSL writes them:
    /// `DNS:vpn.example.net`, `email:alice@example.net`, `IP:10.50.0.11`.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn issue(&self, name: &str, key: Key, names: &[&str], validity: Validity) -> Result<Credential> {
        self.issue_by(ISSUER, name, key, names, validity)
    }

    /// The same, by the CA below: three CAs are above what it issues, two of them in its chain.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn issue_deeper(&self, name: &str, key: Key, names: &[&str]) -> Result<Credential> {
        self.issue_by(DEEPER, name, key, names, Validity::Current)
    }

    fn issue_by(
        &self,
        ca: &str,
        name: &str,
        key: Key,
        names: &[&str],
        validity: Validity,
    ) -> Result<Credential> {
        let extensions = self.write(
            &format!("{name}.cnf"),
            &format!(
                "subjectAltName = {}\nkeyUsage = critical, digitalSignature\n\
                 extendedKeyUsage = serverAuth, clientAuth\n",
                names.join(", ")
            ),
        )?;
        self.key(name, key)?;
        self.request(name, &format!("/O=Laboratory/CN={name}"))?;
        self.sign(ca, name, &format!("@{}", extensions.display()), validity)?;
        let certificate = self.path(&format!("{name}.crt"));
        let deeper = (ca == DEEPER).then(|| self.deeper());
        let chain = [certificate.clone()].into_iter().chain(deeper).chain([self.issuer()]);
        let chain: String = chain.map(|file| read(&file)).collect::<Result<_>>()?;
        Ok(Credential {
            certificate,
            chain: self.write(&format!("{name}.chain"), &chain)?,
            key: self.path(&format!("{name}.key")),
        })
    }

    /// Takes back what was issued; [`Pki::revoked`] lists it from now on.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn revoke(&self, credential: &Credential) -> Result<()> {
        output(self.ca_command(ISSUER).arg("-revoke").arg(&credential.certificate))?;
        Ok(())
    }

    /// What the issuing CA says about a certificate of it, in an OCSP response for a week, written anew.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn status(&self, credential: &Credential) -> Result<PathBuf> {
        let path = credential.certificate.with_extension("ocsp");
        let (request, response) = (path.with_extension("ocsp.request"), path.with_extension("ocsp.new"));
        let (issuer, key, index) = (self.issuer(), self.path("issuer.key"), self.path("issuer.index"));
        let mut ask = self.openssl(&["ocsp", "-no_nonce", "-issuer"]);
        output(ask.arg(&issuer).arg("-cert").arg(&credential.certificate).arg("-reqout").arg(&request))?;
        let mut answer = self.openssl(&["ocsp", "-ndays", "7", "-index"]);
        answer.arg(index).arg("-CA").arg(&issuer).arg("-rsigner").arg(&issuer).arg("-rkey").arg(key);
        output(answer.arg("-reqin").arg(request).arg("-respout").arg(&response))?;
        fs::rename(&response, &path).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The lists of what both CAs have revoked, written anew.
    ///
    /// # Errors
    ///
    /// When `openssl` fails.
    pub fn revoked(&self) -> Result<[PathBuf; 2]> {
        let list = |ca: &str| -> Result<PathBuf> {
            let path = self.path(&format!("{ca}.crl"));
            output(self.ca_command(ca).args(["-gencrl", "-crldays", "7", "-out"]).arg(&path))?;
            Ok(path)
        };
        Ok([list(ROOT)?, list(ISSUER)?])
    }

    fn key(&self, name: &str, key: Key) -> Result<()> {
        let path = self.path(&format!("{name}.key"));
        // Readable by nobody else, as our daemon demands: that is how OpenSSL writes keys.
        output(self.openssl(&["genpkey"]).args(key.options()).arg("-out").arg(path))?;
        Ok(())
    }

    fn request(&self, name: &str, subject: &str) -> Result<()> {
        output(
            self.openssl(&["req", "-new", "-subj", subject, "-key"])
                .arg(self.path(&format!("{name}.key")))
                .arg("-out")
                .arg(self.path(&format!("{name}.csr"))),
        )?;
        Ok(())
    }

    /// Has a CA sign a request, with a section of the configuration or, after an `@`, a file.
    fn sign(&self, ca: &str, name: &str, extensions: &str, validity: Validity) -> Result<()> {
        let mut command = self.ca_command(ca);
        match extensions.strip_prefix('@') {
            Some(file) => command.args(["-extfile", file]),
            None => command.args(["-extensions", extensions]),
        };
        match validity {
            Validity::Current => command.args(["-days", "20"]),
            Validity::Expired => {
                command.args(["-startdate", "20240101000000Z", "-enddate", "20250101000000Z"])
            }
        };
        command.arg("-in").arg(self.path(&format!("{name}.csr")));
        output(command.arg("-out").arg(self.path(&format!("{name}.crt"))))?;
        Ok(())
    }

    fn ca_command(&self, ca: &str) -> std::process::Command {
        let mut command = self.openssl(&["ca", "-batch", "-notext", "-name", ca]);
        command.arg("-config").arg(self.path(CONFIG));
        command
    }

    fn openssl(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command("openssl");
        // Not the machine's own configuration: it may demand or add something.
        command.env("OPENSSL_CONF", self.path(CONFIG)).args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// What `openssl` is told about both CAs.
fn configuration(directory: &Path) -> String {
    let directory = directory.display();
    let ca = |name: &str| {
        format!(
            "[{name}]
certificate = {directory}/{name}.crt
private_key = {directory}/{name}.key
database = {directory}/{name}.index
new_certs_dir = {directory}/{name}.new
rand_serial = yes
crlnumber = {directory}/{name}.number
crl_extensions = list
default_md = sha256
policy = anything
",
        )
    };
    format!(
        "[req]
distinguished_name = anything
[anything]
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[list]
authorityKeyIdentifier = keyid
{}{}{}",
        ca(ROOT),
        ca(ISSUER),
        ca(DEEPER),
    )
}

const CONFIG: &str = "openssl.cnf";
/// The CA that everybody knows.
const ROOT: &str = "root";
/// The CA that issues certificates.
const ISSUER: &str = "issuer";
/// The CA below that one.
const DEEPER: &str = "deeper";
