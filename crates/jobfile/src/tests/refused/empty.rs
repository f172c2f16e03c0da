use super::*;

#[test]
fn an_empty_file_is_refused_with_what_belongs_into_it() {
    for (file, text) in [
        ("infrabox.json", ""),
        ("infrabox.json", " \n"),
        ("tombolo.yaml", ""),
        ("tombolo.yaml", "# only this\n"),
    ] {
        let faults = refuse(file, text.as_bytes());
        let hint = faults.faults[0].hint.as_deref().unwrap_or_default();
        assert!(
            hint.contains("`version: 1`") && hint.contains("--schema"),
            "{file}: {faults:?}"
        );
    }
}
