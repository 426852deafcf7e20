//! Reading the output of `cargo tree`.

use super::heavy_in;

/// Whole names count: another crate may start in the same way.
#[test]
fn heavy_packages_are_found_by_whole_name() {
    let light = "concurrent-futures-thread-pool v0.1.0 (/somewhere)\nlog v0.4.20\nnixie v1.0.0\n";
    assert_eq!(heavy_in(light), None);
    let heavy = format!("{light}serde v1.0.219\nserde_derive v1.0.219 (proc-macro)\n");
    assert_eq!(heavy_in(&heavy), Some("serde_derive"));
}
