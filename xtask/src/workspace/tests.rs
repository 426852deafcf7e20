//! The shape of `cargo metadata` that the verbs rely on.

use super::Workspace;
use crate::outcome::Failure;

const METADATA: &str = r#"{
    "target_directory": "/elsewhere/target",
    "packages": [
        {
            "name": "concurrent-futures-future",
            "publish": null,
            "rust_version": "1.95",
            "features": { "default": ["b"], "b": [], "a": ["dep:log"] },
            "dependencies": [
                { "name": "log", "path": null },
                { "name": "concurrent-futures-executor", "path": "/elsewhere" }
            ]
        },
        { "name": "xtask", "publish": [], "features": {}, "dependencies": [] }
    ]
}"#;

/// Only what goes to the registry is packaged and built feature by feature.
#[test]
fn unpublished_packages_are_told_apart() {
    let workspace = Workspace::parse(METADATA).unwrap();
    let published: Vec<_> = workspace.published().map(|package| package.name.as_str()).collect();
    assert_eq!(published, ["concurrent-futures-future"]);
    assert_eq!(workspace.packages().len(), 2);
}

/// `default` is a set of features and not one to combine with others.
#[test]
fn features_leave_out_default() {
    let workspace = Workspace::parse(METADATA).unwrap();
    assert_eq!(workspace.packages()[0].features, ["a", "b"]);
    assert_eq!(workspace.packages()[0].external, ["log"]);
    assert_eq!(workspace.packages()[0].rust_version.as_deref(), Some("1.95"));
}

/// People type the folder's name; a name that means nothing is the user's mistake.
#[test]
fn packages_are_found_by_short_name() {
    let workspace = Workspace::parse(METADATA).unwrap();
    assert_eq!(workspace.find("future").unwrap().name, "concurrent-futures-future");
    assert!(matches!(workspace.find("past"), Err(Failure::Usage(_))));
}

/// A target directory outside of the repository stays outside.
#[test]
fn target_dir_follows_cargo() {
    let workspace = Workspace::parse(METADATA).unwrap();
    assert_eq!(workspace.target_dir("loom").to_str(), Some("/elsewhere/target/loom"));
}
