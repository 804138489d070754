//! Files of a recovery point over the server: a real ext4 file system, read by the keeper's confined process, and what a hostile one comes to.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine};
use e2e::http::{Request, Response};
use e2e::{DiskImage, FileSystem, MIB, PartitionPlan};
use serde_json::Value;

/// A server, a point of a disk with an EFI system partition, an ext4 partition and swap space, and a keeper that runs.
struct Kept {
    appliance: Appliance,
    point: String,
    _keeper: Machine,
    _running: Agent,
}

/// Longer than a piece, so that it takes several.
const LARGE_BYTES: usize = (2 << 20) + 12_345;

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 13 & 0xff).unwrap_or(0)).collect()
}

fn fill(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory.join("etc/deep"))?;
    fs::create_dir_all(directory.join("many"))?;
    fs::write(directory.join("etc/hostname"), "iceberg\n")?;
    fs::write(directory.join("etc/odd\nname"), "odd")?;
    fs::write(directory.join("etc/empty"), "")?;
    fs::write(directory.join("large"), large())?;
    fs::write(directory.join("etc/deep/noise"), large())?;
    std::os::unix::fs::symlink("/etc/hostname", directory.join("etc/link"))?;
    for number in 0..1200 {
        fs::write(directory.join(format!("many/{number:05}")), "")?;
    }
    Ok(())
}

impl Kept {
    /// `harm` may spoil the image before it is backed up.
    fn new(harm: impl FnOnce(&DiskImage) -> Result<()>) -> Result<Self> {
        let appliance = Appliance::with(&[])?;
        let content = appliance.dir().join("content");
        fill(&content)?;
        let path = appliance.dir().join("disk.img");
        let boot = appliance.dir().join("boot");
        fs::create_dir_all(boot.join("EFI/debian"))?;
        fs::write(boot.join("EFI/debian/A long name.efi"), large())?;
        let plans = [
            PartitionPlan::sized(FileSystem::Vfat, 40 * MIB).filled_from(&boot),
            PartitionPlan::sized(FileSystem::Ext4, 60 * MIB).filled_from(&content),
            PartitionPlan::rest(FileSystem::Swap),
        ];
        let image = DiskImage::create(&path, 104 * MIB, &plans)?;
        harm(&image)?;
        let machine = appliance.machine("web")?;
        let made = appliance.backup(&machine, &path, "web")?;
        let point = made["id"].as_str().context("a point has an id")?.to_owned();
        let keeper = appliance.keeper("keeper")?;
        let mut command = appliance.keeper_command(&keeper)?;
        command.arg("--show-files");
        let running = Agent::start(command, &keeper)?;
        let kept = Self { appliance, point, _keeper: keeper, _running: running };
        // It is there once it has asked; until then nobody waits for it.
        kept.appliance
            .until(&format!("/api/v1/recovery-points/{}", kept.point), |point| point["name"].as_str().map(drop))?;
        Ok(kept)
    }

    fn ask(&self, what: &str, query: &str) -> Result<Response> {
        let path = format!("/api/v1/recovery-points/{}/{what}{query}", self.point);
        self.appliance.server.send(&Request::new("GET", &path).token(&self.appliance.admin))
    }

    fn files(&self, path: &str, more: &str) -> Result<Value> {
        Ok(self.ask("files", &format!("?partition=2&path={path}{more}"))?.expect(200)?.body)
    }

    fn content(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.ask("content", &format!("?partition=2&path={path}"))?.expect(200)?.bytes)
    }
}

