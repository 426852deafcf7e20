//! The table of verbs: what there is, what it takes, and the function behind it.

mod bench;
mod ci;
mod deps;
mod docs;
mod features;
mod fuzz;
mod lint;
mod loom;
mod miri;
mod msrv;
mod package;
mod release;
mod sanitize;
mod stress;
mod test;

use crate::outcome::{Failure, Outcome};
use crate::{output, tidy};

/// Crates whose unit tests need neither fork nor signals, so that checkers can run them.
const CHECKABLE: [&str; 3] =
    ["concurrent-futures-future", "concurrent-futures-executor", "concurrent-futures-thread-pool"];

/// How much room the help has for a verb with its arguments.
const USAGE_WIDTH: usize = 32;

/// One thing xtask can do.
#[derive(Debug)]
pub(crate) struct Verb {
    name: &'static str,
    /// The arguments as the help shows them.
    args: &'static str,
    /// How many arguments there may be.
    args_max: usize,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

/// All verbs, in the order of the help: daily ones first, checkers next, then what guards a release.
const VERBS: [Verb; 17] = [
    Verb {
        name: "test",
        args: "",
        args_max: 0,
        about: "run all tests, doc-tests and loom models, and build the examples",
        run: test::run,
    },
    Verb {
        name: "lint",
        args: "",
        args_max: 0,
        about: "check formatting, clippy with all and with default features, and tidy",
        run: lint::run,
    },
    Verb {
        name: "tidy",
        args: "",
        args_max: 0,
        about: "check the rules on text: file heads, links, cited tests, explained dependencies",
        run: |_| tidy::run(),
    },
    Verb {
        name: "docs",
        args: "",
        args_max: 0,
        about: "build the documentation with warnings denied",
        run: docs::run,
    },
    Verb {
        name: "loom",
        args: "[name]",
        args_max: 1,
        about: "check the loom models, or those whose path contains `name`",
        run: loom::run,
    },
    Verb {
        name: "miri",
        args: "[crate]",
        args_max: 1,
        about: "run unit tests under miri (nightly, with miri and rust-src)",
        run: miri::run,
    },
    Verb {
        name: "sanitize",
        args: "[address|thread]",
        args_max: 1,
        about: "run unit tests under a sanitizer (nightly; thread needs rust-src)",
        run: sanitize::run,
    },
    Verb {
        name: "fuzz",
        args: "[seconds]",
        args_max: 1,
        about: "feed the frame decoder with random bytes (nightly, with cargo-fuzz)",
        run: fuzz::run,
    },
    Verb {
        name: "stress",
        args: "[seconds] [seed]",
        args_max: 2,
        about: "run the stress tests for longer, 60 seconds unless told, from a seed that is shown",
        run: stress::run,
    },
    Verb {
        name: "bench",
        args: "threads|processes [--quick] [--save] [--only list]",
        args_max: 5,
        about: "measure a pool beside its peers; --save writes docs/performance.md",
        run: bench::run,
    },
    Verb {
        name: "features",
        args: "",
        args_max: 0,
        about: "check each published crate alone with every combination of features",
        run: features::run,
    },
    Verb {
        name: "package",
        args: "",
        args_max: 0,
        about: "pack the published crates and build them from what was packed",
        run: package::run,
    },
    Verb {
        name: "msrv",
        args: "",
        args_max: 0,
        about: "check the stated rust-version, with exactly that toolchain if it is installed",
        run: msrv::run,
    },
    Verb {
        name: "deps",
        args: "",
        args_max: 0,
        about: "check licences, advisories, and what the light crates must not depend on",
        run: deps::run,
    },
    Verb {
        name: "ci",
        args: "",
        args_max: 0,
        about: "run what a pull request runs, and sum it up",
        run: ci::run,
    },
    Verb {
        name: "release",
        args: "--dry-run",
        args_max: 1,
        about: "run everything that must hold before a release",
        run: release::run,
    },
    // `main` answers this one before it looks here; the entry is for the list.
    Verb {
        name: "help",
        args: "",
        args_max: 0,
        about: "show this list",
        run: |_| {
            print_help();
            Ok(crate::outcome::Report::default())
        },
    },
];

impl Verb {
    /// The verb with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        const { &VERBS }.iter().find(|verb| verb.name == name)
    }

    /// Runs it, after counting the arguments.
    pub(crate) fn run(&self, args: &[String]) -> Outcome {
        if let Some(extra) = args.get(self.args_max) {
            return Err(Failure::Usage(format!("`{}` does not take `{extra}`", self.name)));
        }
        (self.run)(args)
    }

    /// Its name and its arguments.
    pub(crate) fn usage(&self) -> String {
        format!("{} {}", self.name, self.args).trim_end().to_owned()
    }
}

/// Shows all verbs.
pub(crate) fn print_help() {
    output::result("usage: cargo xtask <verb>\n\nverbs:");
    for verb in &VERBS {
        let mut usage = verb.usage();
        if usage.len() > USAGE_WIDTH {
            // On a line of its own, so that it does not push all the others to the right.
            output::result(&format!("  {usage}"));
            usage.clear();
        }
        output::result(&format!("  {usage:<USAGE_WIDTH$} {}", verb.about));
    }
}
