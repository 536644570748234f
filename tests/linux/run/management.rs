//! One management surface, on VMs. `container::management` does the same to containers.

use std::process::{Command, Stdio};

use super::shell;
use crate::common::management::Half;
use crate::common::{soak, testbed};
use crate::guest::in_emulation;

const VMS: Half = Half { name: "vm", duplex, shell };

fn duplex(arguments: &[&str]) -> Command {
    let mut command = testbed::duplex(testbed::shared());
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn it_lives() {
    in_emulation(&"a VM's life", || VMS.lives());
}

#[test]
fn it_is_paused_and_counted() {
    in_emulation(&"a VM that is paused", || VMS.is_paused_and_counted());
}

#[test]
fn it_is_lost() {
    in_emulation(&"a VM that is lost", || VMS.is_lost());
}

#[test]
fn it_leaves_nothing() {
    in_emulation(&"a VM that leaves nothing", || VMS.leaves_nothing());
}

#[test]
fn they_are_many() {
    let options = ["--memory", "64M"];
    in_emulation(&"many VMs", || VMS.are_many(if soak() { 20 } else { 3 }, &options));
}
