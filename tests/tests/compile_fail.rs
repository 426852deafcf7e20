//! Mistakes that the compiler must find, one in each file of `ui/`, with what it says about them.
//!
//! The messages are those of the stable compiler. After a change of them, look at what `TRYBUILD=overwrite` writes, and
//! keep it if a user would be helped by it.

/// All mistakes, and one program without any.
///
/// The correct program is more than a check of the others: it makes trybuild build the programs instead of only checking
/// them, and a closure that captures is found when a program is built, not before.
#[test]
fn mistakes_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/no_mistake.rs");
    cases.compile_fail("tests/ui/mistake_*.rs");
}