fn names(listed: &Value) -> Vec<&str> {
    listed["items"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

#[test]
fn files_of_a_point_are_listed_and_read_through_the_keeper() -> Result<()> {
    let kept = Kept::new(|_| Ok(()))?;
    let volumes = kept.ask("volumes", "")?.expect(200)?.body;
    ensure!(volumes[0]["volumes"][1]["holds"] == "ext4" && volumes[0]["volumes"][1]["readable"] == true, "{volumes}");
    ensure!(volumes[0]["volumes"][2]["holds"] == "swap" && volumes[0]["volumes"][2]["readable"] == false, "{volumes}");

    let root = kept.files("/", "")?;
    ensure!(root["file_system"] == "ext4" && names(&root) == ["etc", "large", "lost+found", "many"], "{root}");
    let etc = kept.files("/etc", "")?;
    ensure!(names(&etc) == ["deep", "empty", "hostname", "link", "odd\\nname"], "{etc}");
    ensure!(etc["items"][3]["link_target"] == "/etc/hostname" && etc["items"][2]["size_bytes"] == 8, "{etc}");

    // Pages follow each other without a gap.
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = kept.files("/many", &format!("&limit=500{cursor}"))?;
        ensure!(page["count"] == 1200);
        all.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    ensure!(all == (0..1200).map(|number| format!("{number:05}")).collect::<Vec<_>>());

    ensure!(kept.content("/etc/hostname")? == b"iceberg\n" && kept.content("/etc/empty")?.is_empty());
    ensure!(kept.content("/etc/odd%5Cnname")? == b"odd", "a name is asked for as it was listed");
    ensure!(kept.content("/large")? == large(), "a file of several pieces is whole");

    for (what, query, status) in [
        ("files", "?partition=2&path=/nowhere", 404),
        ("files", "?partition=2&path=/etc/hostname", 404),
        ("content", "?partition=2&path=/etc", 409),
        ("content", "?partition=2&path=/etc/link", 409),
        ("files", "?partition=7&path=/", 409),
        ("files", "?partition=3&path=/", 409),
        ("files", "?partition=2&path=etc", 422),
        ("files", "?partition=2&path=/&limit=501", 400),
    ] {
        let answer = kept.ask(what, query)?;
        ensure!(answer.status == status, "{what}{query}: {} {}", answer.status, answer.body);
    }
    let audit = kept.appliance.get("/api/v1/audit?limit=50")?;
    let entries = audit["items"].as_array().context("a list")?;
    let count = |action: &str| entries.iter().filter(|entry| entry["action"] == action).count();
    ensure!(count("recovery-point.look") == 1 && count("file.read") == 4, "{audit:#}");
    Ok(())
}

/// Who looks for files means those of the machine, and not what its firmware starts from; that can be looked at all the same.
#[test]
fn an_efi_system_partition_is_read_and_is_not_what_is_meant() -> Result<()> {
    let kept = Kept::new(|_| Ok(()))?;
    let volumes = kept.ask("volumes", "")?.expect(200)?.body;
    let told = |number: usize| {
        let volume = &volumes[0]["volumes"][number];
        (volume["holds"].as_str(), volume["readable"].as_bool(), volume["is_default"].as_bool())
    };
    ensure!(told(0) == (Some("fat"), Some(true), Some(false)), "{volumes}");
    ensure!(told(1) == (Some("ext4"), Some(true), Some(true)), "{volumes}");
    ensure!(told(2) == (Some("swap"), Some(false), Some(false)), "{volumes}");

    let root = kept.ask("files", "?path=/")?.expect(200)?.body;
    ensure!(root["file_system"] == "ext4" && names(&root) == ["etc", "large", "lost+found", "many"], "{root}");
    let boot = kept.ask("files", "?partition=1&path=/EFI/debian")?.expect(200)?.body;
    ensure!(boot["file_system"] == "fat" && names(&boot) == ["A long name.efi"], "{boot}");
    let loader = "/EFI/debian/A long name.efi";
    let content = kept.ask("content", &format!("?partition=1&path={}", loader.replace(' ', "%20")))?;
    ensure!(content.expect(200)?.bytes == large());

    // The command line agrees.
    let (point, dir) = (kept.point.as_str(), kept.appliance.dir());
    let listed = kept.appliance.local(&["ls", point, "/etc"])?;
    ensure!(listed.as_array().is_some_and(|entries| entries.len() == 5), "{listed}");
    let listed = kept.appliance.local(&["ls", &format!("{point}:1"), "/EFI/debian"])?;
    ensure!(listed[0]["name"] == "A long name.efi" && listed[0]["size_bytes"] == LARGE_BYTES, "{listed}");
    for (more, path) in [(&[][..], "/large"), (&["--partition", "1"], loader)] {
        let target = dir.join(format!("restored{}", more.len()));
        let to = target.to_str().context("a path in UTF-8")?;
        kept.appliance.local(&[&["restore", point, "--files", path, "--to", to], more].concat())?;
        ensure!(fs::read(target.join(&path[1..]))? == large(), "{path}");
    }
    Ok(())
}

#[test]
fn a_directory_comes_as_tar_and_zip_that_other_programs_unpack() -> Result<()> {
    let kept = Kept::new(|_| Ok(()))?;
    let dir = kept.appliance.dir();
    let get = |query: &str| kept.ask("archive", &format!("?partition=2&{query}"));
    fs::write(dir.join("etc.tar"), get("path=/etc&format=tar")?.expect(200)?.bytes)?;
    fs::create_dir(dir.join("tar"))?;
    e2e::capture(
        Command::new("tar").args(["--extract", "--file"]).arg(dir.join("etc.tar")).current_dir(dir.join("tar")),
    )?;
    let made = dir.join("content/etc");
    for name in ["hostname", "odd\nname", "empty"] {
        let (unpacked, made) = (dir.join("tar/etc").join(name), made.join(name));
        ensure!(fs::read(&unpacked)? == fs::read(&made)?, "{name:?}");
        let (unpacked, made) = (fs::metadata(unpacked)?, fs::metadata(made)?);
        // The image was made with whole seconds.
        ensure!(unpacked.permissions() == made.permissions() && unpacked.mtime() == made.mtime(), "{name:?}");
    }
    ensure!(
        fs::read_link(dir.join("tar/etc/link"))? == Path::new("/etc/hostname") && dir.join("tar/etc/deep").is_dir()
    );

    // The root, with a file of several pieces and a directory of many names.
    fs::write(dir.join("root.zip"), get("path=/&format=zip")?.expect(200)?.bytes)?;
    let judge = "import zipfile
z = zipfile.ZipFile('root.zip')
assert z.testzip() is None
names = z.namelist()
assert len([n for n in names if n.startswith('many/')]) == 1201, len(names)
assert z.read('etc/odd%0Aname') == b'odd' and z.read('etc/hostname') == b'iceberg\\n'
open('large', 'wb').write(z.read('large'))
";
    e2e::capture(Command::new("python3").args(["-c", judge]).current_dir(dir))?;
    ensure!(fs::read(dir.join("large"))? == large());

    for (query, status) in [
        ("path=/nowhere&format=tar", 404),
        ("path=/etc/hostname&format=tar", 404),
        ("path=etc&format=tar", 422),
        ("path=/etc&format=rar", 400),
    ] {
        let answer = get(query)?;
        ensure!(answer.status == status, "{query}: {} {}", answer.status, answer.body);
    }
    Ok(())
}

/// A download without its end must not look like one that has it: there is no length to compare with.
#[test]
fn an_archive_of_what_cannot_be_read_does_not_end_like_a_whole_one() -> Result<()> {
    // The map of a file that stands behind others names a block that the partition does not have.
    let kept = Kept::new(|image| {
        let partition = image.partitions()[1];
        let part = image.path().with_extension("part");
        let mut bytes = vec![0; usize::try_from(partition.length_bytes)?];
        fs::File::open(image.path())?.read_exact_at(&mut bytes, partition.offset_bytes)?;
        fs::write(&part, &bytes)?;
        let map = "set_inode_field /large block[0] 0";
        e2e::capture(Command::new("debugfs").args(["-w", "-R", map]).arg(&part))?;
        let harmed = fs::read(&part)?;
        ensure!(harmed != bytes, "debugfs changed nothing");
        fs::OpenOptions::new().write(true).open(image.path())?.write_all_at(&harmed, partition.offset_bytes)?;
        Ok(())
    })?;
    for format in ["tar", "zip"] {
        let told = kept.ask("archive", &format!("?partition=2&path=/&format={format}"));
        match told {
            // What stands before it was on its way already.
            Err(error) => ensure!(format!("{error:#}").contains("cut off"), "{format}: {error:#}"),
            // It compresses so well that nothing was on its way yet.
            Ok(answer) => {
                ensure!(answer.status == 409 && format == "zip", "the {format} looks whole: {}", answer.status)
            }
        }
    }
    // What is not damaged still comes.
    kept.ask("archive", "?partition=2&path=/etc&format=tar")?.expect(200)?;
    Ok(())
}

#[test]
fn a_file_system_that_lies_costs_an_answer_and_not_the_keeper() -> Result<()> {
    // The first group's inode table is noise: directories lead anywhere.
    let kept = Kept::new(|image| {
        let partition = image.partitions()[1];
        let file = fs::OpenOptions::new().write(true).open(image.path())?;
        let noise: Vec<u8> =
            (0..1_u32 << 20).flat_map(|at| at.wrapping_mul(2_246_822_519).to_le_bytes()).take(1 << 20).collect();
        file.write_all_at(&noise, partition.offset_bytes + (64 << 10))?;
        Ok(())
    })?;
    let answer = kept.ask("files", "?partition=2&path=/")?;
    ensure!(answer.status == 409 || answer.status == 404 || answer.status == 200, "{} {}", answer.status, answer.body);
    // It goes on answering.
    kept.ask("volumes", "")?.expect(200)?;
    Ok(())
}

/// What the process may not do is what keeps a hostile file system from doing it.
#[test]
fn the_process_that_reads_files_gave_up_everything_else() -> Result<()> {
    let mut child = Command::new(e2e::icecore_program()?)
        .args(["read-files", "4096"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let proc = Path::new("/proc").join(child.id().to_string());
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        let status = fs::read_to_string(proc.join("status"))?;
        if status.contains("Seccomp:\t2") {
            break status;
        }
        ensure!(Instant::now() < until, "it does not give up system calls: {status}");
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(status.contains("NoNewPrivs:\t1"), "{status}");
    if e2e::is_root() {
        let nobody = "65534\t65534\t65534\t65534";
        ensure!(status.contains(&format!("Uid:\t{nobody}")) && status.contains(&format!("Gid:\t{nobody}")), "{status}");
        ensure!(status.contains("CapEff:\t0000000000000000"), "{status}");
        let limits = fs::read_to_string(proc.join("limits"))?;
        let hard = |name: &str| {
            limits
                .lines()
                .find(|line| line.starts_with(name))
                .map(|line| line.split_whitespace().rev().nth(1).unwrap_or_default().to_owned())
        };
        ensure!(
            hard("Max data size").as_deref() == Some("536870912") && hard("Max open files").as_deref() == Some("3"),
            "{limits}"
        );
    }
    drop(child.stdin.take());
    ensure!(child.wait()?.success(), "it ends when nobody asks any more");
    Ok(())
}
