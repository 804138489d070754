//! placeholder of the benchmark
fn main() {}
