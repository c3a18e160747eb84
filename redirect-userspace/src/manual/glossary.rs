//! The words of code, log lines, command and documents. One word for one thing.
//!
//! # The cluster
//!
//! | word | means |
//! |---|---|
//! | *VIP*, virtual IP | an address that clients know and that moves between nodes; `Vip` in code |
//! | *node* | a machine that runs `redirectd` |
//! | *gateway* | a cluster member as a redirect target: a name, up to three addresses, a weight |
//! | *member* | a gateway as the configuration or the cluster sees it |
//! | *self*, *local* | the member that is this node. Its requests are kept |
//! | *weight* | a member's part of the table in relation to the others; 0 = no new clients |
//! | *share* | the part of the table's slots that lead to a member, 0 to 1 |
//! | *up*, *overloaded*, *draining*, *down* | whether a member gets clients; the last three do not. In this version every configured member is up |
//! | *drain* | to take a member out of service: it gets no new clients, and sends those that it has to others |
//! | *load* | what a member reports of itself: the part of the SAs it takes that it has (crypto load), and the greater of processors and memory (system load) |
//! | *session* | an IKE SA or a Child SA, where they are counted: `max-session` |
//! | *policy* | how loads become shares: `balanced` or `least-loaded`. Without loads both go by weight |
//! | *overload limit* | the load from which a member is not offered |
//! | *CLB*, *master*, *slave* | cluster load balancing and its two roles; without an election the role is none |
//! | *standby group*, *active*, *standby*, *listen*, *speak*, *learn*, *initial* | HSRP's group and its states (`RFC 2281 §5.3`). The active router of the cluster's group is the master |
//!
//! # The fast path
//!
//! | word | means |
//! |---|---|
//! | *fast path*, *slow path* | XDP, or the userspace sockets that decide in the same way; the kernel and the IKE daemon behind it |
//! | *LLG*, *LLG table* | least loaded gateway; the table that leads each slot to one |
//! | *slot* | one of 1024 places of the table. A hash of the initiator's SPI chooses it |
//! | *gateway index* | position in the map `GATEWAYS`, as the table names it |
//! | *generation* | number of a table. Its lowest bit says in which of two places it lies |
//! | *publish* | writing a table whole and then making it live |
//! | *armed*, *disarmed* | requests are answered, or passed |
//! | *attached* | the program is on an interface |
//! | *verdict*, *reason* | what is done with a packet; why. *Action* is XDP's return value |
//! | *redirect*, *keep*, *pass* | answer with REDIRECT; serve on this node; leave to the kernel, untouched |
//! | *guard* | the process that holds the XDP links and lets go when the daemon dies or hangs |
//! | *beat*, *lapse* | the daemon's sign of life; the guard's letting go without one |
//! | *native*, *generic*, *userspace*, *off* | modes: in the driver, in the kernel's receive path, by sockets, nowhere |
//!
//! # IKEv2
//!
//! | word | means |
//! |---|---|
//! | *original initiator*, *original responder* | who began the IKE SA (`RFC 7296 §2.2`). Here: the client, and the gateway |
//! | *exchange*, *request*, *response*, *message* | as in `RFC 7296 §1`. A *packet* is layer 3, a *datagram* a UDP payload |
//! | *SPI* | eight octets that name an IKE SA on one side: `SpiI`, `SpiR`. Not a *cookie* |
//! | *cookie* | the notify of `RFC 7296 §2.6`, nothing else |
//! | *nonce* | `Ni`, 16 to 256 octets; a REDIRECT in IKE_SA_INIT repeats it |
//! | *payload*, *notify* | `RFC 7296 §3.2`, `§3.10` |
//! | *non-ESP marker* | four zero octets before IKE on port 4500 (`RFC 3948 §2.2`) |
//! | *REDIRECT_SUPPORTED*, *REDIRECT*, *REDIRECTED_FROM* | the notifies of `RFC 5685 §9` |
//! | *identity*, of a gateway | how REDIRECT names it: IPv4 address, IPv6 address or FQDN |
//! | *ticket*, *resumption* | `RFC 5723`; requests of IKE_SESSION_RESUME pass |
//! | *liveness check* | `RFC 7296 §2.4`. Not a *keepalive*: that is the NAT one (`RFC 3948 §2.3`) |
//! | *profile*, *connection* | how those are dealt with who come to our gateway; to whom it goes itself |
//! | *dial* | a connection on its way: which remote or redirect target is next, and when |
//! | *further key exchange* | one after that of IKE_SA_INIT or CREATE_CHILD_SA (`RFC 9370`); in code *additional* where it is a transform |
//! | *draft* | what is agreed upon for an SA while its further key exchanges are done; *pending* while the peer is to go on with it |
//! | *PPK* | a key that both sides have had before, mixed into theirs (`RFC 8784`) |
//! | *half-open* | IKE_SA_INIT is answered, IKE_AUTH is not complete |
//! | *rekey*, *reauthenticate* | new keys for an SA; a new SA with a new proof of identity |
//! | *PAD* | Peer Authorization Database (`RFC 4301 §4.4.3`): whom the client accepts as the gateway |
//!
//! # The program
//!
//! | word | means |
//! |---|---|
//! | *machine* | state and rules without input or output: it is given a fact and says what is to be done |
//! | *step* | one such fact |
//! | *deadline* | when something is due. *Timeout* is the fact that it is |
//! | *event* | something that happened, for people: a log line and a line of `show events` |
//! | *journal* | the last 256 events |
//! | *snapshot* | what the daemon shows at one moment; `redirectctl` and metrics read the same |
//! | *control socket* | where `redirectctl` talks to `redirectd` |
//! | *laboratory* | network namespaces with daemons in them: demonstration and end-to-end tests |
//!
//! # Events
//!
//! The names in log lines (`event=`) and in `show events --json`.
//!
//! | event | means |
//! |---|---|
//! | `started`, `stopped` | the daemon runs; it ends, by a signal or for an error |
//! | `armed`, `disarmed` | requests are answered from now on; passed from now on, with the reason |
//! | `gate-changed` | the fast path asks whoever would like an SA with this node for a cookie, or no longer; how many it has asked, and how many have brought a good one, since the start |
//! | `attached`, `detached` | the program is on an interface, in this mode for this reason; it has left it |
//! | `attach-failed` | it could not be brought there: what the kernel says to every mode |
//! | `lapsed` | the guard let go because the daemon was silent |
//! | `member-added`, `member-removed` | a gateway joined or left the configuration |
//! | `member-changed` | its addresses, its weight, or whether it is this node |
//! | `member-up`, `member-down` | it is offered to clients; it is not, with the reason |
//! | `table-published` | a table is in force: its generation, and how many slots lead elsewhere now |
//! | `reloaded`, `reload-failed` | a new configuration is in force; it was refused, and why |
//! | `credentials-reloaded`, `credentials-refused` | files with certificates, keys, lists or responses have changed and are in use; what is in one cannot be used, and why: the old one stays |
//! | `certificate-expires` | a certificate of ours or of a CA is good for 30 days, 7 days or a day still, or has expired |
//! | `revocation-outdated` | a list of revoked certificates, or the OCSP response that we show, is out of date |
//!
//! Of standby groups:
//!
//! | event | means |
//! |---|---|
//! | `hsrp-state-changed` | the group's states before and now, and the event of `RFC 2281 §5.5` that was the cause, with its letter |
//! | `hsrp-priority-changed` | tracked interfaces have gone or come back, or the configuration has another priority |
//! | `hsrp-learned-vip` | the active router's VIP has been learned |
//! | `hsrp-different-vip`, `hsrp-duplicate-address` | a neighbour has another VIP; it has our address |
//! | `hsrp-discarded` | packets were not used, and why; at most once in 30 seconds for each reason |
//!
//! Of a cluster whose master is elected:
//!
//! | event | means |
//! |---|---|
//! | `role-changed` | this node is master, slave or neither now, and why |
//! | `vip-acquired`, `vip-released` | the VIP is on the interface; it has left |
//! | `took-over` | requests to the VIP are answered, and how long that took from the decision |
//! | `vip-conflict`, `vip-failed` | another host answers for the VIP; the kernel does not let us have it |
//! | `listen-failed` | members cannot connect to this master |
//! | `member-joined`, `member-left` | a member has registered with this master; it has not any more, and why |
//! | `drain-began`, `drain-done`, `drain-cancelled` | this node is to lose its clients; nobody is left; it keeps those that are |
//! | `member-registered`, `member-drained` | it has registered with other settings; the operator has drained it at this master, or taken that back |
//! | `peer-refused` | peers were not let in, and why; at a limited rate |
//! | `master-connected`, `master-lost` | this slave reports to a master; to none, and why |
//! | `master-unreachable` | it does not get to the master, and why; at a limited rate |
//! | `holdtime-differs` | `holdtime` in `[cluster]` is another one at the master, whose counts |
//! | `all-overloaded`, `overload-cleared` | every gateway has reached the overload limit; one has room |
//! | `hook-ran`, `hook-failed` | a notify hook was told a role; it failed, and why |
//! | `real-time-denied` | the election has no real-time priority |
//!
//! Of the gateway, with the SA's number, the peer's address and identity, and the profile:
//!
//! | event | means |
//! |---|---|
//! | `sa-established`, `sa-closed` | an IKE SA is up, both sides have proved who they are, by credentials or by a ticket; it is gone, and why |
//! | `sa-refused` | peers did not get an IKE SA: why, what was offered and what wanted; at most once in ten seconds for each reason |
//! | `connect-failed` | a connection of ours did not come up, and why |
//! | `ticket-refused` | a gateway did not take the ticket that a connection of ours came with: it begins anew |
//! | `sa-rekeyed`, `sa-moved`, `sa-roamed` | an IKE SA has new keys; its peer is elsewhere; we are |
//! | `sa-redirected` | a client was told to go to another gateway, in IKE_AUTH or while its SA is up |
//! | `connection-wanted` | a packet brings a connection of ours up: from where to where it wants to go |
//! | `redirected` | a connection of ours goes to another gateway, as it was told: by whom, and in which exchange |
//! | `redirect-refused` | somebody wanted us elsewhere and we do not go there, and why; at most once in ten seconds for each reason |
//! | `child-up`, `child-down` | a Child SA is up, and which one it replaces; it is gone, and why |
//! | `child-refused` | a Child SA was refused: its IKE SA stays |
//! | `cookies-changed` | cookies are asked for from now on, or no longer |
//!
//! Of the servers of RADIUS that let its clients in:
//!
//! | event | means |
//! |---|---|
//! | `radius-server-dead` | a server does not answer, and why that is believed: the next one is asked, and this one left alone for a time |
//! | `radius-server-back` | it answers again |
//! | `radius-discarded` | datagrams of a server were not used, and why; at most once in ten seconds for each reason |
//! | `radius-failed` | requests came to nothing, and why; at most once in ten seconds for each reason |
//! | `radius-said` | what a server wants people to read (Reply-Message), and of which client; at most once in ten seconds |
//!
//! Reasons of `disarmed`: `lapsed`, `no-gateway`, `no-vip`, `not-attached`, `stopping`. Reasons of
//! `member-down`: `draining`, `no-index`, `overloaded`, `silent`, `zero-weight`.
//!
//! # Spelling
//!
//! | where | how |
//! |---|---|
//! | configuration keys, JSON fields, reasons, events | `kebab-case` |
//! | maps | `UPPER_CASE`; their fields `snake_case` |
//! | metrics | `redirectd_` and `snake_case`; counters end in `_total`, parts of one in `_ratio` |
//! | units | part of a name only where there is no type: `last-seen-ms` |
//! | numbers of the wire | hexadecimal; counts decimal |
//! | acronyms in types | as words: `Vip`, `LlgTable`, `IkeHeader` |
//!
//! # Words of others
//!
//! VIP ownership in the README's example is keepalived's. VRRP's *master* and *backup* are called
//! *owner of the VIP* and *the other node* here, because *master* is CLB's.
