# Runs in the build root: a small kernel that watches itself, from /work/source into /work/obj; leaves what boots in
# /work/image.part. It says that it is of the distribution kernel's release ($1): there the harness and modprobe look.
set -eu
release=$1
cd /work
set -- -C /work/source O=/work/obj ARCH=x86 LLVM=-19 KERNELRELEASE="$release"
mkdir -p obj
make "$@" tinyconfig
source/scripts/kconfig/merge_config.sh -m -O obj obj/.config sanitizer.config
make "$@" olddefconfig
grep '=[ym]$' sanitizer.config | while read -r line; do
    grep -qxF "$line" obj/.config || echo "$line"
done > config.missing
if [ -s config.missing ]; then
    cat config.missing
    echo "The kernel cannot be configured as it is wanted."
    exit 1
fi
make "$@" rustavailable
make "$@" -j"$(nproc)" bzImage modules
rm -rf image.part
mkdir image.part
make "$@" INSTALL_MOD_PATH=/work/image.part modules_install
rm -f "image.part/lib/modules/$release/build"
cp sanitizer.config image.part/
cp obj/arch/x86/boot/bzImage image.part/vmlinuz
