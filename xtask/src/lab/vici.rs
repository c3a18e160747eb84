//! strongSwan's control protocol, as far as the laboratory needs it.
//!
//! A packet is a four-octet length and a type; requests, events and registrations carry a name;
//! then comes a message, a tree of sections, texts and lists. strongSwan describes it in
//! `src/libcharon/plugins/vici/README.md`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const REGISTER: u8 = 3;
const CONFIRM: u8 = 5;
const EVENT: u8 = 7;

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const TEXT: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// Longest packet strongSwan sends.
const MAX_PACKET: u32 = 512 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One element of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A section.
    Section(Section),
}

/// Named elements in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section(Vec<(String, Value)>);

impl Section {
    /// An empty section.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &str, text: impl ToString) -> Self {
        self.0.push((name.to_owned(), Value::Text(text.to_string())));
        self
    }

    /// Adds a list.
    #[must_use]
    pub fn list<T: ToString>(mut self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(|item| item.to_string()).collect();
        self.0.push((name.to_owned(), Value::List(items)));
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn section(mut self, name: &str, section: Self) -> Self {
        self.0.push((name.to_owned(), Value::Section(section)));
        self
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The text of that name.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(at, value)| match value {
            Value::Text(text) if at == name => Some(text.as_str()),
            Value::Text(_) | Value::List(_) | Value::Section(_) => None,
        })
    }

    /// The list of that name; empty when there is none.
    #[must_use]
    pub fn list_of(&self, name: &str) -> &[String] {
        self.iter()
            .find_map(|(at, value)| match value {
                Value::List(items) if at == name => Some(items.as_slice()),
                Value::Text(_) | Value::List(_) | Value::Section(_) => None,
            })
            .unwrap_or_default()
    }

    /// The section of that name.
    #[must_use]
    pub fn section_of(&self, name: &str) -> Option<&Self> {
        self.sections().find_map(|(at, section)| (at == name).then_some(section))
    }

    /// Every section with its name.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name, section)),
            Value::Text(_) | Value::List(_) => None,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        for (name, value) in &self.0 {
            match value {
                Value::Text(text) => {
                    out.push(TEXT);
                    push_name(out, name)?;
                    push_value(out, text)?;
                }
                Value::List(items) => {
                    out.push(LIST_START);
                    push_name(out, name)?;
                    for item in items {
                        out.push(LIST_ITEM);
                        push_value(out, item)?;
                    }
                    out.push(LIST_END);
                }
                Value::Section(section) => {
                    out.push(SECTION_START);
                    push_name(out, name)?;
                    section.encode(out)?;
                    out.push(SECTION_END);
                }
            }
        }
        Ok(())
    }

    fn decode(reader: &mut Reader<'_>, is_root: bool) -> Result<Self> {
        let mut section = Self::new();
        loop {
            let Some(kind) = reader.next() else {
                ensure!(is_root, "the message ends inside a section");
                return Ok(section);
            };
            match kind {
                TEXT => section.0.push((reader.name()?, Value::Text(reader.value()?))),
                LIST_START => section.0.push((reader.name()?, Value::List(reader.list()?))),
                SECTION_START => {
                    section.0.push((reader.name()?, Value::Section(Self::decode(reader, false)?)));
                }
                SECTION_END if !is_root => return Ok(section),
                other => bail!("unexpected element {other} in a section"),
            }
        }
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) -> Result<()> {
    out.push(u8::try_from(name.len()).with_context(|| format!("name too long: {name}"))?);
    out.extend(name.as_bytes());
    Ok(())
}

fn push_value(out: &mut Vec<u8>, value: &str) -> Result<()> {
    out.extend(u16::try_from(value.len()).context("value too long")?.to_be_bytes());
    out.extend(value.as_bytes());
    Ok(())
}

/// The rest of a message.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Result<String> {
        let (taken, rest) = self.0.split_at_checked(length).context("the message is truncated")?;
        self.0 = rest;
        Ok(String::from_utf8_lossy(taken).into_owned())
    }

    fn name(&mut self) -> Result<String> {
        let length = self.next().context("the message ends before a name")?;
        self.take(length.into())
    }

    fn value(&mut self) -> Result<String> {
        let (length, rest) = self.0.split_first_chunk().context("the message ends before a value")?;
        self.0 = rest;
        self.take(u16::from_be_bytes(*length).into())
    }

    fn list(&mut self) -> Result<Vec<String>> {
        let mut items = Vec::new();
        loop {
            match self.next() {
                Some(LIST_ITEM) => items.push(self.value()?),
                Some(LIST_END) => return Ok(items),
                other => bail!("unexpected element {other:?} in a list"),
            }
        }
    }
}

