//! `sanitize [address|thread]`: unit and integration tests of the crates that do not fork, compiled
//! with a sanitizer.
//!
//! The address sanitizer also finds leaks. The thread sanitizer must see the standard library's own
//! atomics, or it reports races that are none; so it needs that library's source to rebuild it.

use std::path::Path;

use super::CHECKABLE;
use crate::outcome::{Failure, Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

pub(super) fn run(args: &[String]) -> Outcome {
    let sanitizer = args.first().map_or("address", String::as_str);
    if !matches!(sanitizer, "address" | "thread") {
        return Err(Failure::Usage(format!("there is no sanitizer `{sanitizer}` here")));
    }
    let name = format!("{sanitizer} sanitizer");
    let host = match nightly_host() {
        Ok(host) => host,
        Err(reason) => return Ok(Report::skipped(&name, &reason)),
    };
    let rebuild_std = sanitizer == "thread";
    if rebuild_std && let Err(reason) = find_std_source() {
        return Ok(Report::skipped(&name, &reason));
    }

    let target = Workspace::load()?.target_dir(&format!("sanitize-{sanitizer}"));
    let mut step = Step::cargo(&name, ["+nightly", "test"])
        .flags("RUSTFLAGS", &format!("-Zsanitizer={sanitizer}"))
        // An explicit target keeps the flags away from build scripts and procedural macros, which
        // the compiler could not load with a sanitizer inside.
        .args(["--target", &host]);
    if rebuild_std {
        step = step.args(["-Zbuild-std"]);
    }
    // Doc-tests are left out: rustdoc does not read these flags.
    step.target_dir(&target).packages(CHECKABLE).args(["--lib", "--tests"]).run_some_tests()
}

/// The target that the nightly toolchain runs on, or why there is no such toolchain.
fn nightly_host() -> Result<String, String> {
    let version = Step::program("nightly", "rustc", ["+nightly", "-vV"]).ask()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc +nightly -vV` names no host".to_owned())
}

/// Whether the nightly toolchain can rebuild the standard library.
fn find_std_source() -> Result<(), String> {
    let sysroot = Step::program("sysroot", "rustc", ["+nightly", "--print", "sysroot"]).ask()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.toml");
    if source.is_file() {
        return Ok(());
    }
    Err("`-Zbuild-std` needs the component rust-src, which the nightly toolchain lacks".to_owned())
}
