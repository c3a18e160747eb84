//! FreeRADIUS: servers that know the users of a gateway, each in a place of its own.
//!
//! A server has a configuration of its own, next to its log and what it writes down, and nothing of the
//! machine's (`/etc/freeradius`) is read or changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::gateway::{Place, write_secret};
use super::pki::{Credential, Pki};
use super::process::{Process, tell_of_failure};
use super::wait;

/// How long a server may take until it answers, or until it has ended.
const START: Duration = Duration::from_secs(20);
/// What servers and gateways share, unless a test wants otherwise.
pub const SECRET: &str = "the laboratory's secret of RADIUS";

/// A user as a server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password; none = the account is locked.
    pub password: Option<String>,
    /// What is said about it to the gateway: attributes and their values.
    pub grants: Vec<(String, String)>,
}

impl User {
    /// A user who may come in.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: Some(password.to_owned()), grants: Vec::new() }
    }

    /// A user who may not, and what people are told about that.
    #[must_use]
    pub fn locked(name: &str, message: &str) -> Self {
        Self { name: name.to_owned(), password: None, grants: Vec::new() }.with("Reply-Message", message)
    }

    /// The same user, of whom something more is said.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: &str) -> Self {
        self.grants.push((attribute.to_owned(), value.to_owned()));
        self
    }
}

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it shares with the gateways.
    pub secret: String,
    /// Whom it knows.
    pub users: Vec<User>,
    /// What it shows in EAP-TLS, and the CAs that it believes.
    pub tls: Option<(Credential, Pki)>,
    /// Whether it answers the first question of a conversation and no other one.
    pub falls_silent: bool,
}

impl Settings {
    /// A server that knows these users.
    #[must_use]
    pub fn new(users: &[User]) -> Self {
        Self { secret: SECRET.to_owned(), users: users.to_vec(), tls: None, falls_silent: false }
    }
}

/// A running server; ends with its guard.
#[derive(Debug)]
pub struct Radius {
    process: Process,
    directory: PathBuf,
    address: Ipv4Addr,
}

impl Radius {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start: with the end of its log.
    pub fn start(place: &Place, settings: &Settings) -> Result<Self> {
        let role = place.namespace.role();
        let directory = place.namespace.lab().directory().join(role);
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        write_secret(&directory.join("users"), &users(settings)?)?;
        if let Some((_, pki)) = &settings.tls {
            let [root, issuer] = [pki.ca(), pki.issuer()]
                .map(|path| fs::read_to_string(&path).with_context(|| format!("reading {}", path.display())));
            write_secret(&directory.join("believed.crt"), &format!("{}{}", root?, issuer?))?;
        }
        write_secret(&directory.join("radiusd.conf"), &configuration(&directory, settings))?;
        let mut command = place.namespace.command("freeradius");
        command.args(["-f", "-l", "stdout", "-n", "radiusd", "-d"]).arg(&directory);
        let name = format!("FreeRADIUS in {role}");
        let process = Process::spawn(&name, &mut command, &directory.join("output"))?;
        let mut radius = Self { process, directory, address: place.address4 };
        let log = radius.process.log().to_owned();
        radius.process.until(&format!("{name} answers"), START, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            ensure!(text.contains("Ready to process requests"), "{text}");
            Ok(())
        })?;
        Ok(radius)
    }

    /// Where it is asked who may come in.
    #[must_use]
    pub const fn server(&self) -> SocketAddr {
        server(self.address)
    }

    /// Where it is told what is used.
    #[must_use]
    pub const fn accounting(&self) -> SocketAddr {
        accounting(self.address)
    }

    /// Kills it: whoever asks it hears nothing more.
    ///
    /// # Errors
    ///
    /// When it is gone already, or does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(START)?;
        Ok(())
    }

    /// Every question that it was asked, by the names of its attributes.
    #[must_use]
    pub fn questions(&self) -> Vec<BTreeMap<String, String>> {
        records(&self.directory.join("asked"))
    }

    /// Everything that it has written down, the same way.
    #[must_use]
    pub fn records(&self) -> Vec<BTreeMap<String, String>> {
        records(&self.directory.join("accounting"))
    }

    /// Waits until it has written down something that has these attributes; returns it.
    ///
    /// # Errors
    ///
    /// When it does not in time: with all that it has.
    pub fn wait_for_record(
        &self,
        attributes: &[(&str, &str)],
        within: Duration,
    ) -> Result<BTreeMap<String, String>> {
        wait::until(&format!("FreeRADIUS has written down {attributes:?}"), within, || {
            let records = self.records();
            let is_it = |record: &&BTreeMap<String, String>| {
                attributes.iter().all(|(name, value)| record.get(*name).is_some_and(|is| is == value))
            };
            records.iter().find(is_it).cloned().with_context(|| format!("{records:?}"))
        })
        .with_context(|| self.process.log_tail())
    }

    /// Waits until it was asked so many questions.
    ///
    /// # Errors
    ///
    /// When it is not in time: with the end of its log.
    pub fn wait_for_questions(&self, count: usize, within: Duration) -> Result<()> {
        wait::until(&format!("FreeRADIUS was asked {count} times"), within, || {
            let questions = self.questions();
            ensure!(questions.len() >= count, "{questions:?}");
            Ok(())
        })
        .with_context(|| self.process.log_tail())
    }

    /// Waits until a line that contains all of `words` is in its log.
    ///
    /// # Errors
    ///
    /// When there is none in time: with the end of the log.
    pub fn wait_for_log(&self, words: &[&str], within: Duration) -> Result<()> {
        wait::until(&format!("FreeRADIUS writes {words:?}"), within, || {
            let log = fs::read_to_string(self.process.log()).unwrap_or_default();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(drop).with_context(|| self.process.log_tail())
        })
    }
}

