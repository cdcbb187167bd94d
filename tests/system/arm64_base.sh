#!/usr/bin/env bash
# Makes localhost/python-arm64:3.11-slim, for tests/system/test_arm64.py: Debian 12 for 64-bit Arm with
# its Python 3.11, and this machine's certificates, so that pip trusts in it whom it trusts here.
#
#   apt-get install podman debootstrap qemu-user-static
#   tests/system/arm64_base.sh
#
# As root, on any processor for which qemu is registered in the kernel; minutes when it is emulated.
set -euo pipefail
image=localhost/python-arm64:3.11-slim
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

debootstrap --arch arm64 --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
  bookworm "$root"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$root/etc/pip.conf"
ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
rm -rf "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
tar -C "$root" -c . | podman import --arch arm64 --os linux -c 'CMD ["python3"]' - "$image"
