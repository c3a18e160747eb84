//! `[[ike.ppk]]`: keys that both sides have had before, and who uses them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Reading;
use super::authentication::Side;
use crate::config::error::place;
use crate::config::key::secret;
use crate::config::reader::{At, Section};
use crate::ike::config::{Ppk, Ppks};

/// Octets of a key: with fewer there is nothing left of it when its bits count half.
pub const PPK: RangeInclusive<usize> = 32..=1_024;
/// Octets of the longest name of one.
pub const MAX_PPK_ID: usize = 255;

/// All keys of the file.
pub(super) fn keys(ike: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<Arc<Ppk>> {
    let mut lines = BTreeMap::new();
    let mut keys = Vec::new();
    for mut section in ike.sections("ppk", reading.problems) {
        let id = section.string("id", reading.problems);
        let id = section.required("id", id, reading.problems);
        let key = secret(&mut section, "secret", "secret-file", reading.problems);
        if key.is_none() && !section.has("secret") && !section.has("secret-file") {
            let message = format!("`secret` or {} is missing", section.describe("secret-file"));
            reading.problems.add(section.span(), message);
        }
        section.finish(reading.problems);
        let (Some(id), Some(key)) = (id, key) else { continue };
        if id.value.is_empty() || id.value.len() > MAX_PPK_ID {
            let message = format!("the name of a PPK has 1 to {MAX_PPK_ID} octets, not {}", id.value.len());
            reading.problems.add(&id.span, message);
        }
        if !PPK.contains(&key.value.len()) {
            let (least, most) = (PPK.start(), PPK.end());
            let message = format!("a PPK has {least} to {most} octets, not {}", key.value.len());
            reading.problems.add(&key.span, message);
        }
        if let Some(line) = lines.insert(id.value, place(reading.text, id.span.start).0) {
            let message = format!("there is a PPK {:?} in line {line} already", id.value);
            reading.problems.add(&id.span, message);
        }
        reading.fingerprint.add(key.value.expose());
        keys.push(Arc::new(Ppk { id: id.value.as_bytes().into(), secret: key.value }));
    }
    keys
}

/// `ppk` and `ppk-required` of a profile or connection: `Some(None)` without them, `None` when one is
/// wrong.
pub(super) fn used(section: &mut Section<'_>, side: Side, reading: &mut Reading<'_>) -> Option<Option<Ppks>> {
    let ids = match side {
        Side::Responder => section.string_or_strings("ppk", reading.problems),
        Side::Initiator => section.string("ppk", reading.problems).into_iter().collect(),
    };
    let required = section.flag("ppk-required", reading.problems);
    if !section.has("ppk") {
        if let Some(At { value: true, span }) = &required {
            reading.problems.add(span, "`ppk-required` needs `ppk`");
        }
        return Some(None);
    }
    if let Some(value) =
        section.value("ppk").filter(|value| value.get_ref().as_array().is_some_and(|all| all.is_empty()))
    {
        reading.problems.add(&value.span(), "`ppk` needs at least one id");
    }
    let mut keys: Vec<Arc<Ppk>> = Vec::new();
    for id in &ids {
        let Some(found) = reading.ppks.iter().find(|ppk| *ppk.id == *id.value.as_bytes()) else {
            reading.problems.add(&id.span, format!("there is no [[ike.ppk]] with the id {:?}", id.value));
            continue;
        };
        if keys.iter().any(|earlier| Arc::ptr_eq(earlier, found)) {
            reading.problems.add(&id.span, format!("{:?} is listed twice", id.value));
        }
        keys.push(Arc::clone(found));
    }
    let is_required = required.is_some_and(|flag| flag.value);
    (!keys.is_empty() && keys.len() == ids.len()).then_some(Some(Ppks { keys, is_required }))
}