impl Drop for Radius {
    fn drop(&mut self) {
        tell_of_failure(|| format!("{}\n{:?}", self.process.log_tail(), self.records()));
    }
}

/// Where a server at this address is asked who may come in.
#[must_use]
pub const fn server(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(address), 1812)
}

/// Where it is told what is used.
#[must_use]
pub const fn accounting(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(address), 1813)
}

/// The file of users, in which everything between two quotation marks is as it is.
fn users(settings: &Settings) -> Result<String> {
    let mut text = String::new();
    for User { name, password, grants } in &settings.users {
        match password {
            Some(password) => write!(text, "\"{name}\" Cleartext-Password := \"{password}\"")?,
            None => write!(text, "\"{name}\" Auth-Type := Reject")?,
        }
        let grants: Vec<_> =
            grants.iter().map(|(name, value)| format!("\n    {name} = \"{value}\"")).collect();
        writeln!(text, "{}\n", grants.join(","))?;
    }
    Ok(text)
}

/// The whole configuration.
fn configuration(directory: &Path, settings: &Settings) -> String {
    let directory = directory.display();
    let secret = &settings.secret;
    let (tls, silence) = (
        settings.tls.as_ref().map(|(credential, _)| {
            format!(
                "        tls-config laboratory {{
            certificate_file = {chain}
            private_key_file = {key}
            ca_file = {directory}/believed.crt
            fragment_size = 1024
            include_length = yes
            cipher_list = \"DEFAULT\"
            tls_min_version = \"1.2\"
            tls_max_version = \"1.2\"
        }}
        tls {{
            tls = laboratory
        }}
",
                chain = credential.chain.display(),
                key = credential.key.display(),
            )
        }),
        settings.falls_silent.then_some(
            "        if (&State) {
            update control {
                &Response-Packet-Type := Do-Not-Respond
            }
            handled
        }
",
        ),
    );
    let (tls, silence) = (tls.unwrap_or_default(), silence.unwrap_or_default());
    format!(
        "prefix = /usr
logdir = {directory}
run_dir = {directory}
libdir = /usr/lib/freeradius
max_request_time = 5
cleanup_delay = 2
max_requests = 4096
hostname_lookups = no
log {{
    destination = stdout
    auth = yes
}}
security {{
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 1
    max_requests_per_server = 0
}}
client laboratory {{
    ipaddr = 10.50.0.0/24
    secret = \"{secret}\"
    require_message_authenticator = yes
}}
modules {{
    always handled {{
        rcode = handled
    }}
    files {{
        filename = {directory}/users
    }}
    detail {{
        filename = {directory}/accounting
    }}
    detail asked {{
        filename = {directory}/asked
    }}
    mschap {{
        with_ntdomain_hack = yes
    }}
    eap {{
        default_eap_type = mschapv2
        timer_expire = 60
        max_sessions = 4096
        mschapv2 {{
            send_error = yes
        }}
{tls}    }}
}}
server laboratory {{
    listen {{
        type = auth
        ipaddr = *
        port = 1812
    }}
    listen {{
        type = acct
        ipaddr = *
        port = 1813
    }}
    authorize {{
        asked
{silence}        eap {{
            ok = return
        }}
        files
    }}
    authenticate {{
        Auth-Type MS-CHAP {{
            mschap
        }}
        eap
    }}
    post-auth {{
        Post-Auth-Type REJECT {{
            eap
        }}
    }}
    preacct {{
    }}
    accounting {{
        detail
    }}
}}
"
    )
}

/// What a file of FreeRADIUS's module `detail` says: after a line with the time a line for each attribute,
/// and an empty one. A record that is being written is left out.
fn records(path: &Path) -> Vec<BTreeMap<String, String>> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

fn parse(text: &str) -> Vec<BTreeMap<String, String>> {
    let whole = text.rfind("\n\n").map_or("", |end| text.get(..end).unwrap_or_default());
    let records = whole.split("\n\n").map(|block| {
        let lines = block.lines().filter_map(|line| line.strip_prefix('\t')?.split_once(" = "));
        lines.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
    });
    records.filter(|record: &BTreeMap<_, _>| !record.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_writes_down_is_read_up_to_what_is_not_whole() {
        let text = "Sat Nov 28 18:00:00 2026\n\tAcct-Status-Type = Start\n\tUser-Name = \"alice\"\n\n\
                    Sat Nov 28 18:00:01 2026\n\tAcct-Status-Type = Stop\n\tUser-Na";

        let records = parse(text);

        assert_eq!(records.len(), 1);
        assert_eq!((&*records[0]["Acct-Status-Type"], &*records[0]["User-Name"]), ("Start", "alice"));
        assert_eq!(parse(""), []);
    }

    #[test]
    fn users_have_their_passwords_and_what_is_said_about_them() {
        let users = [
            User::new("alice", "horse").with("Framed-IP-Address", "10.98.1.77").with("Class", "staff"),
            User::locked("carol", "account locked"),
        ];

        assert_eq!(
            super::users(&Settings::new(&users)).unwrap(),
            "\"alice\" Cleartext-Password := \"horse\"\n    Framed-IP-Address = \"10.98.1.77\",\n    \
             Class = \"staff\"\n\n\"carol\" Auth-Type := Reject\n    Reply-Message = \"account locked\"\n\n"
        );
    }
}
