//! Reads a source file as far as the rules need it: which paths it names, and a few facts more.
//!
//! Works on tokens, so comments and strings cannot mislead it, and the insides of macro calls are
//! seen as well.

use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// Something a file says that a rule may object to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Whether it is said in code that only exists in tests.
    pub(crate) is_test: bool,
    /// What is said.
    pub(crate) what: What,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A path inside the crate, without `crate::`.
    Inner(Vec<String>),
    /// A path whose first word is not this crate's: of another crate, or of something in scope.
    Outer(Vec<String>),
    /// An integer literal.
    Integer(u128),
    /// The word `unsafe`, of a block or an item.
    UnsafeCode,
    /// An attribute that is marked unsafe, as `#[unsafe(no_mangle)]`.
    UnsafeAttribute,
}

/// Facts of one file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) facts: Vec<Fact>,
    /// Lines that are not in test modules.
    pub(crate) lines: usize,
}

/// Reads a file.
///
/// `module` is the module the file is, from the crate's root; `own_names` are names under which the
/// crate itself is known besides `crate` (programs name their library by its name).
pub(crate) fn read(text: &str, module: &[String], own_names: &[&str], is_test: bool) -> Result<Source> {
    let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut reader = Reader { facts: Vec::new(), own_names, test_lines: 0 };
    reader.walk(tokens, &Scope { module: module.to_vec(), is_test });
    let lines = text.lines().count().saturating_sub(reader.test_lines);
    Ok(Source { facts: reader.facts, lines })
}

#[derive(Clone, Debug)]
struct Scope {
    module: Vec<String>,
    is_test: bool,
}

struct Reader<'a> {
    facts: Vec<Fact>,
    own_names: &'a [&'a str],
    test_lines: usize,
}

