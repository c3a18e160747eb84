//! Checks the rules that the compiler does not know: see [`table`].

mod source;
mod table;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use source::{Fact, What};
use table::{DEPENDENCIES, Dependency, LAYERS, Layer};

/// What a check found.
#[derive(Debug)]
pub(crate) struct Report {
    /// Files looked at.
    pub(crate) files: usize,
    /// Breaches, in the order of files and lines.
    pub(crate) violations: Vec<Violation>,
}

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// Checks the workspace at `root`.
pub(crate) fn check(root: &Path) -> Result<Report> {
    let mut report = Report { files: 0, violations: Vec::new() };
    for (name, allowed) in table::LOWER_CRATES {
        let file = format!("{name}/Cargo.toml");
        let text = fs::read_to_string(root.join(&file)).with_context(|| format!("reading {file}"))?;
        report.violations.extend(manifest(&file, &text, |dependency| allowed.contains(&dependency)));
    }
    let file = "redirect-userspace/Cargo.toml";
    let text = fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))?;
    report.violations.extend(manifest(file, &text, |name| dependency(&name.replace('-', "_")).is_some()));

    let mut files = Vec::new();
    for folder in ["common", "redirect-ebpf", "redirect-userspace", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    for path in files {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        report.violations.extend(file_rules(&name, &text).with_context(|| name.clone())?);
        report.files += 1;
    }
    Ok(report)
}

/// Rust files below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            let is_product = path.file_name().is_some_and(|name| name == "target");
            if !is_product {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The dependencies in a manifest, held against what is allowed.
fn manifest(file: &str, text: &str, is_allowed: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut is_dependencies = false;
    let mut violations = Vec::new();
    for (line, words) in text.lines().enumerate() {
        if let Some(section) = words.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            is_dependencies = section == "dependencies" || section.ends_with(".dependencies");
            continue;
        }
        let name = words.split(['.', '=', ' ']).next().unwrap_or_default().trim();
        if is_dependencies && !name.is_empty() && !name.starts_with('#') && !is_allowed(name) {
            violations.push(Violation {
                file: file.to_owned(),
                line: line + 1,
                rule: format!("dependency `{name}` has no entry in the table: say where it may be used"),
            });
        }
    }
    violations
}

/// Everything that is to be said about one file.
fn file_rules(file: &str, text: &str) -> Result<Vec<Violation>> {
    let is_test_file = is_test_file(file);
    let module = module_of(file);
    let is_program = file.starts_with("redirect-userspace/src/bin/");
    let own_names: &[&str] = if is_program { &["redirect_userspace"] } else { &[] };
    let path = if is_program { Vec::new() } else { module.clone().unwrap_or_default() };
    let source = source::read(text, &path, own_names, is_test_file)?;

    let mut violations: Vec<Violation> = Vec::new();
    let mut object = |line: usize, rule: String| {
        violations.push(Violation { file: file.to_owned(), line, rule });
    };
    if !is_test_file && source.lines > table::MOST_LINES {
        object(1, format!("{} lines; split it at {}", source.lines, table::MOST_LINES));
    }
    if table::FORBIDDING_ROOTS.contains(&file) && !text.lines().any(|line| line == "#![forbid(unsafe_code)]")
    {
        object(1, "`#![forbid(unsafe_code)]` is missing".to_owned());
    }
    for fact in &source.facts {
        let objection = match &fact.what {
            What::UnsafeCode => unsafe_rule(file, &[table::UNSAFE_CODE]),
            What::UnsafeAttribute => unsafe_rule(file, &[table::UNSAFE_CODE, table::UNSAFE_ATTRIBUTES]),
            What::Integer(number) => notify_rule(file, *number, fact.is_test),
            What::Inner(_) | What::Outer(_) => {
                module.as_ref().and_then(|module| path_rule(&module.join("::"), fact))
            }
        };
        if let Some(rule) = objection {
            object(fact.line, rule);
        }
    }
    violations.dedup();
    Ok(violations)
}

fn unsafe_rule(file: &str, lists: &[&[&str]]) -> Option<String> {
    let is_listed = lists.iter().copied().flatten().any(|listed| match listed.strip_suffix("*.rs") {
        Some(folder) => file.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')),
        None => *listed == file,
    });
    (!is_listed).then(|| "unsafe code has its own files, and this is none of them".to_owned())
}

