//! Typed access to a parsed file that notes every mistake and goes on.
//!
//! A derived deserialiser stops at the first mistake and knows no places for later checks. Here
//! every value is looked at together with its place, so that one run reports all mistakes.

use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::DurationText;
use crate::config::error::Problems;

/// A value and its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Something read from the file, and its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table, and which of its keys have been asked for.
pub(super) struct Section<'a> {
    /// As in the file, with brackets; empty for the whole file.
    name: String,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    known: Vec<&'static str>,
    /// Not a table: has been reported, and nothing is missing in it.
    is_broken: bool,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) const fn root(table: &'a DeTable<'a>) -> Self {
        Self { name: String::new(), table: Some(table), span: 0..0, known: Vec::new(), is_broken: false }
    }

    /// Where mistakes belong that no key is to blame for: the header, or the start of the file
    /// when there is none.
    pub(super) const fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The value of `key`.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The section `key` inside this one; an empty one when it is absent.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let name = format!("[{}]", self.path(key));
        match self.value(key) {
            Some(value) => Self::from_value(name, value, problems),
            None => Self {
                name,
                table: None,
                span: self.span.clone(),
                known: Vec::new(),
                is_broken: self.is_broken,
            },
        }
    }

    /// The sections `[[key]]` inside this one.
    pub(super) fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Self> {
        let name = format!("[[{}]]", self.path(key));
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            let kind = value.get_ref().type_str();
            problems.add(&value.span(), format!("{name} is a list of tables, not {}", article(kind)));
            return Vec::new();
        };
        list.iter().map(|value| Self::from_value(name.clone(), value, problems)).collect()
    }

    fn from_value(name: String, value: &'a Value<'a>, problems: &mut Problems) -> Self {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let kind = value.get_ref().type_str();
            problems.add(&value.span(), format!("{name} is a table, not {}", article(kind)));
        }
        Self { name, table, span: value.span(), known: Vec::new(), is_broken: table.is_none() }
    }

    /// A string.
    pub(super) fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<&'a str>> {
        let value = self.value(key)?;
        string(&format!("`{key}`"), value, problems)
    }

    /// A string that means a `T`.
    pub(super) fn parsed<T>(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<T>>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.string(key, problems)?;
        text.parse(problems)
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let text = self.string(key, problems)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            problems.add(&text.span, format!("`{key}` is {}, not {:?}", one_of(&words), text.value));
        }
        found.map(|(_, meaning)| At { value: *meaning, span: text.span })
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<bool>> {
        let value = self.value(key)?;
        let span = value.span();
        let Some(flag) = value.get_ref().as_bool() else {
            let kind = value.get_ref().type_str();
            problems.add(&span, format!("`{key}` is true or false, not {}", article(kind)));
            return None;
        };
        Some(At { value: flag, span })
    }

    /// A whole number in `range`.
    pub(super) fn number<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
        problems: &mut Problems,
    ) -> Option<At<T>>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let value = self.value(key)?;
        let span = value.span();
        let Some(digits) = value.get_ref().as_integer() else {
            let kind = value.get_ref().type_str();
            problems.add(&span, format!("`{key}` is a whole number, not {}", article(kind)));
            return None;
        };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number =
            number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            problems.add(&span, format!("`{key}` is {} to {}, not {digits}", range.start(), range.end()));
        }
        number.map(|value| At { value, span })
    }

    /// A duration like `"250ms"`.
    pub(super) fn duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<Duration>> {
        let duration = self.parsed::<DurationText>(key, problems)?;
        Some(At { value: duration.value.0, span: duration.span })
    }

    /// A duration in `range`.
    pub(super) fn duration_in(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        problems: &mut Problems,
    ) -> Option<At<Duration>> {
        let duration = self.duration(key, problems)?;
        if !range.contains(&duration.value) {
            let [least, most, given] = [*range.start(), *range.end(), duration.value].map(DurationText);
            problems.add(&duration.span, format!("`{key}` is {least} to {most}, not {given}"));
            return None;
        }
        Some(duration)
    }

    /// A duration in `range`, or `false` for none.
    pub(super) fn duration_or_false(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        problems: &mut Problems,
    ) -> Option<At<Option<Duration>>> {
        let value = self.value(key)?;
        match value.get_ref().as_bool() {
            Some(false) => Some(At { value: None, span: value.span() }),
            Some(true) => {
                problems.add(&value.span(), format!("`{key}` is a duration or false, not true"));
                None
            }
            None => {
                let duration = self.duration_in(key, range, problems)?;
                Some(At { value: Some(duration.value), span: duration.span })
            }
        }
    }

    /// A string, or a list of strings.
    pub(super) fn string_or_strings(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Vec<At<&'a str>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        if value.get_ref().is_str() {
            return self.string(key, problems).into_iter().collect();
        }
        if !value.get_ref().is_array() {
            let kind = article(value.get_ref().type_str());
            problems.add(&value.span(), format!("`{key}` is a string or a list of strings, not {kind}"));
            return Vec::new();
        }
        self.strings(key, problems).map(|list| list.value).unwrap_or_default()
    }

    /// A list of strings and its place; nothing when an element is something else.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<Vec<At<&'a str>>>> {
        let value = self.value(key)?;
        let Some(list) = value.get_ref().as_array() else {
            let kind = value.get_ref().type_str();
            problems.add(&value.span(), format!("`{key}` is a list of strings, not {}", article(kind)));
            return None;
        };
        let what = format!("an element of `{key}`");
        let strings: Vec<_> = list.iter().filter_map(|value| string(&what, value, problems)).collect();
        (strings.len() == list.len()).then(|| At { value: strings, span: value.span() })
    }

    /// Refuses keys, with the same complaint about each that is there.
    pub(super) fn refuse(&mut self, keys: &[&'static str], complaint: &str, problems: &mut Problems) {
        for key in keys {
            if let Some((span, value)) = self.entry(key) {
                let what = match value.get_ref() {
                    DeValue::Table(_) => format!("[{}]", self.path(key)),
                    DeValue::Array(list) if list.iter().all(|value| value.get_ref().is_table()) => {
                        format!("[[{}]]", self.path(key))
                    }
                    DeValue::String(_)
                    | DeValue::Integer(_)
                    | DeValue::Float(_)
                    | DeValue::Boolean(_)
                    | DeValue::Datetime(_)
                    | DeValue::Array(_) => self.describe(key),
                };
                problems.add(&span, format!("{what} {complaint}"));
            }
        }
    }

    /// Refuses a missing key.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        value: Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        // A value that was there and wrong has been reported already.
        if value.is_none() && !self.is_broken && !self.has(key) {
            problems.add(&self.span, format!("{} is missing", self.describe(key)));
        }
        value
    }

    /// The default in place of an absent key; nothing in place of a wrong value, which has been
    /// reported already.
    pub(super) fn or_default<T: Default>(&self, key: &'static str, value: Option<At<T>>) -> Option<At<T>> {
        self.or(key, value, T::default())
    }

    /// `default` in place of an absent key; nothing in place of a wrong value.
    pub(super) fn or<T>(&self, key: &'static str, value: Option<At<T>>, default: T) -> Option<At<T>> {
        if value.is_none() && !self.is_broken && !self.has(key) {
            return Some(At { value: default, span: self.span.clone() });
        }
        value
    }

    /// Whether it is in the file, and a table.
    pub(super) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Refuses every key that nobody has asked for.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let hint = similar(name, &self.known).map(|known| format!(", did you mean `{known}`?"));
            problems
                .add(&key.span(), format!("unknown key {}{}", self.describe(name), hint.unwrap_or_default()));
        }
    }

    fn entry(&mut self, key: &'static str) -> Option<(Range<usize>, &'a Value<'a>)> {
        self.known.push(key);
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'a Value<'a>)> {
        let mut entries = self.table?.iter();
        entries.find(|(name, _)| name.get_ref() == key).map(|(name, value)| (name.span(), value))
    }

    /// The key and its section, for messages.
    pub(super) fn describe(&self, key: &str) -> String {
        // A quoted key may hold anything, a message is one line.
        let key = key.escape_debug();
        if self.name.is_empty() { format!("`{key}`") } else { format!("`{key}` in {}", self.name) }
    }

    fn path(&self, key: &str) -> String {
        let parent = self.name.trim_matches(['[', ']']);
        if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
    }
}