impl Reader<'_> {
    fn walk(&mut self, tokens: TokenStream, scope: &Scope) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut scope = scope.clone();
        let mut at = 0;
        // Set by `#[cfg(test)]` and the like until the item it belongs to has ended.
        let mut item_is_test = false;
        while let Some(token) = tokens.get(at) {
            let here = Scope { is_test: scope.is_test || item_is_test, ..scope.clone() };
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let is_inner = is_punct(tokens.get(at + 1), '!');
                    let group_at = at + 1 + usize::from(is_inner);
                    if let Some(TokenTree::Group(group)) = tokens.get(group_at) {
                        let marks_test = is_test_attribute(group);
                        scope.is_test |= marks_test && is_inner;
                        item_is_test |= marks_test && !is_inner;
                        self.walk(group.stream(), &Scope { is_test: here.is_test || marks_test, ..here });
                        at = group_at + 1;
                        continue;
                    }
                    at += 1;
                }
                TokenTree::Punct(punct) => {
                    if punct.as_char() == ';' {
                        item_is_test = false;
                    }
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    if let Some(value) = integer(&literal.to_string()) {
                        self.push(literal.span().start().line, &here, What::Integer(value));
                    }
                    at += 1;
                }
                TokenTree::Group(group) => {
                    self.walk(group.stream(), &here);
                    if group.delimiter() == Delimiter::Brace {
                        if item_is_test && !scope.is_test {
                            self.test_lines += lines_of(group);
                        }
                        item_is_test = false;
                    }
                    at += 1;
                }
                // Not `use<'a>`, which says what an opaque type captures.
                TokenTree::Ident(ident) if ident == "use" && !is_punct(tokens.get(at + 1), '<') => {
                    let end = tokens
                        .get(at..)
                        .and_then(|rest| rest.iter().position(|token| is_punct(Some(token), ';')))
                        .map_or(tokens.len(), |length| at + length);
                    self.tree(tokens.get(at + 1..end).unwrap_or_default(), &[], &here);
                    at = end;
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        let mut inner = here.clone();
                        inner.module.push(name.to_string());
                        self.walk(body.stream(), &inner);
                        if item_is_test && !scope.is_test {
                            self.test_lines += lines_of(body);
                        }
                        item_is_test = false;
                        at += 3;
                    } else {
                        at += 1;
                    }
                }
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    if ident == "unsafe" {
                        let is_attribute = matches!(tokens.get(at + 1), Some(TokenTree::Group(group))
                            if group.delimiter() == Delimiter::Parenthesis);
                        self.push(
                            line,
                            &here,
                            if is_attribute { What::UnsafeAttribute } else { What::UnsafeCode },
                        );
                    }
                    let (path, length) = path_at(tokens.get(at..).unwrap_or_default());
                    if path.len() > 1 {
                        self.path(line, &path, &here);
                    }
                    at += length;
                }
            }
        }
    }

    /// One tree of a `use`, below `prefix`.
    fn tree(&mut self, tokens: &[TokenTree], prefix: &[String], scope: &Scope) {
        let (path, length) = path_at(tokens);
        let full = [prefix, &path].concat();
        match tokens.get(length..).unwrap_or_default() {
            [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in inner.split(|token| is_punct(Some(token), ',')) {
                    if !branch.is_empty() {
                        self.tree(branch, &full, scope);
                    }
                }
            }
            // A glob, `as NAME`, or nothing: the path is complete.
            _ => {
                if let Some(first) = tokens.first() {
                    let mut full = full;
                    if full.len() > 1 && full.last().is_some_and(|word| word == "*" || word == "self") {
                        full.pop();
                    }
                    self.path(first.span().start().line, &full, scope);
                }
            }
        }
    }

    fn path(&mut self, line: usize, path: &[String], scope: &Scope) {
        let Some((first, rest)) = path.split_first() else { return };
        let what = match first.as_str() {
            "crate" => What::Inner(rest.to_vec()),
            name if self.own_names.contains(&name) => What::Inner(rest.to_vec()),
            "self" => What::Inner([scope.module.as_slice(), rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|word| *word == "super").count();
                let kept = scope.module.len().saturating_sub(ups);
                let base = scope.module.get(..kept).unwrap_or_default();
                What::Inner([base, path.get(ups..).unwrap_or_default()].concat())
            }
            "Self" => return,
            _ => What::Outer(path.to_vec()),
        };
        self.push(line, scope, what);
    }

    fn push(&mut self, line: usize, scope: &Scope, what: What) {
        self.facts.push(Fact { line, is_test: scope.is_test, what });
    }
}

/// The path that starts here (`a::b::c`, possibly with a leading `::`), and its number of tokens; at least one.
fn path_at(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    let mut at = if is_colons(tokens) { 2 } else { 0 };
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => path.push(ident.to_string().trim_start_matches("r#").to_owned()),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && !path.is_empty() => {
                path.push("*".to_owned())
            }
            _ => break,
        }
        at += 1;
        if !is_colons(tokens.get(at..).unwrap_or_default()) {
            break;
        }
        at += 2;
    }
    (path, at.max(1))
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Whether an attribute marks code that only exists in tests: `#[test]`, `#[tokio::test]`,
/// `#[cfg(test)]`, `#[cfg(all(test, …))]`. What `any(…)` or `not(…)` mentions may exist elsewhere.
fn is_test_attribute(attribute: &Group) -> bool {
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    let (path, length) = path_at(&tokens);
    match path.last().map(String::as_str) {
        Some("test") => true,
        Some("cfg") => {
            matches!(tokens.get(length), Some(TokenTree::Group(condition)) if requires_test(condition))
        }
        _ => false,
    }
}

fn requires_test(condition: &Group) -> bool {
    let tokens: Vec<TokenTree> = condition.stream().into_iter().collect();
    tokens.split(|token| is_punct(Some(token), ',')).any(|part| match part {
        [TokenTree::Ident(word)] => word == "test",
        [TokenTree::Ident(word), TokenTree::Group(inner)] => word == "all" && requires_test(inner),
        _ => false,
    })
}

