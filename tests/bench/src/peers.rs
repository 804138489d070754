//! Puts the peers in place: Debian packages of a newer suite, unpacked into the cache and not installed, and rustic by cargo.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The Debian suite with restic 0.19 and borg 1.4.
const SUITE: &str = "forky";
const PACKAGES: [&str; 2] = ["restic", "borgbackup"];
const RUSTIC_CRATE: &str = "rustic-rs";

/// Where the peers' programs are.
pub struct Peers {
    root: PathBuf,
    rustic: PathBuf,
}

impl Peers {
    /// Installs into `cache` what is missing; building rustic takes many minutes and is left out unless `with_rustic`.
    pub fn provide(cache: &Path, with_rustic: bool) -> Result<Self> {
        let peers = cache.join("peers");
        let root = peers.join(SUITE);
        if !root.join("usr/bin/restic").exists() {
            unpack(&peers.join("apt"), &root)?;
        }
        let rustic = peers.join("bin/rustic");
        if with_rustic && !rustic.exists() {
            build_rustic(&peers)?;
        }
        Ok(Self { root, rustic })
    }

    /// restic, which runs on any C library since 2.34.
    pub fn restic(&self) -> Command {
        Command::new(self.root.join("usr/bin/restic"))
    }

    /// borg in the newer suite's Python, started through the newer suite's loader, so that nothing of the host is mixed in.
    pub fn borg(&self) -> Command {
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).arg(self.root.join("usr/bin/python3"));
        command.args(["-P", "-m", "borg"]).env("PYTHONHOME", self.root.join("usr"));
        for name in ["PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"] {
            command.env_remove(name);
        }
        command
    }

    /// rustic, if it was built.
    pub fn rustic(&self) -> Option<Command> {
        self.rustic.exists().then(|| Command::new(&self.rustic))
    }
}

/// Lets apt resolve and verify the packages in a private configuration, and unpacks them.
fn unpack(apt: &Path, root: &Path) -> Result<()> {
    eprintln!("fetching {} of Debian {SUITE}", PACKAGES.join(" and "));
    for directory in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={keyring}] http://deb.debian.org/debian {SUITE} main\n");
    fs::write(apt.join("sources.list"), source)?;
    // With no package installed, apt fetches everything that the two need, the C library included.
    fs::write(apt.join("status"), "")?;
    apt_get(apt, &["update"])?;
    let mut install = vec!["install", "--download-only", "--yes"];
    install.extend(PACKAGES);
    apt_get(apt, &install)?;
    let unfinished = root.with_extension("unfinished");
    for entry in fs::read_dir(apt.join("archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            e2e::capture(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&unfinished))?;
        }
    }
    fs::rename(&unfinished, root)?;
    fs::remove_dir_all(apt).context("cannot delete the downloaded packages")
}

fn apt_get(apt: &Path, args: &[&str]) -> Result<()> {
    let option = |name: &str, value: &Path| {
        let mut option = OsString::from(format!("{name}="));
        option.push(value);
        [OsString::from("-o"), option]
    };
    let nothing = Path::new("/dev/null");
    let options = [
        option("Dir::Etc::SourceList", &apt.join("sources.list")),
        option("Dir::Etc::SourceParts", nothing),
        option("Dir::Etc::Preferences", nothing),
        option("Dir::Etc::PreferencesParts", nothing),
        option("Dir::State::Lists", &apt.join("lists")),
        option("Dir::State::Status", &apt.join("status")),
        option("Dir::Cache", apt),
        option("Dir::Cache::Archives", &apt.join("archives")),
    ];
    let mut command = Command::new("apt-get");
    command.args(options.iter().flatten());
    command.args([
        "-o",
        "APT::Install-Recommends=false",
        "-o",
        "Acquire::Languages=none",
        "-o",
        "APT::Sandbox::User=root",
    ]);
    e2e::capture(command.args(args)).map(drop)
}

/// Builds rustic without its optional parts and without link-time optimisation, which changes its speed by little.
fn build_rustic(peers: &Path) -> Result<()> {
    eprintln!("building {RUSTIC_CRATE} (many minutes, once)");
    let mut command = Command::new("nice");
    command.args(["-n", "19", "cargo", "install", "--locked", "--quiet", "--no-default-features", "--root"]);
    command.arg(peers).arg(RUSTIC_CRATE);
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    let status = command.stdout(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "{RUSTIC_CRATE} does not build; leave it out with --without-rustic");
    Ok(())
}
