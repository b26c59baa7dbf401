#!/bin/busybox sh
# shellcheck shell=dash
# init.sh - first program of the guest: the host's root, read only, below a layer in memory; then guest.sh in it
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev

fail() {
	echo "init: $*"
	echo o >/proc/sysrq-trigger
	while :; do $bb sleep 1; done
}

for module in /modules/*.ko; do
	$bb insmod "$module" || fail "$module does not load"
done

# vm.top: where the tree is on the host. vm.run: the folder of this run.
for word in $($bb cat /proc/cmdline); do
	case $word in
	vm.top=*) top=${word#*=} ;;
	vm.run=*) run=${word#*=} ;;
	esac
done

how=trans=virtio,version=9p2000.L,msize=524288
$bb mount -t 9p -o ro,$how,cache=loose root /lower || fail 'the root of the host does not mount'
$bb mount -t tmpfs -o size=256m tmpfs /upper
$bb mkdir /upper/files /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new ||
	fail 'no layer in memory'
for folder in proc sys dev tmp run dev/shm; do
	$bb mkdir -p /new/$folder
done
for folder in proc sys dev; do
	$bb mount --move /$folder /new/$folder
done
$bb mkdir -p /new/dev/shm /new/dev/pts
$bb mount -t tmpfs tmpfs /new/tmp
$bb mount -t tmpfs -o mode=755 tmpfs /new/run
$bb mount -t tmpfs tmpfs /new/dev/shm
$bb mount -t devpts devpts /new/dev/pts
$bb mkdir -p "/new$run"
$bb mount -t 9p -o rw,$how,cache=none run "/new$run" || fail 'the folder of the run does not mount'
exec $bb switch_root /new /bin/busybox sh "$top/tests/vm/guest.sh" "$top" "$run"
