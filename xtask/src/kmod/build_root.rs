//! The Debian 13 directory tree in which modules are compiled, and what it holds for one kernel.
//!
//! Each part is made under another name and renamed when it is whole, so an interrupted run leaves nothing that looks
//! finished. Commands inside see the tree as `/`, with a private `/proc`; nothing stays mounted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Archive, Kernel};
use super::sources;

/// What a build of a module, of the kernel's Rust crates and of the kernel's own tools needs.
const TOOLS: [&str; 30] = [
    "base-files",
    "bash",
    "bc",
    "bindgen",
    "bison",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "flex",
    "gawk",
    "gcc-14",
    "grep",
    "kmod",
    "libc-bin",
    "libc6-dev",
    "libclang-dev",
    "libdw-dev",
    "libelf-dev",
    "libssl-dev",
    "make",
    "openssl",
    "pahole",
    "perl",
    "python3-minimal",
    "rust-src",
    "rustc",
    "sed",
    "tar",
    "zlib1g-dev",
];
/// Parts of the kernel's source that neither its configuration nor its Rust crates read.
const UNREAD: [&str; 7] =
    ["Documentation/*/*", "drivers/*.c", "fs/*.c", "net/*.c", "sound/*.c", "tools/testing/*", "*.dts*"];

/// A directory tree with the compiler of one kernel.
pub struct BuildRoot {
    dir: PathBuf,
    kernel: Kernel,
}

impl BuildRoot {
    pub fn new(dir: PathBuf, kernel: Kernel) -> Self {
        Self { dir, kernel }
    }

    /// The kernel's release.
    pub fn release(&self) -> &str {
        &self.kernel.release
    }

    pub fn has_tools(&self) -> bool {
        self.tree().is_dir()
    }

    pub fn has_image(&self) -> bool {
        self.image().is_dir()
    }

    pub fn has_pack(&self) -> bool {
        self.work().join("pack").is_dir()
    }

    /// Holds `vmlinuz` and `lib/modules/VERSION`.
    pub fn image(&self) -> PathBuf {
        self.work().join("image")
    }

