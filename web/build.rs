//! Lists the files of the built web page, so that they become a part of the program.
//!
//! The page is built by `cargo xtask page` into `ui/dist/site`. Where it was not, the list is empty and the program says how to
//! build it (`src/page.rs`): compiling the server needs no Node.js.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    // The directory is committed, so that its change is noticed; what the page's build writes lies below it.
    println!("cargo::rerun-if-changed=ui/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let site = crate_dir.join("ui/dist/site");
    let mut files = Vec::new();
    if site.join("index.html").is_file() {
        collect(&site, &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let url = file.strip_prefix(&site).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let (gzip, brotli) = (packed(file, "gz"), packed(file, "br"));
        let _ = writeln!(
            list,
            "    Built {{ path: {:?}, plain: include_bytes!({file:?}), gzip: {gzip}, brotli: {brotli} }},",
            format!("/{url}")
        );
    }
    list.push_str("]\n");
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("page_files.rs"), list)
}

/// All files below a directory but those that are another one compressed.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if !path.extension().is_some_and(|extension| extension == "gz" || extension == "br") {
            files.push(path);
        }
    }
    Ok(())
}

fn packed(file: &Path, extension: &str) -> String {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    let path = PathBuf::from(name);
    if path.is_file() { format!("Some(include_bytes!({path:?}))") } else { "None".into() }
}
