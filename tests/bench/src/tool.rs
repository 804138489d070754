//! The backup programs that are compared, each with a repository and caches of its own in one directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::peers::Peers;

/// Name of Icecore's recovery points; peers know the source by its path.
const POINT_NAME: &str = "bench";
const SECRET: &str = "correct horse battery staple";

/// Which program, with which settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Ours; `chunk_kib` and `level` as given to `init` and `backup`, `None` for the defaults.
    Icecore {
        /// `init --chunk-size`.
        chunk_kib: Option<u32>,
        /// `backup --level`.
        level: Option<u8>,
    },
    /// restic with its defaults.
    Restic,
    /// rustic with its defaults.
    Rustic,
    /// borg with fixed chunks of 4 MiB, zstd level 1 and AES with SHA-256, its fastest encrypted variant for disk images.
    Borg,
}

/// A program and the directory it works in.
pub struct Tool<'a> {
    /// As it is called in the results.
    pub label: &'static str,
    kind: Kind,
    peers: &'a Peers,
    icecore: PathBuf,
    dir: PathBuf,
}

impl<'a> Tool<'a> {
    /// A tool that works in `work/LABEL`, which need not exist.
    pub fn new(label: &'static str, kind: Kind, peers: &'a Peers, icecore: &Path, work: &Path) -> Self {
        Self { label, kind, peers, icecore: icecore.to_owned(), dir: work.join(label.replace(' ', "-")) }
    }

    /// Everything the tool writes lies here.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The repository.
    pub fn repository(&self) -> PathBuf {
        self.dir.join("repo")
    }

    /// Makes an empty repository; what was in the directory is deleted.
    pub fn start_anew(&self) -> Result<()> {
        if self.dir.exists() {
            std::fs::remove_dir_all(&self.dir)?;
        }
        std::fs::create_dir_all(self.dir.join("home"))?;
        let mut command = self.command()?;
        match &self.kind {
            Kind::Icecore { chunk_kib, .. } => {
                command.arg("init");
                if let Some(kib) = chunk_kib {
                    command.args(["--chunk-size", &format!("{kib}K")]);
                }
            }
            Kind::Restic | Kind::Rustic => drop(command.arg("init")),
            Kind::Borg => drop(command.args(["init", "--encryption", "repokey"])),
        }
        e2e::capture(&mut command)?;
        if let Kind::Icecore { .. } = self.kind {
            e2e::capture(self.command()?.args(["key", "writer-export", "--out"]).arg(self.writer_key()))?;
        }
        Ok(())
    }

    /// The key that an unattended backup uses; it is no passphrase and so needs no slow derivation.
    fn writer_key(&self) -> PathBuf {
        self.dir.join("writer.key")
    }

    /// Backs up the file `source`.
    pub fn backup(&self, source: &Path) -> Result<Command> {
        let mut command = self.command()?;
        match &self.kind {
            Kind::Icecore { level, .. } => {
                command.env_remove("ICECORE_PASSPHRASE").arg("--writer-key").arg(self.writer_key());
                command.args(["backup", "--name", POINT_NAME]);
                if let Some(level) = level {
                    command.args(["--level", &level.to_string()]);
                }
                command.arg(source);
            }
            Kind::Restic | Kind::Rustic => drop(command.arg("backup").arg(source)),
            Kind::Borg => {
                command.args(["create", "--chunker-params", "fixed,4194304", "--compression", "zstd,1"]);
                command.arg("::{now:%s.%f}").arg(source);
            }
        }
        Ok(command)
    }

    /// Backs up `source` with a changed list; ours only.
    pub fn backup_changed(&self, source: &Path, list: &Path) -> Result<Command> {
        let mut command = self.backup(source)?;
        command.arg("--changed-extents").arg(list);
        Ok(command)
    }

    /// Restores the newest backup of `source` below the empty directory `target`, and says where the file comes to lie.
    pub fn restore(&self, source: &Path, target: &Path) -> Result<(Command, PathBuf)> {
        let below = source.strip_prefix("/").context("the source's path is absolute")?;
        let mut command = self.command()?;
        let restored = match &self.kind {
            Kind::Icecore { .. } => {
                let file = target.join("disk.img");
                command.args(["restore", "latest", "--to"]).arg(&file);
                file
            }
            Kind::Restic => {
                command.args(["restore", "latest", "--sparse", "--target"]).arg(target);
                target.join(below)
            }
            Kind::Rustic => {
                command.args(["restore", "latest"]).arg(target);
                target.join(below)
            }
            Kind::Borg => {
                let archive = self.newest_borg_archive()?;
                command.args(["extract", "--sparse"]).arg(format!("::{archive}")).current_dir(target);
                target.join(below)
            }
        };
        Ok((command, restored))
    }

    fn newest_borg_archive(&self) -> Result<String> {
        let output = e2e::capture(self.command()?.args(["list", "--short", "--last", "1"]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Any command of ours.
    pub fn icecore(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.command()?;
        command.args(args);
        Ok(command)
    }

    /// What the tool calls itself.
    pub fn version(&self) -> Result<String> {
        let mut command = self.command()?;
        command.arg(if self.kind == Kind::Restic { "version" } else { "--version" });
        let output = e2e::capture(&mut command)?;
        let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        Ok(first.rsplit_once(" -m ").map_or(first.clone(), |(_, module)| module.to_owned()))
    }

    /// The program with its repository, secret and private caches.
    fn command(&self) -> Result<Command> {
        let mut command = match self.kind {
            Kind::Icecore { .. } => Command::new(&self.icecore),
            Kind::Restic => self.peers.restic(),
            Kind::Rustic => self.peers.rustic().context("rustic is not built")?,
            Kind::Borg => self.peers.borg(),
        };
        let home = self.dir.join("home");
        for name in ["ICECORE", "RESTIC", "RUSTIC", "BORG"] {
            command.env(format!("{name}_REPO"), self.repository());
            command.env(format!("{name}_PASSWORD"), SECRET).env(format!("{name}_PASSPHRASE"), SECRET);
        }
        command.env("RUSTIC_REPOSITORY", self.repository()).env("RESTIC_REPOSITORY", self.repository());
        command.env("BORG_BASE_DIR", &home).env("HOME", &home);
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
            command.env(name, home.join(name));
        }
        Ok(command)
    }
}
