//! What ran, how it ended, how long it took: collected while the tests run, printed as a table at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Why; one line.
    Failed(String),
    /// Why it cannot run here; one line.
    Skipped(String),
}

/// One line of the table.
struct Line {
    name: String,
    outcome: Outcome,
    took: Duration,
    tests: Option<Tests>,
}

/// The tests inside a step that runs many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// Everything that ran so far.
pub(crate) struct Report {
    lines: Vec<Line>,
    begun: Instant,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new(), begun: Instant::now() }
    }

    /// Runs a step and notes how it went.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Result<(), String>) -> bool {
        self.counted(name, || (run(), None))
    }

    /// Runs a step that is made of many tests.
    pub(crate) fn counted(&mut self, name: &str, run: impl FnOnce() -> (Result<(), String>, Option<Tests>)) -> bool {
        println!("\n=== {name}");
        let begun = Instant::now();
        let (result, tests) = run();
        let passed = result.is_ok();
        let outcome = result.map_or_else(Outcome::Failed, |()| Outcome::Passed);
        self.lines.push(Line { name: name.to_owned(), outcome, took: begun.elapsed(), tests });
        passed
    }

    /// Notes what happened elsewhere.
    pub(crate) fn note(&mut self, name: &str, outcome: Outcome, took: Duration) {
        self.lines.push(Line { name: name.to_owned(), outcome, took, tests: None });
    }

    /// Notes a step that cannot run here, and says so at once.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("\nSKIPPED {name}: {why}");
        self.note(name, Outcome::Skipped(why.to_owned()), Duration::ZERO);
    }

    /// All tests, those inside of steps one by one.
    pub(crate) fn totals(&self) -> Tests {
        let mut totals = Tests::default();
        for line in &self.lines {
            let tests = line.tests.unwrap_or_default();
            totals.passed += tests.passed;
            totals.failed += tests.failed;
            totals.skipped += tests.skipped;
            match &line.outcome {
                Outcome::Passed => totals.passed += usize::from(tests == Tests::default()),
                // A step may fail without a failing test: when it does not compile, for instance.
                Outcome::Failed(_) => totals.failed += usize::from(tests.failed == 0),
                Outcome::Skipped(_) => totals.skipped += 1,
            }
        }
        totals
    }

    /// The table, and as its last line `N passed, N failed, N skipped`.
    pub(crate) fn table(&self) -> String {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Line { name, outcome, took, tests } in &self.lines {
            let tests = tests.map_or_else(String::new, |t| format!("{} tests", t.passed + t.failed + t.skipped));
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", &tests),
                Outcome::Failed(why) => ("FAILED", why),
                Outcome::Skipped(why) => ("SKIPPED", why),
            };
            let row = format!("{word:8}{name:width$} {:7.1} s  {why}", took.as_secs_f64());
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let Tests { passed, failed, skipped } = self.totals();
        let all = self.begun.elapsed().as_secs();
        let _ = writeln!(text, "\nin {} min {} s", all / 60, all % 60);
        let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped");
        text
    }
}

/// Adds up the `test result:` lines of cargo's output.
pub(crate) fn cargo_tests(tests: &mut Tests, line: &str) {
    let Some(result) = line.strip_prefix("test result: ") else { return };
    let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
    for part in counts.split("; ") {
        let mut words = part.split_whitespace();
        let number = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match words.next() {
            Some("passed") => tests.passed += number,
            Some("failed") => tests.failed += number,
            Some("ignored") => tests.skipped += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_results_add_up() {
        let mut tests = Tests::default();
        cargo_tests(&mut tests, "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished");
        cargo_tests(&mut tests, "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 7 filtered out");
        cargo_tests(&mut tests, "test passed::by ... ok");
        assert_eq!(tests, Tests { passed: 5, failed: 4, skipped: 1 });
    }

    #[test]
    fn totals_count_tests_and_steps() {
        let mut report = Report::new();
        report.step("fmt", || Ok(()));
        report.counted("test", || (Ok(()), Some(Tests { passed: 7, failed: 0, skipped: 0 })));
        report.counted("broken", || (Err("does not compile".into()), Some(Tests::default())));
        report.skip("lab", "no apt");
        assert_eq!(report.totals(), Tests { passed: 8, failed: 1, skipped: 1 });
        let table = report.table();
        assert_eq!(table.lines().last(), Some("8 passed, 1 failed, 1 skipped"));
        assert!(table.contains("SKIPPED lab"));
    }
}