fn notify_rule(file: &str, number: u128, is_test: bool) -> Option<String> {
    let is_law = file == "xtask/src/arch/table.rs";
    let is_duplicate = table::NOTIFY_NUMBERS.contains(&number) && file != table::NOTIFY_HOME;
    (is_duplicate && !is_test && !is_law)
        .then(|| format!("notify number {number} has its home in {}: name it", table::NOTIFY_HOME))
}

/// Holds one path of a module of `redirect-userspace` against the tables.
fn path_rule(module: &str, fact: &Fact) -> Option<String> {
    let Some(layer) = layer(module) else {
        // The crate's root names its modules.
        return (!module.is_empty())
            .then(|| format!("module `{module}` has no entry in the table of layers"));
    };
    match &fact.what {
        What::Inner(path) => {
            let path = path.join("::");
            let is_root =
                path.is_empty() || !LAYERS.iter().any(|other| covers(first_word(other.module), &path));
            let is_own = self::layer(&path).is_some_and(|target| std::ptr::eq(target, layer))
                || covers(&path, layer.module)
                // A module is free to name its own more special parts, but not the other way round.
                || covers(layer.module, &path);
            let is_allowed = layer.may.iter().copied().flatten().any(|may| covers(may, &path));
            let is_kit = fact.is_test && covers("testing", &path);
            (!is_root && !is_own && !is_allowed && !is_kit)
                .then(|| format!("`{}` may not import `crate::{path}`", layer.module))
        }
        What::Outer(_) if fact.is_test => None,
        What::Outer(path) => {
            let joined = path.join("::");
            let is_any = |list: &[&str]| list.iter().any(|pattern| covers(pattern, &joined));
            if layer.is_pure && is_any(table::IMPURE_STD) && !is_any(table::HARMLESS_STD) {
                return Some(format!("`{}` is pure and may not use `{joined}`", layer.module));
            }
            let dependency = dependency(first_word(&joined))?;
            let is_home = std::ptr::eq(dependency.homes, table::EVERYWHERE)
                || dependency.homes.iter().any(|home| covers(home, module));
            (!is_home).then(|| format!("`{module}` may not use the crate `{}`", dependency.name))
        }
        What::Integer(_) | What::UnsafeCode | What::UnsafeAttribute => None,
    }
}

/// The most special layer a path belongs to.
fn layer(path: &str) -> Option<&'static Layer> {
    LAYERS.iter().filter(|layer| covers(layer.module, path)).max_by_key(|layer| layer.module.len())
}

fn dependency(name: &str) -> Option<&'static Dependency> {
    DEPENDENCIES.iter().find(|dependency| dependency.name == name)
}

/// Whether `path` is `pattern` or something in it.
fn covers(pattern: &str, path: &str) -> bool {
    let mut words = path.split("::");
    pattern.split("::").all(|wanted| {
        let Some(word) = words.next() else { return false };
        match wanted.split_once('*') {
            Some((start, end)) => {
                word.len() >= start.len() + end.len() && word.starts_with(start) && word.ends_with(end)
            }
            None => word == wanted,
        }
    })
}

