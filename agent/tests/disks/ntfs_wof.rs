//! Files under system compression, packed by wimlib: archives of Windows hold the same chunks.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use agent::files::{self, FilesError, lookup_path};

use crate::images::{Workshop, disk, require_root, run};
use crate::ntfs_image::{self, set_raw};
use crate::population::pattern;

/// Name and chunk size for wimlib, and the number in the reparse point.
const ALGORITHMS: [(&str, usize, u32); 4] =
    [("XPRESS", 4096, 0), ("LZX", 32768, 1), ("XPRESS", 8192, 2), ("XPRESS", 16384, 3)];

/// Contents of which each becomes a file.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let text = (0..9000).fold(String::new(), |text, number| text + &(number * 7919 % 10_007).to_string() + " words\n");
    let calls: Vec<u8> = (0..20_000_u32).flat_map(|n| [0xE8, 0, (n % 7) as u8, (n % 256) as u8, 0, 0x90]).collect();
    let mixed = [&text.as_bytes()[..50_000], &pattern(40_000, 1), &[0xE8; 3000], &[b'x'; 40_001]].concat();
    vec![
        ("text", text.into_bytes()),
        ("calls", calls),
        ("mixed", mixed),
        ("noise", pattern(70_000, 2)),
        ("zeros", vec![0; 100_000]),
        ("small", b"small".to_vec()),
        ("one chunk", vec![b'q'; 32768]),
        ("one byte more", vec![b'q'; 32769]),
    ]
}

/// The packed form of a file: a table of chunks, and the chunks.
pub fn pack(workshop: &Workshop, content: &[u8], algorithm: &str, chunk_bytes: usize) -> Vec<u8> {
    let source = workshop.path("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("file"), content).unwrap();
    let archive = workshop.path("archive.wim");
    let _ = fs::remove_file(&archive);
    let [source, archive] = [source.to_str().unwrap(), archive.to_str().unwrap()];
    let (algorithm, chunk) = (format!("--compress={algorithm}"), format!("--chunk-size={chunk_bytes}"));
    run("wimlib-imagex", &["capture", source, archive, &algorithm, &chunk, "--no-acls"]);
    let listed = Command::new("wimlib-imagex").args(["info", archive, "--blobs"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let blob = listed.split("\n\n").find(|blob| blob.contains("Hash") && !blob.contains("METADATA")).unwrap();
    let number = |name: &str| {
        let line = blob.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(['=', ' ']).filter_map(|word| word.parse::<usize>().ok()).next().unwrap()
    };
    assert_eq!(number("Uncompressed size"), content.len());
    let at = number("Offset in WIM");
    let stored = fs::read(archive).unwrap()[at..at + number("Compressed size")].to_vec();
    if blob.contains("COMPRESSED") {
        return stored;
    }
    // The archive has no table where nothing became shorter.
    let offsets = (1..content.len().div_ceil(chunk_bytes)).map(|chunk| (chunk * chunk_bytes) as u32);
    [offsets.flat_map(u32::to_le_bytes).collect(), stored].concat()
}

/// Makes a file as Windows keeps it: its length and no content; the stream, if `put_stream` puts one; and, after which
/// ntfs-3g changes nothing any more, a reparse point.
pub fn put(path: &Path, size: usize, algorithm: u32, put_stream: impl FnOnce(&Path)) {
    File::create(path).unwrap().set_len(size as u64).unwrap();
    put_stream(path);
    let numbers = [0x8000_0017, 16, 1, 2, 1, algorithm];
    set_raw(path, "reparse_data", &numbers.map(u32::to_le_bytes).concat());
}

/// The stream, where the mount shows streams behind a colon.
fn stream(packed: &[u8]) -> impl FnOnce(&Path) {
    move |path| fs::write(format!("{}:WofCompressedData", path.display()), packed).unwrap()
}

#[test]
fn files_under_system_compression_are_unpacked() {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", 16, &[]);
    {
        let mounted = ntfs_image::mount(&workshop, &image, ",streams_interface=windows");
        for (algorithm, chunk_bytes, number) in ALGORITHMS {
            let dir = mounted.dir.join(format!("{algorithm} {chunk_bytes}"));
            fs::create_dir(&dir).unwrap();
            for (name, content) in contents() {
                let packed = pack(&workshop, &content, algorithm, chunk_bytes);
                put(&dir.join(name), content.len(), number, stream(&packed));
            }
        }
    }
    let fs = files::open(disk(&image)).unwrap();
    for (algorithm, chunk_bytes, _) in ALGORITHMS {
        for (name, content) in contents() {
            let id = lookup_path(&*fs, format!("{algorithm} {chunk_bytes}/{name}").as_bytes()).unwrap();
            assert_eq!(fs.metadata(id).unwrap().size_bytes, content.len() as u64);
            assert_eq!(fs.extended_attributes(id).unwrap(), []);
            let file = fs.open_file(id).unwrap();
            let mut read = vec![1; content.len()];
            for (piece, at) in read.chunks_mut(9999).zip((0..).step_by(9999)) {
                file.read_exact_at(piece, at).unwrap();
            }
            assert!(read == content, "{name}, {algorithm} {chunk_bytes}");
            let extents: Vec<_> = file.data_extents().collect();
            assert_eq!(extents, [files::DataExtent { offset_bytes: 0, length_bytes: content.len() as u64 }]);
        }
    }
}

#[test]
fn damage_to_packed_files_is_an_error() {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", 4, &[]);
    let content = vec![b'q'; 20_000];
    let packed = pack(&workshop, &content, "XPRESS", 4096);
    {
        let mounted = ntfs_image::mount(&workshop, &image, ",streams_interface=windows");
        let with_entry = |entry: u32| [&entry.to_le_bytes()[..], &packed[4..]].concat();
        for (name, packed) in [
            ("chunk beyond the end", with_entry(1 << 20)),
            ("empty chunk", with_entry(0)),
            ("long chunk", with_entry(5000)),
            ("cut table", packed[..10].to_vec()),
            ("cut chunk", packed[..packed.len() - 20].to_vec()),
            ("nothing", Vec::new()),
        ] {
            put(&mounted.dir.join(name), content.len(), 0, stream(&packed));
        }
        put(&mounted.dir.join("no stream"), content.len(), 0, |_| {});
    }
    let fs = files::open(disk(&image)).unwrap();
    for entry in fs.read_dir(fs.root()).unwrap() {
        let read = fs.open_file(entry.id).and_then(|file| file.read_exact_at(&mut vec![0; content.len()], 0));
        let error = read.unwrap_err();
        assert!(matches!(error, FilesError::Corrupt { .. }), "{}: {error}", String::from_utf8_lossy(&entry.name));
    }
}
