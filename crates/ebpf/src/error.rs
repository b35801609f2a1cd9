use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why nothing could be attached, or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program was built without eBPF.
    #[error(
        "this netverdict was built without eBPF: build it with `--features ebpf`, which needs clang \
         and libelf (Debian: clang libelf-dev zlib1g-dev)"
    )]
    NotBuilt,
    /// A privilege is missing.
    #[error(
        "no permission to use eBPF: {missing} is missing; run as root, or give the program CAP_BPF, \
         CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NoCapability {
        /// The first one that is missing.
        missing: Capability,
    },
    /// The kernel does not tell its types.
    #[error(
        "the kernel does not tell its types (no {path}): eBPF needs one with CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The module psample is not loaded.
    #[error(
        "the kernel has no psample: load it with `modprobe psample`; Open vSwitch samples into it \
         from Linux 6.11 on"
    )]
    NoPsample,
    /// The kernel's types are not those that are needed.
    #[error("the kernel has no {what}: eBPF needs Linux 6.11 or newer here")]
    OldKernel {
        /// What is not there.
        what: String,
    },
    /// The kernel can probe functions neither by fentry nor by kprobe.
    #[error(
        "the kernel can watch no function (fentry: {fentry}; kprobe: {kprobe}): it needs \
         CONFIG_FUNCTION_TRACER or CONFIG_KPROBES"
    )]
    NoProbe {
        /// What it says of fentry.
        fentry: String,
        /// What it says of a kprobe.
        kprobe: String,
    },
    /// A network namespace cannot be entered.
    #[error(
        "cannot enter the network namespace {path}: {error}; that needs CAP_SYS_ADMIN beside the \
         others"
    )]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Something else that the system refused.
    #[error("eBPF cannot {what}: {error}")]
    System {
        /// What it was to do.
        what: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// A privilege of capabilities(7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// To load programs and maps.
    Bpf,
    /// To attach to interfaces.
    NetAdmin,
    /// To read kernel memory and watch functions.
    Perfmon,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bpf => "CAP_BPF",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
        })
    }
}
