# Runs in the build root: compiles the kernel's Rust crates from /work/source, configured exactly as the kernel,
# checks that they offer exactly the symbols that the kernel exports, and leaves their metadata in /work/pack.part.
set -eu
release=$1
headers=/usr/src/linux-headers-$release
cd /work
mkdir -p obj
cp "$headers/.config" "$headers/Module.symvers" obj/

# This spelling of the compiler keeps the configuration as it is.
set -- -C /work/source O=/work/obj ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- CC=x86_64-linux-gnu-gcc-14 \
    KERNELRELEASE="$release"
make "$@" olddefconfig
# The header of the file names the command that wrote it.
grep -v '^# Linux/' obj/.config > config.ours
grep -v '^# Linux/' "$headers/.config" > config.kernel
diff config.kernel config.ours || {
    echo "The configuration is not the kernel's; the crates would not fit."
    exit 1
}
make "$@" rustavailable
make "$@" -j"$(nproc)" modules_prepare

# Ours must offer nothing that the kernel lacks, and the reverse: both were compiled from the same source.
for crate in core helpers bindings kernel; do
    sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(.*\));$/\1/p' "obj/rust/exports_${crate}_generated.h"
done | LC_ALL=C sort -u > symbols.ours
awk '$3 == "vmlinux" { print $2 }' "$headers/Module.symvers" | LC_ALL=C sort -u > symbols.kernel
{
    LC_ALL=C comm -23 symbols.ours symbols.kernel
    LC_ALL=C comm -13 symbols.ours symbols.kernel | grep -E '^(_R|rust_helper_)' || true
} > symbols.differ
if [ -s symbols.differ ] || ! [ -s symbols.ours ]; then
    cat symbols.differ
    echo "The symbols of the crates are not those of the kernel; they would not fit."
    exit 1
fi

rm -rf pack.part
mkdir -p pack.part/rust
cp obj/rust/*.rmeta obj/rust/*.so pack.part/rust/
cp obj/scripts/target.json pack.part/
