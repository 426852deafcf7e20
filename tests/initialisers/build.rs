//! Compiles a static library whose globals are filled in before `main`, with the compilers that are there.
//!
//! A C compiler is always there, since Rust links with it. A C++ compiler may be missing; then the library has C's
//! constructors alone, and the tests of C++ say that they did not run.

use std::{env, error::Error, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(has_cpp)");
    println!("cargo::rerun-if-changed=src/globals.c");
    println!("cargo::rerun-if-changed=src/globals.cpp");
    for variable in ["CC", "CXX", "AR"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let folder = env::var("OUT_DIR")?;
    let object = |name: &str| format!("{folder}/{name}.o");

    let c = tool("CC", "cc");
    if !compile(&c, "src/globals.c", &object("c")) {
        return Err(format!("`{c}` does not compile src/globals.c").into());
    }
    let mut objects = vec![object("c")];
    if compile(&tool("CXX", "c++"), "src/globals.cpp", &object("cpp")) {
        println!("cargo::rustc-cfg=has_cpp");
        objects.push(object("cpp"));
    } else {
        println!("cargo::warning=no C++ compiler: tests of C++ globals will not run");
    }
    let archive = format!("{folder}/libglobals.a");
    if Path::new(&archive).exists() {
        std::fs::remove_file(&archive)?;
    }
    let archived =
        Command::new(tool("AR", "ar")).args(["rcs", &archive]).args(&objects).status()?;
    if !archived.success() {
        return Err("the archiver failed".into());
    }
    println!("cargo::rustc-link-search=native={folder}");
    println!("cargo::rustc-link-lib=static=globals");
    if objects.len() > 1 {
        println!("cargo::rustc-link-lib=dylib=stdc++");
    }
    Ok(())
}

fn tool(variable: &str, default: &str) -> String {
    env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// Whether it succeeds. The C++ part includes headers, so that a compiler without its library counts as missing.
fn compile(compiler: &str, source: &str, object: &str) -> bool {
    Command::new(compiler)
        .args(["-c", "-fPIC", "-O1", "-o", object, source])
        .status()
        .is_ok_and(|status| status.success())
}
