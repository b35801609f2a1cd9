# lab: --bare
# Flows of interfaces counted by eBPF in this machine's own kernel, in network namespaces of this test: exactly what was sent.
set -eu
probe=$CARGO_TARGET_DIR/debug/examples/probe
[ -x "$probe" ] || { echo "$probe is missing: cargo build --package netverdict-ebpf --features load --example probe"; exit 77; }
[ -r /sys/kernel/btf/vmlinux ] || { echo 'this kernel does not tell its types (CONFIG_DEBUG_INFO_BTF)'; exit 77; }
exec python3 "${BASH_SOURCE%/*}/ebpf-flows.py" "$probe"
