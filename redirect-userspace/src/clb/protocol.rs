//! The protocol between the master and its slaves, octet by octet.
//!
//! This page is all that somebody needs who wants to write a member in another language. The
//! tests at its end hold it against the code.
//!
//! # Purpose
//!
//! The node that owns the virtual IP is the *master*: it sends every new client to the least
//! loaded gateway, so it has to know which gateways there are and how loaded each is. All other
//! nodes are its *slaves*: each registers with the master, reports its load, and is told who the
//! members are, so that any slave can become the next master and go on at once.
//!
//! The protocol proves who belongs to the cluster and keeps what is said from being changed,
//! repeated or left out. It hides nothing: names, addresses and loads can be read on the way.
//!
//! # Transport
//!
//! TCP. The master listens on the virtual IP, port 2012 unless configured otherwise, for as long
//! as it is the master. Slaves connect to it. Numbers are in network order. Times are in whole
//! milliseconds; one that does not fit is as great as it can be. A *text* is an octet with its
//! length, then that many octets of ASCII.
//!
//! # The course of a connection
//!
//! ```text
//!        slave                                                    master
//!          │ ── Offer: versions, nonce, cluster ──────────────────▶ │
//!          │ ◀───────────────────────── Challenge: version, nonce ── │
//!          │ ── Slave Proof ──────────────────────────────────────▶ │  the slave knows a key
//!          │ ◀─────────────────────────────────── Master Proof ──── │  the master knows the same
//!   from here on every frame is sealed
//!          │ ── Register: name, addresses, limits, report ────────▶ │
//!          │ ◀─────────────────── Accepted: master's name, holdtime ─ │  the slave is a member
//!          │ ◀──────────── View: every member, in one or more parts ── │
//!          │                 before it Drained: who is drained and away
//!          │                                                        │
//!          │ ── Hello ───────────── every `slave hello` ──────────▶ │
//!          │ ── Update: report ──── every `slave update`, or sooner ▶ │
//!          │ ◀── Alive ──────────── every third of the hold time ── │
//!          │ ◀── View ───────────── when members change, and now and then
//!          │ ◀── Order: drain, undrain ─────────────────────────── │
//!          │ ── Used: tickets ────── when clients have come back ──▶ │
//!          │ ◀── Tickets: used ones of all members ─────────────── │
//!          │                                                        │
//!          │ ── Leave: why ───────────────────────────────────────▶ │  orderly end
//! ```
//!
//! When the master does not take a slave in, or not any longer:
//!
//! ```text
//!          │ ◀── Rejected: why ─────── before the Master Proof ─── │  closed
//!          │ ◀── Refused: why ──────── after it, sealed ────────── │  closed
//! ```
//!
//! A Rejected is not sealed. Whoever can write to the connection can forge it, as well as end the
//! connection; a slave shows it to its operator and tries again later, no more.
//!
//! The handshake, from the start of the connection to the Register, takes 3 seconds at most. After
//! it, whoever hears nothing from the other side for the hold time closes the connection. The
//! master's hold time counts for both, and a slave sends at least three frames in it, whatever
//! its own settings say. A slave that was refused or has lost its master tries again, first
//! within 100 ms, then ever more slowly up to every 5 s, each time spread at random.
//!
//! # Frames
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+---------------+
//! |            Length             |     Type      |   0 (zero)    |  of the whole frame
//! +-------------------------------+---------------+---------------+
//! |                                                               |
//! +                     Sequence number (64)                      +  sealed frames only
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                             Body ...
//! +---------------------------------------------------------------+
//! |                                                               |
//! +                                                               +
//! |                                                               |
//! +                           Tag (128)                           +  sealed frames only
//! |                                                               |
//! +                                                               +
//! |                                                               |
//! +---------------------------------------------------------------+
//! ```
//!
//! A frame that is longer than the limit of its place is refused as soon as its length is known:
//!
//! | frames | limit, octets |
//! |---|---|
//! | of the handshake, both ways | 128 |
//! | sealed, from a slave | 1024 |
//! | sealed, from the master | 16384 |
//!
//! | type | name | from | sealed |
//! |---|---|---|---|
//! | `0x01` | Offer | slave | no |
//! | `0x02` | Challenge | master | no |
//! | `0x03` | Slave Proof | slave | no |
//! | `0x04` | Master Proof | master | no |
//! | `0x05` | Rejected | master | no |
//! | `0x10` | Register | slave | yes |
//! | `0x11` | Update | slave | yes |
//! | `0x12` | Hello | slave | yes |
//! | `0x13` | Leave | slave | yes |
//! | `0x20` | Accepted | master | yes |
//! | `0x21` | Refused | master | yes |
//! | `0x22` | View | master | yes |
//! | `0x23` | Alive | master | yes |
//! | `0x24` | Order | master | yes |
//! | `0x94` | Used | slave | yes |
//! | `0xa2` | Drained | master | yes |
//! | `0xa5` | Tickets | master | yes |
//!
//! # Keys and proofs
//!
//! `HMAC` is HMAC-SHA-256 (`RFC 2104`, `RFC 6234`); `|` puts octets one after the other; texts in
//! quotes are ASCII without length or final zero. *Offer frame* and *Challenge frame* are the two
//! frames as they were sent, headers included.
//!
//! ```text
//! secret       = HMAC(cluster key, "CLB connection" | Offer frame | Challenge frame)
//! Slave Proof  = HMAC(secret, "slave proof")
//! Master Proof = HMAC(secret, "master proof")
//! slave's key  = HMAC(secret, "slave frames")        seals what the slave sends
//! master's key = HMAC(secret, "master frames")       seals what the master sends
//!
//! Tag          = first 16 octets of HMAC(key, header | sequence number | SHA-256(body))
//! ```
//!
//! The slave proves first, so that whoever only finds the port learns nothing that depends on the
//! key. Nonces are random and used once. Sequence numbers begin with 0 in each direction and go
//! up by 1; a frame with a wrong tag or another number than the next one ends the connection.
//! Proofs and tags are compared in constant time.
//!
//! The cluster key has 16 to 1024 octets. Nothing slows down somebody who has recorded a
//! handshake and tries keys at home: the key has to be random, not a word.
//!
//! # Another key
//!
//! While the key is being changed, a member has two: *its key*, and an *accepted key*. Everything
//! above is done with one key that both sides know. A slave with an accepted key offers both, in
//! one Slave Proof, and the second proof hangs on the first:
//!
//! ```text
//! first proof    = Slave Proof under the slave's key
//! second secret  = HMAC(secret of the slave's accepted key, "accepted key" | first proof)
//! second proof   = HMAC(second secret, "slave proof")
//! ```
//!
//! The master looks at the first proof, under its key and its accepted key, and only if neither
//! fits at the second one, again under both. The secret behind the proof that fits is that of the
//! connection: from it come the Master Proof and the keys of the seals. So the slave's own key is
//! used whenever the master knows it. Nobody on the way can have the other one used: without the
//! first proof, or with a changed one, the second is wrong as well.
//!
//! A key is changed in three steps, each on all members before the next one begins: the new key is
//! accepted; the new key is the key and the old one is accepted; the old one is dropped. In every
//! step all members have a key in common, whichever of them is the master and whatever the order.
//! Connections that are there stay. An accepted key is as good as the other for whoever knows it:
//! what the old one was changed for ends with the third step, not before.
//!
//! # Bodies
//!
//! Offer, at most 102 octets. The magic and the two versions are at these places in every
//! version of the protocol:
//!
//! ```text
//! magic "RCLB" (4) | least version (1) | greatest version (1) | nonce (32) | cluster's name (text)
//! ```
//!
//! Challenge. The version is the greatest one that both speak:
//!
//! ```text
//! version (1) | nonce (32)
//! ```
//!
//! Slave Proof. The second proof is there if the slave has an accepted key, not in version 1:
//!
//! ```text
//! proof (32) | second proof (32)
//! ```
//!
//! Master Proof:
//!
//! ```text
//! proof (32)
//! ```
//!
//! Rejected, with the versions that the master speaks:
//!
//! ```text
//! reason (1) | least version (1) | greatest version (1)
//! ```
//!
//! Register. It comes again on the same connection when anything but the name has changed:
//!
//! ```text
//! registration | report
//! ```
//!
//! *registration*. `kinds` says which addresses follow, in this order: 1 IPv4, 2 IPv6, 4 domain
//! name; at least one. They are where clients are sent, and not loopback, link-local, multicast
//! or the like. The priority is 1 to 100, max-session 1 to 100000:
//!
//! ```text
//! name (text) | kinds (1) | IPv4 (4) | IPv6 (16) | domain name (text) | priority (1) | max-session (4)
//! ```
//!
//! *report*, 20 octets. Ratios are in hundredths of a percent, 0 to 10000. Availability is 0 for
//! up and 1 for draining. What the padding holds is not looked at. The age is how long ago the
//! report was taken:
//!
//! ```text
//! IKE SAs (4) | Child SAs (4) | CPU (2) | memory (2) | availability (1) | padding (3) | age (4)
//! ```
//!
//! Update:
//!
//! ```text
//! report (20)
//! ```
//!
//! Hello has no body. Leave, Refused:
//!
//! ```text
//! reason (1)
//! ```
//!
//! Accepted. It comes again when the hold time or the master's name has changed. The hold time is
//! 100 to 120000:
//!
//! ```text
//! master's name (text) | holdtime (4)
//! ```
//!
//! View. `generation` numbers the views of a connection, from 1 and ever greater; `part` counts
//! from 0 to `parts` - 1. The parts of a view come in order, with no part of another one between
//! them, and are used once the last one is there. All of them together have at most 544 members,
//! the master and the slave itself included, no two with the same name:
//!
//! ```text
//! generation (8) | part (2) | parts (2) | members in this part (2) | member | member ...
//! ```
//!
//! *member*. `heard` is how long ago the master has heard it, `joined` how long ago it joined. Of
//! the flags, 1 says that the operator has drained it at the master; the others are not looked at:
//!
//! ```text
//! registration | report (20) | heard (4) | joined (4) | flags (1)
//! ```
//!
//! Drained. Who is drained at the master and no member now: a slave that becomes the master keeps
//! them drained. It comes before the first part of the view with the same `generation`, in as many
//! frames as the names need, at most 1024 names together. Without it nobody is:
//!
//! ```text
//! generation (8) | names in this frame (2) | name (text) | name ...
//! ```
//!
//! Used, Tickets. Tickets of clients (`RFC 5723`) that are not to be taken by anybody any more: each is
//! good once in the cluster. A slave sends those that its own clients have used, and the master sends
//! everybody's to all slaves, also to the one that it has them from:
//!
//! ```text
//! tickets in this frame (2) | ticket | ticket ...
//! ```
//!
//! *ticket*. The id is the random name in the head of the ticket, which only its maker and whoever
//! is given it need to find there; `expires` is when the ticket would have expired, in seconds since 1970. Of the flags, 1 says
//! that the session goes on with whoever has sent this, and the rest follows: the SA that the ticket
//! was made for, by the member that made it, the random number of the run of its daemon, and both
//! SPIs. That member drops the SA, and its client hears nothing. Other flags are not looked at:
//!
//! ```text
//! id (16) | expires (8) | flags (1) | issuer (text) | run (8) | initiator's SPI (8) | responder's SPI (8)
//! ```
//!
//! Alive. A generation other than 0 says: the members are still those of that view, and the
//! master has heard each of them within `oldest`. 0 says nothing about them:
//!
//! ```text
//! generation (8) | oldest (4)
//! ```
//!
//! Order. 1 is drain, 2 is undrain; other orders may have more octets, and are not obeyed by who
//! does not know them:
//!
//! ```text
//! order (1)
//! ```
//!
//! Reasons of Rejected and Refused: 1 no common version, 2 another cluster, 3 another key, 4
//! duplicate name, 5 duplicate address, 6 the cluster is full, 7 silent, 8 replaced by another
//! connection, 9 not the master any more, 10 not understood, 11 an address is a virtual IP of the
//! cluster. Reasons of Leave: 1 the daemon ends, 2 shut down by the operator, 3 configured anew, 4
//! becomes the master. Others may be added.
//!
//! # What the master keeps to
//!
//! - A name or address of a member that is alive is refused, except that a new connection with
//!   both the name and all addresses of a member takes the place of its old one: the member has
//!   crashed and come back before the master has noticed.
//! - An address that is a virtual IP of the cluster is refused, and its member goes when it becomes
//!   one.
//! - A member is gone when its connection is. Members that the master knows from the view of its
//!   predecessor have no connection; they are gone when they do not register in what is left of
//!   the hold time.
//! - Tickets are news as soon as the master hears of them; it sends what is new at most every 10 ms, and
//!   what a slave has missed in small portions beside it. It remembers 262144 of them at most, each until
//!   it would expire. A slave sends what it has not heard from a master to every new master again.
//! - Views are sent when members change and every third of the hold time, but not more of them
//!   than 4 MB per second, and than 1 MB per second to slaves that know the members already, so in
//!   a large cluster less often. Alive is sent in any case.
//!
//! # Versions
//!
//! This is version 2, which added the second proof; members speak version 1 as well. A frame whose
//! type has the bit `0x80` may be skipped by who does not know it, after its tag was checked; any
//! other unknown frame ends the connection. New frames of this kind, orders, reasons and flags do
//! not make a new version. Everything else does: body layouts have no room for surprises, and
//! octets that are left over are an error. Whoever speaks several versions names the range in the
//! Offer, whose layout is then that of the least one. As both frames with the versions are part of
//! every proof, nobody on the way can talk the two down.

