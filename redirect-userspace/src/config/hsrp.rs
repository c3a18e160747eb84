//! `[[hsrp]]`: standby groups, and the checks between them.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use common::maps::MAX_VIPS;

use crate::config::error::{Problems, place};
use crate::config::file::{Owners, absolute, as_gateway};
use crate::config::key::secret;
use crate::config::reader::{At, Section, article};
use crate::config::{DurationText, HsrpGroup, InterfaceName, VipAddress};
use crate::hsrp::{
    Authentication, GroupName, GroupNumber, Md5Key, Md5Keys, Preempt, Settings, SettingsError, Timers,
    TimersError, Track, Version,
};

/// The groups of the file.
#[derive(Default)]
pub(super) struct Groups {
    /// Those that could be read.
    pub(super) read: Vec<HsrpGroup>,
    /// All names that could be read.
    pub(super) names: Vec<GroupName>,
    /// Whether there are names that could not.
    pub(super) is_any_nameless: bool,
    vips: Vec<(At<IpAddr>, GroupName)>,
}

impl Groups {
    /// Reads all groups.
    pub(super) fn new(root: &mut Section<'_>, text: &str, problems: &mut Problems) -> Self {
        let mut groups = Self::default();
        let mut placed: Vec<Placed> = Vec::new();
        for section in root.sections("hsrp", problems) {
            let Some(group) = group(section, &mut groups, problems) else {
                continue;
            };
            for earlier in &placed {
                together(earlier, &group, text, problems);
            }
            placed.push(group);
        }
        groups.read = placed.into_iter().map(|placed| placed.group).collect();
        groups
    }

    /// The group that has a VIP.
    pub(super) fn owner_of(&self, vip: IpAddr) -> Option<&GroupName> {
        self.vips.iter().find(|(taken, _)| taken.value == vip).map(|(_, group)| group)
    }

    /// Refuses VIPs that are addresses of gateways: clients would be sent where they come from,
    /// for ever.
    pub(super) fn check_owners(&self, owners: &Owners, problems: &mut Problems) {
        for (vip, _) in &self.vips {
            if let Some(owner) = owners.get(&as_gateway(vip.value)) {
                problems.add(&vip.span, format!("VIP {} is the address of gateway \"{owner}\"", vip.value));
            }
        }
    }
}

/// A group, and where what is said about it belongs.
struct Placed {
    group: HsrpGroup,
    name: Range<usize>,
    number: Range<usize>,
    version: Range<usize>,
    use_bia: Range<usize>,
}

fn group(mut section: Section<'_>, groups: &mut Groups, problems: &mut Problems) -> Option<Placed> {
    let interface = section.parsed::<InterfaceName>("interface", problems);
    let interface = section.required("interface", interface, problems);
    let number = section.number("group", 0..=GroupNumber::MAX, problems);
    let number = section.or("group", number, 0);
    let version = section.number("version", 1..=2, problems);
    let version = section.or("version", version, 1);
    let version = version.map(|At { value, span }| {
        let value = if value == Version::V2.number() { Version::V2 } else { Version::V1 };
        At { value, span }
    });
    let name = name(&mut section, interface.as_ref(), number.as_ref(), problems);
    match &name {
        Some(name) => groups.names.push(name.value.clone()),
        None => groups.is_any_nameless = true,
    }
    let vips = vips(&mut section, groups, name.as_ref(), problems);
    let priority = section.number("priority", 0..=u8::MAX, problems);
    let preempt = preempt(&mut section, problems);
    let timers = timers(&mut section, problems);
    let authentication = authentication(&mut section, problems);
    let track = track(&mut section, problems);
    let use_bia = section.flag("use-bia", problems);
    let use_bia = section.or_default("use-bia", use_bia);
    let notify = section.string_or_strings("notify", problems);
    let notify = notify.iter().filter_map(|path| absolute(path, problems)).collect();
    section.finish(problems);

    let (interface, number, version, name) = (interface?, number?, version?, name?);
    let settings = Settings {
        name: name.value,
        group: GroupNumber::new(number.value)?,
        version: version.value,
        vips: vips.iter().map(|vip| vip.value).collect(),
        priority: priority.map_or(DEFAULT_PRIORITY, |priority| priority.value),
        preempt,
        timers,
        authentication,
        track,
        use_bia: use_bia.as_ref().is_some_and(|flag| flag.value),
    };
    match settings.check() {
        Ok(()) => {}
        Err(error @ SettingsError::Group { .. }) => {
            problems.add(&number.span, format!("{error}, not {}", number.value));
        }
        Err(error @ SettingsError::Ipv6NeedsVersion2) => {
            let first = vips.first().map_or(&version.span, |vip| &vip.span);
            problems.add(first, format!("{error}: set `version = 2`"));
        }
    }
    Some(Placed {
        group: HsrpGroup { interface: interface.value, settings, notify },
        name: name.span,
        number: number.span,
        version: version.span,
        use_bia: use_bia?.span,
    })
}

