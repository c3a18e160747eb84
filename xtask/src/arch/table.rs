//! The law: who may import whom, who may use which crate, and where unsafe code may stand.
//!
//! Paths are module paths of `redirect-userspace`. A rule or a permission covers the module and
//! everything in it; of several rules that fit, the longest counts. A `*` in a permission's last
//! word stands for any letters.

/// What one module may import besides itself.
pub(crate) struct Layer {
    /// The module.
    pub(crate) module: &'static str,
    /// Which others it may name.
    pub(crate) may: &'static [&'static [&'static str]],
    /// Whether it is free of I/O, clocks and threads.
    pub(crate) is_pure: bool,
}

/// Where a crate may be used.
pub(crate) struct Dependency {
    /// Its name in paths.
    pub(crate) name: &'static str,
    /// Modules that may use it; [`EVERYWHERE`] for all.
    pub(crate) homes: &'static [&'static str],
}

/// Stands for every module.
pub(crate) const EVERYWHERE: &[&str] = &["*"];

/// The module that stands for the programs in `src/bin`.
pub(crate) const PROGRAMS: &str = "bin";

const BASE: &[&str] = &["time", "machine", "codec", "rng", "secret", "gateway", "throttle"];
/// The settings of the protocols, as they are offered to others.
const CONFIGS: &[&str] = &[
    "hsrp::Authentication*",
    "hsrp::Group*",
    "hsrp::Md5*",
    "hsrp::Preempt",
    "hsrp::Settings*",
    "hsrp::Timers*",
    "hsrp::Track",
    "hsrp::Version",
    "clb::ClusterKey*",
    "clb::Load*",
    "clb::MasterSettings",
    "clb::Overload*",
    "clb::Policy",
    "clb::Settings",
    "clb::SlaveSettings",
    "ike::config",
    "radius::config",
];
/// What is needed to read the gateway's settings: how identities, proposals, selectors and pools are
/// written, what methods of EAP there are, and what certificates and keys are.
const IKE_SYNTAX: &[&str] = &[
    "crypto::Legacy",
    "crypto::digest",
    "crypto::mschap",
    "crypto::sign::PrivateKey*",
    "crypto::mschap",
    "crypto::x509",
    "ike::authn::eap",
    "ike::following",
    "ike::identity",
    "ike::paper",
    "ike::pool::Pool*",
    "ike::proposal",
    "ike::selector::MAX_SELECTORS",
    "ike::ticket::Sealer",
    "ike::ticket::TicketKey",
    "ike::wire",
];
/// The cluster's settings, and the members that are written down.
const CLUSTER_SETTINGS: &[&str] = &[
    "cluster::MAX_MEMBERS",
    "cluster::Member",
    "cluster::MemberState",
    "cluster::OverloadAction",
    "cluster::OverloadLimit",
    "cluster::Policy",
    "cluster::Settings",
];
/// Words of HSRP that interfaces have as well.
const LINK_WORDS: &[&str] = &["hsrp::MacAddress"];
/// What the machines ask the outside world to do.
const OUTPUTS: &[&str] = &["hsrp::*Output", "clb::*Output", "ike::*Output", "cluster::*Output"];
const EVENTS: &[&str] = &["hsrp::*Event", "clb::*Event", "ike::*Event", "cluster::*Event", "radius::*Event"];
const SNAPSHOTS: &[&str] = &[
    "hsrp::*Snapshot",
    "clb::*Snapshot",
    "ike::*Snapshot",
    "cluster::*Snapshot",
    "fastpath::*Snapshot",
    "radius::*Snapshot",
];
const MACHINES: &[&str] = &["hsrp", "clb", "ike", "cluster", "radius"];
const OUTSIDE: &[&str] = &["fastpath", "dataplane", "net", "telemetry", "control", "config"];

