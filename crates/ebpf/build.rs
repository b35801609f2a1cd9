//! Compiles the programs for the kernel, where they are wanted.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=bpf");
    if env::var_os("CARGO_FEATURE_LOAD").is_none() {
        return ExitCode::SUCCESS;
    }
    for program in ["samples", "flows"] {
        if let Err(why) = compile(program) {
            println!("cargo::error=bpf/{program}.bpf.c: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn compile(program: &str) -> Result<(), String> {
    let variable = |name: &str| env::var_os(name).ok_or(format!("cargo does not set {name}"));
    // libbpf's headers, where libbpf-sys put them.
    let headers = PathBuf::from(variable("DEP_BPF_INCLUDE")?);
    let object = Path::new(&variable("OUT_DIR")?).join(format!("{program}.bpf.o"));
    let machine = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "arm64",
        _ => "x86",
    };
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(&clang)
        .args([
            "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3",
        ])
        .arg(format!("-D__TARGET_ARCH_{machine}"))
        .arg("-I")
        .arg(headers)
        .arg("-c")
        .arg(format!("bpf/{program}.bpf.c"))
        .arg("-o")
        .arg(object)
        .status()
        .map_err(|error| {
            format!(
                "cannot run {clang}: {error}; the feature `ebpf` needs clang, libelf and zlib \
                 (Debian: clang libelf-dev zlib1g-dev), or build without it"
            )
        })?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{clang} fails: {status}")),
    }
}
