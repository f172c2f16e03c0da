use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn masker(values: &[&str]) -> Masker {
    let named = values.iter().enumerate();
    Masker::new(
        &named
            .map(|(number, value)| (number.to_string(), (*value).to_owned()))
            .collect(),
    )
}

fn masked(masker: &Masker, pieces: &[&[u8]]) -> String {
    let mut stream = masker.stream();
    let mut output = Vec::new();
    for piece in pieces {
        output.extend_from_slice(stream.write(piece));
    }
    output.extend_from_slice(&stream.finish());
    String::from_utf8_lossy(&output).into_owned()
}

const PEM: &str =
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nxY/+zzz\nab\n-----END KEY-----\n";

/// Everything that programs are known to make of a value when they print it.
fn printed(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut printed = vec![value.to_owned(), json[1..json.len() - 1].to_owned()];
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "-._~".contains(letter);
    let url: String = value
        .chars()
        .map(|letter| match is_safe(letter) {
            true => letter.to_string(),
            false => letter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        })
        .collect();
    printed.push(url);
    assert!(!percent.is_empty());
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        printed.push(engine.encode(value));
        printed.push(engine.encode(format!("{value}\n")));
    }
    printed.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
    printed
}

/// What `encodeURIComponent`, Python's `quote`, Go's user information, .NET's JSON, quotes of a shell and `declare -p` make of it.
#[test]
fn values_are_masked_as_common_programs_write_them() {
    for (value, forms) in [
        ("P@ss!(1)", &["P%40ss!(1)", "P%40ss%21%281%29"][..]),
        ("ab/cd+ef==", &["ab/cd%2Bef%3D%3D", "ab%2Fcd+ef==", r"ab/cd\u002Bef=="]),
        ("it's $HOME", &[r"it'\''s $HOME", r"it's \$HOME", r"it\u0027s $HOME"]),
    ] {
        let masker = masker(&[value]);
        for form in forms {
            assert_eq!(masker.text(&format!("<{form}>")), "<***>", "{form}");
        }
    }
}

#[test]
fn values_are_masked_however_they_are_printed() {
    for value in ["hunter2", "p\"a\\ss/w?rd ä&<>", "0123456789abcdefghijklmnop"] {
        let masker = masker(&[value]);
        for form in printed(value) {
            let text = format!("before {form} after\n{form}\n");
            assert_eq!(
                masked(&masker, &[text.as_bytes()]),
                "before *** after\n***\n",
                "{value}: {form}"
            );
        }
        // Within other bytes, at each of the three places that base64 has for them.
        for (user, after) in [("", "x"), ("a", ":"), ("ab", "yz"), ("abc", "")] {
            let text = STANDARD.encode(format!("{user}{value}{after}"));
            let shown = masked(&masker, &[text.as_bytes()]);
            assert!(shown.contains("***") && shown.len() <= 3 + 4 + 4, "{text}: {shown}");
        }
    }
}

#[test]
fn each_line_of_a_value_is_masked_and_so_is_the_whole_in_one_line() {
    let masker = masker(&[PEM]);
    let shown = masked(&masker, &[PEM.as_bytes()]);
    assert_eq!(shown, "***\n***\n***\nab\n***\n", "two letters alone say nothing");
    let folded: String = PEM.lines().map(|line| format!("    {line}\r\n")).collect();
    assert_eq!(
        masked(&masker, &[folded.as_bytes()]),
        "    ***\r\n    ***\r\n    ***\r\n    ab\r\n    ***\r\n"
    );
    for form in printed(PEM).into_iter().skip(1) {
        assert_eq!(masked(&masker, &[form.as_bytes()]), "***", "{form}");
    }
    for width in [76, 64] {
        let text = STANDARD.encode(PEM).into_bytes();
        let lines: Vec<&[u8]> = text.chunks(width).collect();
        let shown = masked(&masker, &[&lines.join(&b'\n')]);
        assert_eq!(shown, vec!["***"; lines.len()].join("\n"), "base64 of {width} columns");
    }
}