/// Cisco's default (`RFC 2281 §5.1` leaves it open).
const DEFAULT_PRIORITY: u8 = 100;

/// The name that the group has or is given.
fn name(
    section: &mut Section<'_>,
    interface: Option<&At<InterfaceName>>,
    number: Option<&At<u16>>,
    problems: &mut Problems,
) -> Option<At<GroupName>> {
    let given = section.parsed("name", problems);
    if section.has("name") {
        return given;
    }
    let (interface, number) = (interface?, number?);
    match default_name(&interface.value, number.value).parse() {
        Ok(value) => Some(At { value, span: section.span().clone() }),
        Err(_) => {
            let message = format!("`name` is missing: \"{}\" cannot be part of one", interface.value);
            problems.add(&interface.span, message);
            None
        }
    }
}

/// The name that Cisco gives a group without one.
fn default_name(interface: &InterfaceName, number: u16) -> String {
    format!("hsrp-{interface}-{number}")
}

/// The list `vip`, each address noted as this group's.
fn vips(
    section: &mut Section<'_>,
    groups: &mut Groups,
    name: Option<&At<GroupName>>,
    problems: &mut Problems,
) -> Vec<At<IpAddr>> {
    let list = section.strings("vip", problems).map(|list| list.value).unwrap_or_default();
    if let Some(surplus) = list.get(MAX_VIPS) {
        let message = format!("an HSRP group has at most {MAX_VIPS} VIPs, not {}", list.len());
        problems.add(&surplus.span, message);
    }
    let mut vips: Vec<At<IpAddr>> = Vec::new();
    for (position, text) in list.into_iter().enumerate() {
        let Some(vip) = vip(&text, position == 0, problems) else {
            continue;
        };
        let address = vip.value;
        if vips.iter().any(|other| other.value == address) {
            problems.add(&vip.span, format!("VIP {address} is listed twice"));
        } else if let Some(owner) = groups.owner_of(address) {
            problems.add(&vip.span, format!("VIP {address} is one of HSRP group \"{owner}\" already"));
        }
        vips.push(vip);
    }
    if let Some(name) = name {
        groups.vips.extend(vips.iter().map(|vip| (vip.clone(), name.value.clone())));
    }
    vips
}

/// The first VIP of a group may be the link-local one by which the election goes; others are for
/// clients.
fn vip(text: &At<&str>, is_first: bool, problems: &mut Problems) -> Option<At<IpAddr>> {
    if is_first
        && let Ok(IpAddr::V6(address)) = text.value.parse()
        && address.is_unicast_link_local()
    {
        return Some(At { value: address.into(), span: text.span.clone() });
    }
    let vip = text.parse::<VipAddress>(problems)?;
    Some(At { value: vip.value.0, span: vip.span })
}

/// `true`, `false`, or a table of delays.
fn preempt(section: &mut Section<'_>, problems: &mut Problems) -> Option<Preempt> {
    let value = section.value("preempt")?;
    if let Some(is_wanted) = value.get_ref().as_bool() {
        return is_wanted.then(Preempt::default);
    }
    if !value.get_ref().is_table() {
        let kind = article(value.get_ref().type_str());
        problems.add(&value.span(), format!("`preempt` is true, false or a table, not {kind}"));
        return None;
    }
    let mut section = section.section("preempt", problems);
    let range = Duration::ZERO..=Preempt::MAX_DELAY;
    let minimum = section.duration_in("delay-minimum", range.clone(), problems);
    let reload = section.duration_in("delay-reload", range, problems);
    section.finish(problems);
    let or_none = |delay: Option<At<Duration>>| delay.map_or(Duration::ZERO, |delay| delay.value);
    Some(Preempt { delay_minimum: or_none(minimum), delay_reload: or_none(reload) })
}

/// Both timers, when at least one is there: the other then has its default.
fn timers(section: &mut Section<'_>, problems: &mut Problems) -> Option<Timers> {
    let given = section.has("hello") || section.has("hold");
    let hello = section.duration("hello", problems);
    let hello = section.or("hello", hello, Timers::DEFAULT.hello());
    let hold = section.duration("hold", problems);
    let hold = section.or("hold", hold, Timers::DEFAULT.hold());
    let (hello, hold) = (hello?, hold?);
    if !given {
        return None;
    }
    let error = match Timers::new(hello.value, hold.value) {
        Ok(timers) => return Some(timers),
        Err(error) => error,
    };
    let (hello_text, hold_text) = (DurationText(hello.value), DurationText(hold.value));
    // What a default does not go together with is to blame.
    let of_two = if section.has("hold") { &hold.span } else { &hello.span };
    match error {
        TimersError::Hello => problems.add(&hello.span, format!("{error}, not {hello_text}")),
        TimersError::Hold => problems.add(&hold.span, format!("{error}, not {hold_text}")),
        TimersError::HoldBelowThreeHellos | TimersError::HoldNotAboveHello => {
            problems.add(of_two, format!("{error}, not {hold_text} with `hello` at {hello_text}"));
        }
    }
    None
}

