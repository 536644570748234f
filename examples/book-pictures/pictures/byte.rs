//! The way of a byte, twice: who hands it to whom, with what a trace has counted and measured.

use serde_json::Value;

use super::svg::{Anchor, Svg, grouped};

const LANES: [&str; 5] =
    ["program", "guest's kernel", "KVM", "VMM: vCPU's thread", "VMM: another thread"];
const LEFT: f64 = 64.0;
const APART: f64 = 158.0;
const ROW: f64 = 34.0;

/// From one lane to another, and what it is.
struct Step(usize, usize, String);

fn step(from: usize, to: usize, what: impl Into<String>) -> Step {
    Step(from, to, what.into())
}

/// What `trace show --json` said of a boot that talks, and of a run whose command writes a mebibyte.
pub(super) fn draw(serial: &Value, socket: &Value) -> String {
    let [line_status, transmit] =
        ["line status", "transmit"].map(|name| register(serial, "serial", name));
    let serial_steps = [
        step(0, 1, "write(2)"),
        step(
            1,
            3,
            format!("in: {} exits, each {} in the VMM", count(line_status), median(line_status)),
        ),
        step(3, 1, "\"ready\""),
        step(1, 3, format!("out: {} exits, each {}", count(transmit), median(transmit))),
        step(3, 4, "into a queue"),
        step(3, 1, "go on"),
        step(4, 4, "to the terminal, many at once"),
    ];
    let queues = socket["queues"].as_array().unwrap();
    let queue = queues.iter().find(|queue| is_transmit(&queue["queue"])).unwrap();
    let number = |name: &str| queue[name].as_u64().unwrap();
    let [status, ack] =
        ["InterruptStatus", "InterruptACK"].map(|name| register(socket, "virtio-vsock", name));
    let socket_steps = [
        step(0, 1, "write(2) to a pipe; init reads it, and writes to its socket"),
        step(1, 2, format!("kick: {}", number("kicks"))),
        step(2, 4, "eventfd"),
        step(
            4,
            4,
            format!("{} requests, {} KiB", number("requests"), number("readable_bytes") >> 10),
        ),
        step(4, 4, "to duplex, by a Unix socket"),
        step(4, 2, format!("irqfd: {}", number("interrupts"))),
        step(2, 1, "interrupt"),
        step(1, 3, format!("status, acknowledge: {} and {} exits", count(status), count(ack))),
    ];
    let height = 730.0;
    let mut svg = Svg::new(
        780.0,
        height,
        "The way of a byte, by the serial port and by a socket",
        "Two sequences between the program, the guest's kernel, KVM and two threads of the VMM. By the serial \
         port each character takes two exits to user space. By the socket a kick ends in KVM, a thread of the \
         VMM moves many kilobytes, and an interrupt answers.",
    );
    let next = sequence(&mut svg, 62.0, "12,651 characters by the serial port", &serial_steps);
    let title = "1,048,576 bytes by the socket device";
    sequence(&mut svg, next + 24.0, title, &socket_steps);
    svg.text(
        20.0,
        height - 14.0,
        "small",
        Anchor::Start,
        "Orange: exits to user space. Counts, and medians of the time in the VMM, from traces in the testbed.",
    );
    svg.finish()
}

/// Draws one; returns where it ends.
fn sequence(svg: &mut Svg, top: f64, title: &str, steps: &[Step]) -> f64 {
    let x = |lane: usize| LEFT + APART * f64::from(u32::try_from(lane).unwrap());
    svg.text(20.0, top, "", Anchor::Start, title);
    let bottom = top + 48.0 + ROW * f64::from(u32::try_from(steps.len()).unwrap());
    for (lane, name) in LANES.into_iter().enumerate() {
        svg.text(x(lane), top + 24.0, "small middle", Anchor::Start, name);
        svg.line((x(lane), top + 32.0), (x(lane), bottom - 8.0), "axis");
    }
    let mut y = top + 58.0;
    for Step(from, to, what) in steps {
        let class = if *from == 3 || *to == 3 { "guest" } else { "host" };
        if from == to {
            svg.rect(x(*from) - 4.0, y - 6.0, 8.0, 12.0, class);
            svg.text(x(*from) - 12.0, y + 4.0, "small", Anchor::End, what);
        } else {
            svg.arrow((x(*from), y), (x(*to), y), class);
            let start = x(*from.min(to)) + 8.0;
            svg.text(start, y - 5.0, "small", Anchor::Start, what);
        }
        y += ROW;
    }
    bottom
}

fn register<'a>(trace: &'a Value, device: &str, name: &str) -> &'a Value {
    let registers = trace["registers"].as_array().unwrap();
    registers.iter().find(|entry| entry["device"] == device && entry["register"] == name).unwrap()
}

fn is_transmit(queue: &Value) -> bool {
    queue.as_str().is_some_and(|name| name.starts_with("virtio-vsock") && name.ends_with("queue 1"))
}

fn count(register: &Value) -> String {
    grouped(register["count"].as_u64().unwrap())
}

fn median(register: &Value) -> String {
    format!("{:.1} µs", register["p50_ns"].as_f64().unwrap() / 1e3)
}
