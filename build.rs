//! Tells the program which compiler made it and how. Asks nobody but that compiler: it works
//! without a repository and without git. The revision comes in `BITACORA_REVISION`, if at all.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script in variables")]

use std::env::var;
use std::process::Command;

fn main() {
    let unknown = || "unknown".to_owned();
    let rustc = var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output().ok();
    // `rustc 1.95.0 (59807616e 2026-04-14)`: the second word.
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.and_then(|text| Some(text.split_whitespace().nth(1)?.to_owned()));
    println!("cargo::rustc-env=BITACORA_RUSTC={}", version.unwrap_or_else(unknown));
    println!("cargo::rustc-env=BITACORA_PROFILE={}", var("PROFILE").unwrap_or_else(|_| unknown()));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC");
}
