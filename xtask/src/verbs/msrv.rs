//! `msrv`: the `rust-version` in the manifests is honest.
//!
//! A compiler older than that would have failed long before, so what remains is to build with
//! exactly the stated version. That needs it installed; nothing is downloaded behind the user's back.

use crate::outcome::{Failure, Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

#[cfg(test)]
mod tests;

pub(super) fn run(_args: &[String]) -> Outcome {
    const NAME: &str = "msrv";
    let fail = |why: String| Failure::step(NAME, why);

    let workspace = Workspace::load()?;
    let stated = workspace.packages().first().and_then(|package| package.rust_version.as_deref());
    let stated =
        stated.ok_or_else(|| fail("the first package states no rust-version".to_owned()))?;
    for package in workspace.packages() {
        if package.rust_version.as_deref() != Some(stated) {
            let name = &package.name;
            return Err(fail(format!("{name} does not state rust-version {stated} as others do")));
        }
    }

    let version = Step::program(NAME, "rustc", ["--version"]).ask().map_err(fail)?;
    let running = minor_of_rustc(&version).ok_or_else(|| fail(format!("odd: {version}")))?;
    let minor = minor(stated).ok_or_else(|| fail(format!("odd rust-version: {stated}")))?;
    if running < minor {
        return Err(fail(format!("rust-version is {stated}, but this is {}", version.trim())));
    }

    let installed = Step::program(NAME, "rustup", ["toolchain", "list"]).ask();
    let toolchain = installed.as_deref().ok().and_then(|list| toolchain_for(list, stated));
    let build = format!("build with Rust {stated}");
    let Some(toolchain) = toolchain else {
        let mut report = Report::default();
        report.skip(&build, "rustup has no toolchain of exactly this version");
        return Ok(report);
    };
    Step::cargo(&build, [format!("+{toolchain}")])
        .args(["check", "--workspace", "--all-targets", "--all-features"])
        .run()
}

/// The 95 of `1.95` and of `1.95.0`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// The 95 of `rustc 1.95.0-nightly (f2d3ce0bd 2026-03-21)`.
fn minor_of_rustc(output: &str) -> Option<u32> {
    minor(output.split_whitespace().nth(1)?)
}

/// The name of the first installed toolchain of exactly this version.
///
/// Names start with the version: `1.95.0-x86_64-unknown-linux-gnu`, or `1.95-...` for whichever
/// patch release was the last at the time.
fn toolchain_for<'a>(list: &'a str, stated: &str) -> Option<&'a str> {
    let full = if stated.matches('.').count() == 1 { format!("{stated}.0") } else { stated.into() };
    list.lines().filter_map(|line| line.split_whitespace().next()).find(|name| {
        let version = name.split('-').next();
        version == Some(stated) || version == Some(full.as_str())
    })
}