impl At<&str> {
    /// What the string means.
    pub(super) fn parse<T>(&self, problems: &mut Problems) -> Option<At<T>>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        match self.value.parse() {
            Ok(value) => Some(At { value, span: self.span.clone() }),
            Err(error) => {
                problems.add(&self.span, format!("{:?}: {error}", self.value));
                None
            }
        }
    }
}

fn string<'a>(what: &str, value: &'a Value<'a>, problems: &mut Problems) -> Option<At<&'a str>> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        let kind = value.get_ref().type_str();
        problems.add(&value.span(), format!("{what} is a string, not {}", article(kind)));
    }
    text.map(|text| At { value: text, span: value.span() })
}

pub(super) fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

fn one_of(words: &[String]) -> String {
    match words {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// The known word that was probably meant: two slips of the pen away at most.
pub(super) fn similar<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let nearest = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (nearest.0 <= 2 && nearest.0 < nearest.1.len()).then_some(nearest.1)
}

/// Levenshtein distance.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (position, from) in (1..).zip(from.chars()) {
        let mut diagonal = position - 1;
        let mut left = position;
        for (cell, to) in row.iter_mut().zip(std::iter::once(None).chain(to.chars().map(Some))) {
            let Some(to) = to else {
                *cell = position;
                continue;
            };
            let above = *cell;
            *cell = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            diagonal = above;
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_slips_of_the_pen() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("name", "name"), 0);
        assert_eq!(distance("nmae", "name"), 2);
        assert_eq!(distance("interface", "interfaces"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_a_near_key_is_offered() {
        let known = ["socket", "bpf-pin", "metrics", "vip"];

        assert_eq!(similar("metric", &known), Some("metrics"));
        assert_eq!(similar("bpf_pin", &known), Some("bpf-pin"));
        assert_eq!(similar("listen", &known), None);
        assert_eq!(similar("x", &known), None);
    }
}