#[cfg(test)]
mod tests {
    use crate::clb::auth::{NONCE, PROOF, SEQUENCE, TAG};
    use crate::clb::frame::{HEADER, MAX_FROM_MASTER, MAX_FROM_SLAVE, MAX_HANDSHAKE, OPTIONAL};
    use crate::clb::view::MAX_DRAINED;
    use crate::clb::wire::{MAGIC, Offer, VERSIONS, kind};
    use crate::clb::{
        BasisPoints, ClusterKey, ClusterName, LeaveReason, MAX_MEMBERS, MAX_TICKETS, Master, Refusal,
        Settings, Slave, SlaveSettings,
    };

    const PAGE: &str = include_str!("protocol.rs");

    /// The page as running text.
    fn page() -> String {
        let lines = PAGE.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
        lines.collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn says(text: &str) {
        assert!(page().contains(text), "the page does not say: {text}");
    }

    #[test]
    fn the_page_has_the_types_of_the_code() {
        let types = [
            (kind::OFFER, "Offer | slave | no"),
            (kind::CHALLENGE, "Challenge | master | no"),
            (kind::SLAVE_PROOF, "Slave Proof | slave | no"),
            (kind::MASTER_PROOF, "Master Proof | master | no"),
            (kind::REJECTED, "Rejected | master | no"),
            (kind::REGISTER, "Register | slave | yes"),
            (kind::UPDATE, "Update | slave | yes"),
            (kind::HELLO, "Hello | slave | yes"),
            (kind::LEAVE, "Leave | slave | yes"),
            (kind::ACCEPTED, "Accepted | master | yes"),
            (kind::REFUSED, "Refused | master | yes"),
            (kind::VIEW, "View | master | yes"),
            (kind::ALIVE, "Alive | master | yes"),
            (kind::ORDER, "Order | master | yes"),
            (kind::USED, "Used | slave | yes"),
            (kind::DRAINED, "Drained | master | yes"),
            (kind::TICKETS, "Tickets | master | yes"),
        ];
        for (kind, row) in types {
            says(&format!("| `{kind:#04x}` | {row} |"));
        }
        says(&format!("the bit `{OPTIONAL:#04x}`"));
    }

    #[test]
    fn the_page_has_the_numbers_of_the_code() {
        says(&format!("both ways | {MAX_HANDSHAKE} |"));
        says(&format!("from a slave | {MAX_FROM_SLAVE} |"));
        says(&format!("from the master | {MAX_FROM_MASTER} |"));
        says(&format!("nonce ({NONCE})"));
        says(&format!("proof ({PROOF})"));
        says(&format!("Sequence number ({})", SEQUENCE * 8));
        says(&format!("Tag ({})", TAG * 8));
        says(&format!("first {TAG} octets of HMAC"));
        says(&format!("magic \"{}\"", String::from_utf8_lossy(&MAGIC)));
        says(&format!("This is version {},", VERSIONS.1));
        says(&format!("speak version {} as well", VERSIONS.0));
        says(&format!("port {} unless", Settings::DEFAULT_PORT));
        says(&format!("at most {MAX_MEMBERS} members"));
        says(&format!("at most {MAX_DRAINED} names"));
        says(&format!("remembers {MAX_TICKETS} of them"));
        says(&format!("{} to {} octets", ClusterKey::MIN_LENGTH, ClusterKey::MAX_LENGTH));
        says(&format!("0 to {}", BasisPoints::ALL.value()));
        says(&format!(
            "1 to {}, max-session 1 to {}",
            SlaveSettings::MAX_PRIORITY,
            SlaveSettings::MAX_MAX_SESSION
        ));
        let (least, most) = Settings::HOLDTIME;
        says(&format!("{} to {}:", least.as_millis(), most.as_millis()));
        says(&format!("takes {} seconds at most", Master::HANDSHAKE.as_secs()));
        assert_eq!(Master::HANDSHAKE, Slave::HANDSHAKE);
        assert_eq!(HEADER, 4);
    }

    #[test]
    fn the_longest_offer_is_as_long_as_the_page_says() {
        let cluster: ClusterName = "x".repeat(ClusterName::MAX_LENGTH).parse().unwrap();
        let offer = Offer { versions: VERSIONS, nonce: [0; NONCE], cluster };

        says(&format!("Offer, at most {} octets", offer.to_frame().len() - HEADER));
    }

    #[test]
    fn the_page_has_every_reason() {
        let named = |code| !matches!(Refusal::from_code(code), Refusal::Other(_));
        let leave = |code| !matches!(LeaveReason::from_code(code), LeaveReason::Other(_));

        assert_eq!((0..=u8::MAX).filter(|code| named(*code)).collect::<Vec<_>>(), Vec::from_iter(1..=11));
        assert_eq!((0..=u8::MAX).filter(|code| leave(*code)).collect::<Vec<_>>(), Vec::from_iter(1..=4));
        for (refusal, words) in [
            (Refusal::Version, "no common version"),
            (Refusal::Cluster, "another cluster"),
            (Refusal::Key, "another key"),
            (Refusal::DuplicateName, "duplicate name"),
            (Refusal::DuplicateAddress, "duplicate address"),
            (Refusal::Full, "the cluster is full"),
            (Refusal::Silent, "silent"),
            (Refusal::Replaced, "replaced by another"),
            (Refusal::Stopped, "not the master any more"),
            (Refusal::Protocol, "not understood"),
            (Refusal::VipAddress, "an address is a virtual IP"),
        ] {
            says(&format!("{} {words}", refusal.code()));
        }
        for (reason, words) in [
            (LeaveReason::Stopped, "the daemon ends"),
            (LeaveReason::Disabled, "shut down by the operator"),
            (LeaveReason::Reconfigured, "configured anew"),
            (LeaveReason::Promoted, "becomes the master"),
        ] {
            says(&format!("{} {words}", reason.code()));
        }
    }
}
