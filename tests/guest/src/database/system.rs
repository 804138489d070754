//! Where the programs of a database are: on this machine, or in a tree of Debian on a disk beside it, which is entered for each of them.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

/// Programs and the file system that they see.
#[derive(Clone)]
pub struct System {
    /// Nothing: this machine's own.
    tree: Option<PathBuf>,
}

impl System {
    /// This machine's own.
    pub const fn own() -> Self {
        Self { tree: None }
    }

    /// The tree that is mounted here.
    pub fn in_tree(root: &Path) -> Self {
        Self { tree: Some(root.to_owned()) }
    }

    /// A command of it.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = match &self.tree {
            None => Command::new(program),
            Some(root) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("inside").arg(root).arg(program);
                command
            }
        };
        command.current_dir("/").stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command of it to its end and returns what it printed; a failure shows it.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let shown = format!("{program} {}", args.join(" "));
        let output = self.command(program)?.args(args).output().with_context(|| format!("cannot start `{shown}`"))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("`{shown}` failed ({}): {printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(printed)
    }

    /// What its programs call a path of this machine.
    pub fn inside(&self, path: &Path) -> Result<PathBuf> {
        match &self.tree {
            None => Ok(path.to_owned()),
            Some(root) => {
                let rest = path.strip_prefix(root);
                Ok(Path::new("/").join(rest.with_context(|| format!("{} is not in the tree", path.display()))?))
            }
        }
    }

    /// Where a path that its programs know is on this machine.
    pub fn outside(&self, path: &str) -> PathBuf {
        match &self.tree {
            None => PathBuf::from(path),
            Some(root) => root.join(path.trim_start_matches('/')),
        }
    }
}

/// What `guest inside ROOT PROGRAM ARGUMENTS` does: becomes the program, which sees the tree as `/`.
pub fn become_inside(root: &str, program: &str, args: &[&str]) -> ExitCode {
    let entered = nix::unistd::chroot(root).and_then(|()| nix::unistd::chdir("/"));
    if let Err(errno) = entered {
        eprintln!("cannot enter {root}: {errno}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(args).exec();
    eprintln!("cannot start {program} in {root}: {error}");
    ExitCode::FAILURE
}
