//! A boot's phases, one bar each, on a scale of instructions.

use serde_json::Value;

use super::svg::{Anchor, Svg, ticks};

const ROW: f64 = 26.0;
const TOP: f64 = 78.0;
const LEFT: f64 = 250.0;
const WIDTH: f64 = 450.0;

/// What a phase's end is called in the data, and what was done until then; and whether the guest did it.
const PHASES: [(&str, &str, bool); 9] = [
    ("main", "execve, until main", false),
    ("planned", "kernel and initrd opened, checked", false),
    ("memory", "memory reserved", false),
    ("loaded", "kernel and initrd mapped", false),
    ("vm_created", "KVM makes the VM (meanwhile)", false),
    ("vcpus_ready", "devices, vCPUs", false),
    ("first_run", "threads, first KVM_RUN", false),
    ("user_space", "the guest's kernel, to user space", true),
    ("first_serial_byte", "its first serial byte", true),
];

pub(super) fn draw(data: &Value) -> String {
    let reached = |name: &str| {
        let phases = data["phases"].as_array().unwrap();
        let phase = phases.iter().find(|phase| phase["phase"] == name).unwrap();
        phase["ns"].as_f64().unwrap() / 1e6
    };
    let total = reached("first_serial_byte");
    let bottom = TOP + ROW * f64::from(u32::try_from(PHASES.len()).unwrap());
    let mut svg = Svg::new(
        780.0,
        bottom + 46.0,
        "A boot in million instructions",
        "A bar for each phase of a boot. What duplex does until the first KVM_RUN takes about a fifth; the \
         guest's kernel, with the host's work for it, takes nearly all of the rest.",
    );
    let note = "Tuned kernel, 128 MiB, 1 vCPU; host kernel, VMM and guest are counted. Orange: the guest runs.";
    svg.text(20.0, 52.0, "small", Anchor::Start, note);
    let scale = WIDTH / total;
    for tick in ticks(10.0, total) {
        let x = LEFT + tick * scale;
        svg.line((x, TOP - 8.0), (x, bottom), "axis");
        svg.text(x, bottom + 16.0, "small middle", Anchor::Start, &tick.to_string());
    }
    svg.text(
        LEFT + WIDTH,
        bottom + 34.0,
        "small",
        Anchor::End,
        "million instructions since execve",
    );
    let mut before = 0.0;
    let mut y = TOP;
    for (name, what, is_guests) in PHASES {
        let at = reached(name);
        // KVM makes the VM while another thread loads: both begin when memory was reserved.
        let from = if name == "vm_created" { reached("memory") } else { before };
        let class = if is_guests { "guest" } else { "host" };
        svg.text(LEFT - 12.0, y + 14.0, "", Anchor::End, what);
        svg.rect(LEFT + from * scale, y, ((at - from) * scale).max(1.5), ROW - 8.0, class);
        let took = at - from;
        let label = if took < 0.1 { format!("{took:.2}") } else { format!("{took:.1}") };
        svg.text(LEFT + at * scale + 6.0, y + 14.0, "small", Anchor::Start, &label);
        before = f64::max(before, at);
        y += ROW;
    }
    svg.finish()
}
