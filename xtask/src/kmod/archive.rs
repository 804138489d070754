//! What the Debian archive offers: package lists of our own, apart from the machine's, and downloads out of them.
//!
//! apt does the work and verifies every signature and checksum; this file only asks and reads its answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The suite that everything but the kernel is of.
pub const SUITE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Debian's own address, for machines whose apt names no Debian mirror.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// The kernel that the suite offers now. All its packages have the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The version of its packages, such as `7.3.4-1~bpo13+1`.
    pub version: String,
    /// What `uname -r` prints, such as `7.3.4+deb13-amd64`.
    pub release: String,
    /// The packages that hold the image and its modules.
    pub image_packages: Vec<String>,
    /// The package that holds the source, such as `linux-source-7.3`.
    pub source_package: String,
    /// The version of the compiler's package.
    pub rustc: String,
}

/// Package lists of Debian 13 and its backports.
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Opens the lists in `dir` and updates them. Without the network the lists of the last time serve.
    pub fn open(dir: &Path) -> Result<Self> {
        for directory in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(dir.join(directory)).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        std::fs::write(dir.join("status"), "")?;
        std::fs::write(dir.join("apt.conf"), configuration(dir))?;
        std::fs::write(dir.join("sources.list"), sources(&mirror()))?;
        let archive = Self { dir: dir.to_owned() };
        let updated = e2e::capture(archive.apt("apt-get").args(["update", "--error-on=any"]));
        if let Err(error) = updated {
            let known = archive.madison("linux-image-amd64").is_ok();
            ensure!(known, "{error:#}");
            eprintln!("warning: the package lists cannot be updated; using those of the last time\n{error:#}");
        }
        Ok(archive)
    }

    /// The current kernel of the backports; an error when its packages are not all of one version.
    pub fn kernel(&self) -> Result<Kernel> {
        let version = self.madison("linux-image-amd64")?;
        let meta = self.depends("linux-image-amd64", &version)?;
        let image = meta
            .iter()
            .find_map(|(name, _)| name.strip_prefix("linux-image-").filter(|rest| rest.ends_with("-amd64")))
            .context("linux-image-amd64 depends on no kernel image; the archive has changed its packages")?;
        let release = image.to_owned();
        let source_package = self
            .depends("linux-source", &version)?
            .into_iter()
            .find_map(|(name, _)| name.starts_with("linux-source-").then_some(name))
            .context("linux-source depends on no source; the archive has changed its packages")?;
        let headers = format!("linux-headers-{release}");
        for package in [&headers, &source_package] {
            self.depends(package, &version)?;
        }
        let image_packages = self.closure(&format!("linux-image-{release}"), &version)?;
        Ok(Kernel { version, release, image_packages, source_package, rustc: self.newest("rustc", SUITE)? })
    }

    /// Downloads `packages` (each `name` or `name=version`) with all they depend on into `dir`.
    pub fn download_with_dependencies(&self, packages: &[String], dir: &Path) -> Result<()> {
        let archives = dir.join("partial");
        std::fs::create_dir_all(&archives)?;
        let mut apt = self.apt("apt-get");
        apt.arg("-o").arg(format!("Dir::Cache::archives={}", dir.display()));
        e2e::capture(apt.args(["install", "--yes", "--download-only", "--no-install-recommends"]).args(packages))?;
        Ok(())
    }

    /// Downloads exactly `packages` of `version` into `dir`.
    pub fn download(&self, packages: &[String], version: &str, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        let exact = packages.iter().map(|package| format!("{package}={version}"));
        e2e::capture(self.apt("apt-get").current_dir(dir).arg("download").args(exact))?;
        Ok(())
    }

    /// `package` and what it needs of the same `version`: the parts of one kernel.
    fn closure(&self, package: &str, version: &str) -> Result<Vec<String>> {
        let mut found = vec![package.to_owned()];
        let mut next = 0;
        while let Some(name) = found.get(next).cloned() {
            next += 1;
            for (dependency, constraint) in self.depends(&name, version)? {
                if constraint == format!("= {version}") && !found.contains(&dependency) {
                    found.push(dependency);
                }
            }
        }
        Ok(found)
    }

    /// The dependencies of a package: names with their version constraints (empty without one).
    fn depends(&self, package: &str, version: &str) -> Result<Vec<(String, String)>> {
        let mut show = self.apt("apt-cache");
        let output = e2e::capture(show.args(["show", &format!("{package}={version}")])).with_context(|| {
            format!(
                "the archive has no {package} of version {version}, though its kernel image is of that version; \
                 it is probably in the middle of an update: try again in an hour"
            )
        })?;
        Ok(dependencies(&String::from_utf8_lossy(&output.stdout)))
    }

    fn madison(&self, package: &str) -> Result<String> {
        self.newest(package, BACKPORTS)
    }

    /// The newest version of `package` in `suite`.
    fn newest(&self, package: &str, suite: &str) -> Result<String> {
        let output = e2e::capture(self.apt("apt-cache").args(["madison", package]))?;
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        match newest_of(&table, suite) {
            Some(version) => Ok(version.to_owned()),
            None => bail!("{suite} has no package {package}; the package lists are empty or the suite has changed"),
        }
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").arg("-q");
        command
    }
}