#[test]
fn what_is_no_value_flows_at_once_and_what_may_become_one_is_held_back() {
    let masker = masker(&["hunter2"]);
    let mut stream = masker.stream();
    assert_eq!(stream.write(b"Working"), b"Working");
    assert_eq!(stream.write(b".."), b"..");
    assert_eq!(stream.write(b" h"), b" ");
    assert_eq!(stream.write(b"unte"), b"");
    assert_eq!(stream.write(b"d "), b"hunted ");
    assert_eq!(stream.write(b"hunter"), b"");
    assert_eq!(stream.write(b"2hun"), b"***");
    assert_eq!(stream.write(b"\n"), b"hun\n");
    assert_eq!(stream.write(b"hunter"), b"");
    assert_eq!(stream.finish(), b"hunter", "a part of a value is not the value");
}

#[test]
fn a_line_that_never_ends_flows_with_no_more_held_than_the_longest_form() {
    let value = "x".repeat(1000);
    let masker = masker(&[&value]);
    let (mut stream, mut shown) = (masker.stream(), 0);
    for round in 1..200 {
        shown += stream.write(&[b'y'; 999]).len();
        assert_eq!(shown, round * 999);
    }
    for _ in 0..100 {
        stream.write(&[b'x'; 700]);
        assert!(stream.held.len() <= 3 * value.len(), "{}", stream.held.len());
    }
}

#[test]
fn short_values_are_let_through_and_none_costs_nothing() {
    for values in [&[][..], &["abc"], &["a\nc"]] {
        let masker = masker(values);
        assert!(masker.0.is_none(), "{values:?}");
        assert_eq!(masked(&masker, &[b"abc", b" ab"]), "abc ab");
        assert!(!masker.finds("abc"));
    }
}

#[test]
fn messages_are_masked_too() {
    let masker = masker(&["hunter2", "another"]);
    assert_eq!(
        masker.text("hunter2 and aHVudGVyMg== and another"),
        "*** and *** and ***"
    );
    assert_eq!(masker.text("nothing"), "nothing");
    assert!(masker.finds("x: hunter2") && !masker.finds("x: hunter"));
}

#[test]
fn values_that_overlap_leave_one_mask() {
    let masker = masker(&["abcdef", "defghi", "cdef"]);
    for cut in 0..12 {
        let (left, right) = b"--abcdefghi-".split_at(cut);
        assert_eq!(masked(&masker, &[left, right]), "--***-", "{cut}");
    }
}

#[test]
fn a_large_value_takes_memory_in_proportion_and_no_longer_than_a_moment() {
    let mut value = String::new();
    for number in 0..6_000 {
        value.push_str(&format!("line {number:05}\n"));
    }
    assert!(value.len() > 64 * 1024);
    let began = std::time::Instant::now();
    let masker = masker(&[&value]);
    let shown = masked(&masker, &[value.as_bytes(), STANDARD.encode(&value).as_bytes()]);
    assert!(!shown.contains("line") && shown.lines().all(|line| line == "***" || line == "******"));
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

/// Texts of few letters, so that values overlap, repeat and begin within each other.
fn texts() -> impl Strategy<Value = (Vec<String>, String)> {
    let values = prop::collection::vec("[ab\"/ ]{3,9}(\n[ab]{3,5})?", 1..4);
    let text = prop::collection::vec(
        (
            "[ab\n]{0,4}",
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
        ),
        0..8,
    );
    (values, text).prop_map(|(values, pieces)| {
        let mut text = String::new();
        for (between, value, form) in pieces {
            text.push_str(&between);
            let value: &String = value.get(&values);
            let forms = printed(value);
            let form: &String = form.get(&forms);
            text.push_str(form);
        }
        (values, text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_way_to_cut_a_text_shows_more_than_the_whole_does((values, text) in texts(), cuts in prop::collection::vec(1_usize..9, 0..60)) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let masker = masker(&values);
        let whole = masked(&masker, &[text.as_bytes()]);
        let mut rest = text.as_bytes();
        let mut pieces: Vec<&[u8]> = Vec::new();
        for cut in cuts {
            let (piece, more) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        pieces.push(rest);
        prop_assert_eq!(&masked(&masker, &pieces), &whole);
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&masked(&masker, &single), &whole);
        for value in values {
            for pattern in variants::of(value) {
                let pattern = String::from_utf8(pattern).unwrap();
                prop_assert!(!whole.contains(&pattern), "{:?} shows {:?}", whole, pattern);
            }
        }
    }
}
