//! The probe: one static program that runs behind every wall, and says what it finds there.

fn main() {
    println!("ready");
}
