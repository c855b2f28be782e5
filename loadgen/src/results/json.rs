//! An outcome as a JSON file, and back.

use std::fs;
use std::path::Path;

use crate::fault::Fault;
use crate::outcome::{FORMAT, Outcome};

/// Longest file that is read: a run of more than a day.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// The outcome as JSON on one line, with its end.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut text = serde_json::to_string(outcome).expect("all of it is strings, numbers, lists and maps with names");
    text.push('\n');
    text
}

/// Reads what [`text`] wrote.
///
/// # Errors
///
/// When the file cannot be read, is not JSON, or is not the outcome of a run in the present format.
pub(crate) fn read(path: &Path) -> Result<Outcome, Fault> {
    let name = path.display().to_string();
    let size = fs::metadata(path).map_err(Fault::while_doing(&name))?.len();
    if size > MAX_FILE_BYTES {
        return Err(Fault::new(format!("{name}: {size} bytes are more than any run writes ({MAX_FILE_BYTES})")));
    }
    parse(&fs::read(path).map_err(Fault::while_doing(&name))?, &name)
}

/// Reads the outcome in `bytes`, which came from what is called `name`.
fn parse(bytes: &[u8], name: &str) -> Result<Outcome, Fault> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Fault::new(format!("{name} is not JSON ({error}); give the run.json of a run")))?;
    match value.get("format") {
        Some(format) if format.as_u64() == Some(u64::from(FORMAT)) => {}
        Some(format) => {
            return Err(Fault::new(format!(
                "{name} has format {format}, and this version reads {FORMAT}: run it again with this version"
            )));
        }
        None => {
            return Err(Fault::new(format!("{name} is JSON, but not the outcome of a run: it has no format; give a run.json")));
        }
    }
    serde_json::from_value(value).map_err(|error| Fault::new(format!("{name} is not a whole outcome: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    fn fault(text: &str) -> String {
        parse(text.as_bytes(), "a.json").unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let outcome = fixture::outcome();
        let read = parse(text(&outcome).as_bytes(), "run.json").unwrap();
        assert_eq!((read.counts, &read.setup, &read.machine), (outcome.counts, &outcome.setup, &outcome.machine));
        assert_eq!(read.timeline.len(), outcome.timeline.len());
        for (metric, summary) in &outcome.metrics {
            let read = &read.metrics[metric];
            assert!((read.mean - summary.mean).abs() < 1e-9, "{metric}");
            assert!(read.decode().unwrap() == summary.decode().unwrap(), "{metric}");
            assert_eq!((read.count, read.min, read.p99, read.max), (summary.count, summary.min, summary.p99, summary.max));
        }
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        assert!(fault("hello").starts_with("a.json is not JSON"));
        assert!(fault("[1]").contains("not the outcome of a run"));
        assert!(fault("{}").contains("has no format"));
        assert!(fault(r#"{"format":2}"#).contains("has format 2, and this version reads 1"));
        assert!(fault(r#"{"format":"1"}"#).contains("has format \"1\""));
        assert!(fault(r#"{"format":1}"#).contains("not a whole outcome: missing field"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        assert!(read(Path::new("/nowhere/run.json")).unwrap_err().to_string().starts_with("/nowhere/run.json: "));
    }
}