/// The modules of `redirect-userspace`, lowest first.
pub(crate) const LAYERS: &[Layer] = &[
    pure("time", &[BASE]),
    pure("machine", &[BASE]),
    pure("codec", &[BASE]),
    pure("rng", &[BASE]),
    pure("secret", &[BASE]),
    pure("gateway", &[BASE]),
    pure("throttle", &[BASE]),
    pure("crypto", &[BASE]),
    // The four protocols do not know each other.
    pure("hsrp", &[BASE, &["crypto"]]),
    pure("clb", &[BASE, &["crypto"]]),
    pure("ike", &[BASE, &["crypto"]]),
    pure("ike::wire", &[BASE]),
    // Its tests read published octets.
    pure("radius", &[BASE, &["crypto::hex"]]),
    pure("cluster", &[BASE, &["hsrp", "clb"]]),
    outside("config", &[BASE, CONFIGS, CLUSTER_SETTINGS, IKE_SYNTAX]),
    outside("net", &[BASE, OUTPUTS, LINK_WORDS]),
    // The userspace fallback answers on the sockets of `net`.
    outside("fastpath", &[BASE, OUTPUTS, &["net"]]),
    // Child SAs as IKE describes them, and sockets.
    outside(
        "dataplane",
        &[
            BASE,
            OUTPUTS,
            &[
                "crypto",
                "net",
                "ike::InstallChild",
                "ike::Outer",
                "ike::Path",
                "ike::Trap",
                "ike::TrapId",
                "ike::Usage",
                "ike::Volume",
                "ike::Shard",
                "ike::NAT_T_PORT",
                "ike::wire",
            ],
        ],
    ),
    pure("dataplane::esp", &[BASE, &["crypto", "dataplane::replay"]]),
    pure("dataplane::replay", &[BASE, &["crypto"]]),
    // The cluster's words are put into those of the contract here.
    outside(
        "control",
        &[
            BASE,
            SNAPSHOTS,
            CONFIGS,
            &[
                "radius::Counters",
                "radius::Discard",
                "radius::Outcome",
                "radius::Role",
                "radius::ServerState",
                "radius::Tally",
            ],
            &["cluster", "clb::BasisPoints", "hsrp::Discard", "hsrp::MacAddress", "hsrp::State"],
            &[
                "ike::Counters",
                "ike::Discard",
                "ike::Failure",
                "ike::RedirectExchange",
                "ike::RedirectRefusal",
                "ike::Redirected",
                "ike::SaId",
                "ike::SaState",
                "ike::Selection",
                "ike::Usage",
                "ike::identity",
                "ike::paper",
                "ike::wire",
            ],
        ],
    ),
    // Metrics and the journal are other renderings of what `control` answers.
    outside(
        "telemetry",
        &[
            BASE,
            EVENTS,
            SNAPSHOTS,
            &[
                "radius::Counters",
                "radius::DeathCause",
                "radius::Discard",
                "radius::Outcome",
                "radius::Role",
                "radius::ServerState",
            ],
            &["clb", "cluster", "control", "hsrp::Cause", "hsrp::Discard", "hsrp::GroupName", "hsrp::State"],
            &[
                "ike::CloseReason",
                "ike::Counters",
                "ike::Discard",
                "ike::Failure",
                "ike::RedirectExchange",
                "ike::RedirectReason",
                "ike::RedirectRefusal",
                "ike::SaId",
                "ike::SaLabel",
                "ike::SaState",
                "ike::config::Name",
                "ike::paper",
                "ike::wire::ChildSpi",
                "ike::wire::ExchangeType",
            ],
        ],
    ),
    outside("runtime", &[BASE, &["crypto"], MACHINES, OUTSIDE]),
    // The daemon is started from one place, by its entry function.
    outside(
        "cli",
        &[
            BASE,
            &[
                "config",
                "control",
                "runtime::run",
                "runtime::guard",
                "runtime::load",
                "runtime::GUARD_ARGUMENT",
                "telemetry::log",
            ],
        ],
    ),
    outside("testing", &[BASE, &["crypto", "fastpath::memory", "dataplane::kernel", "net::xfrm"], MACHINES]),
    // Text only; its tests hold the README against the code.
    outside("manual", &[&["config", "time", "ike::Failure", "ike::ticket"], CONFIGS]),
    outside(PROGRAMS, &[&["cli", "runtime"]]),
];

