//! `cargo xtask setup`: finds out what is missing on this machine and installs it, with the user's consent.
//!
//! A package counts as missing when what it is needed for is not there, so the check also holds on other
//! distributions; only the installing knows Debian and Ubuntu.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;
use Proof::{File, Program, PythonModule};

/// Options of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    consent: Consent,
}

/// Whether the user has already agreed to installing.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
pub struct Consent {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// What the machine shall be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Build the kernel module.
    Kernel,
    /// Build, make a sample disk, back it up, restore it.
    Tour,
    /// Build the web page.
    Page,
    /// Make the demo's history.
    Demo,
    /// All tests that need no machine of their own.
    Test,
    /// The tests of the web page in a real browser.
    Browser,
    /// The tests inside an emulated machine.
    Guest,
    /// Debian in an emulated machine.
    Vm,
    /// The benchmark with its peers.
    Bench,
}

impl Purpose {
    /// Whether a machine that shall serve this purpose must have what `other` needs.
    fn includes(self, other: Self) -> bool {
        other == self || (other < self && (other != Self::Kernel || self >= Self::Test) && other != Self::Browser)
    }
}

/// What shows that a package is there.
enum Proof {
    /// A program on the search path or among the administrative ones.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A module that `python3` can import.
    PythonModule(&'static str),
}

impl Proof {
    fn holds(&self) -> bool {
        match self {
            Program(name) => e2e::tool_exists(name),
            File(path) => Path::new(path).exists(),
            PythonModule(name) => {
                let mut python = Command::new("python3");
                python.args(["-c", &format!("import {name}")]).stdout(Stdio::null()).stderr(Stdio::null());
                python.status().is_ok_and(|status| status.success())
            }
        }
    }
}

/// A Debian package and why it is needed.
struct Need {
    package: &'static str,
    proof: Proof,
    why: &'static str,
    purpose: Purpose,
}

const fn need(purpose: Purpose, package: &'static str, proof: Proof, why: &'static str) -> Need {
    Need { package, proof, why, purpose }
}

const NEEDS: &[Need] = &[
    need(Purpose::Kernel, "debian-archive-keyring", File(DEBIAN_KEYRING), "verify the packages that it downloads"),
    need(Purpose::Kernel, "dpkg", Program("dpkg-deb"), "unpack packages into the build root of the kernel module"),
    need(Purpose::Kernel, "tar", Program("tar"), "unpack the kernel's source"),
    need(Purpose::Kernel, "xz-utils", Program("xz"), "decompress the kernel's source"),
    need(Purpose::Kernel, "util-linux", Program("unshare"), "enter that build root"),
    need(Purpose::Tour, "gcc", Program("gcc"), "compile SQLite, zstd and the cryptography library"),
    need(Purpose::Tour, "libc6-dev", File("/usr/include/stdio.h"), "find the C library's headers for the same"),
    need(Purpose::Tour, "gdisk", Program("sgdisk"), "write partition tables on sample disks"),
    need(Purpose::Tour, "e2fsprogs", Program("mkfs.ext4"), "make ext4 file systems"),
    need(Purpose::Tour, "dosfstools", Program("mkfs.vfat"), "make EFI system partitions"),
    need(Purpose::Tour, "mount", Program("losetup"), "mount sample disks"),
    need(Purpose::Page, "nodejs", Program("node"), "build the web page"),
    need(Purpose::Page, "npm", Program("npm"), "fetch the libraries that the web page is made of"),
    need(Purpose::Demo, "faketime", Program("faketime"), "let the weeks of the demo's history take minutes"),
    need(Purpose::Browser, "chromium", Program("chromium"), "open the web page in a real browser"),
    need(Purpose::Test, "mtools", Program("mcopy"), "fill FAT file systems in tests"),
    need(Purpose::Test, "fdisk", Program("sfdisk"), "write MBR partition tables in tests"),
    need(Purpose::Test, "xfsprogs", Program("mkfs.xfs"), "test with xfs"),
    need(Purpose::Test, "ntfs-3g", Program("mkntfs"), "test with NTFS"),
    need(Purpose::Test, "wimtools", Program("wimlib-imagex"), "test with files that Windows compressed"),
    need(Purpose::Test, "btrfs-progs", Program("mkfs.btrfs"), "test with btrfs"),
    need(Purpose::Test, "lvm2", Program("lvm"), "test with logical volumes"),
    need(Purpose::Test, "thin-provisioning-tools", Program("thin_delta"), "test with thin logical volumes"),
    need(Purpose::Test, "acl", Program("setfacl"), "test that restored files keep their ACLs"),
    need(Purpose::Test, "attr", Program("setfattr"), "test that restored files keep their attributes"),
    need(Purpose::Test, "fuse3", Program("fusermount3"), "test `icecore mount` without root"),
    need(Purpose::Test, "qemu-utils", Program("qemu-img"), "check exported qcow2 and vmdk images"),
    need(Purpose::Test, "python3", Program("python3"), "run the independent reference reader, and fuzz the API"),
    need(Purpose::Test, "python3-venv", PythonModule("ensurepip"), "give both their packages"),
    need(Purpose::Test, "iproute2", Program("ip"), "test with lines that are cut, in network namespaces"),
    need(Purpose::Test, "time", File("/usr/bin/time"), "measure memory and processor time"),
    need(Purpose::Guest, "qemu-system-x86", Program("qemu-system-x86_64"), "emulate the machine of the guest tests"),
    need(Purpose::Guest, "kmod", Program("depmod"), "index kernel modules as modprobe needs it"),
    need(Purpose::Guest, "mdadm", Program("mdadm"), "test with software RAID"),
    need(Purpose::Guest, "udev", Program("udevadm"), "test that nobody takes an image for its disk"),
    need(Purpose::Guest, "dmsetup", Program("dmsetup"), "test with delaying and failing disks"),
    need(Purpose::Vm, "mmdebstrap", Program("mmdebstrap"), "make the root file system of a virtual machine"),
    need(Purpose::Bench, "sqlite3", Program("sqlite3"), "make the database file on the benchmark's disk"),
    need(Purpose::Bench, "zstd", Program("zstd"), "measure the compressor alone, to compare with"),
];

const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Installs everything that any command needs.
pub fn run(options: &Options) -> Result<()> {
    install(Purpose::Bench, options.consent)?;
    install(Purpose::Browser, options.consent)?;
    println!("Everything is in place.");
    Ok(())
}

/// Installs what `purpose` needs and is not there; returns quickly when nothing is missing.
pub fn install(purpose: Purpose, consent: Consent) -> Result<()> {
    let mut missing = missing_for(purpose);
    if !missing.is_empty() {
        install_missing(&missing, consent)?;
        // A package may have displaced another one: QEMU of one suite removes the image tools of a newer one.
        missing = missing_for(purpose);
        if !missing.is_empty() {
            eprintln!("Installing these removed others, or did not bring everything; once more.");
            install_missing(&missing, consent)?;
        }
        if let Some(need) = missing_for(purpose).first() {
            bail!(
                "{} was installed, but what it should bring is not there; look at apt-get's messages above",
                need.package
            );
        }
    }
    if purpose.includes(Purpose::Test) && purpose != Purpose::Vm && find_tool("cargo-deny")?.is_none() {
        install_tool("cargo-deny")?;
    }
    Ok(())
}

fn missing_for(purpose: Purpose) -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| purpose.includes(need.purpose) && !need.proof.holds()).collect()
}

