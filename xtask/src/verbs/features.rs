//! `features`: each published crate alone, with every combination of features worth building.
//!
//! In a workspace build cargo switches on the union of what all members ask for, which hides a crate
//! that forgot a feature of a dependency. So each crate is checked alone, and its tests run alone.

use crate::outcome::{Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

#[cfg(test)]
mod tests;

/// Up to this many features, all subsets are built; with more, single ones and pairs. What breaks
/// only with three features together is rare, and the number of subsets doubles with each.
const POWERSET_MAX: usize = 4;

pub(super) fn run(_args: &[String]) -> Outcome {
    let workspace = Workspace::load()?;
    // Denied warnings are part of the flags, so these builds would displace the usual ones.
    let target = workspace.target_dir("features");
    for package in workspace.published() {
        for selection in selections(&package.features) {
            let flags = selection.join(" ");
            let flags = if flags.is_empty() { "default features" } else { &flags };
            let name = format!("{} with {flags}", package.name);
            Step::cargo(&name, ["check"])
                .flags("RUSTFLAGS", "-Dwarnings")
                .packages([&package.name])
                .target_dir(&target)
                .args(selection)
                .run()?;
        }
    }
    for package in workspace.published() {
        // One without features of its own is the same with all of them and with none.
        let extremes: &[&[&str]] = if package.features.is_empty() {
            &[&[]]
        } else {
            // Examples in documentation are for those who have the default features.
            &[
                &[],
                &["--lib", "--tests", "--no-default-features"],
                &["--lib", "--tests", "--all-features"],
            ]
        };
        for selection in extremes {
            let name = format!("tests of {} alone {}", package.name, selection.join(" "));
            Step::cargo(name.trim_end(), ["test"])
                .packages([&package.name])
                .args(selection.iter().copied())
                .run()?;
        }
    }
    Ok(Report::default())
}

/// The arguments to cargo, one list for each build: default, all, and the combinations.
fn selections(features: &[String]) -> Vec<Vec<String>> {
    let mut selections = vec![vec![]];
    selections.extend(combinations(features).into_iter().map(|combination| {
        let mut args = vec!["--no-default-features".to_owned()];
        if !combination.is_empty() {
            args.push(format!("--features={}", combination.join(",")));
        }
        args
    }));
    selections.push(vec!["--all-features".to_owned()]);
    selections
}

/// The subsets to build, smallest first.
fn combinations(features: &[String]) -> Vec<Vec<&str>> {
    let size_max = if features.len() <= POWERSET_MAX { features.len() } else { 2 };
    let mut subsets = vec![Vec::new()];
    for feature in features {
        let with: Vec<_> = subsets
            .iter()
            .filter(|subset| subset.len() < size_max)
            .map(|subset: &Vec<&str>| [subset.as_slice(), &[feature.as_str()]].concat())
            .collect();
        subsets.extend(with);
    }
    subsets.sort_by_key(Vec::len);
    subsets
}
