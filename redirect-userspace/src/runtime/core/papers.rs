//! Certificates, keys, lists and responses: what has changed is taken, what expires is told of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::Ike;
use crate::config::ike::Reread;
use crate::control::CertificateView;
use crate::ike::paper::Paper;
use crate::telemetry::{Event, Papers};
use crate::time::Instant;

use super::Core;
use crate::runtime::papers::{Dates, Watch};

/// What goes on with them.
#[derive(Default)]
pub(super) struct Tending {
    stage: Stage,
    dates: Dates,
    /// Files that were not taken, and why, as it was told.
    refused: Vec<(PathBuf, String)>,
    /// When those are read again: the time may have been what was wrong.
    again_at: Instant,
    /// What is shown of them.
    pub(super) shown: Arc<[CertificateView]>,
}

/// Disks are slow, and lists may be long: the core does not wait for them.
enum Stage {
    Idle(Watch),
    /// A thread looks, for a gateway with these settings.
    Busy(JoinHandle<(Watch, Option<Box<Reread>>)>, Box<Ike>),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Idle(Watch::default())
    }
}

impl Core {
    /// Looks after them.
    pub(super) async fn tend_papers(&mut self) {
        let Some(ike) = &self.config.ike else { return };
        let now = self.clock.now();
        let papers = ike.papers();
        for event in self.papers.dates.look(&papers, now.wall) {
            self.record(&Event::Papers(event));
        }
        self.papers.shown = views(&papers, now.wall);
        match std::mem::take(&mut self.papers.stage) {
            Stage::Busy(task, with) if !task.is_finished() => self.papers.stage = Stage::Busy(task, with),
            Stage::Busy(task, with) => {
                // Without it everything is looked at anew.
                let (watch, reread) = task.await.unwrap_or_default();
                self.papers.stage = Stage::Idle(watch);
                if let Some(reread) = reread {
                    self.take_over(*reread, &with);
                }
            }
            Stage::Idle(mut watch) => {
                if !self.papers.refused.is_empty() && now.mono >= self.papers.again_at {
                    self.papers.again_at = now.mono + AGAIN;
                    watch.repeat();
                }
                let (ike, with) = (ike.clone(), Box::new(ike.clone()));
                let task = spawn_blocking(move || {
                    let is_worth = watch.look(&ike.files());
                    let reread = is_worth.then(|| Box::new(ike.reread(now.wall)));
                    (watch, reread)
                });
                self.papers.stage = Stage::Busy(task, with);
            }
        }
    }

    /// Takes what has changed over, unless there was a reload meanwhile, which has read the files, too.
    fn take_over(&mut self, reread: Reread, with: &Ike) {
        if self.config.ike.as_ref() != Some(with) {
            return;
        }
        let Reread { ike, taken, refused } = reread;
        if !taken.is_empty() {
            if let Some(gateway) = &mut self.gateway {
                gateway.configure(&ike);
            }
            self.config.ike = Some(ike);
            self.record(&Event::Papers(Papers::Taken { files: taken }));
        }
        for one in refused.iter().filter(|one| !self.papers.refused.contains(one)) {
            let (file, why) = one.clone();
            self.record(&Event::Papers(Papers::Refused { file, why }));
        }
        if self.papers.refused.is_empty() {
            self.papers.again_at = self.clock.now().mono + AGAIN;
        }
        self.papers.refused = refused;
    }
}

/// What is shown: those that expire first, if there are too many.
fn views(papers: &[Paper], now: crate::time::UnixTime) -> Arc<[CertificateView]> {
    let mut papers: Vec<&Paper> = papers.iter().collect();
    if papers.len() > MAX_SHOWN {
        papers.sort_by_key(|paper| paper.until);
        papers.truncate(MAX_SHOWN);
        papers.sort();
    }
    papers.into_iter().map(|paper| CertificateView::new(paper, now)).collect()
}

/// How many are shown.
const MAX_SHOWN: usize = 256;
/// After what time something that was refused is read again.
const AGAIN: Duration = Duration::from_secs(60);
