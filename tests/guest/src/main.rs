//! The program inside a test guest. As process 1 it is the guest's init and runs the scenarios that the host asked for;
//! as `guest list` it tells the host which there are; as `guest run NAME` it is one scenario. In the virtual machine with Debian
//! it is the first program of the boot ([`stage`]) and then what the machine is for ([`vm`]).
//!
//! It is linked statically, so that it needs nothing of the guest. What a scenario may rely on stands in `tests/README.md`.

mod allocation_faults;
mod anonymous;
mod block_device;
mod cleanup;
mod compat;
mod database;
mod debian;
mod direct;
mod disk;
mod dm;
mod filter;
mod icecore;
mod init;
mod ioctl;
mod kernel_module;
mod meter;
mod mount;
mod oracle;
mod pace;
mod parameter;
mod partition;
mod random;
mod registry;
mod report;
mod ring;
mod scenario;
mod second_look;
mod snapshot;
mod stage;
mod stamp;
mod store;
mod storm;
mod swap;
mod throttle;
mod tool;
mod trial;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        match stage::is_wanted() {
            true => stage::run(),
            false => init::run(),
        }
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => {
            registry::print();
            ExitCode::SUCCESS
        }
        ["run", name] => registry::run(name),
        ["write", path] => scenario::in_process(scenario::Work::Write, path),
        ["inside", root, program, args @ ..] => database::become_inside(root, program, args),
        ["own", path] => scenario::in_process(scenario::Work::Own, path),
        [stage @ ("before" | "after" | "failed")] => scenario::live_hooks::note(stage),
        ["vm"] => ended(vm::run()),
        ["work", directory] => ended(vm::work(std::path::Path::new(directory))),
        _ => {
            eprintln!("usage: guest list | guest run NAME; NAME only inside a test guest, where it may destroy disks");
            ExitCode::from(2)
        }
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
