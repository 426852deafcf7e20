//! What cargo knows about the workspace: its packages, their features, where it builds.
//!
//! `cargo metadata` is asked instead of reading manifests, so that inherited keys, implied features
//! and a target directory set by the user are all as cargo itself sees them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::outcome::Failure;
use crate::step::Step;

#[cfg(test)]
mod tests;

/// What every package of the project but the facade starts its name with.
const PREFIX: &str = "concurrent-futures-";

/// The root of the repository, where every command runs.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The workspace as cargo describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    target: PathBuf,
    packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it goes to the registry. Those that do not are tests and tools.
    pub(crate) published: bool,
    /// Without `default`, in alphabetical order.
    pub(crate) features: Vec<String>,
    /// The `rust-version` it states.
    pub(crate) rust_version: Option<String>,
    /// Names of the dependencies that come from outside the workspace.
    pub(crate) external: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self, Failure> {
        const NAME: &str = "read the workspace";
        let json = Step::cargo(NAME, ["metadata", "--no-deps", "--format-version", "1"])
            .ask()
            .map_err(|why| Failure::step(NAME, why))?;
        Self::parse(&json).map_err(|why| Failure::step(NAME, why))
    }

    fn parse(json: &str) -> Result<Self, String> {
        let metadata: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let target = metadata["target_directory"].as_str().ok_or("no target directory")?.into();
        let packages = metadata["packages"].as_array().ok_or("no packages")?;
        let packages = packages.iter().map(Package::parse).collect::<Result<_, _>>()?;
        Ok(Self { target, packages })
    }

    /// A directory for builds whose flags differ from the usual ones.
    pub(crate) fn target_dir(&self, name: &str) -> PathBuf {
        let dir = self.target.join(name);
        // Commands run at the root, so the short form means the same and is easier to read.
        dir.strip_prefix(root()).map_or(dir.clone(), Path::to_path_buf)
    }

    /// All members.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The members that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.published)
    }

    /// The member with this name, which may leave out the common prefix.
    pub(crate) fn find(&self, name: &str) -> Result<&Package, Failure> {
        self.packages
            .iter()
            .find(|package| package.name == name || package.name.strip_prefix(PREFIX) == Some(name))
            .ok_or_else(|| Failure::Usage(format!("there is no package `{name}`")))
    }
}

impl Package {
    fn parse(package: &Value) -> Result<Self, String> {
        let name = package["name"].as_str().ok_or("a package without a name")?.to_owned();
        // `publish = false` arrives as an empty list of registries, and its absence as null.
        let published =
            package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
        let features = package["features"].as_object().ok_or("a package without features")?;
        let features = features.keys().filter(|name| *name != "default").cloned().collect();
        let rust_version = package["rust_version"].as_str().map(str::to_owned);
        let dependencies = package["dependencies"].as_array().ok_or("no dependencies")?;
        let external = dependencies
            .iter()
            .filter(|dependency| dependency["path"].is_null())
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect();
        Ok(Self { name, published, features, rust_version, external })
    }
}
