//! `package`: what goes to the registry is complete and builds from what was packed.
//!
//! A path dependency without a version, a file outside of the package or a README that was not
//! included break only for the users of a release. Packing all crates in one run lets cargo resolve
//! them against each other although none is on the registry yet.

use crate::outcome::Outcome;
use crate::step::Step;
use crate::workspace::Workspace;

pub(super) fn run(_args: &[String]) -> Outcome {
    let workspace = Workspace::load()?;
    let unpublished = workspace.packages().iter().filter(|package| !package.published);
    let exclude = unpublished.flat_map(|package| ["--exclude", &package.name]);
    // Uncommitted changes are normal on a laptop, and a runner has none.
    let pack = ["package", "--workspace", "--allow-dirty"].into_iter().chain(exclude);
    let pack: Vec<_> = pack.collect();

    // Packing alone takes a second and finds most mistakes; the build that follows takes longer.
    Step::cargo("pack", pack.iter().copied()).args(["--no-verify"]).run()?;
    Step::cargo("pack and build", pack.iter().copied()).run()
}
