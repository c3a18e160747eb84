//! placeholder
fn main() {
    println!("cargo:rustc-check-cfg=cfg(ebpf_object)");
}
