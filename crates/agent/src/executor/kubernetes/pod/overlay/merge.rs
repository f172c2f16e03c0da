//! Merging as Kubernetes does it where that is useful.

use serde_json::Value;

/// Lists that are merged by the value of a key.
const KEYED: [(&str, &str); 8] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
];

/// Lists that are appended to.
const APPENDED: [&str; 2] = ["tolerations", "envFrom"];

/// Lays `overlay` over `value`, which is the field called `name` of its parent.
pub(super) fn merge(value: &mut Value, overlay: &Value, name: &str) {
    match (value, overlay) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                if change.is_null() {
                    fields.remove(name);
                } else {
                    merge(fields.entry(name.clone()).or_insert(Value::Null), change, name);
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) if APPENDED.contains(&name) => {
            items.extend(changes.iter().cloned())
        }
        (Value::Array(items), Value::Array(changes)) => match KEYED.iter().find(|(list, _)| *list == name) {
            Some((_, key)) => merge_keyed(items, changes, key),
            None => items.clone_from(changes),
        },
        // Also new objects are merged, so that a `null` in them is left out.
        (value, Value::Object(_)) => {
            *value = Value::Object(serde_json::Map::new());
            merge(value, overlay, name);
        }
        (value, overlay) => value.clone_from(overlay),
    }
}

fn merge_keyed(items: &mut Vec<Value>, changes: &[Value], key: &str) {
    for change in changes {
        let same = |item: &&mut Value| item.get(key).is_some() && item.get(key) == change.get(key);
        match items.iter_mut().find(same) {
            Some(item) => merge(item, change, ""),
            None => items.push(change.clone()),
        }
    }
}
