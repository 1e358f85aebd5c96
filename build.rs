//! Says whether OpenH264's assembly is built, which needs nasm on x86; and has addresses within the binary written in the
//! short form (`DT_RELR`, a quarter of a megabyte less), which glibc reads since 2.36.

use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(perch_nasm)");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-changed=web");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    let is_x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch.starts_with("x86"));
    let nasm = Command::new("nasm").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if nasm.is_ok_and(|status| status.success()) {
        println!("cargo::rustc-cfg=perch_nasm");
    } else if is_x86 {
        println!(
            "cargo::warning=nasm is not installed: OpenH264 is built without SIMD and encodes several times slower"
        );
    }
}
