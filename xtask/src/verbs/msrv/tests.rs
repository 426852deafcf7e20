//! Versions as the tools spell them.

use super::{minor, minor_of_rustc, toolchain_for};

const LIST: &str = "\
stable-x86_64-unknown-linux-gnu (active, default)
nightly-x86_64-unknown-linux-gnu
1.9.0-x86_64-unknown-linux-gnu
1.95.0-x86_64-unknown-linux-gnu
";

/// Nightly and stable compilers, and both spellings of a version.
#[test]
fn minor_versions() {
    assert_eq!(minor("1.95"), Some(95));
    assert_eq!(minor("1.95.1"), Some(95));
    assert_eq!(minor("2.0"), None);
    assert_eq!(minor_of_rustc("rustc 1.95.0 (59807616e 2026-04-14)\n"), Some(95));
    assert_eq!(minor_of_rustc("rustc 1.97.0-nightly (4d1f98451 2026-05-15)\n"), Some(97));
    assert_eq!(minor_of_rustc(""), None);
}

/// `stable` may be the same version today and another tomorrow, so it does not count.
#[test]
fn exact_toolchain_only() {
    assert_eq!(toolchain_for(LIST, "1.95"), Some("1.95.0-x86_64-unknown-linux-gnu"));
    assert_eq!(toolchain_for(LIST, "1.9"), Some("1.9.0-x86_64-unknown-linux-gnu"));
    assert_eq!(toolchain_for(LIST, "1.94"), None);
    assert_eq!(toolchain_for(LIST, "1.95.1"), None);
}
