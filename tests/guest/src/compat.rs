//! System calls as a 32-bit program makes them: by `int 0x80`, with all memory below 4 GiB.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};
use nix::sys::mman::{MapFlags, ProtFlags};

const PAGE_BYTES: usize = 4096;
/// `ioctl` in the table of 32-bit calls.
const IOCTL: u32 = 54;

/// A page that a 32-bit program could have.
pub struct LowPage {
    address: NonNull<std::ffi::c_void>,
}

impl LowPage {
    /// Zeroes.
    pub fn new() -> Result<Self> {
        let length = NonZeroUsize::new(PAGE_BYTES).context("a page has a size")?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_32BIT;
        // SAFETY: a new private mapping disturbs no other memory.
        let address = unsafe {
            nix::sys::mman::mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)
        }?;
        ensure!(u32::try_from(address.as_ptr() as usize).is_ok(), "the kernel maps nothing below 4 GiB");
        Ok(Self { address })
    }

    /// The address as a 32-bit program knows it, `offset` bytes into the page.
    pub fn address(&self, offset: u32) -> Result<u32> {
        Ok(u32::try_from(self.address.as_ptr() as usize)? + offset)
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the page is ours, readable and writable as long as `self` lives, and borrowed through `self` only.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr().cast(), PAGE_BYTES) }
    }

    /// Puts an integer at `offset`.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

impl Drop for LowPage {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrows it any more.
        let _ = unsafe { nix::sys::mman::munmap(self.address, PAGE_BYTES) };
    }
}

/// `ioctl` with its argument at the beginning of the page.
pub fn ioctl(file: &File, request: u32, page: &LowPage) -> Result<nix::Result<()>> {
    let (descriptor, address) = (u32::try_from(file.as_raw_fd())?, page.address(0)?);
    let result: i32;
    // rbx belongs to the compiler and is exchanged for the length of the call.
    // SAFETY: the call writes only to the page at `address`, which outlives it and is as large as any argument of the
    // interface; int 0x80 keeps all registers but rax and, on old kernels, r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {descriptor}",
            "int 0x80",
            "xchg rbx, {descriptor}",
            descriptor = inout(reg) u64::from(descriptor) => _,
            inlateout("eax") IOCTL => result,
            in("ecx") request,
            in("edx") address,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Ok(if result < 0 { Err(nix::Error::from_raw(-result)) } else { Ok(()) })
}
