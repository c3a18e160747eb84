//! What a client may ask, and what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    CertificateView, ClearView, ClusterView, DrainStatus, DrainView, EventEntry, LlgView, Overview, PROTOCOL,
    RadiusView, RedirectView, RedirectedView, ReloadView, ReportView, SaPage, SaPageView, SaQuery,
    SaSelector, StandbyView, StartView, VersionView,
};
use crate::gateway::GatewayName;
use crate::ike::config::Name;
use crate::ike::{Redirected, SaId, Selection};

/// One line from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`PROTOCOL`].
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Request {
    /// Deletes IKE SAs.
    ClearSa {
        /// Which.
        select: SaSelector,
    },
    /// Brings a connection up.
    Connect {
        /// Which.
        name: String,
    },
    /// Takes a member out of service: it gets no new clients, and sends those that it has to others.
    Drain {
        /// Which; this node if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Tells clients to go to another member.
    RedirectSa {
        /// Which.
        select: SaSelector,
        /// How many of them in a hundred; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
        /// The member that they go to; where the cluster's table leads if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Milliseconds that they have for it; as configured if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
    },
    /// Gives an IKE SA, or its Child SAs, new keys.
    RekeySa {
        /// Its number.
        id: u64,
        /// Its Child SAs, not itself.
        #[serde(default)]
        children: bool,
    },
    /// Reads the configuration again.
    Reload,
    /// Tells how many SAs the IKE daemon beside this one has. They count as this node's until the
    /// time is over or the next report comes.
    ReportSessions {
        /// IKE SAs.
        ike_sas: u32,
        /// Child SAs.
        child_sas: u32,
        /// Milliseconds for which that stands: 1 to [`MAX_VALID`](super::MAX_VALID).
        valid_ms: u64,
    },
    /// What is good until a time: certificates, lists of revoked ones, OCSP responses.
    ShowCertificates,
    /// The cluster as this node sees it.
    ShowCluster,
    /// What happened, oldest first.
    ShowEvents {
        /// Only entries with a higher [`EventEntry::sequence`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// How far this node has come in losing its clients.
    ShowDrain,
    /// The least loaded gateway table.
    ShowLlg,
    /// Fast path, cluster and standby groups at one moment.
    ShowOverview,
    /// The servers of RADIUS.
    ShowRadius,
    /// The fast path.
    ShowRedirect,
    /// IKE SAs, page by page.
    ShowSa {
        /// Which.
        #[serde(default)]
        select: SaSelector,
        /// Only those with a greater number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// How many at the most; [`MAX_PAGE`](super::MAX_PAGE) if absent, and never more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    },
    /// The standby groups of this node.
    ShowStandby,
    /// Takes a member back into service.
    Undrain {
        /// Which; this node if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// What runs here.
    Version,
}

/// One line from the daemon: `{"ok":…}` or `{"error":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response<T> {
    /// The answer.
    Ok(T),
    /// Why there is none.
    Error(String),
}

/// What the daemon answers, by request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Request::ShowCertificates`].
    Certificates(Vec<CertificateView>),
    /// To [`Request::ClearSa`].
    Clear(ClearView),
    /// To [`Request::ShowCluster`].
    Cluster(ClusterView),
    /// To [`Request::Drain`] and [`Request::Undrain`].
    Drain(DrainView),
    /// To [`Request::ShowDrain`].
    DrainStatus(DrainStatus),
    /// To [`Request::ShowEvents`].
    Events(Vec<EventEntry>),
    /// To [`Request::ShowLlg`].
    Llg(LlgView),
    /// To [`Request::ShowOverview`].
    Overview(Overview),
    /// To [`Request::ShowRadius`].
    Radius(RadiusView),
    /// To [`Request::ShowRedirect`].
    Redirect(RedirectView),
    /// To [`Request::RedirectSa`].
    Redirected(RedirectedView),
    /// To [`Request::Reload`].
    Reload(ReloadView),
    /// To [`Request::ReportSessions`].
    Report(ReportView),
    /// To [`Request::ShowSa`].
    Sas(SaPageView),
    /// To [`Request::ShowStandby`].
    Standby(Vec<StandbyView>),
    /// To [`Request::Connect`] and [`Request::RekeySa`].
    Start(StartView),
    /// To [`Request::Version`].
    Version(VersionView),
}

/// What the core is asked to do.
#[derive(Debug)]
pub enum CoreRequest {
    /// To delete IKE SAs, and tell the peers.
    ClearSas {
        /// Which.
        selection: Selection,
        /// Told how many they were.
        answer: CoreAnswer<u64>,
    },
    /// To bring up a connection.
    Connect {
        /// Which.
        connection: Name,
        /// Told when it has begun.
        answer: CoreAnswer<()>,
    },
    /// To tell clients to go to another member.
    RedirectSas {
        /// Which.
        selection: Selection,
        /// How many of them in a hundred.
        percent: u8,
        /// The member that they go to; `None` = where the cluster's table leads.
        to: Option<GatewayName>,
        /// How long they have for it; `None` = as configured.
        grace: Option<Duration>,
        /// Told how many were meant, and how many were told.
        answer: CoreAnswer<Redirected>,
    },
    /// To give an IKE SA new keys.
    RekeySa {
        /// Which.
        sa: SaId,
        /// Its Child SAs, not itself.
        children: bool,
        /// Told when it has begun.
        answer: CoreAnswer<()>,
    },
    /// To tell which IKE SAs there are. Workers are asked without waiting for them here: whoever
    /// gathers what they say has the sender.
    ShowSas {
        /// Which page of which SAs.
        query: SaQuery,
        /// Told the page.
        answer: CoreAnswer<SaPage>,
    },
    /// To read its configuration again.
    Reload {
        /// Told whether the new configuration is in force. If it is not, the old one still is.
        answer: CoreAnswer<()>,
    },
    /// To take a member out of service or back into it.
    SetDraining {
        /// Which; `None` = this node.
        gateway: Option<GatewayName>,
        /// Out of it.
        draining: bool,
        /// Told which member it was.
        answer: CoreAnswer<GatewayName>,
    },
    /// To take over how many SAs the IKE daemon beside us has.
    ReportSessions {
        /// IKE SAs.
        ike_sas: u32,
        /// Child SAs.
        child_sas: u32,
        /// For how long that stands.
        valid: Duration,
        /// Told when it has been taken over.
        answer: CoreAnswer<()>,
    },
}

/// Where the core says what came of a request: or, in words for the operator, why nothing did.
pub type CoreAnswer<T> = oneshot::Sender<Result<T, String>>;

/// Where the server sends what it cannot answer itself.
pub type CoreRequests = mpsc::Sender<CoreRequest>;

impl Envelope {
    /// A request in this program's version of the protocol.
    #[must_use]
    pub const fn new(request: Request) -> Self {
        Self { version: PROTOCOL, request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_as_documented_on_the_wire() {
        let lines = [
            (Request::ShowRedirect, r#"{"version":1,"request":"show-redirect"}"#),
            (Request::ShowCluster, r#"{"version":1,"request":"show-cluster"}"#),
            (Request::ShowDrain, r#"{"version":1,"request":"show-drain"}"#),
            (Request::ShowRadius, r#"{"version":1,"request":"show-radius"}"#),
            (Request::ShowLlg, r#"{"version":1,"request":"show-llg"}"#),
            (Request::ShowEvents { since: None }, r#"{"version":1,"request":"show-events"}"#),
            (Request::ShowEvents { since: Some(7) }, r#"{"version":1,"request":"show-events","since":7}"#),
            (Request::Reload, r#"{"version":1,"request":"reload"}"#),
            (Request::ShowStandby, r#"{"version":1,"request":"show-standby"}"#),
            (Request::ShowOverview, r#"{"version":1,"request":"show-overview"}"#),
            (Request::Drain { name: None }, r#"{"version":1,"request":"drain"}"#),
            (
                Request::Drain { name: Some("gw2".to_owned()) },
                r#"{"version":1,"request":"drain","name":"gw2"}"#,
            ),
            (
                Request::Undrain { name: Some("gw2".to_owned()) },
                r#"{"version":1,"request":"undrain","name":"gw2"}"#,
            ),
            (
                Request::ReportSessions { ike_sas: 3, child_sas: 4, valid_ms: 10_000 },
                r#"{"version":1,"request":"report-sessions","ike-sas":3,"child-sas":4,"valid-ms":10000}"#,
            ),
            (
                Request::ShowSa { select: SaSelector::All, after: None, limit: None },
                r#"{"version":1,"request":"show-sa","select":"all"}"#,
            ),
            (
                Request::ShowSa { select: SaSelector::Id(7), after: Some(6), limit: Some(1) },
                r#"{"version":1,"request":"show-sa","select":{"id":7},"after":6,"limit":1}"#,
            ),
            (
                Request::ClearSa { select: SaSelector::Remote([192, 0, 2, 7].into()) },
                r#"{"version":1,"request":"clear-sa","select":{"remote":"192.0.2.7"}}"#,
            ),
            (
                Request::ClearSa { select: SaSelector::Identity("alice".to_owned()) },
                r#"{"version":1,"request":"clear-sa","select":{"identity":"alice"}}"#,
            ),
            (
                Request::RedirectSa { select: SaSelector::All, percent: None, to: None, grace_ms: None },
                r#"{"version":1,"request":"redirect-sa","select":"all"}"#,
            ),
            (
                Request::RedirectSa {
                    select: SaSelector::Id(7),
                    percent: Some(50),
                    to: Some("gw2".to_owned()),
                    grace_ms: Some(10_000),
                },
                r#"{"version":1,"request":"redirect-sa","select":{"id":7},"percent":50,"to":"gw2","grace-ms":10000}"#,
            ),
            (
                Request::RekeySa { id: 7, children: true },
                r#"{"version":1,"request":"rekey-sa","id":7,"children":true}"#,
            ),
            (Request::Connect { name: "hq".to_owned() }, r#"{"version":1,"request":"connect","name":"hq"}"#),
            (Request::Version, r#"{"version":1,"request":"version"}"#),
        ];

        for (request, line) in lines {
            let envelope = Envelope::new(request);
            assert_eq!(serde_json::to_string(&envelope).unwrap(), line);
            assert_eq!(serde_json::from_str::<Envelope>(line).unwrap(), envelope);
        }
    }

    #[test]
    fn responses_are_ok_or_error() {
        let ok: Response<ReloadView> = Response::Ok(ReloadView { reloaded: true });
        let error: Response<ReloadView> = Response::Error("no".to_owned());

        assert_eq!(serde_json::to_string(&ok).unwrap(), r#"{"ok":{"reloaded":true}}"#);
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"error":"no"}"#);
    }
}
