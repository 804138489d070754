//! What the machine itself can do: the limits that Icecore is measured against.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

const HASHED_BYTES: usize = 256 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// O_DIRECT reads of 4 MiB of a whole file.
pub fn direct_reading(file: &Path) -> Command {
    let mut command = Command::new("dd");
    command.arg(format!("if={}", file.display())).args(["of=/dev/null", "bs=4M", "iflag=direct", "status=none"]);
    command
}

/// Bytes a second that all processors together hash with keyed BLAKE3 in chunks.
pub fn hash_rate() -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..threads {
            scope.spawn(move || {
                let chunk = vec![u8::try_from(number % 256).unwrap_or(0); CHUNK_BYTES];
                for _ in 0..HASHED_BYTES / CHUNK_BYTES {
                    std::hint::black_box(blake3::keyed_hash(&[7; 32], std::hint::black_box(&chunk)));
                }
            });
        }
    });
    rate((HASHED_BYTES * threads) as u64, started.elapsed().as_secs_f64())
}

/// Bytes a second.
pub fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds.max(1e-9)
}

/// `zstd -1 -T0` of the image into a file: the compressor's limit.
pub fn zstd(image: &Path, target: &Path) -> Command {
    let mut command = Command::new("zstd");
    command.args(["-1", "-T0", "--quiet", "--force"]).arg(image).arg("-o").arg(target);
    command
}

/// `qemu-img convert -c` in its fastest variant: a compressed image without deduplication.
pub fn qemu_img(image: &Path, target: &Path) -> Command {
    let mut command = Command::new("qemu-img");
    command
        .args(["convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"])
        .arg(image)
        .arg(target);
    command
}