/// The value of an integer literal, whatever its base, separators and suffix.
fn integer(literal: &str) -> Option<u128> {
    let digits: String = literal.chars().filter(|c| *c != '_').collect();
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ => (10, digits.as_str()),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, suffix) = digits.split_at_checked(end)?;
    if !(suffix.is_empty() || suffix.starts_with(['u', 'i'])) {
        return None;
    }
    u128::from_str_radix(number, radix).ok()
}

fn lines_of(group: &Group) -> usize {
    let first = group.span_open().start().line;
    let last = group.span_close().end().line;
    last.saturating_sub(first) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> Vec<String> {
        path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn facts(text: &str) -> Vec<(bool, What)> {
        let source = read(text, &module("clb::master"), &["redirect_userspace"], false).unwrap();
        source.facts.into_iter().map(|fact| (fact.is_test, fact.what)).collect()
    }

    fn inner(path: &str) -> What {
        What::Inner(module(path))
    }

    fn outer(path: &str) -> What {
        What::Outer(module(path))
    }

    #[test]
    fn a_nested_use_gives_each_of_its_paths() {
        let found = facts("use crate::{time::{self, Instant}, gateway::*, net as wire};\nuse ::aya::Ebpf;");

        let found: Vec<What> = found.into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            found,
            [inner("time"), inner("time::Instant"), inner("gateway"), inner("net"), outer("aya::Ebpf"),]
        );
    }

    #[test]
    fn super_is_resolved_from_where_it_stands() {
        let found =
            facts("use super::frame::Frame; mod inner { fn f() { super::super::load::get(); self::g() } }");

        let found: Vec<What> = found.into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            found,
            [inner("clb::frame::Frame"), inner("clb::load::get"), inner("clb::master::inner::g")]
        );
    }

    #[test]
    fn paths_are_seen_in_expressions_macros_and_attributes() {
        let found = facts("#[tokio::main] fn f() { vec![crate::net::udp(redirect_userspace::cli::X)]; }");

        let found: Vec<What> = found.into_iter().map(|(_, what)| what).collect();
        assert_eq!(found, [outer("tokio::main"), inner("net::udp"), inner("cli::X")]);
    }

    #[test]
    fn comments_and_strings_say_nothing() {
        let found = facts(
            "//! See [`crate::net`].\n/* crate::net */ const X: &str = \"unsafe crate::net 16406\"; // unsafe",
        );

        assert_eq!(found, []);
    }

    #[test]
    fn test_code_is_told_from_the_rest() {
        let text = "#[cfg(test)] use crate::a; use crate::b;\n\
                    #[cfg(all(test, unix))] mod tests { use crate::c; }\n\
                    #[cfg(any(test, feature = \"testing\"))] mod kit { use crate::d; }\n\
                    #[test] fn t() { crate::e::f() } fn u() { crate::g::h() }";

        assert_eq!(
            facts(text),
            [
                (true, inner("a")),
                (false, inner("b")),
                (true, inner("c")),
                (false, inner("d")),
                (true, inner("e::f")),
                (false, inner("g::h")),
            ]
        );
    }

    #[test]
    fn integers_are_read_in_every_notation() {
        for literal in ["16406", "16_406", "0x4016", "0x40_16u16", "16406_u16", "0b100000000010110"] {
            assert_eq!(integer(literal), Some(16_406), "{literal}");
        }
        for literal in ["1.5", "\"16406\"", "'a'", "1e3", "b\"x\""] {
            assert_eq!(integer(literal), None, "{literal}");
        }
    }

    #[test]
    fn unsafe_attributes_are_told_from_unsafe_code() {
        let found = facts("#[unsafe(no_mangle)] fn f() { unsafe { g() } } unsafe extern \"C\" {}");

        let found: Vec<What> = found.into_iter().map(|(_, what)| what).collect();
        assert_eq!(found, [What::UnsafeAttribute, What::UnsafeCode, What::UnsafeCode]);
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let text = "fn a() {}\nfn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";

        let source = read(text, &[], &[], false).unwrap();

        assert_eq!(source.lines, 3);
    }

    #[test]
    fn what_is_not_rust_is_an_error() {
        assert!(read("fn a( {", &[], &[], false).is_err());
    }
}