/// A connection to a strongSwan daemon.
#[derive(Debug)]
pub struct Vici(UnixStream);

impl Vici {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nobody listens at `socket`.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
        Ok(Self(stream))
    }

    /// Sends a command and returns the answer.
    ///
    /// # Errors
    ///
    /// When strongSwan refuses: with its reason.
    pub fn request(&mut self, command: &str, message: &Section) -> Result<Section> {
        self.send(REQUEST, command, message)?;
        let (kind, _, answer) = self.receive()?;
        ensure!(kind == RESPONSE, "{command}: unexpected packet {kind}");
        if answer.text_of("success") == Some("no") {
            bail!("{command}: {}", answer.text_of("errmsg").unwrap_or("refused"));
        }
        Ok(answer)
    }

    /// Sends a command whose answer is a stream of events.
    ///
    /// # Errors
    ///
    /// When strongSwan does not know the command or the event.
    pub fn stream(&mut self, command: &str, event: &str, message: &Section) -> Result<Vec<Section>> {
        self.send(REGISTER, event, &Section::new())?;
        let (kind, _, _) = self.receive()?;
        ensure!(kind == CONFIRM, "registering for {event}: unexpected packet {kind}");
        self.send(REQUEST, command, message)?;
        let mut events = Vec::new();
        loop {
            match self.receive()? {
                (EVENT, name, body) if name == event => events.push(body),
                (RESPONSE, _, _) => return Ok(events),
                (kind, name, _) => bail!("{command}: unexpected packet {kind} {name}"),
            }
        }
    }

    fn send(&mut self, kind: u8, name: &str, message: &Section) -> Result<()> {
        let mut packet = vec![kind];
        push_name(&mut packet, name)?;
        message.encode(&mut packet)?;
        let length = u32::try_from(packet.len()).context("packet too long")?;
        self.0.write_all(&length.to_be_bytes()).context("writing to vici")?;
        self.0.write_all(&packet).context("writing to vici")
    }

    fn receive(&mut self) -> Result<(u8, String, Section)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).context("reading from vici")?;
        let length = u32::from_be_bytes(length);
        ensure!(length <= MAX_PACKET, "a packet of {length} octets");
        let mut packet = vec![0; usize::try_from(length)?];
        self.0.read_exact(&mut packet).context("reading from vici")?;
        let mut reader = Reader(&packet);
        let kind = reader.next().context("an empty packet")?;
        let name = if kind == EVENT { reader.name()? } else { String::new() };
        Ok((kind, name, Section::decode(&mut reader, true)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of strongSwan's description of the protocol.
    fn example() -> (Section, Vec<u8>) {
        let section = Section::new().text("key1", "value1").section(
            "section1",
            Section::new()
                .section("sub-section", Section::new().text("key2", "value2"))
                .list("list1", ["item1", "item2"]),
        );
        let mut octets = Vec::new();
        octets.extend(b"\x03\x04key1\x00\x06value1");
        octets.extend(b"\x01\x08section1");
        octets.extend(b"\x01\x0bsub-section");
        octets.extend(b"\x03\x04key2\x00\x06value2");
        octets.extend(b"\x02");
        octets.extend(b"\x04\x05list1");
        octets.extend(b"\x05\x00\x05item1\x05\x00\x05item2\x06");
        octets.extend(b"\x02");
        (section, octets)
    }

    #[test]
    fn the_example_of_the_protocol_encodes_to_its_octets() {
        let (section, octets) = example();
        let mut out = Vec::new();

        section.encode(&mut out).unwrap();

        assert_eq!(out, octets);
    }

    #[test]
    fn the_example_of_the_protocol_decodes_to_its_tree() {
        let (section, octets) = example();

        assert_eq!(Section::decode(&mut Reader(&octets), true).unwrap(), section);
    }

    #[test]
    fn a_message_cut_anywhere_inside_an_element_is_refused() {
        let (_, octets) = example();
        // Between the two top-level elements a cut leaves a whole message.
        let whole = [0, 14, octets.len()];

        for cut in (0..octets.len()).filter(|cut| !whole.contains(cut)) {
            assert!(Section::decode(&mut Reader(&octets[..cut]), true).is_err(), "cut at {cut}");
        }
    }
}
