//! What others can read of a trace.

use serde_json::Value;

use crate::common::process::output;
use crate::common::{duplex, text};
use crate::fixture;
use crate::golden::{check, printed, trace};

#[test]
fn stacks_for_flame_graphs() {
    let (_files, trace, map) = trace();
    let map = text(&map);
    let folded =
        printed(&["trace", "export", text(&trace), "--format", "folded", "--symbols", map]);
    check("trace_folded.txt", &String::from_utf8(folded).unwrap());
}

#[test]
fn chromes_json_is_json_and_has_the_slowest_access() {
    let (_files, trace, map) = trace();
    let map = text(&map);
    let json = printed(&["trace", "export", text(&trace), "--format", "chrome", "--symbols", map]);
    let json: Value = serde_json::from_slice(&json).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    // Every event has what the format wants of it.
    for event in events {
        let kind = event["ph"].as_str().unwrap();
        assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
        assert!(matches!(kind, "M" | "X" | "i"), "{event}");
        assert!(kind == "M" || event["ts"].as_f64().unwrap() >= 0.0, "{event}");
        assert!(kind != "X" || event["dur"].as_f64().unwrap() >= 0.0, "{event}");
    }
    let accesses = events.iter().filter(|event| event["args"]["port"].is_string());
    let took = |event: &&Value| event["dur"].as_f64().unwrap();
    let slowest = accesses.max_by(|a, b| took(a).total_cmp(&took(b))).unwrap();
    assert_eq!(slowest["name"], "serial: transmit (write)");
    assert_eq!(slowest["dur"], 69.9);
    assert_eq!(slowest["args"]["function"], "serial_putc");
    let count = events.iter().filter(|event| event["name"] == "serial: transmit (write)").count();
    assert_eq!(count as u64, fixture::PRINTED);
    let requests = events.iter().filter(|event| event["name"] == "request");
    let spans: Vec<(&Value, &Value)> = requests.map(|r| (&r["ts"], &r["dur"])).collect();
    // From the kick that both were announced by to the interrupt for both.
    assert_eq!(spans, [(&20_000.0.into(), &125.0.into()), (&20_000.0.into(), &125.0.into())]);
}

/// A field of a message of protocol buffers.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number that is whole");
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (field, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(field)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The first field of that number.
fn bytes(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message).into_iter().find_map(|(found, field)| match field {
        Field::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    })
}

fn number(message: &[u8], wanted: u64) -> Option<u64> {
    fields(message).into_iter().find_map(|(found, field)| match field {
        Field::Number(number) if found == wanted => Some(number),
        _ => None,
    })
}

#[test]
fn perfettos_packets_begin_and_end_every_slice() {
    let (_files, trace, _) = trace();
    let out = trace.with_extension("pftrace");
    printed(&["trace", "export", text(&trace), "--format", "perfetto", "-o", text(&out)]);
    let written = std::fs::read(out).unwrap();
    let (mut open, mut tracks, mut begun, mut longest) =
        (Vec::new(), Vec::new(), 0_u64, (0, String::new()));
    for (field, packet) in fields(&written) {
        let (1, Field::Bytes(packet)) = (field, packet) else { panic!("a trace is packets") };
        assert_eq!(number(packet, 10), Some(1), "one sequence");
        if let Some(descriptor) = bytes(packet, 60) {
            tracks.push(number(descriptor, 1).unwrap());
        } else {
            let at = number(packet, 8).unwrap();
            let event = bytes(packet, 11).expect("an event");
            let track = number(event, 11).unwrap();
            assert!(tracks.contains(&track), "an event on a track that was described before");
            match number(event, 9).unwrap() {
                1 => {
                    begun += 1;
                    let name = String::from_utf8(bytes(event, 23).unwrap().to_vec()).unwrap();
                    open.push((track, at, name));
                }
                2 => {
                    let (of, since, name) = open.pop().expect("a slice that was begun");
                    assert_eq!(of, track);
                    if name.contains(':') {
                        longest = longest.max((at - since, name));
                    }
                }
                3 => {}
                other => panic!("an event of type {other}"),
            }
        }
    }
    assert!(open.is_empty() && begun > 2 * fixture::PRINTED, "{begun}");
    assert_eq!(longest, (69_900, "serial: transmit (write)".to_owned()));
}

#[test]
fn a_trace_is_not_written_over_itself() {
    let (_files, trace, _) = trace();
    let before = std::fs::read(&trace).unwrap();
    let path = text(&trace);
    let refused = output(&mut duplex(&["trace", "export", path, "--format", "chrome", "-o", path]));
    assert_eq!(refused.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("that is the trace itself"));
    assert_eq!(std::fs::read(&trace).unwrap(), before);
}
