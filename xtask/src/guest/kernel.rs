//! A kernel to boot and its modules: finds them, unpacks them, puts them in the order in which they load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::kmod::Built;

/// Modules that the guest's init loads before the first scenario. One that has no file is built into the kernel.
pub const AT_BOOT: [&str; 17] = [
    "configfs",
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "dm-mod",
    "dm-delay",
    "dm-flakey",
    "dm-snapshot",
    "loop",
    "md-mod",
    "raid1",
    "raid0",
    "ext4",
    "xfs",
    "btrfs",
    "blksnap",
];

/// The same for scenarios that measure. Others would only make a slow boot slower: btrfs tries out ways to compute parity.
pub const TO_MEASURE: [&str; 5] = ["configfs", "virtio_pci", "virtio_blk", "dm-mod", "dm-snapshot"];

/// Modules that scenarios load themselves, mostly with parameters.
const ON_REQUEST: [&str; 7] = ["null_blk", "scsi_debug", "brd", "dm-thin-pool", "nd_e820", "nd_pmem", "zram"];

/// A kernel, its modules and those under test.
pub struct Kernel {
    image: PathBuf,
    /// Time limits are multiplied by this.
    patience: u64,
    release: String,
    /// The modules under test, by normalised name.
    own: BTreeMap<String, PathBuf>,
    stock: BTreeMap<String, PathBuf>,
    /// Where the kernel's own modules lie.
    directory: PathBuf,
}

/// A module, ready to load.
pub struct Module {
    /// Its name with underscores.
    pub name: String,
    /// The unpacked file.
    pub content: Vec<u8>,
    /// Names of what must be loaded before it, in that order.
    pub needs: Vec<String>,
}

impl Kernel {
    /// What `cargo xtask kmod` has built.
    pub fn built(built: &Built) -> Result<Self> {
        let mut stock = BTreeMap::new();
        collect(&built.kernel_modules(), &mut stock)?;
        let name_of = |path: &PathBuf| path.file_stem().map(|stem| normalised(&stem.to_string_lossy()));
        let own = built.modules().iter().filter_map(|path| Some((name_of(path)?, path.clone()))).collect();
        let (release, directory) = (built.release().to_owned(), built.kernel_modules());
        Ok(Self { image: built.vmlinuz(), release, patience: 1, own, stock, directory })
    }

    /// What `cargo xtask kmod --out` left in a directory.
    pub fn in_directory(root: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| format!("there is no directory {}", root.display()))?;
        ensure!(root.join("vmlinuz").is_file(), "{} holds no vmlinuz", root.display());
        let versions: Vec<PathBuf> = std::fs::read_dir(root.join("lib/modules"))
            .with_context(|| format!("{} holds no lib/modules", root.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        let [version] = versions.as_slice() else {
            bail!("{} must hold the modules of one kernel, not of {}", root.display(), versions.len());
        };
        let mut stock = BTreeMap::new();
        collect(version, &mut stock)?;
        let mut own = BTreeMap::new();
        if root.join("ko").is_dir() {
            collect(&root.join("ko"), &mut own)?;
        }
        let release = version.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { image: root.join("vmlinuz"), release, patience: 1, own, stock, directory: version.clone() })
    }

    /// The same, as a kernel that takes so many times as long for everything.
    pub fn patient(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// How many times as long everything may take.
    pub fn patience(&self) -> u64 {
        self.patience
    }

    /// The compressed kernel.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Its release, such as `7.3.4+deb13-amd64`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// A file beside the kernel's own modules, if it is there.
    pub fn about(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.join(name)).filter(|path| path.is_file())
    }

    /// Whether there is a module under test.
    pub fn has_own_modules(&self) -> bool {
        !self.own.is_empty()
    }

    /// Names of the modules under test.
    fn own_modules(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }

    /// Everything that a guest may load.
    pub fn modules(&self) -> Result<Vec<Module>> {
        self.modules_named(&[AT_BOOT.as_slice(), ON_REQUEST.as_slice()].concat())
    }

    /// The modules under test, these, and all that they need; names that are no module of this kernel are passed over.
    pub fn modules_named(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut files = BTreeMap::new();
        for wanted in names.iter().copied().chain(self.own_modules()) {
            self.unpack(&normalised(wanted), &mut files)?;
        }
        let direct: BTreeMap<String, Vec<String>> =
            files.iter().map(|(name, content)| (name.clone(), dependencies(content))).collect();
        let ordered = |name: &String| {
            let mut order = Vec::new();
            add_dependencies(name, &direct, &mut order);
            order
        };
        let needs: BTreeMap<String, Vec<String>> = files.keys().map(|name| (name.clone(), ordered(name))).collect();
        let with_needs = |(name, content): (String, Vec<u8>)| Module {
            needs: needs.get(&name).cloned().unwrap_or_default(),
            name,
            content,
        };
        Ok(files.into_iter().map(with_needs).collect())
    }

    fn unpack(&self, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        let Some(path) = self.own.get(name).or_else(|| self.stock.get(name)) else {
            return Ok(());
        };
        if files.contains_key(name) {
            return Ok(());
        }
        let content = unpacked(path)?;
        let needed = dependencies(&content);
        files.insert(name.to_owned(), content);
        needed.iter().try_for_each(|needed| self.unpack(needed, files))
    }
}

/// Files are named with either, the kernel knows underscores only.
pub fn normalised(name: &str) -> String {
    name.replace('-', "_")
}

fn collect(directory: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), found)?;
        } else if let Some((name, "" | ".xz" | ".zst" | ".gz")) = entry.file_name().to_string_lossy().split_once(".ko")
        {
            found.insert(normalised(name), entry.path());
        }
    }
    Ok(())
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return std::fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let output = Command::new(program).args(["-dc"]).arg(path).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} cannot unpack {}", path.display());
    Ok(output.stdout)
}

/// What the module itself says it needs: the string `depends=a,b` among its zero-terminated strings of information.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY).map(|at| at + KEY.len()) else {
        return Vec::new();
    };
    let value = module[start..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(normalised).collect()
}

fn add_dependencies(name: &str, direct: &BTreeMap<String, Vec<String>>, order: &mut Vec<String>) {
    for needed in direct.get(name).into_iter().flatten() {
        if !order.contains(needed) {
            add_dependencies(needed, direct, order);
            order.push(needed.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{add_dependencies, dependencies};

    #[test]
    fn a_module_says_what_it_needs() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=dm-mod,dax\0intree=Y\0"), ["dm_mod", "dax"]);
        assert!(dependencies(b"\0depends=\0name=loop\0").is_empty());
        assert!(dependencies(b"no module at all").is_empty());
    }

    #[test]
    fn what_is_needed_deepest_loads_first() {
        let direct = [("a", vec!["b", "c"]), ("b", vec!["d"]), ("c", vec!["d"]), ("d", vec![])];
        let direct: BTreeMap<String, Vec<String>> =
            direct.map(|(name, needs)| (name.to_owned(), needs.into_iter().map(str::to_owned).collect())).into();
        let mut order = Vec::new();
        add_dependencies("a", &direct, &mut order);
        assert_eq!(order, ["d", "b", "c"]);
    }
}
