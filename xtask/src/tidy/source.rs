//! Rules on Rust sources, and on whitespace in anything written by hand.

use super::Finding;

/// Past this there are usually two ideas in a file.
const LINES_MAX: usize = 900;

/// Macros that are fine while working and wrong in a commit. The names are spelled without their
/// mark, so that this file passes its own rule.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// No tabs, no trailing whitespace, and a newline at the end.
pub(super) fn whitespace(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        if line.contains('\t') {
            findings.push(Finding::new(number, "a tab; use spaces"));
        }
        if line.ends_with(char::is_whitespace) {
            findings.push(Finding::new(number, "trailing whitespace"));
        }
    }
    let last = text.lines().count().max(1);
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(last, "no newline at the end of the file"));
    }
    if text.ends_with("\n\n") {
        findings.push(Finding::new(last, "an empty line at the end of the file"));
    }
    findings
}

/// What every Rust file must satisfy.
pub(super) fn rust(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(Finding::new(1, "the file must open with `//!` and say why it exists"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        let message = format!("{lines} lines; split files of more than {LINES_MAX}");
        findings.push(Finding::new(LINES_MAX + 1, message));
    }
    for (number, line) in numbered(text) {
        for name in UNFINISHED {
            if calls_macro(line, name) {
                findings.push(Finding::new(number, format!("`{name}!` is not for commits")));
            }
        }
    }
    findings.extend(bare_ignores(text));
    findings
}

/// Whether `line` calls the macro `name`, and not one whose name only ends in the same way.
fn calls_macro(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(start, _)| {
        let boundary = !line[..start].ends_with(is_identifier);
        let rest = line[start + name.len()..].strip_prefix('!').map(str::trim_start);
        boundary && rest.is_some_and(|rest| rest.starts_with(['(', '[', '{']))
    })
}

/// Attributes that ignore a test and do not say why, also behind `cfg_attr` and over several lines.
fn bare_ignores(text: &str) -> Vec<Finding> {
    // Attributes are compared without whitespace; `lines` remembers where each byte came from.
    let (mut code, mut lines) = (String::new(), Vec::new());
    for (number, line) in numbered(text).filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for part in line.split_whitespace() {
            code.push_str(part);
            lines.resize(code.len(), number);
        }
    }
    // Assembled, so that this file passes its own rule.
    let forms = ["#[WORD]", ",WORD)]", ",WORD,)]", "#[WORD=\"\"]", ",WORD=\"\")]"];
    let forms = forms.map(|form| form.replace("WORD", "ignore"));
    let found = forms.iter().flat_map(|form| code.match_indices(form.as_str()));
    let mut numbers: Vec<_> = found.map(|(start, _)| lines[start]).collect();
    numbers.sort_unstable();
    let message = "an ignored test without a reason; write `#[ignore = \"why\"]`";
    numbers.into_iter().map(|number| Finding::new(number, message)).collect()
}

/// The names of all functions that the text defines.
pub(super) fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("fn ").filter_map(move |(start, keyword)| {
        if text[..start].ends_with(is_identifier) {
            return None;
        }
        let rest = &text[start + keyword.len()..];
        let end = rest.find(|c| !is_identifier(c)).unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

/// The names under `[workspace.dependencies]` that are not packages of this workspace.
///
/// Members say what they use; this also finds what is listed and not used yet. An entry is a line
/// `name = ...` or `name.key = ...`, or a table of its own, and ours are those with a path.
pub(super) fn workspace_dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.split(']').next().unwrap_or_default();
            inside = table == "workspace.dependencies";
            names.extend(table.strip_prefix("workspace.dependencies.").map(str::to_owned));
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let name = key.split('.').next().unwrap_or(key).trim().trim_matches('"');
        // A continued value can hold a `=` too, but then its key is no plain name.
        let plain = !name.is_empty() && name.chars().all(|c| is_identifier(c) || c == '-');
        if plain && !value.contains("path =") && !line.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    names
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_terminator('\n').enumerate().map(|(index, line)| (index + 1, line))
}
