//! What is good until a time, in the words of the control socket.

use serde::{Deserialize, Serialize};

use crate::ike::paper::Paper;
use crate::time::UnixTime;

/// A certificate, a list of revoked ones, or an OCSP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateView {
    /// `own`, `chain`, `ca`, `crl` or `ocsp`.
    pub kind: String,
    /// Where it is.
    pub file: String,
    /// Whose it is; of lists and responses the CA.
    pub owner: String,
    /// Until when it is good: `2026-01-31T23:59:59.000Z`.
    pub until: String,
    /// For how many seconds that is; less than zero when it is over.
    pub left_s: i64,
}

impl CertificateView {
    /// As it stands now.
    #[must_use]
    pub fn new(paper: &Paper, now: UnixTime) -> Self {
        let seconds = |time: UnixTime| i64::try_from(time.since_epoch().as_secs()).unwrap_or(i64::MAX);
        Self {
            kind: paper.kind.name().to_owned(),
            file: paper.file.display().to_string(),
            owner: paper.owner.to_string(),
            until: paper.until.rfc3339(),
            left_s: seconds(paper.until).saturating_sub(seconds(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ike::paper::PaperKind;

    #[test]
    fn what_is_left_is_counted_beyond_the_end() {
        let at = |seconds| UnixTime::from_epoch(Duration::from_secs(seconds));
        let paper = Paper {
            kind: PaperKind::Crl,
            file: "/pki/ca.crl".into(),
            owner: "CN=ca".into(),
            until: at(1_800_000_000),
        };

        let view = CertificateView::new(&paper, at(1_799_999_000));

        assert_eq!((view.left_s, &*view.until), (1_000, "2027-01-15T08:00:00.000Z"));
        assert_eq!(CertificateView::new(&paper, at(1_800_000_060)).left_s, -60);
    }
}
