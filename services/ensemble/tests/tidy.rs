//! Reads the workspace as a reader would, and fails on what makes it hard to read or breaks the
//! architecture: functions over 70 lines, files over 800, lines over 100 columns, a module with a
//! name that says nothing, a role's `main` that decides something, transport outside `service.rs`
//! and `client.rs`, and dependencies that no package of its kind may have.
//!
//! What rustfmt and clippy see is theirs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use proc_macro2::Span;
use serde_json::Value;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 800;
const COLUMNS: usize = 100;
/// Names of modules and packages that would hold anything.
const SAY_NOTHING: [&str; 7] = ["common", "helper", "helpers", "misc", "shared", "util", "utils"];
/// What every system may build on.
const FOUNDATION: [&str; 5] = ["chassis", "consensus", "hashring", "proto", "protocols"];
/// Packages that put systems together instead of being one.
const COMPOSERS: [&str; 3] = ["bench", "console", "ensemble"];

/// Something to repair, and where.
struct Complaint {
    place: String,
    line: usize,
    what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.place, self.line, self.what)
    }
}

/// One file of Rust, and where it stands in the architecture.
struct Source<'a> {
    /// From the workspace's root, with forward slashes.
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn complaints(&self) -> Vec<Complaint> {
        let mut reader = Reader { source: self, complaints: Vec::new() };
        reader.lines();
        match syn::parse_file(self.text) {
            Ok(file) => reader.visit_file(&file),
            Err(error) => reader.complain(error.span(), format!("does not parse: {error}")),
        }
        reader.complaints
    }

    /// Whether it belongs to a system: neither a foundation nor a composer.
    fn of_a_system(&self) -> bool {
        self.path
            .strip_prefix("services/")
            .and_then(|path| path.split('/').next())
            .is_some_and(|package| !FOUNDATION.contains(&package) && !COMPOSERS.contains(&package))
    }

    fn is_the_main_of_a_role(&self) -> bool {
        self.of_a_system() && self.path.contains("/src/bin/")
    }

    /// Only these say how a system speaks; tests speak to it as a stranger would.
    fn may_know_the_transport(&self) -> bool {
        let mut below = self.path.split('/').skip(2);
        !self.of_a_system()
            || below.next() != Some("src")
            || below.next().is_some_and(|module| {
                ["service", "client"].contains(&module.trim_end_matches(".rs"))
            })
    }
}

/// Walks through one file.
struct Reader<'a> {
    source: &'a Source<'a>,
    complaints: Vec<Complaint>,
}

impl Reader<'_> {
    fn complain(&mut self, span: Span, what: String) {
        self.complain_at(span.start().line, what);
    }

    fn complain_at(&mut self, line: usize, what: String) {
        self.complaints.push(Complaint { place: self.source.path.to_owned(), line, what });
    }

    fn lines(&mut self) {
        let count = self.source.text.lines().count();
        if count > FILE_LINES {
            self.complain_at(count, format!("{count} lines in a file, more than {FILE_LINES}"));
        }
        for (index, line) in self.source.text.lines().enumerate() {
            let columns = line.chars().count();
            // An address cannot be broken.
            if columns > COLUMNS && !line.contains("://") {
                self.complain_at(index + 1, format!("{columns} columns, more than {COLUMNS}"));
            }
        }
    }

    fn function(&mut self, signature: &syn::Signature, end: Span) {
        let lines = end.end().line - signature.span().start().line + 1;
        if lines > FUNCTION_LINES {
            let name = &signature.ident;
            let what = format!("{lines} lines in function {name}, more than {FUNCTION_LINES}");
            self.complain(signature.span(), what);
        }
    }

    fn decision(&mut self, span: Span) {
        if self.source.is_the_main_of_a_role() {
            self.complain(span, "the main of a role decides nothing: its library does".to_owned());
        }
    }

    fn name(&mut self, name: &syn::Ident) {
        if name == "tonic" && !self.source.may_know_the_transport() {
            let what = "only service.rs and client.rs of a system know tonic".to_owned();
            self.complain(name.span(), what);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.sig, node.block.span());
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.sig, node.block.span());
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        self.function(&node.sig, node.span());
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if SAY_NOTHING.iter().any(|name| node.ident == name) {
            let what = format!("a module named {} says nothing about what is in it", node.ident);
            self.complain(node.ident.span(), what);
        }
        visit::visit_item_mod(self, node);
    }

    fn visit_expr_if(&mut self, node: &'ast syn::ExprIf) {
        self.decision(node.if_token.span);
        visit::visit_expr_if(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        self.decision(node.match_token.span);
        visit::visit_expr_match(self, node);
    }

    fn visit_path(&mut self, node: &'ast syn::Path) {
        if let Some(first) = node.segments.first() {
            self.name(&first.ident);
        }
        visit::visit_path(self, node);
    }

    fn visit_use_path(&mut self, node: &'ast syn::UsePath) {
        self.name(&node.ident);
        visit::visit_use_path(self, node);
    }
}

