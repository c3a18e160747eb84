//! Files with certificates, keys and lists that `[ike]` names: what was in them, and how they are read
//! again while the rest of the configuration stays.
//!
//! # Invariants
//!
//! - A file is read once, however often it is named: all who name it get the same.
//! - What cannot be used is not taken: then what was there before stays in use, file by file. A
//!   certificate and its key change together.
//! - What has not changed is not judged by the time again: that something expires keeps nothing else
//!   from being taken.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Ike;
use crate::config::ConfigErrors;
use crate::config::file;
use crate::config::key::{FileError, private, public};
use crate::ike::paper::Paper;
use crate::secret::Secret;
use crate::time::UnixTime;

/// What is in files, by path and by who may read them.
type Contents = BTreeMap<(PathBuf, Access), Arc<Secret>>;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Its owner alone.
    Private,
    /// Anybody.
    Public,
}

/// The files, while a configuration is read.
#[derive(Default)]
pub(in crate::config) struct Files {
    read: Contents,
    /// What is taken in the place of what is in a file now.
    kept: Contents,
    /// What was in them when they were read before.
    before: Arc<Contents>,
    pairs: Vec<[PathBuf; 2]>,
    papers: Vec<Paper>,
    refused: Vec<(PathBuf, String)>,
}

impl Files {
    /// For reading again, with `kept` in the place of what is in those files now.
    fn again(before: Arc<Contents>, kept: Contents) -> Self {
        Self { kept, before, ..Self::default() }
    }

    /// The content of a file. `what` it is called in messages.
    pub(super) fn content(
        &mut self,
        access: Access,
        what: &'static str,
        path: &Path,
        most: usize,
    ) -> Result<Arc<Secret>, FileError> {
        let key = (path.to_owned(), access);
        if let Some(content) = self.read.get(&key) {
            return Ok(Arc::clone(content));
        }
        let content = match self.kept.get(&key) {
            Some(content) => Arc::clone(content),
            None => Arc::new(read(access, what, path, most)?),
        };
        self.read.insert(key, Arc::clone(&content));
        Ok(content)
    }

    /// Whether a file has in it what it had when it was read before.
    pub(super) fn is_unchanged(&self, path: &Path) -> bool {
        let key = (path.to_owned(), Access::Public);
        self.before.get(&key).is_some_and(|before| self.read.get(&key) == Some(before))
    }

    /// A certificate and its key.
    pub(super) fn pair(&mut self, certificate: &Path, key: &Path) {
        let pair = [certificate, key].map(Path::to_owned);
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
    }

    /// What is in this file is left out, though nothing is wrong with the configuration.
    pub(super) fn refuse(&mut self, path: &Path, why: String) {
        self.refused.push((path.to_owned(), why));
    }

    /// Something that is good until a time.
    pub(super) fn paper(&mut self, paper: Paper) {
        if !self.papers.contains(&paper) {
            self.papers.push(paper);
        }
    }

    /// What is kept of them.
    pub(super) fn finish(self) -> Kept {
        let Self { read, kept: _, before: _, pairs, mut papers, mut refused } = self;
        papers.sort();
        refused.dedup();
        Kept { contents: Arc::new(read), pairs, papers: papers.into(), refused, source: None }
    }
}

fn read(access: Access, what: &'static str, path: &Path, most: usize) -> Result<Secret, FileError> {
    match access {
        Access::Private => private(what, path, most),
        Access::Public => public(what, path, most).map(Secret::new),
    }
}

/// What is kept of the files, to read them again. Not shown: there are keys in it.
#[derive(Clone, Default)]
pub(super) struct Kept {
    contents: Arc<Contents>,
    pairs: Vec<[PathBuf; 2]>,
    papers: Arc<[Paper]>,
    refused: Vec<(PathBuf, String)>,
    source: Option<Source>,
}

/// The configuration that names them.
#[derive(Clone)]
struct Source {
    path: PathBuf,
    text: Arc<Secret>,
}

impl Debug for Kept {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({:?})", self.contents.keys())
    }
}

