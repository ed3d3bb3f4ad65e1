//! The table of this system, and what comes of it here.

use std::collections::BTreeSet;
use std::fs;

use super::*;

#[test]
fn the_table_is_well_formed() {
    let mut names = BTreeSet::new();
    for (area, trials) in system::AREAS {
        assert!(!area.is_empty() && !trials.is_empty());
        for trial in *trials {
            assert!(names.insert(trial.name), "twice: {}", trial.name);
            for text in [trial.name, trial.used_for, trial.instead.unwrap_or("so")] {
                let is_one_line = !text.contains('\n') && text.trim() == text && !text.ends_with('.');
                assert!(is_one_line && (2..=100).contains(&text.len()), "{text}");
            }
        }
    }
}

#[test]
fn all_is_tried_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("mine"), b"1").expect("a file");
    let findings = probe(folder.path(), &AtomicBool::new(false)).expect("it can be written to").expect("all of it");
    let all: usize = system::AREAS.iter().map(|(_, trials)| trials.len()).sum();
    assert_eq!(findings.len(), all);
    for finding in &findings {
        assert!(!finding.is_fatal(), "these tests run, so that what is needed is there: {finding:?}");
        if let Outcome::Fails { why, .. } = &finding.outcome {
            assert!(!why.is_empty() && !why.contains('\n'), "{finding:?}");
            assert!(!why.contains("panic") && !why.contains("no answer"), "{finding:?}");
        }
    }
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").map(|found| found.expect("told").path()).collect();
    assert_eq!(left, [folder.path().join("mine")]);
    assert_eq!(fs::read(folder.path().join("mine")).expect("it is there"), b"1");
}

#[test]
fn where_nothing_can_be_written_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = probe(&folder.path().join("none"), &AtomicBool::new(false));
    assert_eq!(found.expect_err("it is not there").kind(), io::ErrorKind::NotFound);
}

#[test]
fn who_stops_it_finds_nothing_left_behind() {
    static STOP: AtomicBool = AtomicBool::new(false);
    const STOPPED: Areas = &[(
        "a",
        &[
            needed("first", "", |place| {
                place.file("left", 1)?;
                STOP.store(true, Ordering::Relaxed);
                Ok(String::new())
            }),
            needed("second", "", |_| panic!("it was to stop")),
        ],
    )];
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(try_all(STOPPED, folder.path(), &STOP).expect("it can be written to"), None);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn what_goes_wrong_is_a_finding_in_one_line() {
    let place = Arc::new(Place::new(&std::env::temp_dir()).expect("a folder"));
    assert_eq!(outcome(carry_out(|_| Ok("so".to_owned()), &place)), Outcome::Works("so".to_owned()));
    let two_lines = outcome(carry_out(|_| Err(wrong("it does not\n  Do this.")), &place));
    assert_eq!(two_lines, Outcome::Fails { why: "it does not. Do this.".to_owned(), number: None });
    let numbered = carry_out(|_| Err(io::Error::from_raw_os_error(5)), &place);
    assert!(matches!(outcome(numbered), Outcome::Fails { number: Some(5), .. }));
    let Outcome::Fails { why, .. } = outcome(carry_out(|_| panic!("a bug, as it is tested here"), &place)) else {
        panic!("it did not go well");
    };
    assert!(why.contains("bug of it"), "{why}");
    place.remove().expect("it is ours");
}

#[test]
fn this_system_says_what_it_is() {
    let system = this_system();
    assert!(!system.version.is_empty() && system.version.trim() == system.version, "{system:?}");
    assert!(system.page_bytes.is_power_of_two() && system.core_groups > 0);
    assert_eq!(system.name, if cfg!(windows) { "Windows" } else { "Linux" });
}
