//! Pages of metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::{Serve, get};

/// A page, taken apart by the rules of the format (exposition format 0.0.4) and by nothing of ours.
pub struct Page {
    /// Type of each family.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Page {
    /// Asks one that serves metrics for them.
    pub fn scrape(serve: &Serve) -> Self {
        Self::parse(&get(serve.listening["metrics"].as_str().expect("they are served"), "/metrics"))
    }

    /// Takes a page apart.
    ///
    /// # Panics
    /// If it is not one.
    pub fn parse(text: &str) -> Self {
        let (mut helps, mut page) = (BTreeSet::new(), Self { types: BTreeMap::new(), samples: Vec::new() });
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(helps.insert(help.split(' ').next().expect("a name").to_owned()), "twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(helps.contains(name), "no HELP before {line}");
                assert!(page.types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                page.samples.push(sample(line));
            }
        }
        let mut seen = BTreeSet::new();
        for (name, labels, _) in &page.samples {
            assert!(seen.insert((name, labels)), "twice: {name} {labels:?}");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| page.types.get(*family).is_some_and(|kind| kind == "histogram"));
            let kind = page.types.get(family.unwrap_or(name)).unwrap_or_else(|| panic!("no TYPE of {name}"));
            assert!(kind != "counter" || name.ends_with("_total"), "{name}");
        }
        page
    }

    /// The values of a family with these labels, added up.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |found: &BTreeMap<String, String>| labels.iter().all(|(label, value)| found[*label] == *value);
        self.samples.iter().filter(|(found, has, _)| found == name && fits(has)).map(|(.., value)| value).sum()
    }
}

/// `name{label="text",...} value`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let legal = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect(line));
    assert!(legal(name), "{line}");
    let mut labels = BTreeMap::new();
    while let Some(label) = rest.strip_prefix(['{', ',']) {
        let (label, value) = label.split_once("=\"").expect(line);
        assert!(legal(label), "{line}");
        let (mut text, mut at) = (String::new(), value.char_indices());
        let end = loop {
            match at.next().expect(line) {
                (end, '"') => break end,
                (_, '\\') => text.push(match at.next().expect(line).1 {
                    'n' => '\n',
                    c => c,
                }),
                (_, c) => text.push(c),
            }
        };
        labels.insert(label.to_owned(), text);
        rest = &value[end + 1..];
        rest = rest.strip_prefix('}').unwrap_or(rest);
    }
    (name.to_owned(), labels, rest.trim().parse().unwrap_or_else(|error| panic!("{error}: {line}")))
}
