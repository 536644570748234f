//! Chrome's trace event format, which Perfetto's viewer (ui.perfetto.dev) and chrome://tracing open.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::timeline::{Canvas, Detail, Slice, Track};

/// Everything is one process to the viewer.
const PROCESS: u64 = 1;

pub(super) struct Chrome<'a, W> {
    out: &'a mut W,
    any: bool,
}

impl<'a, W: Write> Chrome<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        Chrome { out, any: false }
    }

    /// A line an event, in one list.
    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        Ok(serde_json::to_writer(&mut *self.out, event)?)
    }
}

/// Microseconds, which the format has times in: with three digits behind the point nothing is lost.
fn microseconds(nanoseconds: u64) -> Value {
    // A number of JSON is as long as it is written.
    let text = format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

impl<W: Write> Canvas for Chrome<'_, W> {
    fn begin(&mut self, title: &str) -> io::Result<()> {
        self.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        let name = json!({ "name": title });
        self.event(&json!({ "ph": "M", "pid": PROCESS, "name": "process_name", "args": name }))
    }

    fn track(&mut self, track: Track, name: &str) -> io::Result<()> {
        let args = json!({ "name": name });
        self.event(&json!({
            "ph": "M", "pid": PROCESS, "tid": track, "name": "thread_name", "args": args,
        }))?;
        let args = json!({ "sort_index": track });
        self.event(&json!({
            "ph": "M", "pid": PROCESS, "tid": track, "name": "thread_sort_index", "args": args,
        }))
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let mut event = json!({
            "ph": "X", "pid": PROCESS, "tid": slice.track, "name": slice.name,
            "ts": microseconds(slice.start), "dur": microseconds(slice.took),
        });
        if let (false, Some(event)) = (slice.details.is_empty(), event.as_object_mut()) {
            let details = slice.details.iter().map(|(name, detail)| {
                let value = match detail {
                    Detail::Number(number) => json!(number),
                    Detail::Hex(number) => json!(format!("{number:#x}")),
                    Detail::Text(text) => json!(text),
                };
                ((*name).to_owned(), value)
            });
            event.insert("args".into(), Value::Object(details.collect::<Map<_, _>>()));
        }
        self.event(&event)
    }

    fn instant(&mut self, track: Track, name: &str, at: u64) -> io::Result<()> {
        self.event(&json!({
            "ph": "i", "s": "t", "pid": PROCESS, "tid": track, "name": name, "ts": microseconds(at),
        }))
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.any {
            self.begin("duplex")?;
        }
        self.out.write_all(b"\n]}\n")
    }
}
