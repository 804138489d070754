//! One private repository and the program that works on it. Opened by a key file: no test waits for a passphrase without need.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }
}

impl Ran {
    /// The run's standard output as the one JSON value it must be.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The run succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// The run succeeded and says all of `texts` on standard output.
    pub fn prints(self, texts: &[&str]) -> Self {
        let ran = self.ok();
        for text in texts {
            assert!(ran.stdout.contains(text), "{text:?} is not in {ran:?}");
        }
        ran
    }

    /// The run failed with this code and says all of `texts` on standard error.
    pub fn failed(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        }
        self
    }
}

/// A directory with the repository, its key file, its index and the test's disks.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    /// Without a repository.
    pub fn empty() -> Self {
        Self { dir: TempDir::with_prefix("icecore-cli-").unwrap() }
    }

    /// With a repository that `key` opens.
    pub fn new() -> Self {
        let bench = Self::empty();
        bench.run(["init"]).ok();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a temporary directory's name is UTF-8").to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    /// The program with nothing of the caller's settings, and no key.
    pub fn keyless(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
            command.env_remove(name);
        }
        command
            .env("ICECORE_REPO", self.path("repo"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// The program with the repository's key file.
    pub fn command(&self) -> Command {
        let mut command = self.keyless();
        command.env("ICECORE_KEY_FILE", self.path("key"));
        command
    }

    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Ran {
        self.command().args(args).output().unwrap().into()
    }

    /// Runs with `--json` and returns the value.
    pub fn json<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Value {
        Ran::from(self.command().arg("--json").args(args).output().unwrap()).ok().json()
    }

    /// Makes a disk of some chunks (64 KiB each) by a seed: every third one zero.
    pub fn disk(&self, name: &str, chunks: usize, seed: u64) -> String {
        let mut bytes = vec![0; chunks << 16];
        for (number, chunk) in bytes.chunks_mut(1 << 16).enumerate().filter(|(number, _)| number % 3 != 2) {
            fill(chunk, seed.wrapping_mul(1000).wrapping_add(number as u64));
        }
        self.write(name, bytes)
    }

    /// Changes the byte at an offset of a file.
    pub fn flip(&self, path: &Path, offset: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[offset] ^= 0x40;
        std::fs::write(path, bytes).unwrap();
    }

    /// All files below a directory of the repository.
    pub fn objects(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.path("repo").join(below)];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { pending.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

/// Bytes that do not compress, the same for the same seed (splitmix64).
pub fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for word in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..word.len()]);
    }
}
