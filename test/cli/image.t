#!/bin/bash
# SPDX-License-Identifier: ISC
# Disk images: judged by sgdisk, fsck.fat, mtools and qemu-img, and booted by SeaBIOS and OVMF.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1

# Wrong usage, before anything is built.
mkdir app
cat >app/app.conf <<'END'
name = app
memory = 16
args word { type = string; default = "" }
END
echo '#error must not be built' >app/main.c
wrong() { exits "$1" "$3" "$mirari" image -C app "${@:4}"; has "$2" "$3: is explained"; }
wrong 64 'unknown format "qcow"; write raw or qcow2; did you mean "qcow2"' 'a format' --format qcow
wrong 64 '--data takes 0 or a size' 'a size' --data 1
wrong 64 'needs a value' 'no file' -o
wrong 64 'target unix has no disk images; take -t virt' 'another target' -t unix
wrong 64 'disks are made for x86_64 only' 'another architecture' --arch aarch64
wrong 64 'unknown option "--wrod"; did you mean "--word"' 'an option of the appliance' --wrod x
wrong 64 'unknown option "-x"' 'a letter' -x
wrong 64 'unknown argument "app"' 'an argument' app
touch there.img
wrong 1 'exists already and may hold data.*--force' 'a file that exists' -o there.img
wrong 1 'is not a file' 'a device' -o /dev/null
check 'and nothing is built' test ! -e app/_build

missing() { echo "# SKIP $1"; report 0 "SKIP $1"; done_testing; }
[ -e "$b/virt/libmirari-virt.a" ] || missing 'no libraries of target virt: make virt'
[ -d /usr/lib/grub/i386-pc ] || { exits 1 'without GRUB' "$mirari" image -C app; missing 'grub-pc-bin is not installed'; }
[ -d /usr/lib/grub/x86_64-efi ] || missing 'grub-efi-amd64-bin is not installed'
[ -e /usr/include/x86_64-linux-musl/string.h ] || missing 'musl-dev is not installed'

cat >app/main.c <<'END'
#include <mirari/mirari.h>
int mir_app_main(struct mir_app *app)
{
    mir_app_print(app, "word <%s>\n", mir_app_string(app, "word"));
    return 5;
}
END
odd='a b "c" '\''d'\'' \e $f'
is_ok 'an image' "$mirari" image -C app -o one.img --word "$odd"
has '^one.img: a disk of [0-9]+ bytes: [0-9]+ appliance' 'says what is in it'
cp app/_build/virt/.disk/boot.efi first.efi
is_ok 'once more' "$mirari" image -q -C app -o two.img --word "$odd"
[ -z "$out" ]; report $? 'quietly'
check 'is the same' cmp one.img two.img
cp -r app elsewhere; rm -rf elsewhere/_build
(cd elsewhere && "$mirari" image -q -o ../three.img --word "$odd") >/dev/null 2>&1
check 'and from another folder' cmp one.img three.img
is_ok 'with --force' "$mirari" image -q -C app -o two.img --force --word other
check 'another one is written over it' bash -c '! cmp -s one.img two.img'
is_ok 'as qcow2' "$mirari" image -q -C app -o one.qcow2 --format qcow2 --word "$odd"
is_ok 'without data' "$mirari" image -q -C app -o bare.img --data 0
is_ok 'with much data' "$mirari" image -q -C app -o big.img --data 4G
is_ok 'as qcow2 too' "$mirari" image -q -C app -o big.qcow2 --data 4G --format=qcow2
[ "$(du -k big.img | cut -f 1)" -lt 2048 ]; report $? 'of which the file has only the beginning'
[ "$(stat -c %s big.qcow2)" -lt 2097152 ]; report $? 'the qcow2 too'
[ "$(stat -c %s bare.img)" -lt 1048576 ]; report $? 'a disk without data is smaller than 1 MiB'
exits 64 'an empty word' "$mirari" image -q -C app -o x.img --word ''; has 'no empty words' 'cannot be passed on'
check 'and leaves no file' test ! -e x.img
exits 1 'a folder that is not there' "$mirari" image -q -C app -o nowhere/x.img; has 'cannot write "nowhere/x.img"' 'is said'

if command -v sgdisk >/dev/null; then
    for disk in one bare big; do says '^No problems found' "sgdisk finds no problem: $disk" sgdisk -v $disk.img; done
    says '1 +40 .* EF02 +boot' 'boot' sgdisk -p one.img; has '2 .* EF00 +system' 'system'; has '3 .* 4.0 MiB +8300 +data' 'data'
    start=$(sgdisk -i 2 one.img | awk '/First sector/{print $3}'); end=$(sgdisk -i 2 one.img | awk '/Last sector/{print $3}')
    dd if=one.img of=system.fat bs=512 skip="$start" count=$((end - start + 1)) status=none
    command -v fsck.fat >/dev/null && is_ok 'fsck.fat finds no problem' fsck.fat -n system.fat
    if command -v mcopy >/dev/null; then
        is_ok 'mtools reads the appliance' mcopy -n -i system.fat ::/MIRARI mirari.elf
        says 'ELF64' 'which is an ELF file' readelf -h mirari.elf
        is_ok 'and GRUB' mcopy -n -i system.fat ::/EFI/BOOT/BOOTX64.EFI grub.efi
        check 'as it was made' cmp grub.efi first.efi
    fi
else
    echo '# SKIP gdisk is not installed'
fi
if command -v qemu-img >/dev/null; then
    for disk in one big; do is_ok "qemu-img checks $disk.qcow2" qemu-img check $disk.qcow2; has '^No errors' 'no errors'; done
    is_ok 'both formats are the same disk' qemu-img compare one.img one.qcow2
    is_ok 'and the large ones' qemu-img compare big.img big.qcow2
else
    echo '# SKIP qemu-utils is not installed'
fi

command -v qemu-system-x86_64 >/dev/null || missing 'qemu-system-x86 is not installed'
boot() { # boot SECONDS QEMU ARGUMENT...
    timeout "$1" qemu-system-x86_64 -accel tcg -cpu max -m 128 -nodefaults -no-user-config -no-reboot -display none -serial stdio \
        -device isa-debug-exit,iobase=0x501,iosize=2 "${@:2}"
}
want='word <a b "c" .d. \\e \$f>'
exits 11 'SeaBIOS boots it' boot 60 -M q35 -drive if=virtio,format=raw,file=one.img; has "$want" 'with its words'
exits 11 'an old machine, IDE and qcow2' boot 60 -M pc -drive if=ide,format=qcow2,file=one.qcow2; has "$want" 'with its words'
ovmf=
for file in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd; do [ -n "$ovmf" ] || [ ! -e $file ] || ovmf=$file; done
if [ -n "$ovmf" ]; then
    exits 11 'OVMF boots it' boot 120 -M q35 -drive if=pflash,format=raw,readonly=on,file=$ovmf -drive if=virtio,format=raw,file=one.img
    has "$want" 'with its words'
else
    echo '# SKIP ovmf is not installed'
fi
done_testing
