//! Many machines at one server, and what may happen to it meanwhile: load, kill -9, full disks, a database in other hands, lines that are cut.
//!
//! The machines are simulated in this process, with the repository's own library and as much HTTP as it takes, so that there can be many; what
//! they store is real, and in the end every point whose commit was acknowledged is restored and compared.
//! `ICECORE_SOAK=1` makes everything larger and longer.

mod cuts;
mod database;
mod disk_full;
mod kills;
mod load;
mod machine;
mod migrations;
mod namespaces;
mod store;
mod wire;

/// The first by default, the second with `ICECORE_SOAK`.
fn or_soak<T>(ordinary: T, soak: T) -> T {
    if std::env::var_os("ICECORE_SOAK").is_some() { soak } else { ordinary }
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}
