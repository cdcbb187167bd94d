#!/bin/sh
# Makes a machine of the namespaces it runs in: boot_host.sh FOLDER SEED NAME [FROM:TO ...]
#
# FOLDER is empty; its root folder is this machine's, with what is written kept in memory. SEED is
# copied over it. Each FROM is seen at TO. Then systemd runs, with no units but those in the seed
# and the few that it needs itself.
set -e
folder=$1 seed=$2 name=$3
shift 3
root=$folder/root

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
touch "$root/dev/console"
mount --bind /dev/null "$root/dev/console"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

mkdir "$root/run/units" "$root/run/sshd"
for unit in basic sysinit multi-user shutdown network network-online time-sync sockets timers paths \
    slices local-fs umount final exit; do
  cp "/lib/systemd/system/$unit.target" "$root/run/units"
done
cp /lib/systemd/system/systemd-journald* "$root/run/units"
mkdir "$root/run/units/sysinit.target.wants"
ln -s ../systemd-journald.service "$root/run/units/sysinit.target.wants"
mount --bind "$root/run/units" "$root/lib/systemd/system"
mount -t tmpfs tmpfs "$root/lib/systemd/system-generators"
mount -t tmpfs -o mode=755 tmpfs "$root/etc/systemd/system"

for pair in "$@"; do
  mkdir -p "$root${pair#*:}"
  mount --rbind "${pair%%:*}" "$root${pair#*:}"
done
cp -R "$seed/." "$root"
rm -f "$root/root/.bashrc" "$root/root/.bash_profile" "$root/root/.profile"
echo "$name" > "$root/etc/hostname"
rm -f "$root/etc/machine-id"
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$root/etc/machine-id"

cd "$root"
mkdir run/old
pivot_root . run/old
umount -l /run/old
export container=hierfl
exec /lib/systemd/systemd --system --unit=multi-user.target
