//! Every rule with text it must accept and text it must refuse.

use std::collections::HashSet;

use super::documents::{links, missing_tests, stale, unexplained};
use super::source::{functions, rust, whitespace, workspace_dependencies};
use super::{Finding, resolves};

/// The lines that have a finding.
fn at(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[test]
fn whitespace_is_invisible_noise() {
    assert_eq!(at(&whitespace("fn f() {\n    g();\n}\n")), [0; 0]);
    assert_eq!(at(&whitespace("")), [0; 0]);
    assert_eq!(at(&whitespace("a \nb\n\tc\n")), [1, 3]);
    assert_eq!(at(&whitespace("a\r\nb\n")), [1]);
    assert_eq!(at(&whitespace("a\nb")), [2]);
    assert_eq!(at(&whitespace("a\n\n")), [2]);
}

#[test]
fn rust_files_open_with_docs() {
    assert_eq!(at(&rust("//! Why.\n\nfn f() {}\n")), [0; 0]);
    assert_eq!(at(&rust("// Why.\nfn f() {}\n")), [1]);
    assert_eq!(at(&rust("#![allow(x)]\n//! Why.\n")), [1]);
    assert_eq!(at(&rust("")), [1]);
}

#[test]
fn long_files_are_split() {
    let lines = |count: usize| format!("//! Why.\n{}", "// more\n".repeat(count - 1));
    assert_eq!(at(&rust(&lines(900))), [0; 0]);
    assert_eq!(at(&rust(&lines(901))), [901]);
}

/// The bad lines are assembled here, because this file must pass the rule as well.
#[test]
fn unfinished_code_stays_out() {
    for name in ["todo", "unimplemented", "dbg"] {
        assert_eq!(at(&rust(&format!("//! W.\n    {name}!(x)\n"))), [2], "{name}");
        assert_eq!(at(&rust(&format!("//! W.\nstd::{name}! {{}}\n"))), [2], "{name}");
        assert_eq!(at(&rust(&format!("//! W.\nmy_{name}!(x)\n"))), [0; 0], "{name}");
        assert_eq!(at(&rust(&format!("//! A {name}! is no call.\n"))), [0; 0], "{name}");
    }
}

#[test]
fn ignored_tests_say_why() {
    let bare = concat!("//! W.\n#[ign", "ore]\nfn f() {}\n");
    assert_eq!(at(&rust(bare)), [2]);
    let conditional = concat!("//! W.\n#[cfg_attr(miri, ign", "ore)]\n");
    assert_eq!(at(&rust(conditional)), [2]);
    let wrapped = concat!("//! W.\n#[cfg_attr(\n    miri,\n    ign", "ore\n)]\n");
    assert_eq!(at(&rust(wrapped)), [3]);
    let empty = concat!("//! W.\n#[ign", "ore = \"\"]\n");
    assert_eq!(at(&rust(empty)), [2]);

    assert_eq!(at(&rust("//! W.\n#[ignore = \"forks\"]\n")), [0; 0]);
    assert_eq!(at(&rust("//! W.\n#[cfg_attr(miri, ignore = \"forks\")]\n")), [0; 0]);
    assert_eq!(at(&rust(concat!("//! W.\n// A bare #[ign", "ore] says nothing.\n"))), [0; 0]);
}

#[test]
fn functions_are_found_by_name() {
    let text = "pub fn one() {}\n    async fn two<T>() {}\nlet f: fn (u8);\nrefn three() {}";
    assert_eq!(functions(text).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn workspace_dependencies_without_our_own() {
    let manifest = r#"
[workspace.package]
version = "0.1.0"

[workspace.dependencies]
ours = { path = "crates/ours", version = "0.1.0" }
# why = "not"
log = "0.4"
proptest = { version = "1", features = ["std"] }
serde.version = "1"

[workspace.dependencies.loom]
version = "0.7"

[workspace.lints.rust]
missing_docs = "warn"
"#;
    assert_eq!(workspace_dependencies(manifest), ["log", "proptest", "serde", "loom"]);
}

#[test]
fn dependencies_are_explained_by_whole_name() {
    let text = "| `serde_core` | the traits |\n- **log**: a facade\n";
    let names = ["log", "serde", "serde_core"].map(str::to_owned);
    let findings = unexplained(text, &names);
    assert_eq!(findings, [Finding::new(1, "no line says why `serde` is needed")]);
}

#[test]
fn relative_links_resolve() {
    let known = |target: &str| target == "docs/known.md";
    let good =
        "[a](docs/known.md) [b](docs/known.md#part \"title\") [c](https://x.org/y) [d](#here)
[e](mailto:a@x.org) [f](<docs/known.md>) [g](crate::Future)
`[h](docs/gone.md)`
```text
[i](docs/gone.md)
```
[j]: docs/known.md
";
    assert_eq!(at(&links(good, known)), [0; 0]);
    let bad = "[a](docs/known.md) [b](docs/gone.md)\n\n[c]: gone.md\n`code` [d](gone#known.md)\n";
    assert_eq!(at(&links(bad, known)), [1, 3, 4]);
}

/// A link is relative to its file and not to the root.
#[test]
fn links_start_at_their_file() {
    assert!(resolves("xtask/src/main.rs", "../Cargo.toml"));
    assert!(resolves("README.md", "xtask/Cargo.toml"));
    assert!(!resolves("xtask/src/main.rs", "xtask/Cargo.toml"));
}

#[test]
fn documents_know_what_they_describe() {
    let good = "# The protocol\n\nFingerprint of the sources: `a430d84680aabd0b`.\n";
    assert_eq!(at(&stale(good, &["hel", "lo"])), [0; 0]);
    assert_eq!(at(&stale(good, &["hell"])), [3]);
    assert_eq!(at(&stale("# The protocol\n", &["hello"])), [1]);
}

#[test]
fn cited_tests_exist() {
    let functions = HashSet::from(["cancels", "map_keeps_order"]);
    let good = "\
| id | item | shown by |
| --- | --- | --- |
| F001 | `not::a_test` a \\| b | `future::cancels`, `suite::map_keeps_order` |
| F002 | nothing to show | by construction of `Future` |

Prose may cite `any::thing`.
";
    assert_eq!(at(&missing_tests(good, &functions)), [0; 0]);
    let bad = "| F003 | x | `future::cancels` and `future::forgotten` |\n";
    assert_eq!(
        missing_tests(bad, &functions),
        [Finding::new(1, "there is no test `future::forgotten`")]
    );
}
