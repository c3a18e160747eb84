//! What a client may ask, and what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    ClusterView, DrainView, EventEntry, LlgView, Overview, PROTOCOL, RedirectView, ReloadView, ReportView,
    StandbyView, VersionView,
};
use crate::gateway::GatewayName;

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
    /// Takes a member out of service: it keeps the clients it has and gets no new ones.
    Drain {
        /// Which; this node if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
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
    /// The cluster as this node sees it.
    ShowCluster,
    /// What happened, oldest first.
    ShowEvents {
        /// Only entries with a higher [`EventEntry::sequence`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// The least loaded gateway table.
    ShowLlg,
    /// Fast path, cluster and standby groups at one moment.
    ShowOverview,
    /// The fast path.
    ShowRedirect,
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
    /// To [`Request::ShowCluster`].
    Cluster(ClusterView),
    /// To [`Request::Drain`] and [`Request::Undrain`].
    Drain(DrainView),
    /// To [`Request::ShowEvents`].
    Events(Vec<EventEntry>),
    /// To [`Request::ShowLlg`].
    Llg(LlgView),
    /// To [`Request::ShowOverview`].
    Overview(Overview),
    /// To [`Request::ShowRedirect`].
    Redirect(RedirectView),
    /// To [`Request::Reload`].
    Reload(ReloadView),
    /// To [`Request::ReportSessions`].
    Report(ReportView),
    /// To [`Request::ShowStandby`].
    Standby(Vec<StandbyView>),
    /// To [`Request::Version`].
    Version(VersionView),
}

/// What the core is asked to do.
#[derive(Debug)]
pub enum CoreRequest {
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
