//! Everything that is wrong with a configuration, all at once, each with what to do next.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The flag it is about, such as `--listen`.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What to do next.
    pub remedy: String,
}

/// Everything that is wrong with a configuration. Never shows a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFaults(Vec<Fault>);

impl ConfigFaults {
    pub(super) fn add(&mut self, setting: &'static str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Fault { setting, problem: problem.into(), remedy: remedy.into() });
    }

    /// The faults; at least one.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} {plural} in the configuration:", self.0.len())?;
        for Fault { setting, problem, remedy } in &self.0 {
            write!(f, "\n  {setting}: {problem}\n      {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}