/// apt's settings: all state in `dir`; proxies and the like stay as the machine has them.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::State::lists \"{dir}/lists\";\nDir::State::status \"{dir}/status\";\n\
         Dir::State::extended_states \"{dir}/extended_states\";\nDir::Cache \"{dir}/cache\";\n\
         Dir::Cache::pkgcache \"pkgcache.bin\";\nDir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAPT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n#clear Acquire::IndexTargets::deb::DEP-11;\n"
    )
}

fn sources(mirror: &str) -> String {
    [SUITE, BACKPORTS].map(|suite| source_of(mirror, suite) + "\n").concat()
}

fn source_of(mirror: &str, suite: &str) -> String {
    format!("deb [signed-by={KEYRING}] {mirror} {suite} main")
}

/// Where apt gets a suite from, as a line of its list of sources.
pub fn source(suite: &str) -> String {
    source_of(&mirror(), suite)
}

/// The mirror from which this machine gets Debian, else Debian's own address.
fn mirror() -> String {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL)|$(ORIGIN)|$(REPO_URI)", "Identifier: Packages"]);
    let listed = e2e::capture(&mut targets).map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    listed.ok().as_deref().and_then(debian_mirror).unwrap_or(DEFAULT_MIRROR).to_owned()
}

/// The address of the main archive among apt's targets; those of updates and security have other labels.
fn debian_mirror(targets: &str) -> Option<&str> {
    let address = targets.lines().find_map(|line| line.strip_prefix("Debian|Debian|"))?;
    Some(address.trim_end_matches('/'))
}

/// The first version of `suite` in the table of `apt-cache madison`, which lists the newest first.
fn newest_of<'t>(table: &'t str, suite: &str) -> Option<&'t str> {
    table.lines().find_map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let version = columns.nth(1)?;
        let origin = columns.next()?;
        origin.split(' ').any(|word| word == format!("{suite}/main")).then_some(version)
    })
}

/// The `Depends` field of a package record, the first alternative of each.
fn dependencies(record: &str) -> Vec<(String, String)> {
    let depends = record.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    depends
        .split(',')
        .filter_map(|entry| entry.split('|').next())
        .map(|entry| match entry.split_once('(') {
            Some((name, constraint)) => (name.trim().to_owned(), constraint.trim().trim_end_matches(')').to_owned()),
            None => (entry.trim().to_owned(), String::new()),
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{debian_mirror, dependencies, newest_of};

    #[test]
    fn dependencies_have_names_and_constraints() {
        let record = "Package: a\nDepends: dracut | initramfs-tools (>= 0.120), linux-base-7 (= 7.3-1), kmod\n";
        let expected = [("dracut", ""), ("linux-base-7", "= 7.3-1"), ("kmod", "")];
        assert_eq!(dependencies(record), expected.map(|(name, constraint)| (name.to_owned(), constraint.to_owned())));
    }

    #[test]
    fn a_record_without_dependencies_has_none() {
        assert_eq!(dependencies("Package: a\nVersion: 1\n"), []);
    }

    #[test]
    fn the_newest_version_of_the_suite_is_taken() {
        let table = "\
 linux-source | 7.3.4-1~bpo13+1 | http://mirror/debian trixie-backports/main amd64 Packages
 linux-source | 7.2.12-1~bpo13+1 | http://mirror/debian trixie-backports/main amd64 Packages
 linux-source | 6.12.107-1 | http://mirror/debian trixie/main amd64 Packages
";
        assert_eq!(newest_of(table, "trixie-backports"), Some("7.3.4-1~bpo13+1"));
        assert_eq!(newest_of(table, "trixie"), Some("6.12.107-1"));
        assert_eq!(newest_of(table, "sid"), None);
    }

    #[test]
    fn the_mirror_is_that_of_the_main_archive() {
        let targets = "Debian-Security|Debian|http://mirror/security/\nDebian|Debian|http://mirror/debian/\n";
        assert_eq!(debian_mirror(targets), Some("http://mirror/debian"));
        assert_eq!(debian_mirror("Ubuntu|Ubuntu|http://mirror/ubuntu/\n"), None);
    }
}
