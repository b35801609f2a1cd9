# Sourced by run, tree and selftest: what this machine must have, and what is cached of it.
# shellcheck shell=bash

LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/netverdict/lab

CANNOT_RUN=77 # this machine cannot run the lab at all
LAB_FAILED=70 # it can, but the lab did not come up

say() { echo "lab: $*" >&2; }
cannot() { say "cannot run here: $*"; exit $CANNOT_RUN; }
failed() { say "$*"; exit $LAB_FAILED; }

require_machine() {
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || cannot "needs Linux on x86_64, this is $(uname -s) on $(uname -m)"
  [ "$(id -u)" = 0 ] || cannot "needs root (namespaces, mounts, network devices), this is user $(id -un)"
  local tool missing=
  for tool in unshare nsenter setpriv flock mount sha256sum; do command -v $tool >/dev/null || missing+=" $tool"; done
  [ -z "$missing" ] || cannot "not installed:$missing (packages util-linux, mount, coreutils)"
  unshare -m -n -p -f true 2>/dev/null || cannot "the kernel or the container refuses new mount, network and process namespaces"
  grep -qw overlay /proc/filesystems || modprobe -q overlay || cannot "the kernel has no overlayfs"
}

# --- cached things: built once, found by the hash of their recipe, renamed into place when whole

# cached NAME [ARGUMENT...]: prints the path of the thing that `build_NAME PATH ARGUMENT...` makes
cached() {
  local name=$1 path new
  path=$CACHE/$1${2:+-$(basename "$2")}-$(recipe "$@")
  if [ ! -e "$path" ]; then
    mkdir -p "$CACHE"
    exec {lock}>"$CACHE/$1${2:+-$(basename "$2")}.lock"
    flock -n $lock || { say "waiting for another lab that builds $name"; flock $lock; }
    if [ ! -e "$path" ]; then
      require_builder
      new=$path.new
      rm -rf "$new"
      say "building $(basename "$path"), once"
      SECONDS=0
      build_"$name" "$new" "${@:2}" >"$path.log" 2>&1 </dev/null || { tail -n 15 "$path.log" >&2; failed "could not build it; the whole log is $path.log"; }
      mv "$new" "$path"
      say "built $(basename "$path") in $SECONDS s"
    fi
    exec {lock}>&-
  fi
  echo "$path"
}

recipe() { { echo "$@"; declare -f build_"$1"; echo "${PACKAGES[$1]:-}"; } | sha256sum | cut -c1-12; }

declare -A PACKAGES=(
  [tree]=openvswitch-switch,ovn-central,ovn-host,iproute2,iputils-ping,iperf3,tcpdump,netcat-openbsd,procps,kmod,ethtool,python3,conntrack
  [emulator]=qemu-system-x86,virtiofsd,e2fsprogs,busybox-static,cpio
)

# build_tree PATH SUITE: a Debian tree with that suite's OVN and OVS and the tools of the lab
build_tree() { bootstrap "$1" "$2" "${PACKAGES[tree]}"; }

# build_emulator PATH: a Debian tree with what starts a virtual machine (older QEMUs make the guest oops)
build_emulator() { bootstrap "$1" trixie "${PACKAGES[emulator]}"; }

bootstrap() { # PATH SUITE PACKAGES
  [ -z "$HTTP_PROXY_OF_APT" ] || export http_proxy=${http_proxy:-$HTTP_PROXY_OF_APT}
  # In namespaces of its own, so that nothing stays mounted or running when this is interrupted.
  unshare -m -p -f --mount-proc --kill-child debootstrap --variant=minbase --include="$3" "$2" "$1" "$MIRROR" || return
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale,info}/*
}

require_builder() {
  command -v apt-get >/dev/null && [ -e /etc/debian_version ] || cannot "$CACHE is not filled, and only Debian (with apt-get) can fill it"
  MIRROR=${LAB_MIRROR:-$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n '/^Debian|Debian|main|/{s/.*|//p;q}')}
  [ -n "$MIRROR" ] || cannot "apt on this machine knows no Debian mirror; name one in LAB_MIRROR"
  eval "$(apt-config shell HTTP_PROXY_OF_APT Acquire::http::Proxy)"
  HTTP_PROXY_OF_APT=${HTTP_PROXY_OF_APT:-}
  local missing=()
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  install_packages "${missing[@]}" >&2 </dev/null || { apt-get update -q >&2 && install_packages "${missing[@]}" >&2 </dev/null; } ||
    cannot "apt-get could not install ${missing[*]}"
}

install_packages() { DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; }
