//! IKE SAs on the control socket: which are asked for, and page by page what they are.
//!
//! A node has tens of thousands of them, on several workers. So a client asks for a page, each
//! worker picks what of its own could be on it, and the core puts the picks together:
//!
//! ```text
//! client ─ SaSelector, after, limit ─▶ server ─ SaQuery ─▶ core ─▶ every worker: SaPage::pick
//! client ◀──── SaPageView ──────────── server ◀─ SaPage ── core ◀─ SaPage::join
//! ```
//!
//! # Invariants
//!
//! - A page has at most [`MAX_PAGE`] SAs, of which no more is told than [`MAX_PAGE_WEIGHT`] allows.
//! - Pages are in the order of the SAs' numbers, so that whoever asks for one after the other misses
//!   no SA that was there all the time.

mod view;

use std::collections::BinaryHeap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ike::config::{LocalProof, Name, RemoteProof, Settings};
use crate::ike::identity::parse;
use crate::ike::{SaId, SaSnapshot, Selection, Usage};

pub use self::view::{ChildView, ClearView, SaPageView, SaRole, SaView, StartView};

/// Most SAs of a page.
pub const MAX_PAGE: usize = 500;
/// Most Child SAs and traffic selectors of a page, but for those of its first SA.
pub const MAX_PAGE_WEIGHT: usize = 20_000;

/// Which SAs a client means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaSelector {
    /// Every one.
    #[default]
    All,
    /// The one with this number.
    Id(u64),
    /// Those with a peer at this address.
    Remote(IpAddr),
    /// Those with a peer of this identity, written as in the configuration.
    Identity(String),
    /// Those of this profile or connection.
    Profile(String),
}

impl SaSelector {
    /// The same in the words of the endpoints.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn to_selection(&self) -> Result<Selection, String> {
        match self {
            Self::All => Ok(Selection::All),
            Self::Id(id) => Ok(Selection::Id(SaId(*id))),
            Self::Remote(address) => Ok(Selection::Remote(*address)),
            Self::Identity(text) => {
                parse(text).map(Selection::Identity).ok_or_else(|| format!("{text:?}: not an identity"))
            }
            Self::Profile(text) => {
                let name = Name::new(text).ok_or_else(|| format!("{text:?}: not the name of a profile"));
                name.map(Selection::Profile)
            }
        }
    }
}

/// Which SAs the core is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaQuery {
    /// Which are meant.
    pub selection: Selection,
    /// Only those with a greater number.
    pub after: Option<SaId>,
    /// How many at the most; at least one and not more than [`MAX_PAGE`].
    pub limit: usize,
}

impl SaQuery {
    fn is_after(&self, id: SaId) -> bool {
        self.after.is_none_or(|after| id > after)
    }
}

/// An IKE SA, and what its Child SAs have carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaReport {
    /// The SA.
    pub sa: SaSnapshot,
    /// What each of its Child SAs has carried, in their order.
    pub usage: Vec<Usage>,
    /// How we and the peer prove who we are, as far as the SA's profile is still there.
    pub methods: Option<[Method; 2]>,
}

/// How one side proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// With a key that both know.
    Psk,
    /// With a signature and a certificate.
    Pubkey,
    /// By EAP.
    Eap,
}

/// A page of SAs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaPage {
    /// The SAs, by their numbers.
    pub reports: Vec<SaReport>,
    /// How many more are meant that come after them.
    pub more: u64,
}

impl SaPage {
    /// What of these SAs, which the query's selection means, could be on the page. `usage` is asked
    /// for those only.
    pub fn pick(
        query: &SaQuery,
        sas: impl IntoIterator<Item = SaSnapshot>,
        mut usage: impl FnMut(&SaSnapshot) -> Vec<Usage>,
    ) -> Self {
        let meant = sas.into_iter().filter(|sa| query.is_after(sa.id));
        // Those with the lowest numbers; the one on top would be the next to go.
        let mut lowest: BinaryHeap<ById> = BinaryHeap::new();
        let mut more = 0;
        for sa in meant {
            lowest.push(ById(sa));
            if lowest.len() > query.limit {
                lowest.pop();
                more += 1;
            }
        }
        let reports = lowest.into_sorted_vec().into_iter();
        let report = |ById(sa): ById| SaReport { usage: usage(&sa), sa, methods: None };
        Self { reports: reports.map(report).collect(), more }
    }

    /// The page, from what every worker has picked. The settings say how peers are authenticated.
    #[must_use]
    pub fn join(query: &SaQuery, picks: impl IntoIterator<Item = Self>, settings: &Settings) -> Self {
        let mut page = Self::default();
        for pick in picks {
            page.reports.extend(pick.reports);
            page.more = page.more.saturating_add(pick.more);
        }
        page.reports.sort_by_key(|report| report.sa.id);
        let mut weight = 0;
        let fits = |report: &&SaReport| {
            let is_first = weight == 0;
            weight += weight_of(&report.sa);
            is_first || weight <= MAX_PAGE_WEIGHT
        };
        let fitting = page.reports.iter().take(query.limit).take_while(fits).count();
        let surplus = page.reports.len() - fitting;
        page.reports.truncate(fitting);
        page.more = page.more.saturating_add(u64::try_from(surplus).unwrap_or(u64::MAX));
        for report in &mut page.reports {
            report.methods = report.sa.profile.as_ref().and_then(|name| methods(name, settings));
        }
        page
    }
}

