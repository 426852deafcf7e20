//! Rules on documents: links lead somewhere, cited tests exist, dependencies are explained, and a document that describes
//! sources has seen them.

use std::collections::HashSet;

use super::Finding;

/// Relative links that do not resolve. `resolves` answers for one target, without its fragment.
pub(super) fn links(text: &str, resolves: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(&line) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            if is_relative(target) && !path.is_empty() && !resolves(path) {
                findings.push(Finding::new(number, format!("the link to `{target}` is broken")));
            }
        }
    }
    findings
}

/// The lines outside of fenced code, with inline code blanked out, each with its number.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return Some((index + 1, without_code(line))),
            (Some(_), _) => {}
        }
        None
    })
}

/// The line with every code span replaced by a space. An odd backtick stays what it is.
fn without_code(line: &str) -> String {
    let parts: Vec<_> = line.split('`').collect();
    let paired = parts.len() - (parts.len() + 1) % 2;
    let (spans, rest) = parts.split_at(paired);
    let text = spans.iter().step_by(2).copied();
    text.chain(rest.iter().copied()).collect::<Vec<_>>().join(" ")
}

/// What the links of a line point at: `[text](target "title")` and `[name]: target`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).map(|rest| {
        match rest.strip_prefix('<') {
            Some(rest) => rest.split('>').next(),
            None => rest.split([')', ' ']).next(),
        }
        .unwrap_or_default()
    });
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .map(|(_, target)| target.split_whitespace().next().unwrap_or_default());
    inline.chain(definition)
}

/// Whether the target is meant to be a file. Rustdoc also takes paths of items.
fn is_relative(target: &str) -> bool {
    let has_scheme = target.contains("://") || target.starts_with("mailto:");
    !has_scheme && !target.contains("::")
}

/// The dependencies that no line of `text` names as a whole word.
pub(super) fn unexplained(text: &str, names: &[String]) -> Vec<Finding> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let words: HashSet<_> = text.split(|c| !part_of_name(c)).collect();
    names
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .map(|name| Finding::new(1, format!("no line says why `{name}` is needed")))
        .collect()
}

/// The tests cited in the last column of a table that are not among `functions`.
///
/// A citation is code with a path, `` `path::test_name` ``.
pub(super) fn missing_tests(text: &str, functions: &HashSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(cell) = last_cell(line) else { continue };
        for path in cell.split('`').skip(1).step_by(2) {
            let Some((_, name)) = path.rsplit_once("::") else { continue };
            if !functions.contains(name.trim_end_matches("()")) {
                let message = format!("there is no test `{path}`");
                findings.push(Finding::new(index + 1, message));
            }
        }
    }
    findings
}

/// The last cell of a row. A bar within a cell is written `\|`.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut bars = row.rmatch_indices('|').map(|(at, _)| at);
    let start = bars.find(|at| !row[..*at].ends_with('\\')).map_or(0, |at| at + 1);
    Some(&row[start..])
}

/// Before the fingerprint in a document.
const FINGERPRINT: &str = "Fingerprint of the sources: ";

/// Whether a document that describes `sources` was looked at when they changed: it holds their fingerprint.
pub(super) fn stale(text: &str, sources: &[&str]) -> Vec<Finding> {
    let expected = format!("{FINGERPRINT}`{:016x}`", fingerprint(sources));
    if text.lines().any(|line| line.trim_end_matches('.') == expected) {
        return Vec::new();
    }
    let place = text.lines().position(|line| line.starts_with(FINGERPRINT));
    let message =
        format!("what this describes has changed; bring it up to date, and say `{expected}`");
    vec![Finding::new(place.map_or(1, |index| index + 1), message)]
}

/// FNV-1a, of 64 bits. It has to notice a change, not to withstand anybody.
fn fingerprint(sources: &[&str]) -> u64 {
    sources.iter().flat_map(|source| source.bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
