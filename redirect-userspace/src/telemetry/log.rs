//! Events as log lines: `key=value` text for people, JSON for collectors.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use thiserror::Error;
use tracing::{Subscriber, error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::clb::or_none;
use super::elected::list;
use super::papers::list as list_files;
use super::{Elected, Event, Papers, Severity};
use crate::clb::Event as ClbEvent;
use crate::hsrp::Event as HsrpEvent;

/// What is logged when the operator does not say.
pub const DEFAULT_FILTER: &str = "info";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// `key=value` after the words.
    #[default]
    Text,
}

impl LogFormat {
    /// All formats, by the names operators use.
    pub const NAMES: [&str; 2] = ["text", "json"];

    /// The name operators use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(LogError::Format),
        }
    }
}

/// Why logging cannot begin.
#[derive(Debug, Error)]
pub enum LogError {
    /// A filter that cannot be read.
    #[error("the log filter makes no sense: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A format that does not exist.
    #[error("a log format is text or json")]
    Format,
    /// Somebody else was first.
    #[error("this process logs already")]
    Taken(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Lets the process log to standard error, coloured only on a terminal.
///
/// `filter` is a level (`info`) or a list like `warn,redirectd=debug`; events are logged under
/// [`TARGET`].
///
/// # Errors
///
/// When the filter makes no sense or the process logs already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let subscriber = subscriber(format, filter, io::stderr().is_terminal(), io::stderr)?;
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// Name of the daemon's events in a filter.
pub const TARGET: &str = "redirectd";

macro_rules! line {
    ($event:ident, $words:literal $(, $field:literal = $value:expr)*) => {
        match $event.severity() {
            Severity::Info => info!(target: TARGET, { event = $event.name() $(, $field = $value)* }, $words),
            Severity::Warn => warn!(target: TARGET, { event = $event.name() $(, $field = $value)* }, $words),
            Severity::Error => error!(target: TARGET, { event = $event.name() $(, $field = $value)* }, $words),
        }
    };
}

pub(super) use line;

/// Writes one event. The match is spelt out because field names must be known to the compiler;
/// a test compares it with [`Event::fields`] and [`Event::severity`].
pub fn write(event: &Event) {
    match event {
        Event::Armed => line!(event, "requests to the VIP are answered"),
        Event::AttachFailed { interface, why } => {
            line!(event, "cannot attach the fast path", "interface" = interface, "why" = why);
        }
        Event::Attached { interface, mode, why } => {
            line!(event, "fast path attached", "interface" = interface, "mode" = mode.name(), "why" = why);
        }
        Event::Clb(what) => write_clb(event, what),
        Event::Detached { interface } => line!(event, "fast path detached", "interface" = interface),
        Event::Disarmed { reason } => line!(event, "requests go to the stack", "reason" = reason.name()),
        Event::GateChanged { is_closed, asked, good } => {
            line!(
                event,
                "cookies in the gateway's place",
                "closed" = is_closed,
                "asked" = asked,
                "good" = good
            );
        }
        Event::Elected(event) => write_elected(event),
        Event::Ike(what) => super::ike::log::write(event, what),
        Event::Radius(what) => super::radius::write(event, what),
        Event::DrainBegan { sas } => line!(event, "node loses its clients", "sas" = sas),
        Event::DrainCancelled { left } => line!(event, "node keeps its clients", "left" = left),
        Event::DrainDone { took } => {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            line!(event, "node has lost its clients", "took-ms" = took_ms);
        }
        Event::Lapsed { silent_for } => {
            let silent_ms = u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX);
            line!(event, "the core was silent, the fast path let go", "silent-ms" = silent_ms);
        }
        Event::MemberAdded { gateway } => line!(event, "gateway joined", "gateway" = gateway.as_str()),
        Event::MemberChanged { gateway, change } => {
            line!(event, "gateway changed", "gateway" = gateway.as_str(), "change" = change.name());
        }
        Event::MemberDown { gateway, reason } => {
            line!(event, "gateway is not offered", "gateway" = gateway.as_str(), "reason" = reason.name());
        }
        Event::MemberRemoved { gateway } => line!(event, "gateway left", "gateway" = gateway.as_str()),
        Event::MemberUp { gateway } => line!(event, "gateway is offered", "gateway" = gateway.as_str()),
        Event::Papers(event) => write_papers(event),
        Event::ReloadFailed { why } => line!(event, "configuration refused", "why" = why),
        Event::Reloaded => line!(event, "new configuration in force"),
        Event::Standby { group, event: what } => write_standby(event, group.as_str(), what),
        Event::Started { version } => line!(event, "redirectd runs", "version" = version),
        Event::Stopped { reason } => line!(event, "redirectd ends", "reason" = reason.name()),
        Event::TablePublished { generation, moved } => {
            line!(event, "table in force", "generation" = generation, "moved" = moved);
        }
    }
}

fn write_papers(event: &Papers) {
    match event {
        Papers::Expires { kind, file, owner, left } => {
            let (file, left_s) = (file.display().to_string(), left.as_secs());
            let (kind, owner) = (kind.name(), &**owner);
            line!(
                event,
                "certificate expires",
                "kind" = kind,
                "file" = file,
                "owner" = owner,
                "left-s" = left_s
            );
        }
        Papers::Outdated { kind, file, owner } => {
            let (kind, file, owner) = (kind.name(), file.display().to_string(), &**owner);
            line!(event, "revocation out of date", "kind" = kind, "file" = file, "owner" = owner);
        }
        Papers::Refused { file, why } => {
            line!(event, "changed file not taken", "file" = file.display().to_string(), "why" = why);
        }
        Papers::Taken { files } => line!(event, "changed files in use", "files" = list_files(files)),
    }
}

fn write_elected(event: &Elected) {
    match event {
        Elected::AllOverloaded { action } => {
            line!(event, "every gateway is overloaded", "action" = action.as_str());
        }
        Elected::HookFailed { group, script, why } => {
            let script = script.display().to_string();
            line!(event, "hook failed", "group" = group.as_str(), "script" = script, "why" = why);
        }
        Elected::HookRan { group, script } => {
            let script = script.display().to_string();
            line!(event, "hook was told", "group" = group.as_str(), "script" = script);
        }
        Elected::ListenFailed { address, why } => {
            line!(event, "members cannot connect", "address" = address.to_string(), "why" = why);
        }
        Elected::OverloadCleared => line!(event, "some gateway has room again"),
        Elected::RealTimeDenied { why } => line!(event, "no real-time priority", "why" = why),
        Elected::RoleChanged { from, to, why } => {
            line!(event, "role changed", "from" = from.as_str(), "to" = to.as_str(), "why" = why);
        }
        Elected::TookOver { group, took } => {
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            line!(event, "VIP taken over", "group" = group.as_str(), "took-us" = took_us);
        }
        Elected::VipAcquired { group, vips } => {
            line!(event, "VIP on the interface", "group" = group.as_str(), "vips" = list(vips));
        }
        Elected::VipConflict { group, vip, by } => {
            let vip = vip.to_string();
            line!(event, "VIP answered for by others", "group" = group.as_str(), "vip" = vip, "by" = by);
        }
        Elected::VipFailed { group, why } => {
            line!(event, "VIP cannot be moved", "group" = group.as_str(), "why" = why);
        }
        Elected::VipReleased { group } => line!(event, "VIP has left", "group" = group.as_str()),
    }
}

fn write_clb(event: &Event, what: &ClbEvent) {
    match what {
        ClbEvent::Connected { master, address } => {
            let address = address.to_string();
            line!(event, "reporting to the master", "master" = master.as_str(), "address" = address);
        }
        ClbEvent::Disconnected { master, reason, refusal } => {
            let (reason, refusal) = (reason.as_str(), or_none(refusal.as_ref()));
            line!(
                event,
                "no longer reporting",
                "master" = master.as_str(),
                "reason" = reason,
                "refusal" = refusal
            );
        }
        ClbEvent::HoldtimeDiffers { master, ours, theirs } => {
            let (ours, theirs) = (ours.as_millis().to_string(), theirs.as_millis().to_string());
            line!(
                event,
                "holdtimes differ",
                "master" = master.as_str(),
                "ours-ms" = ours,
                "theirs-ms" = theirs
            );
        }
        ClbEvent::MemberChanged { name } => {
            line!(event, "gateway has registered anew", "gateway" = name.as_str());
        }
        ClbEvent::MemberDrained { name, is_drained } => {
            line!(event, "gateway drained or back", "gateway" = name.as_str(), "drained" = is_drained);
        }
        ClbEvent::MemberJoined { name, from } => {
            line!(event, "gateway has registered", "gateway" = name.as_str(), "from" = from.to_string());
        }
        ClbEvent::MemberLeft { name, departure } => {
            let reason = departure.to_string();
            line!(event, "gateway is registered no more", "gateway" = name.as_str(), "reason" = reason);
        }
        ClbEvent::NotConnected { address, reason, refusal, count } => {
            let (address, refusal) = (address.to_string(), or_none(refusal.as_ref()));
            line!(
                event,
                "no master",
                "address" = address,
                "reason" = reason.as_str(),
                "refusal" = refusal,
                "count" = count
            );
        }
        ClbEvent::PeerRefused { from, reason, detail, count } => {
            let (from, detail) = (from.to_string(), or_none(detail.as_ref()));
            line!(
                event,
                "peers refused",
                "from" = from,
                "reason" = reason.as_str(),
                "detail" = detail,
                "count" = count
            );
        }
    }
}

fn write_standby(event: &Event, group: &str, what: &HsrpEvent) {
    match what {
        HsrpEvent::DifferentVip { source, theirs } => {
            let (source, vip) = (source.to_string(), theirs.to_string());
            line!(event, "another virtual IP", "group" = group, "source" = source, "vip" = vip);
        }
        HsrpEvent::Discarded { source, discard, count } => {
            let (source, reason) = (source.to_string(), discard.as_str());
            line!(
                event,
                "packets not used",
                "group" = group,
                "source" = source,
                "reason" = reason,
                "count" = count
            );
        }
        HsrpEvent::DuplicateAddress { address } => {
            line!(event, "our address is in use", "group" = group, "address" = address.to_string());
        }
        HsrpEvent::LearnedVip { vip } => {
            line!(event, "virtual IP learned", "group" = group, "vip" = vip.to_string());
        }
        HsrpEvent::PriorityChanged { from, to } => {
            line!(event, "priority changed", "group" = group, "from" = from, "to" = to);
        }
        HsrpEvent::StateChanged { from, to, cause } => {
            let (from, to) = (from.as_str(), to.as_str());
            line!(
                event,
                "state changed",
                "group" = group,
                "from" = from,
                "to" = to,
                "cause" = cause.as_str()
            );
        }
    }
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    Ok(match format {
        LogFormat::Json => Box::new(lines.json().finish()),
        LogFormat::Text => Box::new(lines.finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::telemetry::fixtures;

    #[test]
    fn a_json_line_has_the_name_the_severity_and_every_detail() {
        for event in fixtures::events() {
            let line: Value = serde_json::from_str(&logged(LogFormat::Json, "info", &event)).unwrap();

            assert_eq!(line["target"], "redirectd");
            assert_eq!(line["level"], event.severity().name().to_uppercase());
            let fields = line["fields"].as_object().unwrap();
            assert_eq!(fields["event"], event.name());
            assert_eq!(fields.len(), 2 + event.fields().len(), "{line}");
            for (name, value) in event.fields() {
                let logged = fields[name].as_str().map_or_else(|| fields[name].to_string(), str::to_owned);
                assert_eq!(logged, value, "{name} of {event:?}");
            }
        }
    }

    #[test]
    fn a_text_line_has_keys_and_values_and_no_escape_codes() {
        let line = logged(
            LogFormat::Text,
            "info",
            &Event::Attached {
                interface: "eth0".to_owned(),
                mode: crate::control::AttachMode::Native,
                why: "the driver\nsupports XDP\u{1b}[2J".to_owned(),
            },
        );

        assert!(line.contains(r#" INFO redirectd: fast path attached event="attached" "#), "{line}");
        assert!(line.contains(r#" interface="eth0" mode="native" why="#), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn the_filter_decides_by_level_and_target() {
        assert_eq!(logged(LogFormat::Text, "warn", &Event::Armed), "");
        assert_eq!(logged(LogFormat::Text, "info,redirectd=off", &Event::Armed), "");
        assert!(logged(LogFormat::Text, "off,redirectd=info", &Event::Armed).contains("armed"));
    }

    #[test]
    fn a_filter_or_format_that_makes_no_sense_is_refused() {
        let filter = subscriber(LogFormat::Text, "redirectd=loud", false, io::sink);

        assert!(matches!(filter, Err(LogError::Filter(_))));
        assert!(matches!("xml".parse::<LogFormat>(), Err(LogError::Format)));
        for name in LogFormat::NAMES {
            assert_eq!(name.parse::<LogFormat>().unwrap().name(), name);
        }
    }

    fn logged(format: LogFormat, filter: &str, event: &Event) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || write(event));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
