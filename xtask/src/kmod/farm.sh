# Runs in the build root: /work/farm.part becomes the kernel's headers, as links, with the Rust metadata put in.
# It is used as /work/farm.
set -eu
release=$1
headers=/usr/src/linux-headers-$release
cd /work/farm.part
cp -as "$headers/." .
rm scripts Makefile
sed 's|^KBUILD_OUTPUT=.*|KBUILD_OUTPUT=/work/farm|' "$headers/Makefile" > Makefile
mkdir scripts rust
cp -as "$(readlink -f "$headers/scripts")/." scripts/
ln -s /work/pack/target.json scripts/target.json
ln -s /work/pack/rust/* rust/
