# netverdict sampling on the kernel's datapath, by psample: as native-sampling.sh.
. "${BASH_SOURCE%/*}/native-sampling.sh"
