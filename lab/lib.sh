# Sourced by run, tree and selftest: what this machine must have, and what is cached of it.
# shellcheck shell=bash

LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/netverdict/lab
LAB_MNT=$CACHE/mnt # an empty directory to mount on, in namespaces of a lab's own

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

recipe() { { echo "$@"; declare -f build_"$1" "${RECIPE_OF[$1]:-bootstrap}"; echo "${PACKAGES[$1]:-}"; [ "$1" != kernel ] || cat "$LAB/inside/initrd"; } | sha256sum | cut -c1-12; }

declare -A RECIPE_OF=([kernel]=kernel_files [image]=image_file [accelerator]=try_kvm)
declare -A PACKAGES=(
  [tree]=openvswitch-switch,ovn-central,ovn-host,iproute2,iputils-ping,iperf3,tcpdump,netcat-openbsd,procps,kmod,ethtool,python3,conntrack
  [emulator]=qemu-system-x86,virtiofsd,e2fsprogs,busybox-static,cpio,xz-utils,kmod
)

# build_tree PATH SUITE: a Debian tree with that suite's OVN and OVS and the tools of the lab
build_tree() { bootstrap "$1" "$2" "${PACKAGES[tree]}"; }

# build_emulator PATH: a Debian tree with what starts a virtual machine (older QEMUs make the guest oops)
build_emulator() { bootstrap "$1" trixie "${PACKAGES[emulator]}"; }

# build_kernel PATH EMULATOR: Debian's stock cloud kernel: vmlinuz, modules/, and an initrd that mounts the image
build_kernel() { privately kernel_files "$@"; }

kernel_files() {
  local package
  mount_lab_root "$2"
  package=$(chroot "$LAB_MNT/root" sh -euc 'apt-get update -q >&2; apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: //p"')
  chroot "$LAB_MNT/root" sh -euc "cd /tmp; apt-get download $package; dpkg -x $package*.deb kernel; mv kernel/usr/lib kernel/lib 2>/dev/null || true
    find kernel/lib/modules -name '*.ko.xz' -exec xz -d {} +; depmod -b kernel \"\$(ls kernel/lib/modules)\"
    mkdir -p initrd/bin initrd/new initrd/proc initrd/sys initrd/dev; cp /bin/busybox initrd/bin; find kernel/lib/modules -name virtio_blk.ko -exec cp -t initrd {} +"
  install -m 755 "$LAB/inside/initrd" "$LAB_MNT/root/tmp/initrd/init"
  chroot "$LAB_MNT/root" sh -euc 'cd /tmp/initrd; find . | cpio -o -H newc' >"$LAB_MNT/initrd"
  mkdir "$1"
  cp -a "$LAB_MNT"/root/tmp/kernel/boot/vmlinuz-* "$1/vmlinuz"
  cp -a "$LAB_MNT/root/tmp/kernel/lib/modules" "$1/modules"
  cp "$LAB_MNT/initrd" "$1/initrd"
}

# build_image PATH TREE KERNEL EMULATOR: the tree and the kernel's modules as a disk
build_image() { privately image_file "$@"; }

image_file() {
  mount_lab_root "$4"
  mkdir -p "$LAB_MNT"/root/lab/{tree,out}
  mount -t overlay image -o "lowerdir=$2,upperdir=$(mktemp -d "$LAB_MNT/written.XXX"),workdir=$(mktemp -d "$LAB_MNT/work.XXX")" "$LAB_MNT/root/lab/tree"
  cp -a "$3/modules" "$LAB_MNT/root/lab/tree/usr/lib/"
  mkdir -p "$LAB_MNT"/root/lab/tree/lab/host
  touch "$1"
  mount --bind "$(dirname "$1")" "$LAB_MNT/root/lab/out"
  chroot "$LAB_MNT/root" mke2fs -q -t ext4 -m 0 -O ^has_journal,^metadata_csum -d /lab/tree "/lab/out/$(basename "$1")" 1500M
}

# build_accelerator PATH EMULATOR KERNEL HOST: writes kvm if this host's KVM boots that kernel (nested ones may not), else tcg
build_accelerator() { privately try_kvm "$@"; }

try_kvm() {
  echo tcg >"$1"
  [ -w /dev/kvm ] || return 0
  mount_lab_root "$2"
  mkdir "$LAB_MNT/root/kernel"
  mount --bind "$3" "$LAB_MNT/root/kernel"
  ! timeout -s KILL 10 chroot "$LAB_MNT/root" qemu-system-x86_64 -accel kvm -cpu host -m 512 -M q35 -nodefaults -display none -no-reboot \
    -serial stdio -kernel /kernel/vmlinuz -initrd /kernel/initrd -append "console=ttyS0 quiet panic=-1 lab.try" </dev/null | grep -q 'lab: booted' ||
    echo kvm >"$1"
}

privately() { # FUNCTION ARGUMENT...: calls it in namespaces of its own, so that nothing stays mounted or running when it is interrupted
  unshare -m -p -f --mount-proc --kill-child bash -euc '. "$0"; "$@"' "$LAB/lib.sh" "$@"
}

# mount_lab_root TREE: the tree at $LAB_MNT/root, in this mount namespace; what is written there goes to memory
mount_lab_root() {
  mkdir -p "$LAB_MNT"
  mount -t tmpfs -o mode=755 lab "$LAB_MNT"
  mkdir "$LAB_MNT"/{written,work,root}
  mount -t overlay lab -o "lowerdir=$1,upperdir=$LAB_MNT/written,workdir=$LAB_MNT/work" "$LAB_MNT/root"
  mount -t proc proc "$LAB_MNT/root/proc"
  mount --rbind /dev "$LAB_MNT/root/dev"
}

bootstrap() { # PATH SUITE PACKAGES
  [ -z "$HTTP_PROXY_OF_APT" ] || export http_proxy=${http_proxy:-$HTTP_PROXY_OF_APT}
  privately debootstrap --variant=minbase --include="$3" "$2" "$1" "$MIRROR" || return
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale,info}/*
}

require_builder() {
  command -v apt-get >/dev/null && [ -e /etc/debian_version ] || cannot "$CACHE is not filled, and only Debian (with apt-get) can fill it"
  MIRROR=${LAB_MIRROR:-$(debian_mirror)}
  [ -n "$MIRROR" ] || { apt-get update -q >&2 </dev/null && MIRROR=$(debian_mirror); } || true # before the first update apt does not know whose mirror it has
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

debian_mirror() { apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' | sed -n '/^Debian|Debian|main|/{s/.*|//p;q}'; }

install_packages() { DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; }
