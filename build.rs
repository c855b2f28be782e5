//! Has the crate rebuilt when a migration changes: they are embedded while compiling.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
