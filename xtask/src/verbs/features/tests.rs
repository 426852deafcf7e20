//! Which builds a set of features leads to.

use super::{combinations, selections};

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A crate without features is still built in all three ways, which must mean the same.
#[test]
fn no_features() {
    let expected = [vec![], vec!["--no-default-features"], vec!["--all-features"]];
    assert_eq!(selections(&[]), expected);
}

/// Few features: every subset, once.
#[test]
fn powerset_of_few() {
    let features = named(&["a", "b", "c"]);
    let all = combinations(&features);
    assert_eq!(all.len(), 8);
    assert_eq!(all[0], [""; 0]);
    assert_eq!(all[7], ["a", "b", "c"]);
}

/// Many features: none, each, and each pair; 1 + 6 + 15.
#[test]
fn pairs_of_many() {
    let features = named(&["a", "b", "c", "d", "e", "f"]);
    let all = combinations(&features);
    assert_eq!(all.len(), 22);
    assert!(all.iter().all(|subset| subset.len() <= 2));
    assert!(all.contains(&vec!["b", "e"]));
}