fn install_missing(missing: &[&Need], consent: Consent) -> Result<()> {
    eprintln!("These packages are missing:");
    for need in missing {
        eprintln!("  {:<14} to {}", need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    ensure_consent(consent, &packages)?;
    install_packages(&packages)
}

fn ensure_consent(consent: Consent, packages: &[&str]) -> Result<()> {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    if consent.yes || in_ci {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        ensure!(
            e2e::is_root(),
            "nobody is here to be asked; run `cargo xtask setup --yes`, or as root: apt-get install {}",
            packages.join(" ")
        );
        return Ok(());
    }
    eprint!("Install them with apt-get now? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(
        matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"),
        "not installed; to do it yourself: apt-get install {}",
        packages.join(" ")
    );
    Ok(())
}

fn install_packages(packages: &[&str]) -> Result<()> {
    if !e2e::tool_exists("apt-get") {
        bail!(
            "this is not Debian or Ubuntu; install what provides these with your package manager: {}",
            packages.join(" ")
        );
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    // Most machines have fresh enough lists; updating them first would cost every run its network.
    if apt_get(&install)? {
        return Ok(());
    }
    eprintln!("The package lists seem to be old; updating them.");
    ensure!(apt_get(&["update"])?, "apt-get update failed; its messages are above");
    ensure!(apt_get(&install)?, "apt-get install failed; its messages are above");
    Ok(())
}

fn apt_get(args: &[&str]) -> Result<bool> {
    let mut command = if e2e::is_root() {
        Command::new("apt-get")
    } else {
        ensure!(e2e::tool_exists("sudo"), "installing needs root and there is no sudo; run this command as root once");
        let mut sudo = Command::new("sudo");
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "Dpkg::Use-Pty=0", "-qq"]).args(args);
    // Standard output belongs to the command's result (`tour --json`).
    command.stdout(std::io::stderr());
    Ok(command.status().context("cannot start apt-get")?.success())
}

/// A cargo tool on the search path or in our cache.
pub fn find_tool(name: &str) -> Result<Option<PathBuf>> {
    let cached = workspace::cache_dir()?.join("tools/bin").join(name);
    if cached.is_file() {
        return Ok(Some(cached));
    }
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search_path).map(|directory| directory.join(name)).find(|path| path.is_file());
    Ok(found)
}

/// The path of a tool that `install` has put in place.
pub fn tool(name: &str) -> Result<PathBuf> {
    find_tool(name)?.with_context(|| format!("{name} is not installed; run `cargo xtask setup`"))
}

/// The path of a tool that only few need; it is built when it is not there.
pub fn tool_or_install(name: &str) -> Result<PathBuf> {
    if find_tool(name)?.is_none() {
        install_tool(name)?;
    }
    tool(name)
}

/// Version of Garage that the tests run against; `repo-format/tests/garage` looks for it by the same name.
const GARAGE_VERSION: &str = "2.5.0";

/// Where Garage is, or will be: a directory of its own for each version.
fn garage_root() -> Result<PathBuf> {
    Ok(workspace::cache_dir()?.join("tools").join(format!("garage-{GARAGE_VERSION}")))
}

/// Whether Garage is built.
pub fn has_garage() -> Result<bool> {
    Ok(garage_root()?.join("bin/garage").is_file())
}

/// The path of Garage, an S3 engine for tests; it is built when it is not there.
pub fn garage() -> Result<PathBuf> {
    let root = garage_root()?;
    if !has_garage()? {
        eprintln!("Building garage {GARAGE_VERSION} into {} (once; some minutes)", root.display());
        let mut command = workspace::cargo();
        command.args(["install", "garage", "--version", GARAGE_VERSION, "--locked", "--quiet", "--root"]).arg(&root);
        command.args(["--no-default-features", "--features", "bundled-libs,sqlite"]);
        // It serves small tests for seconds: optimising it fully would take longer than they do.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_LTO", "off");
        let status = command.stdout(Stdio::null()).status().context("cannot start cargo")?;
        ensure!(status.success(), "garage does not build; cargo's messages are above");
    }
    Ok(root.join("bin/garage"))
}

/// Builds a cargo tool into our cache, not into the user's own tools.
fn install_tool(name: &str) -> Result<()> {
    let tools = workspace::cache_dir()?.join("tools");
    eprintln!("Building {name} into {} (once)", tools.display());
    let mut command = workspace::cargo();
    command.args(["install", "--locked", "--quiet", "--root"]).arg(&tools).arg(name);
    let status = command.stdout(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "{name} does not build; cargo's messages are above");
    Ok(())
}