    /// Unpacks the compiler, the kernel's headers and `more` packages. No package's scripts run: compilers need none of them.
    pub fn make_tools(&self, archive: &Archive, more: &[&str]) -> Result<()> {
        let part = emptied(&self.dir.join("root.part"))?;
        let debs = emptied(&self.dir.join("debs"))?;
        let mut packages: Vec<String> = TOOLS.iter().chain(more).map(|&name| name.to_owned()).collect();
        packages.push(format!("linux-headers-{}={}", self.kernel.release, self.kernel.version));
        archive.download_with_dependencies(&packages, &debs)?;
        unpack_system(&debs, &part)?;
        // What the scripts of packages would have done.
        std::os::unix::fs::symlink("gawk", part.join("usr/bin/awk"))?;
        std::fs::write(part.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        for (name, minor) in [("null", "3"), ("zero", "5"), ("urandom", "9")] {
            let node = part.join("dev").join(name);
            if !node.exists() {
                e2e::capture(Command::new("mknod").args(["-m", "666"]).arg(node).args(["c", "1", minor]))?;
            }
        }
        std::fs::create_dir_all(part.join("work"))?;
        std::fs::rename(part, self.tree())?;
        Ok(())
    }

    /// An error unless the compiler in here is the one that built the kernel: without it, no module may be built,
    /// because nothing in the kernel would notice that the two disagree about the layout of a structure.
    pub fn check_compiler(&self) -> Result<()> {
        let config = self.headers_on_host().join(".config");
        let config = std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
        ensure!(config.contains("\nCONFIG_RUST=y\n"), "kernel {} is built without Rust support", self.kernel.release);
        let kernel_compiler = config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_RUSTC_VERSION_TEXT=\"")?.strip_suffix('"'))
            .context("the kernel's configuration does not name its Rust compiler")?;
        let output = e2e::capture(self.inside("rustc --version")?.stderr(Stdio::inherit()))?;
        let ours = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(
            ours == kernel_compiler,
            "the kernel was built by `{kernel_compiler}`, but Debian's package is `{ours}`; \
             a module of another compiler would not fit. Wait for the archive's next kernel"
        );
        Ok(())
    }

    /// Unpacks the kernel image and its modules.
    pub fn make_image(&self, archive: &Archive) -> Result<()> {
        let debs = emptied(&self.work().join("image-debs"))?;
        archive.download(&self.kernel.image_packages, &self.kernel.version, &debs)?;
        let unpacked = emptied(&self.work().join("image-unpacked"))?;
        unpack_all(&debs, &unpacked, |_| true)?;
        std::fs::remove_dir_all(&debs)?;
        let part = emptied(&self.work().join("image.part"))?;
        let release = &self.kernel.release;
        // Where packages put the image has changed once; both places are known to boot loaders.
        let modules = [unpacked.join("usr/lib/modules"), unpacked.join("lib/modules")]
            .into_iter()
            .find(|path| path.join(release).is_dir())
            .context("the kernel's packages hold no modules")?;
        let vmlinuz = [modules.join(release).join("vmlinuz"), unpacked.join(format!("boot/vmlinuz-{release}"))]
            .into_iter()
            .find(|path| path.is_file())
            .context("the kernel's packages hold no vmlinuz")?;
        std::fs::rename(vmlinuz, part.join("vmlinuz"))?;
        std::fs::create_dir_all(part.join("lib"))?;
        std::fs::rename(modules, part.join("lib/modules"))?;
        std::fs::remove_dir_all(unpacked)?;
        self.run(&format!("depmod -b /work/image.part {release}"), "depmod")?;
        std::fs::rename(part, self.image())?;
        Ok(())
    }

    /// Unpacks what the Rust crates need of the kernel's source, some 1 GiB.
    pub fn unpack_source(&self, archive: &Archive) -> Result<()> {
        self.unpack_source_without(archive, &UNREAD)
    }

    /// Unpacks the kernel's source except for files that fit one of `unread`.
    pub(super) fn unpack_source_without(&self, archive: &Archive, unread: &[&str]) -> Result<()> {
        if self.work().join("source").is_dir() {
            return Ok(());
        }
        let package = &self.kernel.source_package;
        let debs = emptied(&self.work().join("source-debs"))?;
        archive.download(std::slice::from_ref(package), &self.kernel.version, &debs)?;
        unpack_all(&debs, &debs, |_| true)?;
        let part = emptied(&self.work().join("source.part"))?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--xz", "--strip-components=1", "--anchored", "--wildcards-match-slash"]);
        tar.args(unread.iter().map(|pattern| format!("--exclude={package}/{pattern}")));
        tar.arg("--file").arg(debs.join(format!("usr/src/{package}.tar.xz"))).arg("--directory").arg(&part);
        e2e::capture(&mut tar)?;
        std::fs::remove_dir_all(debs)?;
        self.check_source(&part)?;
        std::fs::rename(part, self.work().join("source"))?;
        Ok(())
    }

    /// Compiles the kernel's Rust crates and keeps their metadata; source and objects go.
    pub fn make_pack(&self) -> Result<()> {
        std::fs::write(self.work().join("pack.sh"), include_str!("pack.sh"))?;
        self.run(&format!("sh /work/pack.sh {}", self.kernel.release), "pack")?;
        std::fs::rename(self.work().join("pack.part"), self.work().join("pack"))?;
        for used in ["source", "obj"] {
            std::fs::remove_dir_all(self.work().join(used))?;
        }
        Ok(())
    }

    /// Makes the headers with the metadata put in: links, so it takes a moment and little space.
    pub fn make_farm(&self) -> Result<()> {
        if self.work().join("farm").is_dir() {
            return Ok(());
        }
        emptied(&self.work().join("farm.part"))?;
        std::fs::write(self.work().join("farm.sh"), include_str!("farm.sh"))?;
        self.run(&format!("sh /work/farm.sh {}", self.kernel.release), "farm")?;
        std::fs::rename(self.work().join("farm.part"), self.work().join("farm"))?;
        Ok(())
    }

    /// Compiles the modules in `source` and returns them.
    pub fn build_modules(&self, source: &Path) -> Result<Vec<PathBuf>> {
        self.build_modules_by(source, "make -C /work/farm")
    }

    /// The same with the beginning of the command that builds for another kernel.
    pub(super) fn build_modules_by(&self, source: &Path, make: &str) -> Result<Vec<PathBuf>> {
        let target = self.work().join("kmod");
        sources::synchronise(source, &target)?;
        let make = format!("export DEB_BUILD_ARCH=amd64; {make} M=/work/kmod -j\"$(nproc)\" modules");
        self.run(&make, "modules")?;
        let modules = sources::modules(&target)?;
        ensure!(!modules.is_empty(), "the build left no module in {}", target.display());
        Ok(modules)
    }

    fn check_source(&self, source: &Path) -> Result<()> {
        let makefile = std::fs::read_to_string(source.join("Makefile"))?;
        let field = |name: &str| {
            let line = makefile.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let version = format!("{}.{}.{}", field("VERSION"), field("PATCHLEVEL"), field("SUBLEVEL"));
        ensure!(
            self.kernel.release.starts_with(&version),
            "the source is of Linux {version}, but the kernel image is {}; the archive is inconsistent",
            self.kernel.release
        );
        Ok(())
    }

    /// Runs a shell command in the tree; its output goes to a log whose end is part of the error.
    pub(super) fn run(&self, script: &str, log_name: &str) -> Result<()> {
        let log = self.dir.join(format!("{log_name}.log"));
        let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.inside(script)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let status = command.status().context("cannot start unshare")?;
        if !status.success() {
            let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
            let lines: Vec<&str> = output.lines().collect();
            let end = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
            bail!("{end}\n`{script}` failed in the build root ({status}); all its output is in {}", log.display());
        }
        Ok(())
    }

    fn inside(&self, script: &str) -> Result<Command> {
        let tree = self.tree();
        let tree = tree.to_str().context("the cache's path is not UTF-8; set ICECORE_CACHE to another directory")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount -t proc proc \"$0/proc\" && exec chroot \"$0\" /bin/sh -c \"$1\"").args([tree, script]);
        // The caller's settings (CARGO_…, RUSTFLAGS, …) must not reach the kernel's build.
        command.env_clear().env("PATH", ADMINISTRATIVE_PATH).env("LC_ALL", "C.UTF-8").env("HOME", "/root");
        Ok(command)
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The directory that is `/work` inside.
    pub(super) fn work(&self) -> PathBuf {
        self.tree().join("work")
    }

    fn headers_on_host(&self) -> PathBuf {
        self.tree().join(format!("usr/src/linux-headers-{}", self.kernel.release))
    }
}

const ADMINISTRATIVE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A new empty directory, without what an interrupted run has left there.
pub fn emptied(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir.to_owned())
}

/// Unpacks a system's packages in `debs`, deletes them, and what nobody reads. No package's scripts run.
pub fn unpack_system(debs: &Path, tree: &Path) -> Result<()> {
    // Its links (bin -> usr/bin, …) must exist before any other package's files come.
    unpack_all(debs, tree, |name| name.starts_with("base-files_"))?;
    unpack_all(debs, tree, |name| !name.starts_with("base-files_"))?;
    std::fs::remove_dir_all(debs)?;
    for unneeded in ["doc", "man", "locale", "info"] {
        let path = tree.join("usr/share").join(unneeded);
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
    }
    e2e::capture(Command::new("ldconfig").env("PATH", ADMINISTRATIVE_PATH).arg("-r").arg(tree))?;
    Ok(())
}

/// Unpacks those packages in `debs` whose file name `wanted` accepts.
fn unpack_all(debs: &Path, target: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in std::fs::read_dir(debs)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".deb") && wanted(&name) {
            e2e::capture(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(target))?;
        }
    }
    Ok(())
}
