// SPDX-License-Identifier: MIT
//! Bindings are made from the header that is installed, by bindgen's command.
use std::env;
use std::path::PathBuf;
use std::process::Command;

fn output_of(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("words")
}

fn config(what: &str) -> Vec<String> {
    let words = output_of(Command::new("zcrx-emu").args(["config", what]));
    words.split_whitespace().map(String::from).collect()
}

fn main() {
    let cflags = config("--cflags");
    let header = PathBuf::from(&cflags[0][2..]).join("zcrx_emu.h");
    let uapi = header.with_file_name("zcrx_emu_uapi.h");
    let bindings = PathBuf::from(env::var("OUT_DIR").unwrap()).join("bindings.rs");
    output_of(
        Command::new("bindgen")
            .arg(&header)
            .args(["--allowlist-function", "zcrx_emu_.*"])
            .args(["--allowlist-type", "(io_uring_zcrx|io_uring_region)_.*"])
            .args(["--allowlist-var", "IORING_.*"])
            .args(["--no-layout-tests", "--with-derive-default", "--output"])
            .arg(&bindings)
            .args(["--", "-include"])
            .arg(&uapi)
            .args(&cflags),
    );
    for word in config("--libs") {
        if let Some(folder) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(name) = word.strip_prefix("-l") {
            println!("cargo:rustc-link-lib={name}");
        } else {
            println!("cargo:rustc-link-arg={word}");
        }
    }
    println!("cargo:rerun-if-changed={}", header.display());
    println!("cargo:rerun-if-changed={}", uapi.display());
    println!("cargo:rerun-if-changed=build.rs");
}
