//! YAML by somebody else's reader: the same keys and values as JSON.

mod support;

use qpair_describe::{Object, controller, lists, log, namespace, to_yaml};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

#[track_caller]
fn same(object: &Object) {
    let yaml = to_yaml(object);
    let documents = Yaml::load_from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(documents.len(), 1);
    let json = serde_json::to_value(object).expect("a tree is JSON");
    assert_eq!(value(&documents[0]), json, "{yaml}");
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(list) => list.iter().map(value).collect(),
        Yaml::Mapping(map) => map
            .iter()
            .map(|(key, entry)| match key {
                Yaml::Value(Scalar::String(key)) => (key.to_string(), value(entry)),
                _ => panic!("{key:?} is no text"),
            })
            .collect(),
        _ => panic!("{yaml:?} is nothing that is written"),
    }
}

#[test]
fn structures() {
    same(&controller::controller(&support::controller()).unwrap());
    same(&namespace::namespace(&support::namespace()).unwrap());
    same(&lists::descriptors(&support::descriptors()).unwrap());
    same(&lists::namespaces(&support::front(&[])).unwrap());
}

#[test]
fn logs() {
    for log in log::LOGS {
        same(&(log.describe)(&support::pattern(log.lid.into(), 4096)).unwrap());
        same(&log::raw(log.lid, 8, &support::pattern(9, 32)));
    }
}
