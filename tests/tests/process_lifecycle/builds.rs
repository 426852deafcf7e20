//! The pool in programs that are built in other ways than tests are: it needs no set-up in any of them.
//!
//! Each way compiles the pool anew, so the test is ignored unless asked for:
//!
//! ```console
//! $ cargo test -p concurrent-futures-tests --test process_lifecycle -- --ignored builds
//! ```

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Used from inside a library, and from its example in the documentation.
const LIBRARY: &str = r#"
//! ```
//! assert_eq!(tiny::squares(tiny::executor::StartMethod::Spawn), [0, 1, 4, 9]);
//! ```
pub use concurrent_futures_process_pool as executor;

pub fn squares(method: executor::StartMethod) -> Vec<u64> {
    let pool = executor::ProcessPoolExecutor::builder().start_method(method).max_workers(2);
    let pool = pool.build().expect("a pool");
    let squares = pool.map(|n: u64| n * n, 0..4).map(|it| it.expect("a number")).collect();
    let task = pool.submit(recurse, 1).expect("accepted");
    assert!(task.result().expect_err("no stack is so large").to_string().contains("stack"));
    squares
}

fn recurse(n: u64) -> u64 {
    let numbers = std::hint::black_box([n; 1000]);
    if n == 0 { 0 } else { recurse(n + numbers[0]) + std::hint::black_box(numbers)[1] }
}
"#;

const PROGRAM: &str = r#"
use tiny::executor::StartMethod;

fn main() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        assert_eq!(tiny::squares(method), [0, 1, 4, 9]);
    }
    println!("done");
}
"#;

const PROFILES: &str = r#"
[profile.fat]
inherits = "release"
lto = "fat"
codegen-units = 1
strip = "symbols"
panic = "unwind"

[profile.thin]
inherits = "release"
lto = "thin"

[workspace]
"#;

/// A package, and where what is built of it goes.
struct Package {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Package {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let pool = root.join("crates/process-pool");
        let manifest = format!(
            "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nconcurrent-futures-process-pool = {{ path = {pool:?} }}\n\n\
             [[bench]]\nname = \"bench\"\nharness = false\n{PROFILES}"
        );
        for (path, text) in [
            ("Cargo.toml", manifest.as_str()),
            ("src/lib.rs", LIBRARY),
            ("src/main.rs", PROGRAM),
            ("benches/bench.rs", PROGRAM),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        // The same versions as here, which are there already.
        fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        Self { folder, target: Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds") }
    }

    fn cargo(&self, arguments: &[&str], flags: &str) -> String {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", flags)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} {flags}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The triple of this machine: flags that are for it alone must not reach build scripts.
fn host() -> String {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "compiles the pool seven times"]
fn builds_need_no_set_up() {
    let package = Package::new();
    let host = host();
    let run = |arguments: &[&str], flags: &str| {
        let text = package.cargo(arguments, flags);
        assert!(text.ends_with("done\n"), "{arguments:?} {flags}: {text}");
    };
    run(&["run"], "");
    run(&["run", "--release"], "");
    run(&["run", "--profile", "thin"], "");
    run(&["run", "--profile", "fat"], "");
    run(&["run", "--release", "--target", &host], "-C target-feature=+crt-static");
    // Static, and at a fixed address, without a dynamic section.
    run(
        &["run", "--profile", "fat", "--target", &host],
        "-C target-feature=+crt-static -C relocation-model=static",
    );
    run(&["bench", "--bench", "bench"], "");
    package.cargo(&["test", "--doc"], "");
}
