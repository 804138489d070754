#!/bin/sh
# Turns a bootstrapped tree into the root of a machine that people may play with and tests may break.
set -eu
root=$1

echo icecore >"$root/etc/hostname"
echo '127.0.0.1 localhost icecore' >"$root/etc/hosts"
echo 'LABEL=icecore-root / ext4 noatime 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
chroot "$root" passwd --delete root

# What changes from build to build comes on a disk of its own: the kernel's modules, ours, the programs.
mkdir -p "$root/parts" "$root/usr/lib/modules" "$root/etc/modules-load.d"
ln -s /parts/bin/icecore "$root/usr/local/bin/icecore"
cat >"$root/etc/profile.d/icecore.sh" <<'PROFILE'
[ -r /run/icecore/environment ] && . /run/icecore/environment
[ -r /run/icecore/welcome ] && cat /run/icecore/welcome
PROFILE
cat >"$root/etc/systemd/system/icecore-parts.service" <<'UNIT'
[Unit]
Description=What this machine was booted for
ConditionPathExists=/parts/bin/guest
After=local-fs.target systemd-udev-settle.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/parts/bin/guest vm
StandardOutput=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl enable icecore-parts.service

# The console needs no password: the machine is reachable from nowhere else.
mkdir -p "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
cat >"$root/etc/systemd/system/serial-getty@ttyS0.service.d/login.conf" <<'UNIT'
[Unit]
After=icecore-parts.service

[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
UNIT

# Slow under emulation and of no use here.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer postgresql.service mdmonitor-oneshot.timer mdcheck_start.timer mdcheck_continue.timer \
    systemd-networkd-wait-online.service lvm2-monitor.service; do
    chroot "$root" systemctl disable "$unit" >/dev/null 2>&1 || true
done
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
