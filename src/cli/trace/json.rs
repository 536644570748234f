//! A trace's summary for programs; docs/trace.md says what each field is.

use serde_json::{Value, json};

use crate::trace::calls::name;
use crate::trace::cost::{Cost, CostJson};
use crate::trace::summary::{Phase, Register, Summary};

/// All of it.
pub(super) fn of(summary: &Summary) -> Value {
    json!({
        "about": summary.about,
        "events": summary.events,
        "dropped": summary.dropped(),
        "whole": summary.whole,
        "wall_ns": summary.last,
        "phases": phases(summary),
        "steps": summary.steps,
        "vcpus": vcpus(summary),
        "exits": exits(summary),
        "registers": registers(summary),
        "functions": functions(summary),
        "samples": samples(summary),
        "sites": sites(summary),
        "queues": queues(summary),
        "interrupts": summary.interrupts,
        "calls": calls(summary),
        "slowest_access": slowest_access(summary),
        "suggestions": summary.suggestions(),
    })
}

fn phases(summary: &Summary) -> Vec<Value> {
    let phase = |phase: &Phase| {
        let (reached, took) = (&phase.reached, phase.took);
        let head = json!({ "phase": reached.phase, "at_ns": reached.at, "took_ns": took });
        with_cost(head, &phase.cost)
    };
    summary.phases.iter().map(phase).collect()
}

fn vcpus(summary: &Summary) -> Vec<Value> {
    let vcpus = summary.vcpus.iter().map(|(number, vcpu)| {
        let head = json!({
            "vcpu": number, "first_ns": vcpu.first, "last_ns": vcpu.last, "kvm": vcpu.counted,
        });
        with_cost(head, &vcpu.cost)
    });
    vcpus.collect()
}

fn exits(summary: &Summary) -> Vec<Value> {
    let reasons = summary.reasons.iter();
    reasons.map(|(reason, cost)| with_cost(json!({ "reason": reason }), cost)).collect()
}

fn registers(summary: &Summary) -> Vec<Value> {
    let registers = summary.registers.costliest().into_iter();
    registers.map(|(which, cost)| with_cost(register(which), cost)).collect()
}

fn functions(summary: &Summary) -> Vec<Value> {
    let functions = summary.functions.costliest().into_iter();
    functions.map(|(function, cost)| with_cost(json!({ "function": function }), cost)).collect()
}

fn samples(summary: &Summary) -> Vec<Value> {
    let samples = summary.samples.costliest().into_iter();
    samples.map(|(function, cost)| json!({ "function": function, "count": cost.count })).collect()
}

fn sites(summary: &Summary) -> Vec<Value> {
    let sites = summary.sites.costliest().into_iter().map(|((which, function), cost)| {
        with_cost(and(register(which), json!({ "function": function })), cost)
    });
    sites.collect()
}

fn queues(summary: &Summary) -> Vec<Value> {
    let queues = summary.queues.iter().map(|(source, queue)| {
        json!({
            "queue": source.to_string(), "kicks": queue.kicks, "interrupts": queue.interrupts,
            "requests": queue.requests, "readable_bytes": queue.readable,
            "written_bytes": queue.written, "never_given_back": queue.in_hand(),
            "total_ns": queue.total,
            "p50_ns": queue.whole.permille(500), "p99_ns": queue.whole.permille(990),
            "longest_ns": queue.whole.most(),
        })
    });
    queues.collect()
}

fn calls(summary: &Summary) -> Vec<Value> {
    let calls = summary.calls.iter().map(|(number, cost)| {
        json!({
            "call": name(*number), "count": cost.count, "took_ns": cost.vmm,
            "p50_ns": cost.spread.permille(500), "p99_ns": cost.spread.permille(990),
            "longest_ns": cost.spread.most(),
        })
    });
    calls.collect()
}

fn slowest_access(summary: &Summary) -> Option<Value> {
    let slowest = summary.slowest.as_ref()?;
    let access = json!({
        "at_ns": slowest.at, "vmm_ns": slowest.exit.vmm, "value": slowest.exit.value,
    });
    Some(and(register(&slowest.register), access))
}

fn register(register: &Register) -> Value {
    json!({
        "device": register.device, "register": register.register, "access": register.access,
    })
}

fn with_cost(head: Value, cost: &Cost) -> Value {
    and(head, json!(CostJson::from(cost)))
}

/// An object with the fields of another behind its own.
fn and(mut head: Value, tail: Value) -> Value {
    if let (Some(head), Value::Object(tail)) = (head.as_object_mut(), tail) {
        head.extend(tail);
    }
    head
}