fn first_word(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// The module of `redirect-userspace` a file is; `None` outside of it, and in its tests and benchmarks.
fn module_of(file: &str) -> Option<Vec<String>> {
    let path = file.strip_prefix("redirect-userspace/src/")?.strip_suffix(".rs")?;
    let mut words: Vec<String> = path.split('/').map(str::to_owned).collect();
    if words.last().is_some_and(|word| word == "mod" || (word == "lib" && words.len() == 1)) {
        words.pop();
    }
    Some(words)
}

/// Whether a file only exists in tests and benchmarks. The test kit writes numbers out, so that it
/// does not repeat a mistake of the code it judges.
fn is_test_file(file: &str) -> bool {
    let is_kit = file.starts_with("redirect-userspace/src/testing/");
    is_kit || file.split('/').any(|word| matches!(word, "tests" | "tests.rs" | "benches" | "fuzz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that a file with this text would break.
    fn breaks(file: &str, text: &str) -> Vec<String> {
        file_rules(file, text).unwrap().into_iter().map(|violation| violation.rule).collect()
    }

    const CLB: &str = "redirect-userspace/src/clb/master.rs";

    #[test]
    fn the_files_of_all_four_crates_are_looked_at() {
        let report = check(&crate::paths::root()).unwrap();

        assert!(report.files > 30, "only {} files were looked at", report.files);
    }

    #[test]
    fn protocols_do_not_know_each_other() {
        assert_eq!(breaks(CLB, "use crate::hsrp::Group;"), ["`clb` may not import `crate::hsrp::Group`"]);
        assert_eq!(breaks(CLB, "use super::super::ike;"), ["`clb` may not import `crate::ike`"]);
        assert_eq!(breaks("redirect-userspace/src/hsrp/fsm.rs", "use crate::clb::Master;").len(), 1);
        assert_eq!(breaks("redirect-userspace/src/ike/sa/mod.rs", "use crate::cluster::Cluster;").len(), 1);
    }

    #[test]
    fn base_and_own_module_may_be_named() {
        let text = "use crate::gateway::Load; use crate::time::{Instant, Now}; use super::frame::Frame; \
                    use crate::crypto::prf; use crate::clb::load;";

        assert_eq!(breaks(CLB, text), Vec::<String>::new());
    }

    #[test]
    fn the_base_does_not_know_what_stands_on_it() {
        let base = "redirect-userspace/src/gateway.rs";

        assert_eq!(
            breaks(base, "fn f() { crate::runtime::run() }"),
            ["`gateway` may not import `crate::runtime::run`"]
        );
    }

    #[test]
    fn the_longest_rule_counts() {
        let wire = "redirect-userspace/src/ike/wire/sa.rs";
        let rest = "redirect-userspace/src/ike/endpoint.rs";

        assert_eq!(
            breaks(wire, "use crate::crypto::prf;"),
            ["`ike::wire` may not import `crate::crypto::prf`"]
        );
        assert_eq!(
            breaks(wire, "use crate::ike::sa::IkeSa;"),
            ["`ike::wire` may not import `crate::ike::sa::IkeSa`"]
        );
        assert_eq!(
            breaks(rest, "use crate::crypto::prf; use crate::ike::wire::Header;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn only_the_named_part_of_a_module_may_be_imported() {
        let config = "redirect-userspace/src/config/mod.rs";
        assert_eq!(breaks(config, "use crate::clb::MasterSettings;"), Vec::<String>::new());
        assert_eq!(
            breaks(config, "use crate::clb::Master;"),
            ["`config` may not import `crate::clb::Master`"]
        );
        assert_eq!(breaks(config, "use crate::clb;"), ["`config` may not import `crate::clb`"]);

        let net = "redirect-userspace/src/net/tcp.rs";
        assert_eq!(breaks(net, "use crate::clb::MasterOutput;"), Vec::<String>::new());
        assert_eq!(breaks(net, "use crate::clb::Master;").len(), 1);

        let cli = "redirect-userspace/src/cli/mod.rs";
        assert_eq!(breaks(cli, "use crate::runtime::run;"), Vec::<String>::new());
        assert_eq!(breaks(cli, "use crate::runtime::core::Core;").len(), 1);
    }

    #[test]
    fn programs_only_hand_over() {
        let program = "redirect-userspace/src/bin/redirectd.rs";

        assert_eq!(breaks(program, "use redirect_userspace::runtime;"), Vec::<String>::new());
        assert_eq!(
            breaks(program, "use redirect_userspace::net::udp;"),
            ["`bin` may not import `crate::net::udp`"]
        );
    }

    #[test]
    fn crates_stay_in_their_homes() {
        let xdp = "redirect-userspace/src/fastpath/xdp.rs";

        assert_eq!(
            breaks(CLB, "use tokio::net::TcpStream;"),
            ["`clb::master` may not use the crate `tokio`"]
        );
        assert_eq!(breaks(CLB, "fn f() -> anyhow::Result<()> {}").len(), 1);
        assert_eq!(breaks("redirect-userspace/src/fastpath/mod.rs", "use aya::Ebpf;").len(), 1);
        assert_eq!(breaks("redirect-userspace/src/runtime/mod.rs", "use rtnetlink::Handle;").len(), 1);
        assert_eq!(breaks(xdp, "use aya::Ebpf; use tokio::spawn;"), Vec::<String>::new());
    }

    #[test]
    fn pure_modules_do_without_the_outside_world() {
        for path in [
            "std::time::Instant",
            "std::net::UdpSocket",
            "std::net::TcpStream",
            "std::fs::File",
            "std::io::Read",
            "std::thread",
        ] {
            assert_eq!(breaks(CLB, &format!("use {path};")).len(), 1, "{path}");
        }
        let harmless = "use std::net::IpAddr; use std::time::Duration; use std::io::Write as _;";
        assert_eq!(breaks(CLB, harmless), Vec::<String>::new());
        assert_eq!(
            breaks("redirect-userspace/src/net/udp.rs", "use std::net::UdpSocket;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn tests_may_use_the_kit_and_any_crate_but_keep_the_layers() {
        let text =
            "#[cfg(test)] mod tests { use crate::testing::clock; use tokio::net; use crate::net::udp; }";

        assert_eq!(breaks(CLB, text), ["`clb` may not import `crate::net::udp`"]);
        assert_eq!(
            breaks(CLB, "use crate::testing::clock;"),
            ["`clb` may not import `crate::testing::clock`"]
        );
    }

    #[test]
    fn a_module_without_an_entry_is_refused() {
        assert_eq!(
            breaks("redirect-userspace/src/helpers.rs", "use std::fmt::Display;"),
            ["module `helpers` has no entry in the table of layers"]
        );
    }

    #[test]
    fn a_dependency_without_an_entry_is_refused() {
        let text = "[package]\nname = \"x\"\n\n[dependencies]\nzerocopy.workspace = true\nlibc = \"0.2\"\n\n\
                    [dev-dependencies]\nproptest = \"1\"\n\n[target.'cfg(unix)'.dependencies]\nrand.workspace = true\n";

        let found: Vec<usize> = manifest("x", text, |name| name == "zerocopy")
            .into_iter()
            .map(|violation| violation.line)
            .collect();
        assert_eq!(found, [6, 12]);
    }

    #[test]
    fn a_long_file_is_refused_unless_its_tests_make_it_long() {
        let long = "fn f() {}\n".repeat(table::MOST_LINES + 1);
        let tested = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");

        assert_eq!(breaks("common/src/reply.rs", &long), ["801 lines; split it at 800"]);
        assert_eq!(breaks("common/src/reply.rs", &tested), Vec::<String>::new());
        assert_eq!(breaks("redirect-userspace/src/hsrp/tests.rs", &long), Vec::<String>::new());
    }

    #[test]
    fn unsafe_code_stays_in_its_files() {
        let text = "fn f() { unsafe { g() } }";

        assert_eq!(breaks(CLB, text).len(), 1);
        assert_eq!(breaks("redirect-ebpf/src/main.rs", text).len(), 1);
        assert_eq!(breaks("redirect-ebpf/src/program.rs", "#[unsafe(no_mangle)] fn f() {}").len(), 1);
        assert_eq!(
            breaks("redirect-ebpf/src/main.rs", "#[unsafe(no_mangle)] fn f() {}"),
            Vec::<String>::new()
        );
        assert_eq!(breaks("redirect-userspace/src/net/deep/er.rs", text).len(), 1);
        assert_eq!(breaks("redirect-userspace/src/net/multicast.rs", text), Vec::<String>::new());
        assert_eq!(breaks("redirect-ebpf/src/packet.rs", text), Vec::<String>::new());
    }

    #[test]
    fn the_roots_that_must_forbid_unsafe_code_do() {
        assert_eq!(breaks("common/src/lib.rs", "#![no_std]"), ["`#![forbid(unsafe_code)]` is missing"]);
        assert_eq!(
            breaks("common/src/lib.rs", "#![no_std]\n#![forbid(unsafe_code)]\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn notify_numbers_have_one_home() {
        assert_eq!(breaks(CLB, "const X: u16 = 16_406;").len(), 1);
        assert_eq!(breaks("redirect-ebpf/src/main.rs", "const X: u16 = 0x4006;").len(), 1);
        assert_eq!(breaks("common/src/ike.rs", "const X: u16 = 16_406;"), Vec::<String>::new());
        assert_eq!(breaks(CLB, "#[cfg(test)] mod tests { const X: u16 = 16406; }"), Vec::<String>::new());
        assert_eq!(
            breaks("redirect-userspace/tests/xdp/main.rs", "const X: u16 = 16406;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_permission_names_a_module_of_the_table() {
        let homes = DEPENDENCIES.iter().flat_map(|dependency| dependency.homes).filter(|home| **home != "*");
        let permissions = LAYERS.iter().flat_map(|layer| layer.may.iter().copied().flatten());

        for path in homes.chain(permissions) {
            assert!(layer(path).is_some(), "`{path}` belongs to no module of the table");
        }
    }
}
