# Runs in the build root: a small kernel that watches itself, from /work/source into /work/obj; leaves what boots in
# /work/image.part. Its modules lie under the release of the distribution's kernel ($1), where the harness looks for them.
set -eu
release=$1
cd /work
set -- -C /work/source O=/work/obj ARCH=x86 LLVM=-19
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
mkdir -p image.part/lib/modules
make "$@" INSTALL_MOD_PATH=/work/modules.part modules_install
mv modules.part/lib/modules/* "image.part/lib/modules/$release"
rm -rf modules.part
rm -f "image.part/lib/modules/$release/build"
cp obj/arch/x86/boot/bzImage image.part/vmlinuz
