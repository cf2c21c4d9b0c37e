#!/usr/bin/env bash
# Runs a Python program of this folder on emulated aarch64, with the userland of a Raspberry Pi OS.
#
# Usage: emulate.sh bookworm|trixie FOLDER WHEEL[,PACKAGE...] PROGRAM [ARGUMENT...]
# FOLDER keeps the userland and the packages between calls. As root on Debian or Ubuntu, with
#   apt-get install -y qemu-user-static debootstrap
set -euo pipefail
suite=$1 folder=$2 packages=$3
shift 3
case $suite in
  bookworm) python=3.11 ;;
  trixie) python=3.13 ;;
  *) echo "$suite: bookworm and trixie are known"; exit 1 ;;
esac
for tool in qemu-aarch64-static debootstrap; do
  command -v "$tool" >/dev/null || { echo "$tool is absent: apt-get install -y qemu-user-static debootstrap"; exit 1; }
done
root=$folder/root site=$folder/site
if [ ! -e "$folder/ready" ]; then
  rm -rf "$folder" && mkdir -p "$folder"
  debootstrap --arch=arm64 --foreign --include="python3-minimal,libpython$python-stdlib,libstdc++6" \
    "$suite" "$root" >"$folder/debootstrap.log"
  for package in "$root"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
  # The float ops' processor detection reads these, and would find the host's.
  mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
  for core in 0 1 2 3; do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n' $core
    printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
  done >"$root/proc/cpuinfo"
  printf 'Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n' >>"$root/proc/cpuinfo"
  echo 0-3 | tee "$root/sys/devices/system/cpu/possible" >"$root/sys/devices/system/cpu/present"
  touch "$folder/ready"
fi
wanted=$(for package in ${packages//,/ }; do
  if [ -f "$package" ]; then sha256sum "$package"; else echo "$package"; fi
done)
if [ "$wanted" != "$(cat "$folder/packages" 2>/dev/null || true)" ]; then
  rm -rf "$site" "$folder/packages"
  # shellcheck disable=SC2086
  ${PYTHON:-python3} -m pip install --quiet --disable-pip-version-check --target "$site" \
    --only-binary=:all: --python-version $python --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 ${packages//,/ }
  echo "$wanted" >"$folder/packages"
fi
exec qemu-aarch64-static -L "$root" -E PYTHONHOME="$root/usr" -E PYTHONPATH="$site" \
  -U PYTHONDONTWRITEBYTECODE -E PYTHONPYCACHEPREFIX="$folder/bytecode" "$root/usr/bin/python$python" "$@"
