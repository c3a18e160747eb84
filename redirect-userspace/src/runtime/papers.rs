//! An eye on files with certificates and keys, and on what expires.
//!
//! Files are looked at, not waited for: that works on every file system, and for names that lead to
//! another file now.
//!
//! # Invariants
//!
//! - A file that is being written is not read: nothing may have changed since the look before.
//! - What is said once about a file, or about a time, is not said again until it is another one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ike::paper::Paper;
use crate::telemetry::Papers;
use crate::time::UnixTime;

/// How the files were at the last look.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Something has changed that has not been read.
    is_unread: bool,
}

/// By what it shows that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` when it is not there.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Watch {
    /// Looks at the files. Says whether they are worth reading: something has changed, but nothing since
    /// the last look. Files that were not looked at before may have changed since they were read.
    pub(super) fn look(&mut self, files: &[PathBuf]) -> bool {
        let stamps = files.iter().map(|path| (path.clone(), Stamp::of(path))).collect();
        if stamps != self.stamps {
            (self.stamps, self.is_unread) = (stamps, true);
            return false;
        }
        std::mem::take(&mut self.is_unread)
    }

    /// They are worth reading, whether they have changed or not.
    pub(super) const fn repeat(&mut self) {
        self.is_unread = true;
    }
}

/// How long something is good still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Long,
    Month,
    Week,
    Day,
    Over,
}

impl Stage {
    fn of(paper: &Paper, now: UnixTime) -> Self {
        let left = paper.left(now);
        match paper.kind.is_certificate() {
            _ if left.is_zero() => Self::Over,
            // They are made for a week or less, and are replaced in time or not.
            false => Self::Long,
            true if left <= DAY => Self::Day,
            true if left <= 7 * DAY => Self::Week,
            true if left <= 30 * DAY => Self::Month,
            true => Self::Long,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// What has been said about things that expire.
#[derive(Debug, Default)]
pub(super) struct Dates {
    said: BTreeMap<Paper, Stage>,
}

impl Dates {
    /// What is to be said now.
    pub(super) fn look(&mut self, papers: &[Paper], now: UnixTime) -> Vec<Papers> {
        let mut news = Vec::new();
        let mut said = BTreeMap::new();
        for paper in papers {
            let stage = Stage::of(paper, now);
            let before = self.said.get(paper).copied().unwrap_or(Stage::Long);
            if stage > before {
                let Paper { kind, file, owner, .. } = paper.clone();
                news.push(if kind.is_certificate() {
                    Papers::Expires { kind, file, owner, left: paper.left(now) }
                } else {
                    Papers::Outdated { kind, file, owner }
                });
            }
            said.insert(paper.clone(), stage);
        }
        self.said = said;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::paper::PaperKind;

    const UNTIL: u64 = 2_000_000_000;

    fn paper(kind: PaperKind) -> Paper {
        let until = UnixTime::from_epoch(Duration::from_secs(UNTIL));
        Paper { kind, file: "/pki/file".into(), owner: "CN=vpn".into(), until }
    }

    fn before(seconds: u64) -> UnixTime {
        UnixTime::from_epoch(Duration::from_secs(UNTIL - seconds))
    }

    /// For how many seconds a certificate is said to be good.
    fn said(news: &[Papers]) -> Vec<u64> {
        let left = |event: &Papers| {
            let Papers::Expires { left, .. } = event else { panic!("{event:?}") };
            left.as_secs()
        };
        news.iter().map(left).collect()
    }

    #[test]
    fn a_certificate_is_told_of_a_month_a_week_and_a_day_before_its_end_and_at_its_end() {
        let (mut dates, papers) = (Dates::default(), [paper(PaperKind::Own)]);
        let day = 86_400;

        for (left, told) in [
            (31 * day, None),
            (30 * day + 1, None),
            (30 * day, Some(30 * day)),
            (29 * day, None),
            (7 * day, Some(7 * day)),
            (7 * day - 1, None),
            (day, Some(day)),
            (1, None),
            (0, Some(0)),
        ] {
            assert_eq!(said(&dates.look(&papers, before(left))), Vec::from_iter(told), "{left}");
        }
        let later = UnixTime::from_epoch(Duration::from_secs(UNTIL + day));
        assert_eq!(dates.look(&papers, later), []);
    }

    #[test]
    fn a_daemon_that_starts_late_says_what_is_true_then() {
        let papers = [PaperKind::Own, PaperKind::Chain, PaperKind::Ca].map(paper);

        assert_eq!(said(&Dates::default().look(&papers, before(3_600))), [3_600; 3]);
        assert_eq!(said(&Dates::default().look(&papers, before(0))), [0; 3]);
    }

    #[test]
    fn a_new_certificate_in_the_same_file_is_another_one() {
        let mut dates = Dates::default();
        let old = paper(PaperKind::Own);
        let new = Paper { until: UnixTime::from_epoch(Duration::from_secs(UNTIL + 1)), ..old.clone() };

        assert_eq!(said(&dates.look(std::slice::from_ref(&old), before(60))), [60]);
        assert_eq!(said(&dates.look(&[new], before(60))), [61]);
        assert_eq!(said(&dates.look(&[old], before(60))), [60]);
    }

    #[test]
    fn lists_and_responses_are_told_of_when_they_are_out_of_date() {
        for kind in [PaperKind::Crl, PaperKind::Ocsp] {
            let (mut dates, papers) = (Dates::default(), [paper(kind)]);

            assert_eq!(dates.look(&papers, before(1)), []);
            let outdated = Papers::Outdated { kind, file: "/pki/file".into(), owner: "CN=vpn".into() };
            assert_eq!(dates.look(&papers, before(0)), [outdated]);
            assert_eq!(dates.look(&papers, before(0)), []);
        }
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_silence_what_comes() {
        let (mut dates, papers) = (Dates::default(), [paper(PaperKind::Ca)]);

        assert_eq!(said(&dates.look(&papers, before(60))), [60]);
        assert_eq!(dates.look(&papers, before(40 * 86_400)), []);
        assert_eq!(said(&dates.look(&papers, before(60))), [60]);
    }

    #[test]
    fn a_file_is_read_once_it_has_stopped_changing() {
        let directory = std::env::temp_dir().join(format!("redirectd-papers-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("ca.crl");
        let files = [path.clone()];
        let mut watch = Watch::default();
        fs::write(&path, "one").unwrap();

        // It may have changed between being read and the first look.
        assert_eq!([watch.look(&files), watch.look(&files), watch.look(&files)], [false, true, false]);
        fs::write(&path, "longer").unwrap();
        assert!(!watch.look(&files));
        fs::write(&path, "longer still").unwrap();
        assert!(!watch.look(&files));
        assert_eq!([watch.look(&files), watch.look(&files)], [true, false]);
        // Another file of the same length in its place.
        fs::write(directory.join("new"), "longer stIll").unwrap();
        fs::rename(directory.join("new"), &path).unwrap();
        assert_eq!([watch.look(&files), watch.look(&files)], [false, true]);
        fs::remove_file(&path).unwrap();
        assert_eq!([watch.look(&files), watch.look(&files), watch.look(&files)], [false, true, false]);
        watch.repeat();
        assert_eq!([watch.look(&files), watch.look(&files)], [true, false]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