/// What came of reading the files again.
#[derive(Debug)]
pub struct Reread {
    /// With everything that could be taken.
    pub ike: Ike,
    /// Files with something new in them that was taken.
    pub taken: Vec<PathBuf>,
    /// Files with something in them that was not, and why: what was there before stays in use.
    pub refused: Vec<(PathBuf, String)>,
}

impl Ike {
    /// The same, as it is in this file.
    pub(in crate::config) fn of(mut self, path: &Path, text: &str) -> Self {
        let text = Arc::new(Secret::from(text.as_bytes()));
        self.kept.source = Some(Source { path: path.to_owned(), text });
        self
    }

    /// The files that are worth reading again when they change.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.kept.contents.keys().map(|(path, _)| path.clone()).collect();
        files.dedup();
        files
    }

    /// Everything that is good until a time, in the order of kinds.
    #[must_use]
    pub fn papers(&self) -> Arc<[Paper]> {
        Arc::clone(&self.kept.papers)
    }

    /// Reads the files again, with the configuration as it was.
    #[must_use]
    pub fn reread(&self, now: UnixTime) -> Reread {
        let first = match self.parse(now, Contents::new()) {
            Ok(ike) => return self.reread_as(ike, Vec::new()),
            Err(errors) => errors,
        };
        let mut kept = self.changed();
        let Ok(mut ike) = self.parse(now, kept.clone()) else {
            // It is none of these files.
            let path = self.kept.source.as_ref().map(|source| source.path.clone()).unwrap_or_default();
            return self.reread_as(self.clone(), vec![(path, message(&first))]);
        };
        let mut refused = Vec::new();
        let singles: Vec<PathBuf> = kept.keys().map(|(path, _)| path.clone()).collect();
        let pairs = self.kept.pairs.iter().map(|pair| pair.to_vec());
        for group in pairs.chain(singles.into_iter().map(|single| vec![single])) {
            let fewer: Contents =
                kept.iter().filter(|((path, _), _)| !group.contains(path)).map(cloned).collect();
            if fewer.len() == kept.len() {
                continue;
            }
            match (self.parse(now, fewer.clone()), &*group) {
                (Ok(better), _) => (ike, kept) = (better, fewer),
                (Err(errors), [file]) => refused.push((file.clone(), message(&errors))),
                // Each by itself, then.
                (Err(_), _) => {}
            }
        }
        self.reread_as(ike, refused)
    }

    fn reread_as(&self, ike: Self, mut refused: Vec<(PathBuf, String)>) -> Reread {
        refused.extend(ike.kept.refused.iter().cloned());
        let is_new = |key: &&(PathBuf, Access)| self.kept.contents.get(*key) != ike.kept.contents.get(*key);
        let mut taken: Vec<PathBuf> =
            ike.kept.contents.keys().filter(is_new).map(|(path, _)| path.clone()).collect();
        taken.dedup();
        Reread { ike, taken, refused }
    }

    fn parse(&self, now: UnixTime, kept: Contents) -> Result<Self, ConfigErrors> {
        let files = Files::again(Arc::clone(&self.kept.contents), kept);
        let Some(Source { path, text }) = &self.kept.source else { return Ok(self.clone()) };
        let text = String::from_utf8_lossy(text.expose());
        let config = file::reread(path, &text, now, files)?;
        Ok(config.ike.unwrap_or_else(|| self.clone()))
    }

    /// What was in the files that have something else in them now, or cannot be read.
    fn changed(&self) -> Contents {
        let is_changed = |((path, access), content): &(&(PathBuf, Access), &Arc<Secret>)| {
            // A file that has grown by one octet is another one.
            let now = read(*access, "file", path, content.len().saturating_add(1));
            now.map_or(true, |now| now != ***content)
        };
        self.kept.contents.iter().filter(is_changed).map(cloned).collect()
    }
}

fn cloned((key, content): (&(PathBuf, Access), &Arc<Secret>)) -> ((PathBuf, Access), Arc<Secret>) {
    (key.clone(), Arc::clone(content))
}

/// The first thing that is wrong, without its place: the configuration is as it was.
fn message(errors: &ConfigErrors) -> String {
    errors.iter().next().map(|error| error.message.clone()).unwrap_or_default()
}