/// Every dependency of `redirect-userspace` has its homes. Tests may use any of them.
pub(crate) const DEPENDENCIES: &[Dependency] = &[
    Dependency { name: "aes", homes: &["crypto"] },
    Dependency {
        name: "anyhow",
        homes: &["cli", "runtime", "net", "fastpath", "dataplane", "control", PROGRAMS],
    },
    Dependency { name: "aws_lc_rs", homes: &["crypto"] },
    Dependency { name: "aya", homes: &["fastpath::xdp", "fastpath::guard"] },
    Dependency { name: "log", homes: &["fastpath::xdp"] },
    Dependency { name: "aya_obj", homes: &["fastpath::guard"] },
    Dependency { name: "aya_log", homes: &["fastpath::xdp"] },
    Dependency { name: "cbc", homes: &["crypto"] },
    Dependency { name: "chacha20", homes: &["rng", "crypto"] },
    Dependency { name: "clap", homes: &["cli", PROGRAMS] },
    Dependency { name: "comfy_table", homes: &["cli"] },
    Dependency { name: "common", homes: EVERYWHERE },
    Dependency { name: "crypto_bigint", homes: &["crypto"] },
    Dependency {
        name: "futures_util",
        homes: &["net", "fastpath::xdp", "runtime", "control", "telemetry::export"],
    },
    Dependency { name: "getrandom", homes: &["runtime::clock"] },
    Dependency { name: "hmac", homes: &["crypto", "clb::auth", "radius::digest"] },
    Dependency { name: "http_body_util", homes: &["telemetry::export"] },
    Dependency { name: "hyper", homes: &["telemetry::export"] },
    Dependency { name: "hyper_util", homes: &["telemetry::export"] },
    // MSCHAPv2 has them, and nothing else may.
    Dependency { name: "des", homes: &["crypto::mschap"] },
    Dependency { name: "md4", homes: &["crypto::mschap"] },
    // HSRP authenticates with keyed MD5 and nothing better (RFC 2281 has less), and so does RADIUS.
    Dependency { name: "md5", homes: &["hsrp", "radius::digest"] },
    Dependency {
        name: "nix",
        homes: &["net", "fastpath", "dataplane", "runtime", "control", "config", "cli::drain", "cli::top"],
    },
    Dependency { name: "pki_types", homes: &["crypto"] },
    Dependency { name: "prometheus_client", homes: &["telemetry"] },
    Dependency { name: "rtnetlink", homes: &["net"] },
    Dependency { name: "rustls", homes: &["crypto::tls"] },
    Dependency { name: "rustix", homes: &["net", "fastpath::guard"] },
    Dependency { name: "serde", homes: EVERYWHERE },
    Dependency { name: "serde_json", homes: &["control", "cli", "telemetry", "testing"] },
    Dependency { name: "sha1", homes: &["crypto"] },
    Dependency { name: "sha2", homes: &["crypto", "clb::auth"] },
    Dependency { name: "subtle", homes: &["crypto", "secret", "clb::auth"] },
    Dependency { name: "terminal_size", homes: &["cli"] },
    Dependency { name: "thiserror", homes: EVERYWHERE },
    Dependency {
        name: "tokio",
        homes: &["net", "runtime", "control", "telemetry::export", "cli", "fastpath::xdp"],
    },
    Dependency { name: "toml", homes: &["config", "cli"] },
    Dependency {
        name: "tracing",
        homes: &["telemetry", "net", "fastpath", "dataplane", "control", "runtime", "cli"],
    },
    Dependency { name: "tracing_subscriber", homes: &["telemetry"] },
    Dependency { name: "webpki", homes: &["crypto"] },
    Dependency { name: "zerocopy", homes: EVERYWHERE },
    Dependency { name: "zeroize", homes: &["secret", "crypto"] },
];

/// Parts of `std` that reach outside; pure modules do without.
pub(crate) const IMPURE_STD: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::Tcp*",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Parts of those parts that reach nowhere: the trait by which the TLS library is given plaintext.
pub(crate) const HARMLESS_STD: &[&str] = &["std::io::Write"];

/// What the two crates below userspace may depend on, by manifest.
pub(crate) const LOWER_CRATES: &[(&str, &[&str])] =
    &[("common", &["zerocopy"]), ("redirect-ebpf", &["common", "zerocopy", "aya-ebpf", "aya-log-ebpf"])];

/// Files in which unsafe code may stand: a whole path, or a folder and `*.rs`.
pub(crate) const UNSAFE_CODE: &[&str] = &[
    "redirect-ebpf/src/packet.rs",
    "redirect-ebpf/src/cookie.rs",
    "redirect-ebpf/src/counters.rs",
    "redirect-ebpf/src/testing.rs",
    "redirect-userspace/src/net/*.rs",
    // An allocator that counts.
    "redirect-userspace/benches/ike/memory.rs",
];

/// Files in which, besides, attributes may be marked unsafe: sections of an object have names.
pub(crate) const UNSAFE_ATTRIBUTES: &[&str] =
    &["redirect-ebpf/src/main.rs", "redirect-ebpf/src/maps.rs", "redirect-ebpf/src/pass.rs"];

/// Crate roots that forbid unsafe code themselves, so that the compiler checks it as well.
pub(crate) const FORBIDDING_ROOTS: &[&str] =
    &["common/src/lib.rs", "redirect-ebpf/src/lib.rs", "xtask/src/main.rs", "xtask/src/lib.rs"];

/// Notify message types that both sides of the kernel line use, and their only home.
pub(crate) const NOTIFY_NUMBERS: &[u128] = &[16_390, 16_406, 16_407, 16_408];
/// The home of [`NOTIFY_NUMBERS`].
pub(crate) const NOTIFY_HOME: &str = "common/src/ike.rs";

/// Lines a file may have, tests excluded.
pub(crate) const MOST_LINES: usize = 800;

const fn pure(module: &'static str, may: &'static [&'static [&'static str]]) -> Layer {
    Layer { module, may, is_pure: true }
}

const fn outside(module: &'static str, may: &'static [&'static [&'static str]]) -> Layer {
    Layer { module, may, is_pure: false }
}
