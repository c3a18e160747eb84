//! What the RFCs ask of the fast path, and where it deviates.
//!
//! First what the balancer itself does: the answer to the first message of a client. Everything
//! after that is between the client and the gateway it was sent to. What the configuration of our
//! own gateway allows and refuses is [further below](#the-gateways-configuration).
//!
//! # RFC 5685, redirect
//!
//! | section | requirement | here |
//! |---|---|---|
//! | §3 | REDIRECT only to clients that announced support | REDIRECT_SUPPORTED or REDIRECTED_FROM must be there, anywhere in the chain; else `no-redirect-support` |
//! | §3 | REDIRECTED_FROM announces support, too | yes |
//! | §3 | the response carries the nonce data of the request | copied octet by octet after the gateway's identity |
//! | §3 | no IKE SA results, the responder's SPI is zero | zero, and no state is kept |
//! | §4 | a request to an anycast address MUST be redirected to a unicast address | the VIP is not anycast in this sense: one node owns it. Requests for the node's own share are kept |
//! | §7 | loops | a client that comes from one of our VIPs is kept: `redirect-loop`. Clients limit themselves |
//! | §9.1 | REDIRECT_SUPPORTED has no protocol, no SPI and no data | else `notify-malformed` |
//! | §9.2 | identity types 1 IPv4, 2 IPv6, 3 FQDN, with their lengths | the address of the request's family, else the FQDN, else `no-identity` |
//! | §9.2 | protocol ID and SPI size are zero | yes |
//! | §9.3 | REDIRECTED_FROM has an IPv4 or IPv6 address | else `notify-malformed` |
//! | §10 | only the original responder redirects | responses and requests without the Initiator flag are never answered |
//! | §5, §6 | redirect of an established SA, redirect in IKE_AUTH | both need the keys of an IKE SA: not by the fast path |
//!
//! # RFC 5685, the client
//!
//! | section | requirement | here |
//! |---|---|---|
//! | §3, §9.1 | REDIRECT_SUPPORTED in the first request | in IKE_SA_INIT alone, unless `[redirect.client]` says no |
//! | §3 | a REDIRECT without our nonce is discarded, and the true answer waited for | yes: `bad-nonce`, and nothing changes |
//! | §3 | the new request says REDIRECTED_FROM | the address of the gateway that sent us last, in every repetition; REDIRECT_SUPPORTED is left out, as the RFC allows |
//! | §3 | PAD and SPD stay those of the original gateway | `remote-id`, proof and selectors are the connection's, whoever answers |
//! | §5 | a redirect of an SA in use is acknowledged, then the SA deleted | the answer first; the SA a second after the new one has its Child SAs, so that what is still under way arrives |
//! | §6 | the gateway's AUTH is verified before a redirect counts, and none counts in a round in between | else `wrong-time` |
//! | §6 | the SA of an IKE_AUTH redirect is deleted | yes; the answer is not waited for before the next gateway is asked |
//! | §7 | at most MAX_REDIRECTS in a period | `max-redirects` in `period`, 5 in 300 s; a window that goes along, of the connection and not of an SA |
//! | §9.2 | no nonce in IKE_AUTH and INFORMATIONAL | one that is there makes the redirect `bad-nonce`, as in libreswan; strongSwan ignores it |
//! | §10 | only the original responder redirects | whoever began the first SA is the client, however often it is rekeyed; else `wrong-side` |
//! | §12 | unknown types of identity | `bad-type`; in INFORMATIONAL the request is answered with nothing, and the SA stays |
//!
//! # RFC 4555, MOBIKE
//!
//! | section | requirement | here |
//! |---|---|---|
//! | §3.2 | MOBIKE_SUPPORTED in the message with the SA payload | in IKE_AUTH, if `mobike`; one that was not asked for is ignored |
//! | §3.3 | port 4500 from IKE_AUTH on, if both know MOBIKE and NAT traversal | the client goes there whatever the gateway says of MOBIKE, which it does not know yet |
//! | §3.5 | the client decides | an UPDATE_SA_ADDRESSES of the gateway is answered with UNACCEPTABLE_ADDRESSES |
//! | §3.5 | answers about an address that is left already are ignored | every change has a number, and what is answered to another one says nothing |
//! | §3.5 | outstanding requests go on at the new address | at once, on both sides |
//! | §3.6 | the complete list of other addresses | within a minute of a reload that changes it; a gateway does not use its clients' lists |
//! | §3.7 | return routability, before the Child SAs move | unless `mobike-check = false` or only the port changes; another COOKIE2 ends the SA |
//! | §3.8 | IKE messages alone move nobody; ESP may find who is behind a NAT | yes; at another address than before it is asked there first, and where the client has just been it is only late |
//! | §3.9 | NO_NATS_ALLOWED where NAT traversal is not known | sent and checked; an update is tried again three times |
//! | §3.10 | path testing | a request that was repeated twice goes on every known way, and the one that is answered on is taken |
//! | §3.11 | the gateway is patient | 5 minutes at least, but not for deletes |
//! | §3.12 | ESP at the wrong address is no sign of life | not looked at: any authentic packet is |
//!
//! # RFC 7296, IKEv2
//!
//! | section | requirement | here |
//! |---|---|---|
//! | §2.1, §2.2 | a retransmitted request gets the same response | the same gateway and the same octets, while the table does not change |
//! | §2.2 | IKE_SA_INIT has Message ID 0 | else `message-id`; the response has 0 |
//! | §2.5 | a message with a higher major version is answered with INVALID_MAJOR_VERSION | passed to the IKE daemon, which does: `ike-version` |
//! | §2.5 | the minor version is ignored on receipt | yes; the response says 2.0 |
//! | §2.5 | payloads come in any order | yes |
//! | §2.5 | unknown payloads: with the critical bit reject, without ignore | passed to the IKE daemon, which rejects: `critical-payload`; ignored |
//! | §2.6 | the initiator's SPI is not zero; the responder's is, in a first message | else `spi-i-zero`, `spi-r-set` |
//! | §2.23 | replies go to the address and port the request came from | yes, with the marker on port 4500 |
//! | §3.1 | flags of a response: Response set, Initiator not | yes |
//! | §3.1 | reserved flags are ignored on receipt and cleared when sent | yes |
//! | §3.9 | a nonce has 16 to 256 octets | else `nonce-length` |
//! | §3.10 | unknown notifies in a request are ignored | yes |
//!
//! # RFC 7296 §2.16, EAP, and RFC 5998
//!
//! | section | requirement | here |
//! |---|---|---|
//! | §2.16 | a first request without AUTH asks for EAP | a profile with EAP has to be there for its IDi and IDr; else `no-profile` |
//! | §2.16 | the responder's AUTH is in its first response | yes; left out only where RFC 5998 allows it |
//! | §2.16 | AUTH of both sides with the MSK, with SK_pi and SK_pr where a method has none | yes |
//! | §2.16 | methods without a key SHOULD NOT be used | there is none; a server behind the gateway may use one |
//! | §2.16 | SA, TSi, TSr, CP of the first request are answered in the last response | yes, as INITIAL_CONTACT and TICKET_REQUEST are (RFC 5723 §4.2) |
//! | §3.16 | EAP identity requests SHOULD NOT be sent | they are when IDi is no name, or the profile says so: Windows says nothing but its address |
//! | RFC 3748 §4.1 | an identifier that is not that of the request: discarded | the conversation ends: IKE has lost nothing and doubled nothing, so it is no accident |
//! | RFC 3748 §4.2 | Success before a method is done: discarded | the conversation ends |
//! | RFC 3748 §5.1 | an identity may be empty | yes: the method says who it is |
//! | RFC 3748 §5.3.1 | a Nak only in answer to the first request of a method | else the conversation ends; what was refused is not offered again |
//! | RFC 5685 §6 | a redirect in the first response, with AUTH, or in the last one | the last one unless `redirect-auth` says `"first"`; as a client, in neither of them without a right AUTH, and never in between |
//! | RFC 5998 §3 | EAP_ONLY_AUTHENTICATION only with mutual methods that make a key and withstand dictionaries | announced and heeded only if every method that may come is one; EAP-MSCHAPv2 is not |
//! | RFC 5998 §3 | not when a session is resumed | a ticket without AUTH is refused |
//!
//! # Certificates: RFC 7296 §3.6, RFC 4806, RFC 6960
//!
//! | section | requirement | here |
//! |---|---|---|
//! | RFC 7296 §3.6 | four certificates at least are sent and accepted | eight |
//! | RFC 7296 §3.6 | certificates by hash and URL SHOULD be taken | never announced, never fetched: who sends one is refused, see [`super::security`] |
//! | RFC 7296 §3.7 | a CERTREQ is advice | there is one certificate for each profile, and it is sent |
//! | RFC 4806 §3.1 | a CERTREQ for OCSP responses stands by itself | yes, with no hashes; sent where something must be known about revocation |
//! | RFC 4806 §3.1.1 | hashes name responders that are trusted | not looked at: there is one response, that of the CA or of a responder of it |
//! | RFC 4806 §4.1, §4.2 | a response goes with the certificate to whoever asks | yes, while it is not out of date; to nobody else |
//! | RFC 4806 §4.1 | no response in spite of a request: local policy | `revocation` |
//! | RFC 6960 §3.2, §4.2.2.2 | what makes a response acceptable, and who may sign | the CA, or a responder with id-kp-OCSPSigning of that CA, which lists have not revoked; no others are configured |
//! | RFC 6960 §4.2.2.1 | without nextUpdate there may be a newer response at any time | it counts for an hour |
//! | RFC 6960 §4.4.1 | a nonce | there is none: the responder is not asked for the peer |
//! | RFC 9190 §5.4 | a server of EAP-TLS shows a response to clients that ask | yes, the same one |
//!
//! # What of a request must hold
//!
//! In the order in which it is looked at; the first that does not hold gives the reason.
//!
//! 1. Ethernet with at most two VLAN tags, then IPv4 without options and fragments, or IPv6 without
//!    extension headers, then UDP to port 500 or 4500.
//! 2. The destination is a VIP, the fast path is armed, and the source can be answered.
//! 3. The lengths of IP and UDP agree; the IPv4 header's checksum is right.
//! 4. On port 4500 the non-ESP marker; then an IKE header of version 2, a request of IKE_SA_INIT by
//!    the original initiator, with SPIs and Message ID as a first message has them.
//! 5. The IKE length is that of the datagram, and the chain of payloads ends exactly there.
//! 6. Exactly one SA, one KE and one nonce; no cookie, no puzzle, no payload that does not belong
//!    there.
//! 7. One REDIRECT_SUPPORTED or REDIRECTED_FROM at the most each, at least one of them.
//! 8. The table's slot leads to a gateway, which is not this node and has an identity for the
//!    request's family.
//! 9. The reply is shorter than the request.
//!
//! # Others
//!
//! | | |
//! |---|---|
//! | `RFC 3948 §2.2` | port 4500: only with the non-ESP marker, else `esp`; the reply has the marker |
//! | `RFC 3948 §2.3` | NAT keepalives are none of our business: `nat-keepalive` |
//! | `RFC 6864 §4.1` | replies are atomic datagrams: DF set, identification 0 |
//! | `RFC 8200 §8.1` | IPv6: a request without UDP checksum is not answered, every reply has one |
//! | `RFC 1122 §3.2.1.3`, `RFC 4291 §2.5` | sources that are no host's are not answered |
//!
//! # The gateway's configuration
//!
//! | | requirement | here |
//! |---|---|---|
//! | `RFC 8247 §2`, `RFC 8221 §5`, `§6` | algorithms that MUST NOT or SHOULD NOT be used | refused by name, with the reason, in `ike-proposals` and `esp-proposals` |
//! | `RFC 8247 §3.2.1` | SHA-1 in signatures | only with `legacy-sha1`, and only in method 1 |
//! | `RFC 7296 §2.15` | a PSK should be as unpredictable as the strongest key | taken from a file that is its owner's alone; its strength is not judged |
//! | `RFC 7296 §2.19` | a client asks for addresses | `request`; its TSi is the whole family then |
//! | `RFC 7296 §3.5`, `RFC 4945 §3.1` | the identity is in the certificate | checked when the file is read: `local-id`; without it, the certificate's first name is the identity |
//! | `RFC 4945 §5.1.3.2`, `§5.1.3.12` | usages of a certificate | digitalSignature or nonRepudiation; id-kp-ipsecIKE, any, or those of TLS |
//! | `RFC 5280 §6` | a trust anchor is a CA's | else refused when the file is read |
//! | `RFC 7383 §2.5.1` | the size from which messages are fragmented | `fragment-size`, 1280 octets for both families unless set, never below 576 |
//! | `RFC 8598` | domains of internal names | `domains` |
//! | `RFC 5723 §9.5` | keys of tickets: at least 128 bits, for nothing else, changed | `[reconnect]`: at least 16 octets, two keys while one takes the place of the other |
//!
//! # Deviations
//!
//! Each is a decision; the reason stands with it.
//!
//! **The UDP checksum of a request is not verified.** It would mean reading every octet of every
//! request, and network cards verify it for the kernel, not for XDP. A request that was damaged
//! on the way gets a reply with a damaged nonce, which the client drops, and repeats; the structure
//! is checked in any case. The checksum of the reply is computed. In userspace mode the kernel
//! verifies.
//!
//! **No cookie is demanded.** A responder under attack should ask for a cookie before it works or
//! keeps state (`RFC 7296 §2.6`). A redirect keeps no state, costs less than a cookie would, and is
//! shorter than its request. The gateway that the client is sent to can demand one. A request that
//! brings a cookie belongs to whoever issued it, the IKE daemon of this node, and passes: `cookie`.
//! The same goes for puzzles (`RFC 8019`): `puzzle`.
//!
//! **IKE_SESSION_RESUME passes the fast path** (`RFC 5723 §4.3.2`): `session-resume`. The IKE daemon of
//! this node answers it. Our own gateway does with it as with IKE_SA_INIT: a client that follows
//! redirects is sent where the table leads, and presents its ticket there.
//!
//! **Tickets are good at every member** (`RFC 5723 §1` leaves that out): the members share the keys, and
//! the profiles by name. That a ticket is used once is certain at one node; other nodes do not hear of
//! it yet. Whoever presents it a second time elsewhere needs the keys of the session all the same (`RFC
//! 5723 §4.3.1`, `§9.10`: a precaution).
//!
//! **AUTH of a resumed session is believed in two readings** (`RFC 5723 §4.3.3`: "message octets"): over
//! the octets of `RFC 7296 §2.15`, as we send it, and over the first message alone, as libreswan does.
//! Whoever uses one is answered with the same. The method is 2, which the RFC does not say.
//!
//! **A ticket is void when the IKE SA gets new keys** (`RFC 5723 §6.2`), at the node that has made it. The
//! client asks for another one in the same exchange, or right after it.
//!
//! **A redirect does not end a session** (`RFC 5723 §6.2`: with the SA the ticket is to be deleted): the
//! client deletes its SA at the one gateway because it goes on at the other.
//!
//! **SA and KE are not looked into.** Whether a proposal can be accepted is the gateway's decision; a
//! client without a common proposal is told so there, one round trip later.
//!
//! **The request must be well-formed as a whole.** The RFC allows a responder to be lenient.
//! Whatever is unusual (a second KE, octets after the last payload, more than 32 payloads, more
//! than 3000 octets, fragments, IPv4 options, IPv6 extension headers) passes, and the IKE daemon
//! may be as lenient as it likes.
//!
//! **The reserved bits of payload headers are ignored, as demanded, but so is the critical bit of
//! payloads that are known** (`RFC 7296 §2.5`: implementations must not look at it there).
//!
//! **Replies have TTL 64, traffic class 0 and flow label 0**, whatever the request had: nothing of
//! the sender's is copied that does not have to be.
//!
//! **A certificate that has expired is a mistake in the configuration.** The RFCs leave it to peers to
//! refuse it. A gateway that nobody believes is better not started, or not reloaded, than found out
//! by its clients.
//!
//! **A redirect beside an answer is no answer.** An IKE_SA_INIT response with both a REDIRECT and the
//! payloads of an answer contradicts itself and is dropped; the one or the other may still come.
//!
//! **Every connection has an SA of its own.** libreswan lets a second connection that is sent to the
//! same gateway ride on the first one's IKE SA. Ours have credentials of their own, so each proves
//! itself.
//!
//! **After too many redirects the list is asked again**, after the pause between two rounds. The RFC
//! does not say what then; libreswan pauses for the whole period. The gateway may have mended, and
//! what it must not do meanwhile, send us round again, is still refused.
//!
//! # How it is checked
//!
//! | what | by |
//! |---|---|
//! | two replies, octet by octet, against values written down by hand | `the_reply_to_an_ipv4_request_is_known_to_the_octet`, `the_reply_to_an_ipv6_request_is_known_to_the_octet` |
//! | every reason has a request that meets it | `every_reason_has_a_fixture` |
//! | a decoder that is not ours finds nothing wrong | `tshark_finds_nothing_wrong_with_any_reply` |
//! | strongSwan follows the redirect, over IPv4, IPv6 and port 4500 | `a_strongswan_client_that_knows_only_the_vip_lands_on_a_gateway`, `a_strongswan_client_that_knows_only_the_ipv6_vip_lands_on_a_gateway`, `a_strongswan_client_on_port_4500_lands_on_a_gateway` |
//! | retransmissions meet the same gateway | `a_retransmission_gets_the_same_gateway` |
//! | our client does what the table says, case by case | the tests in `ike::tests::client`, which are named after the cases |
//! | our client follows strongSwan, libreswan and ourselves | `a_client_of_ours_that_knows_only_the_vip_lands_on_a_gateway_of_ours`, `a_live_redirect_by_strongswan_moves_our_client_and_no_packet_is_lost`, `a_client_of_ours_follows_libreswan_in_ike_sa_init`, `a_client_of_ours_follows_libreswan_in_ike_auth` |
//! | VLAN tags come back | `a_client_behind_a_vlan_is_answered_with_its_tag` |
//! | userspace mode sends the same octets | `a_reply_has_the_octets_it_would_have_on_ethernet` |
//! | sessions go on by ticket at every member, in both readings, and through a change of keys | `a_client_whose_gateway_is_dead_is_back_at_another_member_in_one_round_trip_more`, `a_proof_over_the_first_message_alone_is_believed_and_answered_in_kind`, `every_step_of_a_change_of_keys_leaves_every_ticket_good` |
//! | OCSP responses go to whoever asks, and count | `a_response_is_shown_to_whoever_asks_for_it_and_to_nobody_else`, `whoever_must_know_and_hears_nothing_refuses`, `what_openssl_made_is_believed`, `a_server_shows_what_its_ca_says_about_it_while_that_counts` |
//! | chains with several CAs are believed, with strongSwan at either end | `chains_with_several_cas_are_sent_and_believed_both_ways_in_any_order`, `strongswan_and_we_believe_each_others_chains_with_several_cas`, `strongswan_believes_our_chain_with_several_cas_of_which_it_knows_the_first_only` |
//! | certificates and keys are judged when they are read | `credentials_that_do_not_fit_are_named_with_the_reason`, `a_certificate_is_for_ike_and_for_its_owner`, `certificates_are_judged_by_the_time_that_is_given` |