/// One dependency of a package, as `cargo metadata` tells it.
struct Dependency<'a> {
    of: &'a str,
    on: &'a str,
    /// `normal`, `dev` or `build`.
    kind: &'a str,
    /// Whether it is a member of this workspace.
    ours: bool,
}

impl Dependency<'_> {
    fn is_allowed(&self) -> bool {
        match (self.of, self.kind) {
            // The proof that a protocol knows no clock, socket, task or wire format.
            ("protocols", "normal") => ["rand", "serde"].contains(&self.on),
            ("consensus" | "hashring", "normal") => {
                ["protocols", "rand", "serde"].contains(&self.on)
            }
            ("protocols" | "consensus" | "hashring", "dev") => self.on == "goldenscript",
            ("protocols" | "consensus" | "hashring", _) => false,
            ("proto", _) => !self.ours,
            ("chassis", _) => !self.ours || ["proto", "protocols"].contains(&self.on),
            (composer, _) if COMPOSERS.contains(&composer) => {
                // It starts any role.
                let starts = (self.of, self.on) == ("ensemble", "console");
                !self.ours || !COMPOSERS.contains(&self.on) || starts
            }
            // A system depends on no other.
            (_, _) => !self.ours || FOUNDATION.contains(&self.on),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn package_complaints(package: &Value) -> Vec<String> {
    let of = text(&package["name"]);
    let mut complaints = Vec::new();
    if SAY_NOTHING.contains(&of) {
        complaints.push(format!("a package named {of} says nothing about what is in it"));
    }
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let dependency = Dependency {
            of,
            on: text(&dependency["name"]),
            kind: dependency["kind"].as_str().unwrap_or("normal"),
            ours: dependency["path"].is_string(),
        };
        if !dependency.is_allowed() {
            let Dependency { on, kind, .. } = dependency;
            complaints.push(format!("{of} may not have the {kind} dependency {on}"));
        }
    }
    complaints
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package lies two folders below the root").to_owned()
}

/// Every file of Rust that somebody wrote, below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder of ours can be read");
        let path = entry.path();
        let kind = entry.file_type().expect("a file of ours has a type");
        if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            files(&path, found);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_is_short_flat_and_in_its_place() {
    let root = root();
    let mut found = Vec::new();
    for folder in ["proto", "scripts", "services"] {
        files(&root.join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 5, "found only {found:?}");
    let mut complaints = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let path = path.strip_prefix(&root).expect("it was found below the root");
        let path = path.to_string_lossy().replace('\\', "/");
        complaints.extend(Source { path: &path, text: &text }.complaints());
    }
    let complaints: Vec<_> = complaints.iter().map(Complaint::to_string).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_package_depends_on_what_its_kind_may_not() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {error}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    assert!(packages.len() >= 5, "found only {} packages", packages.len());
    let complaints: Vec<_> = packages.iter().flat_map(package_complaints).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What is said of a text at a path: lines and complaints.
fn said(path: &str, text: &str) -> String {
    let complaints = Source { path, text }.complaints();
    complaints.iter().map(|it| format!("{}: {}", it.line, it.what)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let body = "    ();\n".repeat(69);
    let long = format!("fn long() {{\n{body}}}\n");
    let short = format!("fn short() {{\n{}}}\n", "    ();\n".repeat(68));
    let expected = "lines in function long, more than 70";
    assert_eq!(said("services/raft/src/lib.rs", &short), "");
    for text in [
        long.clone(),
        format!("impl It {{\n{long}}}\n"),
        format!("trait It {{\n{long}}}\n"),
        format!("mod inner {{\n{long}}}\n"),
        format!("fn outer() {{ {} }}\n", long.replace('\n', " ")) + &long,
    ] {
        assert!(said("services/raft/src/lib.rs", &text).contains(&format!("71 {expected}")));
    }
}

#[test]
fn long_files_and_lines_are_found() {
    let path = "proto/src/lib.rs";
    assert_eq!(said(path, &"// short\n".repeat(800)), "");
    assert_eq!(said(path, &"// long\n".repeat(801)), "801: 801 lines in a file, more than 800");
    assert_eq!(said(path, &format!("//{}\n", "é".repeat(98))), "");
    let wide = format!("//{}\n", "é".repeat(99));
    assert_eq!(said(path, &wide), "1: 101 columns, more than 100");
    assert_eq!(said(path, &format!("// https://{}\n", "a".repeat(99))), "");
}

#[test]
fn a_module_that_says_nothing_is_found() {
    let expected = "1: a module named utils says nothing about what is in it";
    assert_eq!(said("services/chassis/src/lib.rs", "mod utils;\n"), expected);
}

#[test]
fn a_main_that_decides_is_found() {
    let main = "fn main() { if true { start() } }\n";
    let expected = "1: the main of a role decides nothing: its library does";
    assert_eq!(said("services/raft/src/bin/raft-node.rs", main), expected);
    assert_eq!(said("services/raft/src/lib.rs", main), "");
    assert_eq!(said("services/ensemble/src/bin/ensemble.rs", main), "");
}

#[test]
fn transport_is_found_outside_its_place() {
    let expected = "1: only service.rs and client.rs of a system know tonic";
    for text in ["use tonic::Status;\n", "fn f() -> tonic::Status { g() }\n"] {
        assert_eq!(said("services/raft/src/lib.rs", text), expected);
        assert_eq!(said("services/raft/src/service.rs", text), "");
        assert_eq!(said("services/raft/src/client/pool.rs", text), "");
        assert_eq!(said("services/raft/tests/cluster.rs", text), "");
        assert_eq!(said("services/chassis/src/channel.rs", text), "");
    }
}

#[test]
fn dependencies_go_one_way() {
    let allowed = |of, on, kind, ours| Dependency { of, on, kind, ours }.is_allowed();
    assert!(allowed("protocols", "rand", "normal", false));
    assert!(!allowed("protocols", "tokio", "normal", false));
    assert!(!allowed("protocols", "tokio", "dev", false));
    assert!(!allowed("protocols", "proto", "build", true));
    assert!(allowed("chassis", "proto", "normal", true));
    assert!(!allowed("chassis", "raft", "normal", true));
    assert!(allowed("raft", "chassis", "normal", true));
    assert!(allowed("raft", "tokio", "normal", false));
    assert!(!allowed("raft", "chord", "normal", true));
    assert!(!allowed("raft", "chord", "dev", true));
    assert!(!allowed("raft", "ensemble", "dev", true));
    assert!(allowed("console", "raft", "normal", true));
    assert!(allowed("ensemble", "raft", "normal", true));
}
