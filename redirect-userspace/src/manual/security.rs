//! What an attacker may try against the balancer, and what stops it.
//!
//! Applies to this version: redirects in IKE_SA_INIT, and the gateway of `[ike]`. The balancer alone
//! holds no password and no certificate; its keys are those of HSRP and of the cluster. The gateway
//! has PSKs and private keys: see *the keys* below.
//!
//! # Who can send what
//!
//! - Anybody can send packets to the VIP, with any source address.
//! - Processes on the node with access to the control socket can read the state, reload, take
//!   members out of service, report this node's sessions, and clear and rekey its SAs.
//! - Whoever can reach the metrics address can read numbers. By default that is the node itself.
//! - Whoever can write the configuration or the pinned maps decides where clients go. Both are
//!   root's.
//!
//! # Packets
//!
//! **Reflection and amplification.** A request with a forged source makes us send to the victim.
//! The reply is always shorter than the request (`reply-not-shorter` otherwise), there is one reply
//! to one request, and it goes to the request's source address and port only. Sources that cannot
//! be a client's are not answered: multicast, broadcast, loopback, unspecified and IPv4-mapped
//! addresses, port 0, the VIP itself (`bad-source`, `not-unicast`). Short requests cannot be used:
//! what is answered must hold SA, KE, a nonce and the announcement of redirect support.
//! `accept-from` narrows the set of possible victims to the clients' prefixes.
//!
//! **Reply loops.** Two responders that answer each other's answers: a response never gets a reply
//! (`ike-response`), and our reply is a response. Traffic from the VIP to itself is refused.
//!
//! **Redirect loops.** A client that was sent on and comes back says so in REDIRECTED_FROM; if it
//! names one of our VIPs it is kept (`redirect-loop`), so a wrong configuration ends at an IKE
//! daemon, not in a circle. A VIP that is also a gateway's address is refused when the
//! configuration is read. Clients have their own limit (`RFC 5685 §7`).
//!
//! **Forged redirects.** Somebody who does not see the request cannot answer it: the reply has to
//! repeat its nonce (16 octets or more) and SPI, which clients check (`RFC 5685 §3`). Somebody on
//! the way who does see it can send the client anywhere, with or without us. What protects the
//! client is the authentication of the gateway it ends at: with the configuration for the VIP, not
//! with anything from the REDIRECT.
//!
//! **Our own client** believes a redirect as little: in IKE_SA_INIT only with its nonce, in IKE_AUTH
//! only beside a proof that holds, later only under the keys of the SA. What it is told is where, and
//! `allow` says where at most; multicast, loopback and the like, and this machine itself, are refused
//! also when a name leads there, and a name that is not allowed is not even looked up. A flood of
//! forged redirects is a counter and one event in ten seconds. More than `max-redirects` in a period
//! are not followed, whoever sends them. Nothing that a redirect does ends an SA in use before there is
//! another one.
//!
//! **Malformed packets.** Every read and write is checked against the packet's end. In the kernel
//! the verifier proves it, on the host the same code runs over slices. Lengths from the packet are
//! compared, never added without a limit. What is not certainly well-formed is not answered and not
//! changed: it goes to the kernel as it came, with a reason. The walk over payloads ends after 32.
//!
//! **Floods.** A redirect costs no memory and no state; nothing grows with the number of requests
//! or sources. Counters are per CPU and do not contend. A flood of requests that are kept (without
//! redirect support, say) reaches the IKE daemon as it would without us: its own cookies are the
//! defence (`RFC 7296 §2.6`), and a request with a cookie passes to it.
//!
//! **Aiming at one gateway.** The slot is a hash of the SPI with a multiplier that is random at
//! each start. An attacker who tries SPIs and looks at the answers can learn which lead to one
//! gateway; the hash keeps away accidents and guesses, not a patient observer. Such a flood of
//! genuine requests has to be met by the gateway's cookies, too.
//!
//! **Learning the cluster.** Whoever asks often learns the addresses of all gateways. That is the
//! purpose of a redirect.
//!
//! # The table
//!
//! **A half-written table.** Two tables, one live; the other is written whole, then a single write
//! makes it live. Entries of gateways are written before a table names them, and an index is not
//! used again while a packet could still be decided by an older table.
//!
//! **A stale table.** A daemon that dies or hangs no longer knows whether its table is right. The
//! guard lets go of the interfaces at end of file, or after 600 ms without a beat: nothing is
//! redirected a second after the daemon's last sign of life. The guard is in a process group of its
//! own, so that signals meant for the daemon do not hit it. If both die, the kernel detaches the
//! program with the last descriptor.
//!
//! **Maps of another version.** A daemon never adopts pinned maps; it replaces them. Readers find the
//! version of the layouts in `CONTROL.abi`.
//!
//! # The node
//!
//! **A hostile control client.** At most 16 connections, each for at most five seconds, and at most
//! 64 KiB of request. Answers come from snapshots: a client can neither block nor slow down the core.
//! `reload` loads root's file and nothing else. `drain`, `undrain` and `redirect` change where clients go, and only to members of the cluster;
//! reported sessions change this node's own load, and are believed for one hour at most. SAs are told
//! a page at a time, so that no question costs more for a full gateway than for an empty one. The socket
//! has mode 0660: give its group to nobody who must not do that. A second daemon is refused while one answers; a file that is no socket is not
//! removed.
//!
//! **A hostile scraper.** At most 16 connections; the header has five seconds, a connection five
//! minutes; nothing is read beyond the header. No label comes from a packet. A log line has of a peer
//! its address and its identity, cut to the length of a line: for each SA it has proved itself for,
//! else at a limited rate. So clients can fill up neither the metrics nor the log.
//!
//! **The keys.** A key file, or a configuration with a key in it, is refused while anybody but its
//! owner has access to it. No key is in a message, an event, an answer of the control socket or a
//! debug output; in memory a key is zeroed when it is given up. The same holds for PSKs and private
//! keys. Whether the configuration has changed is found out by a hash of all that was read, which is
//! not shown either. HSRP's text authentication is no key: everybody on the link can read it.
//!
//! **The old key.** While the cluster's key is being changed, two are good, and who knows the old one
//! is let in until nobody accepts it any more. Nobody on the way can have it used between two members
//! that know the new one: the proof under it hangs on the other proof.
//!
//! **Tickets.** Whoever has a reconnect key can make a ticket for anybody: it is worth as much as all
//! PSKs of the cluster, and is kept like them. A ticket that was listened to is worth nothing: its content
//! is sealed, and who presents it has to know the keys of its session. Its seal is checked before
//! anything is kept for it, at the price of two hashes and a decryption, after a cookie where those are
//! asked for. It is bound to the cluster, ends by itself, is good once, and is refused without a word
//! about why. A resumed session rests upon the last authentication with credentials: `not-before`
//! excludes all that are older than a time, and no ticket outlives the certificate it rests upon. Lists
//! of revoked certificates are looked into at an authentication, not at a resumption: who is revoked is
//! to be excluded by `not-before` as well, or cleared.
//!
//! **Passwords.** EAP-MSCHAPv2 gives whoever takes part in a conversation enough to try passwords
//! offline. So a gateway proves by AUTH who it is before our client says a word about its password, and
//! neither side lets MSCHAPv2 stand alone (`RFC 5998`). Online, ten wrong passwords in a row stop all
//! trying for a name for a minute; users that do not exist are counted, answered and computed for like
//! those that do, and the table of names has a limit. Success is believed only of a method that is done,
//! and neither side believes the other before its AUTH agrees with the key of the method. Who was let in
//! is known by the proved name, with octets that no identity of IKE has: it ends no SA of somebody whose
//! certificate or PSK has the same name. A conversation has a limit of rounds, octets and time; whatever
//! is malformed or comes at the wrong time ends it. Of a password the hash is kept, which is as good as
//! the password.
//!
//! **Revoked certificates.** An OCSP response says nothing before its signature is known to be that of the
//! CA which issued the certificate, or of a responder to which that CA has given a certificate for it; a
//! stranger's neither lets anybody in nor keeps anybody out. Whoever shows his own chooses when: one that
//! was good once can be shown until it is out of date, so its lifetime is the time for which a revoked
//! certificate may be used, and without `strict` or `ifuri` he need show none. So lists are worth having
//! beside them. Nothing is fetched because a peer says where it is: by hash and URL he could have the
//! gateway ask any host for anything. Certificates, responses and the octets of both that are looked at
//! have a limit, and so has the way from one to the next. A file of ours that is broken, or is being
//! written, leaves what was there before in use, and never nothing.
//!
//! **Servers that know the users** are asked once for each packet of a client, while its repetitions are
//! not answered, and are told when nobody waits any more. An answer to another question changes nothing.
//! An address that they grant is given to nobody who is not alone in having it.
//!
//! **Foreign programs.** An interface with another XDP program is refused and left as it is. Ours is
//! removed by closing its link, which cannot hit anybody else's.
//!
//! **Too many rights.** The daemon needs three capabilities for XDP (see [`super::operations`]), no
//! more, and can be confined to them. Unsafe code stands in listed files only; `cargo xtask arch`
//! checks that.
//!
//! # What is not defended
//!
//! - An attacker on the path between client and node (see *forged redirects*).
//! - A member that is wrong but configured: nobody checks that a gateway is alive.
//! - Whoever owns the VIP's network can take the VIP; VRRP in the README's example has no
//!   authentication worth the name. Use a network of the nodes' own.
//!
//! # How it is checked
//!
//! | what | by |
//! |---|---|
//! | replies are shorter, go back to the sender and repeat the nonce, for every fixture and for chains at random | `every_fixture_gets_its_verdict`, `any_chain_is_answered_well_or_left_alone`, `the_nonce_comes_back_whole_wherever_it_was` |
//! | what passes is untouched; damaged requests are answered well or left alone | `a_request_with_octets_changed_is_answered_well_or_left_alone` |
//! | the program in the kernel decides as the code on the host does, on damaged packets too | `every_fixture_gets_the_verdict_and_the_octets_of_the_host`, `mutated_packets_get_the_verdict_and_the_octets_of_the_host` |
//! | only the VIP is answered for | `only_the_vip_is_answered_for` |
//! | a client that does not announce support is kept | `a_client_without_redirect_support_is_kept_by_the_node_it_reached` |
//! | a swap of tables is whole, and a removed gateway gets nothing more | `a_published_table_counts_for_the_next_packet_and_a_removed_gateway_gets_nothing`, `a_reload_under_load_loses_no_request_and_a_removed_member_gets_none` |
//! | our client follows no redirect that it should not | `rdc_07_to_10_a_redirect_without_our_nonce_is_nothing_and_the_true_answer_is_taken`, `rda_05_a_gateway_that_is_not_believed_sends_nobody_anywhere`, `rdl_09_a_flood_of_forged_redirects_begins_nothing_counts_as_nothing_and_is_told_once`, `a_name_that_leads_to_no_gateways_address_is_refused` |
//! | a dead or hanging daemon stops answering within a second | `a_killed_daemon_answers_no_more_within_a_second_and_leaves_nothing`, `a_daemon_that_hangs_answers_no_more_within_a_second` |
//! | a killed guard is replaced | `a_guard_that_was_killed_is_replaced` |
//! | a foreign XDP program is left alone | `an_interface_with_another_xdp_program_is_refused_by_name_and_left_alone` |
//! | a key is its owner's alone, and nobody is shown it | `a_file_that_others_have_access_to_is_refused_with_its_mode`, `a_file_with_a_key_in_it_is_its_owners_alone`, `no_message_shows_a_key`, `no_message_and_no_debug_text_shows_a_psk` |
//! | a full gateway answers page by page | `pages_follow_each_other_without_gap_or_repetition`, `an_sa_with_many_children_fills_a_page_and_is_still_shown` |
//! | a ticket that was changed, cut, used, that is too old or of others is refused, and nothing is kept of it | `a_ticket_with_any_bit_changed_is_refused`, `a_ticket_that_is_none_is_refused_and_nothing_is_kept_of_it`, `a_ticket_that_was_used_is_refused_the_second_time`, `a_client_that_has_to_authenticate_itself_anew_is_told_so_by_a_refusal` |
//! | nobody gets in without the password, and trying them does not help | `a_wrong_password_and_an_unknown_user_look_the_same`, `a_user_is_locked_out_after_too_many_wrong_passwords_known_or_not`, `a_message_of_ike_auth_that_does_not_come_then_is_refused` |
//! | a gateway that is none hears nothing about a password, and is not believed | `a_gateway_that_has_not_proved_who_it_is_hears_nothing_about_the_password`, `success_is_not_believed_before_the_method_is_done`, `a_gateway_that_lets_us_in_without_eap_is_not_believed` |
//! | a response or list that was changed, cut, replayed, or signed by others says nothing, and one that says `revoked` is heeded | `whatever_octet_is_wrong_or_missing_nothing_is_believed`, `a_responder_has_a_certificate_of_the_ca_for_it`, `a_list_that_was_changed_or_cut_says_nothing`, `a_response_counts_if_it_is_the_cas_and_about_this_certificate` |
//! | a certificate that is elsewhere is not fetched | `a_certificate_that_is_elsewhere_is_not_fetched_and_its_owner_is_refused` |
//! | a broken file leaves the old one in use | `what_is_broken_leaves_the_old_one_in_use`, `a_client_that_is_revoked_while_the_gateway_runs_gets_in_no_more` |
//! | the old cluster key is used only where the new one is not known | `nobody_on_the_way_can_have_the_accepted_key_used` |
//! | the SPI's every octet counts for the slot | `the_slot_depends_on_every_octet_of_the_spi` |