/// `{ text = … }` or `{ md5 = … }`; without either the text that every router has by default.
fn authentication(section: &mut Section<'_>, problems: &mut Problems) -> Authentication {
    let mut section = section.section("authentication", problems);
    let text = section.string("text", problems);
    let has_md5 = section.has("md5");
    let mut md5_section = section.section("md5", problems);
    let keys = md5(&mut md5_section, problems);
    md5_section.finish(problems);
    match (&text, has_md5) {
        (Some(text), true) => {
            let message = "`text` and `md5` in [hsrp.authentication] exclude each other";
            problems.add(&text.span, message);
        }
        (None, false) if section.is_there() && !section.has("text") => {
            problems.add(section.span(), "[hsrp.authentication] needs `text` or `md5`");
        }
        (Some(_), false) | (None, _) => {}
    }
    section.finish(problems);
    if let Some(keys) = keys {
        return Authentication::Md5(keys);
    }
    // Somebody may have taken it for a password: it is not shown.
    let text = text.and_then(|text| match text.value.parse() {
        Ok(word) => Some(word),
        Err(error) => {
            problems.add(&text.span, format!("{error}"));
            None
        }
    });
    Authentication::Text(text.unwrap_or_default())
}

/// The keys, if the table is there and right.
fn md5(section: &mut Section<'_>, problems: &mut Problems) -> Option<Md5Keys> {
    let mut key = |key, file, problems: &mut Problems| {
        let secret = secret(section, key, file, problems)?;
        match Md5Key::new(secret.value) {
            Ok(key) => Some(key),
            Err(error) => {
                problems.add(&secret.span, error.to_string());
                None
            }
        }
    };
    let sent = key("key", "key-file", problems);
    let accept = key("accept-key", "accept-key-file", problems);
    let timeout = section.duration_in("timeout", Duration::ZERO..=Md5Keys::MAX_TIMEOUT, problems);
    if section.is_there() && !section.has("key-file") {
        section.required::<()>("key", None, problems);
    }
    let timeout = timeout.map_or(Duration::ZERO, |timeout| timeout.value);
    Some(Md5Keys { key: sent?, accept, timeout })
}

/// The tracked interfaces.
fn track(section: &mut Section<'_>, problems: &mut Problems) -> Vec<Track> {
    let mut tracked: Vec<Track> = Vec::new();
    for mut section in section.sections("track", problems) {
        let interface = section.parsed::<InterfaceName>("interface", problems);
        let interface = section.required("interface", interface, problems);
        let decrement = section.number("decrement", 1..=u8::MAX, problems);
        section.finish(problems);
        let Some(interface) = interface else {
            continue;
        };
        if tracked.iter().any(|other| *other.interface == *interface.value.as_str()) {
            let message = format!("interface \"{}\" is tracked twice", interface.value);
            problems.add(&interface.span, message);
        }
        tracked.push(Track {
            interface: interface.value.as_str().into(),
            decrement: decrement.map_or(Track::DEFAULT_DECREMENT, |decrement| decrement.value),
        });
    }
    tracked
}

/// What two groups may not have in common.
fn together(earlier: &Placed, later: &Placed, text: &str, problems: &mut Problems) {
    let (first, second) = (&earlier.group.settings, &later.group.settings);
    if first.name == second.name {
        let line = place(text, earlier.name.start).0;
        let message = format!("HSRP group \"{}\" is already defined in line {line}", second.name);
        problems.add(&later.name, message);
    }
    let interface = &later.group.interface;
    if earlier.group.interface != *interface {
        return;
    }
    if first.group == second.group && family(first) == family(second) {
        let message =
            format!("group {} for {} on {interface} is \"{}\"", second.group, family(second), first.name);
        problems.add(&later.number, message);
    }
    if first.version != second.version {
        let message = format!(
            "{interface} has HSRP version {} by \"{}\", and only one version at a time",
            first.version, first.name
        );
        problems.add(&later.version, message);
    }
    if first.use_bia || second.use_bia {
        let message = format!("`use-bia` allows one group on {interface}, which has \"{}\"", first.name);
        problems.add(&later.use_bia, message);
    }
}

/// The family of the election. Only IPv4 addresses can be learned.
fn family(settings: &Settings) -> &'static str {
    if settings.vips.first().is_some_and(IpAddr::is_ipv6) { "IPv6" } else { "IPv4" }
}