/// What is told of an SA beside itself.
fn weight_of(sa: &SaSnapshot) -> usize {
    let child = |child: &crate::ike::ChildSnapshot| 1 + child.local_ts.len() + child.remote_ts.len();
    1 + sa.children.iter().map(child).sum::<usize>()
}

fn methods(name: &Name, settings: &Settings) -> Option<[Method; 2]> {
    let connections = settings.connections.iter().map(|connection| &connection.profile);
    let profile = settings.profiles.iter().chain(connections).find(|profile| profile.name == *name)?;
    let local = match &profile.authentication.local {
        LocalProof::SharedKey(_) => Method::Psk,
        LocalProof::Certificate(_) => Method::Pubkey,
        LocalProof::Eap(_) => Method::Eap,
    };
    let remote = match &profile.authentication.remote {
        RemoteProof::SharedKey(_) => Method::Psk,
        RemoteProof::Certificate(_) => Method::Pubkey,
        RemoteProof::Eap(_) => Method::Eap,
    };
    Some([local, remote])
}

/// An SA in the order of its number.
struct ById(SaSnapshot);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixtures;

    fn query(selection: Selection, after: Option<u64>, limit: usize) -> SaQuery {
        SaQuery { selection, after: after.map(SaId), limit }
    }

    /// SAs with these numbers.
    fn sas(ids: &[u64]) -> Vec<SaSnapshot> {
        let [first, ..] = fixtures::sas();
        ids.iter().map(|id| SaSnapshot { id: SaId(*id), ..first.sa.clone() }).collect()
    }

    fn ids(page: &SaPage) -> Vec<u64> {
        page.reports.iter().map(|report| report.sa.id.0).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let workers = [sas(&[9, 3, 6, 12]), sas(&[1, 10, 4, 7]), sas(&[])];
        let mut after = None;
        let mut seen = Vec::new();
        let mut left = Vec::new();
        loop {
            let query = query(Selection::All, after, 3);
            let picks = workers.iter().map(|sas| SaPage::pick(&query, sas.clone(), |_| Vec::new()));
            let page = SaPage::join(&query, picks.collect::<Vec<_>>(), &Settings::default());
            seen.push(ids(&page));
            left.push(page.more);
            after = page.reports.last().map(|report| report.sa.id.0);
            if page.more == 0 {
                break;
            }
        }

        assert_eq!(seen, [&[1, 3, 4][..], &[6, 7, 9], &[10, 12]]);
        assert_eq!(left, [5, 2, 0]);
    }

    #[test]
    fn usage_is_asked_for_what_is_picked_only() {
        let mut asked = Vec::new();
        let page = SaPage::pick(&query(Selection::All, Some(1), 2), sas(&[5, 4, 3, 2, 1]), |sa| {
            asked.push(sa.id.0);
            vec![Usage { bytes_in: sa.id.0, ..Usage::default() }]
        });

        assert_eq!(asked, [2, 3]);
        assert_eq!(page.reports[1].usage[0].bytes_in, 3);
        assert_eq!(page.more, 2);
    }

    #[test]
    fn an_sa_with_many_children_fills_a_page_and_is_still_shown() {
        let mut many = sas(&[1, 2, 3]);
        let child = fixtures::sas()[0].sa.children[0].clone();
        many[1].children = vec![child; MAX_PAGE_WEIGHT];
        let page = |after| {
            let query = query(Selection::All, after, 10);
            let pick = SaPage::pick(&query, many.clone(), |_| Vec::new());
            let page = SaPage::join(&query, [pick], &Settings::default());
            (ids(&page), page.more)
        };

        assert_eq!(page(None), (vec![1], 2));
        assert_eq!(page(Some(1)), (vec![2], 1));
        assert_eq!(page(Some(2)), (vec![3], 0));
    }

    #[test]
    fn a_selector_is_a_selection_in_the_endpoints_words() {
        let remote: IpAddr = "fd60::7".parse().unwrap();
        let (alice, hq) = (parse("alice@example.net").unwrap(), Name::new("hq").unwrap());
        for (selector, selection) in [
            (SaSelector::All, Selection::All),
            (SaSelector::Id(7), Selection::Id(SaId(7))),
            (SaSelector::Remote(remote), Selection::Remote(remote)),
            (SaSelector::Identity("alice@example.net".to_owned()), Selection::Identity(alice)),
            (SaSelector::Profile("hq".to_owned()), Selection::Profile(hq)),
        ] {
            assert_eq!(selector.to_selection(), Ok(selection));
        }
    }

    #[test]
    fn nonsense_selects_nothing() {
        let identity = SaSelector::Identity(String::new()).to_selection();
        let profile = SaSelector::Profile("a b".to_owned()).to_selection();

        assert_eq!(identity, Err("\"\": not an identity".to_owned()));
        assert_eq!(profile, Err("\"a b\": not the name of a profile".to_owned()));
    }
}
