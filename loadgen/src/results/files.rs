//! A run as files in a directory, for people and for other tools.

use std::fs;
use std::path::Path;

use super::{csv, hlog, html, json, percentiles};
use crate::fault::Fault;
use crate::outcome::{Compact, Outcome};

/// The run itself: what every other view can be made of.
pub(crate) const RUN: &str = "run.json";
/// The page for people.
pub(crate) const REPORT: &str = "report.html";
/// Each second's histograms.
const LOG: &str = "run.hlog";

/// Writes `run.json`, `summary.csv`, `timeline.csv`, `METRIC.hgrm` for each metric, `report.html` and `run.hlog` into `dir`, which is
/// made if need be. `seconds` are the histograms of each second of the timeline; without them the log has one interval.
///
/// # Errors
///
/// When a file cannot be written, or `seconds` do not fit the timeline.
pub(crate) fn write(dir: &Path, outcome: &Outcome, seconds: &[Compact]) -> Result<(), Fault> {
    write_file(dir, RUN, json::text(outcome).as_bytes())?;
    write_views(dir, outcome, None)?;
    write_file(dir, LOG, &hlog::text(outcome, seconds)?)
}

/// Writes what can be made of a `run.json`: everything but that itself, and the log only where there is none, since that of the
/// run knows each second.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn rewrite(dir: &Path, outcome: &Outcome, base: Option<&Outcome>) -> Result<(), Fault> {
    write_views(dir, outcome, base)?;
    if dir.join(LOG).exists() { Ok(()) } else { write_file(dir, LOG, &hlog::text(outcome, &[])?) }
}

/// Makes a directory, unless it is there.
///
/// # Errors
///
/// When it cannot be made, or is something else.
pub(crate) fn directory(dir: &Path) -> Result<(), Fault> {
    if fs::metadata(dir).is_ok_and(|found| !found.is_dir()) {
        return Err(Fault::new(format!("{} is a file, and a directory is wanted: name another one", dir.display())));
    }
    fs::create_dir_all(dir).map_err(Fault::while_doing(&dir.display().to_string()))
}

/// Writes one file of that name, and the directory it is in.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    directory(dir)?;
    let path = dir.join(name);
    fs::write(&path, bytes).map_err(Fault::while_doing(&path.display().to_string()))
}

fn write_views(dir: &Path, outcome: &Outcome, base: Option<&Outcome>) -> Result<(), Fault> {
    write_file(dir, "summary.csv", csv::summary(outcome).as_bytes())?;
    write_file(dir, "timeline.csv", csv::timeline(outcome).as_bytes())?;
    for (metric, summary) in &outcome.metrics {
        write_file(dir, &format!("{metric}.hgrm"), percentiles::hgrm(&summary.decode()?).as_bytes())?;
    }
    write_file(dir, REPORT, html::page(outcome, base)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::results::fixture;

    /// A directory of one test, which goes with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("loadgen-files-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_becomes_its_files() {
        let scratch = Scratch::new("write");
        let dir = scratch.0.join("a/b");
        let outcome = fixture::outcome();
        write(&dir, &outcome, &fixture::compact_seconds()).unwrap();
        let mut wanted: Vec<String> = outcome.metrics.keys().map(|metric| format!("{metric}.hgrm")).collect();
        wanted.extend(["report.html", "run.hlog", "run.json", "summary.csv", "timeline.csv"].map(str::to_owned));
        wanted.sort();
        assert_eq!(names(&dir), wanted);
        assert_eq!(json::read(&dir.join(RUN)).unwrap().counts, outcome.counts);
    }

    #[test]
    fn the_log_of_each_second_survives_a_new_report() {
        let scratch = Scratch::new("rewrite");
        let outcome = fixture::outcome();
        rewrite(&scratch.0, &outcome, None).unwrap();
        assert!(names(&scratch.0).contains(&LOG.to_owned()) && !names(&scratch.0).contains(&RUN.to_owned()));
        fs::write(scratch.0.join(LOG), "each second").unwrap();
        rewrite(&scratch.0, &outcome, None).unwrap();
        assert_eq!(fs::read_to_string(scratch.0.join(LOG)).unwrap(), "each second");
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let fault = write(Path::new("/dev/null/run"), &fixture::outcome(), &[]).unwrap_err().to_string();
        assert!(fault.starts_with("/dev/null/run: "), "{fault}");
        let fault = directory(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(fault.starts_with("/dev/null is a file, and a directory is wanted"), "{fault}");
    }
}
