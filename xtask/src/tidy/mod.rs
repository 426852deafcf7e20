//! `tidy`: rules on text that no compiler checks.
//!
//! Each rule is a function from text to findings, tested with good and bad snippets. This module only
//! collects the files: whatever git tracks or would track, so that build products stay out and a file
//! that was just written is in.

mod documents;
mod source;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::outcome::{Failure, Outcome, Report};
use crate::output;
use crate::step::Step;
use crate::workspace::{self, Workspace};

#[cfg(test)]
mod tests;

const DEPENDENCIES: &str = "docs/dependencies.md";
const CONFORMANCE: &str = "docs/conformance.md";
const PROTOCOL: &str = "docs/protocol.md";
/// What `PROTOCOL` describes.
const PROTOCOL_SOURCES: [&str; 6] = [
    "crates/process-pool/src/channel.rs",
    "crates/process-pool/src/frame.rs",
    "crates/process-pool/src/message.rs",
    "crates/process-pool/src/payload.rs",
    "crates/process-pool/src/ring.rs",
    "crates/process-pool/src/value.rs",
];

/// A broken rule, and where in its file.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Counted from 1.
    line: usize,
    message: String,
}

impl Finding {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A text file of the project.
#[derive(Debug)]
struct File {
    /// Relative to the root, with `/` between components.
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|it| it == extension)
    }

    /// Whether people write it, as opposed to lock files and recorded output.
    fn is_handwritten(&self) -> bool {
        ["rs", "md", "toml", "sh", "yml", "yaml"].iter().any(|extension| self.is(extension))
            || self.path.starts_with(".ci/")
    }
}

/// Checks all rules.
pub(crate) fn run() -> Outcome {
    let mut report = Report::default();
    let files = files()?;
    let mut findings = Vec::new();
    for file in &files {
        let mut of_file = Vec::new();
        if file.is_handwritten() {
            of_file.extend(source::whitespace(&file.text));
        }
        if file.is("rs") {
            of_file.extend(source::rust(&file.text));
        }
        // What lies among sources is a part of their documentation: rustdoc resolves its links, and `docs` checks them.
        if file.is("md") && !file.path.contains("/src/") {
            of_file.extend(documents::links(&file.text, |target| resolves(&file.path, target)));
        }
        findings.extend(of_file.into_iter().map(|finding| (file.path.as_str(), finding)));
    }

    let find = |path: &str| files.iter().find(|file| file.path == path);
    match find(DEPENDENCIES) {
        Some(explained) => {
            let names = dependencies(find("Cargo.toml"))?;
            let missing = documents::unexplained(&explained.text, &names);
            findings.extend(missing.into_iter().map(|finding| (DEPENDENCIES, finding)));
        }
        None => report.skip("explained dependencies", "there is no docs/dependencies.md yet"),
    }
    match find(CONFORMANCE) {
        Some(conformance) => {
            let sources = files.iter().filter(|file| file.is("rs"));
            let functions: HashSet<_> =
                sources.flat_map(|file| source::functions(&file.text)).collect();
            let missing = documents::missing_tests(&conformance.text, &functions);
            findings.extend(missing.into_iter().map(|finding| (CONFORMANCE, finding)));
        }
        None => report.skip("cited tests", "there is no docs/conformance.md yet"),
    }

    if let Some(protocol) = find(PROTOCOL) {
        let sources: Vec<_> =
            PROTOCOL_SOURCES.into_iter().filter_map(find).map(|file| file.text.as_str()).collect();
        let stale = documents::stale(&protocol.text, &sources);
        findings.extend(stale.into_iter().map(|finding| (PROTOCOL, finding)));
    }

    for (path, Finding { line, message }) in &findings {
        output::error(&format!("{path}:{line}: {message}"));
    }
    match findings.len() {
        0 => Ok(report),
        count => Err(Failure::step("tidy", format!("{count} finding(s)"))),
    }
}

/// All text files that git tracks or would track.
fn files() -> Result<Vec<File>, Failure> {
    const NAME: &str = "tidy";
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let list = Step::program(NAME, "git", list).ask().map_err(|why| Failure::step(NAME, why))?;
    let mut paths: Vec<_> = list.split_terminator('\0').collect();
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let full = workspace::root().join(path);
        // A file that git still tracks may have been deleted just now.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(full).map_err(|why| Failure::step(NAME, format!("{path}: {why}")))?;
        // What is not text (a recorded frame, say) has no lines to check.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// Whether a relative link in the file at `path` leads somewhere.
fn resolves(path: &str, target: &str) -> bool {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    workspace::root().join(folder).join(target).exists()
}

/// Every dependency from outside: those the root lists, and those a member names by itself.
fn dependencies(root: Option<&File>) -> Result<Vec<String>, Failure> {
    let mut names = root.map_or_else(Vec::new, |root| source::workspace_dependencies(&root.text));
    for package in Workspace::load()?.packages() {
        names.extend(package.external.iter().cloned());
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
