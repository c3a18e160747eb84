//! Captures, and tshark's opinion of them: an independent reader of every reply.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::keys::IkeKeys;
use super::netns::Namespace;
use super::process::{Process, command, output};
use super::wait;

/// How long the capture program may take to start, to catch up, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets in front of the first packet of a capture file.
const FILE_HEADER: u64 = 24;

/// A running capture of IKE on one interface.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

/// An IKE message as tshark reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// VLAN tags, outermost first.
    pub vlans: Vec<String>,
    /// Source address.
    pub source: String,
    /// Destination address.
    pub destination: String,
    /// Exchange type.
    pub exchange: String,
    /// Whether it is a response.
    pub is_response: bool,
    /// Types of its notify payloads.
    pub notifies: Vec<String>,
    /// What a REDIRECT names.
    pub gateway: Option<String>,
    /// `Good` for each checksum that is, otherwise what tshark says.
    pub checksums: Vec<String>,
    /// Types of its payloads; with the keys, of those in encrypted ones as well.
    pub payloads: Vec<String>,
    /// Octets of its IP packet.
    pub length: usize,
    /// Complaints: malformed parts and the texts of warnings and errors.
    pub complaints: Vec<String>,
}

impl Capture {
    /// Starts to capture in a namespace and waits until nothing can be missed.
    ///
    /// # Errors
    ///
    /// When `tcpdump` does not start.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let role = namespace.role();
        let directory = namespace.lab().directory();
        let file = directory.join(format!("{role}.pcap"));
        let mut process = Process::spawn(
            "tcpdump",
            namespace
                .command("tcpdump")
                // Each packet is written when it is seen, and by root: the directory is ours.
                .args(["-i", "eth0", "--immediate-mode", "-U", "-Z", "root", "-w"])
                .arg(&file)
                .args([
                    "udp port 500 or udp port 4500 or (vlan and (udp port 500 or (vlan and udp port 500)))",
                ]),
            &directory.join(format!("{role}-tcpdump.log")),
        )?;
        process.until(&format!("the capture in {role} runs"), PATIENCE, || {
            let length = std::fs::metadata(&file).context("its file")?.len();
            ensure!(length >= FILE_HEADER, "{length} octets");
            Ok(())
        })?;
        Ok(Self { process, file })
    }

    /// Waits until this many responses are in the file, ends the capture, and returns all IKE.
    ///
    /// # Errors
    ///
    /// When there are fewer, or tshark cannot read the file.
    pub fn finish(mut self, responses: usize) -> Result<Vec<Frame>> {
        self.end(responses)?;
        self.frames(None)
    }

    /// As [`Capture::finish`], with the keys of IKE SAs, so that nothing stays encrypted.
    ///
    /// # Errors
    ///
    /// As [`Capture::finish`].
    pub fn finish_with_keys(mut self, responses: usize, keys: &[IkeKeys]) -> Result<Vec<Frame>> {
        self.end(responses)?;
        let settings = self.file.with_extension("wireshark");
        std::fs::create_dir_all(&settings).context("creating a directory for tshark")?;
        let table: String = keys.iter().map(IkeKeys::row).collect::<Result<_>>()?;
        std::fs::write(settings.join("ikev2_decryption_table"), table).context("writing keys for tshark")?;
        self.frames(Some(&settings))
    }

    fn end(&mut self, responses: usize) -> Result<()> {
        wait::until("all responses are in the capture", PATIENCE, || {
            let frames = self.frames(None)?;
            let seen = frames.iter().filter(|frame| frame.is_response).count();
            ensure!(seen >= responses, "{seen} of {responses}");
            Ok(())
        })?;
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(PATIENCE)?;
        Ok(())
    }

    fn frames(&self, settings: Option<&Path>) -> Result<Vec<Frame>> {
        const FIELDS: [&str; 18] = [
            "ieee8021ad.id",
            "vlan.id",
            "ip.src",
            "ipv6.src",
            "ip.dst",
            "ipv6.dst",
            "isakmp.exchangetype",
            "isakmp.flag_r",
            "isakmp.notify.msgtype",
            "isakmp.notify.data.redirect.new_resp_gw_ident.ipv4",
            "isakmp.notify.data.redirect.new_resp_gw_ident.ipv6",
            "ip.checksum.status",
            "udp.checksum.status",
            "isakmp.typepayload",
            "frame.len",
            "_ws.malformed",
            "_ws.expert.severity",
            "_ws.expert.message",
        ];
        let mut tshark = command("tshark");
        if let Some(settings) = settings {
            tshark.env("WIRESHARK_CONFIG_DIR", settings);
        }
        tshark.arg("-n").arg("-r").arg(&self.file);
        tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
        tshark.args(["-Y", "isakmp", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"]);
        for field in FIELDS {
            tshark.args(["-e", field]);
        }
        output(&mut tshark)?.lines().map(Frame::read).collect()
    }
}

impl Frame {
    fn read(line: &str) -> Result<Self> {
        let mut fields = line.split('|');
        let mut next = || fields.next().with_context(|| format!("too few fields: {line}"));
        let list = |field: &str| {
            field.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut vlans = list(next()?);
        vlans.extend(list(next()?));
        let vlan_tags = vlans.len();
        let (source4, source6, destination4, destination6) = (next()?, next()?, next()?, next()?);
        let (exchange, response, notifies) = (next()?, next()?, next()?);
        let (gateway4, gateway6) = (next()?, next()?);
        let (ip_status, udp_status) = (next()?, next()?);
        let (payloads, length) = (next()?, next()?);
        let length: usize = length.parse().with_context(|| format!("a frame of {length:?} octets"))?;
        let (malformed, severities, messages) = (next()?, next()?, next()?);
        let gateway = format!("{gateway4}{gateway6}");
        let mut checksums = list(ip_status);
        checksums.extend(list(udp_status));
        let mut complaints = list(malformed);
        // Chats and notes are remarks of tshark's; warnings and errors are about the packet.
        let severities = list(severities);
        if severities.iter().any(|severity| matches!(severity.as_str(), WARNING | ERROR)) {
            complaints.push(messages.to_owned());
        }
        Ok(Self {
            vlans,
            source: format!("{source4}{source6}"),
            destination: format!("{destination4}{destination6}"),
            exchange: exchange.to_owned(),
            is_response: matches!(response, "1" | "True"),
            notifies: list(notifies),
            gateway: (!gateway.is_empty()).then_some(gateway),
            checksums,
            payloads: list(payloads),
            length: length.saturating_sub(ETHERNET_HEADER + 4 * vlan_tags),
            complaints,
        })
    }
}

const ETHERNET_HEADER: usize = 14;

/// tshark's number for a warning.
const WARNING: &str = "6291456";
/// tshark's number for an error.
const ERROR: &str = "8388608";
