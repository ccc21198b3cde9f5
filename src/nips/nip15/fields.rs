//! JSON content held against a table of fields. In: a value and the fields that a NIP names. Out: every
//! field that is wrong, in words. Fields that no table names are let pass: clients add their own.

use serde_json::{Map, Value};

use crate::amount::Amount;
use crate::event::is_hex64;

/// Faults that one sentence tells; further ones are counted. A content may hold thousands.
const FAULTS_TOLD_MAX: usize = 5;

/// One field of an object.
pub(super) struct Field {
    /// Its key.
    pub(super) name: &'static str,
    /// Whether it must be there. Others may be absent or null.
    pub(super) required: bool,
    /// What its value must be.
    pub(super) shape: Shape,
}

/// What a value must be.
pub(super) enum Shape {
    /// Text that is not blank.
    Name,
    /// Any text.
    Text,
    /// A number of zero or more.
    Amount,
    /// A whole number of at least this.
    Whole(u64),
    /// A whole number of zero or more, or null.
    WholeOrNull,
    /// True or false.
    Flag,
    /// The address of something on the web, or empty text for none.
    WebUrlOrEmpty,
    /// A list of addresses on the web.
    WebUrls,
    /// A list of texts.
    Texts,
    /// A list of pairs of texts.
    Pairs,
    /// A list of public keys in hex.
    Keys,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An object of these fields.
    Object(&'static [Field]),
    /// A list of objects of these fields.
    Objects(&'static [Field]),
}

/// A field that must be there.
pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, required: true, shape }
}

/// A field that may be absent or null.
pub(super) const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, required: false, shape }
}

/// What is wrong with a content, each fault a part of a sentence.
#[derive(Debug, Default)]
pub(super) struct Faults {
    told: Vec<String>,
    untold: usize,
}

impl Faults {
    /// Adds a fault; the words are only made while they are told.
    pub(super) fn add(&mut self, fault: impl FnOnce() -> String) {
        if self.told.len() < FAULTS_TOLD_MAX {
            self.told.push(fault());
        } else {
            self.untold += 1;
        }
    }

    /// All faults in one sentence; `None` when there is none.
    pub(super) fn sentence(self) -> Option<String> {
        let told = self.told.join("; ");
        match (told.is_empty(), self.untold) {
            (true, _) => None,
            (false, 0) => Some(told),
            (false, untold) => Some(format!("{told}; and {untold} more")),
        }
    }
}

/// Reads content that must be a JSON object.
///
/// # Errors
/// What it is instead.
pub(super) fn object(content: &str) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_str(content) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the content must be a JSON object"),
        Err(_) => Err("the content is not valid JSON"),
    }
}

/// Holds an object against its fields; `path` is where it stands, empty for the content itself.
pub(super) fn check(object: &Map<String, Value>, fields: &[Field], path: &str, faults: &mut Faults) {
    for field in fields {
        let name = || if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match object.get(field.name) {
            None if field.required => faults.add(|| format!("{} is missing", name())),
            Some(Value::Null) if !field.required => {}
            None => {}
            Some(value) => check_value(value, &field.shape, name, faults),
        }
    }
}

fn check_value(value: &Value, shape: &Shape, name: impl Fn() -> String, faults: &mut Faults) {
    match shape {
        Shape::Object(fields) => match value {
            Value::Object(object) => check(object, fields, &name(), faults),
            _ => faults.add(|| format!("{} must be an object", name())),
        },
        Shape::Objects(fields) => match value {
            Value::Array(list) => {
                for (place, element) in list.iter().enumerate() {
                    let name = || format!("{}[{place}]", name());
                    match element {
                        Value::Object(object) => check(object, fields, &name(), faults),
                        _ => faults.add(|| format!("{} must be an object", name())),
                    }
                }
            }
            _ => faults.add(|| format!("{} must be a list of objects", name())),
        },
        plain => {
            if !fits(value, plain) {
                faults.add(|| format!("{} must be {}", name(), wanted(plain)));
            }
        }
    }
}

/// Whether a value without fields of its own is what it must be.
fn fits(value: &Value, shape: &Shape) -> bool {
    let all = |holds: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(holds));
    match shape {
        Shape::Name => value.as_str().is_some_and(|text| !text.trim().is_empty()),
        Shape::Text => value.is_string(),
        Shape::Amount => value.as_number().is_some_and(|number| Amount::from_json(number).is_some()),
        Shape::Whole(least) => value.as_u64().is_some_and(|number| number >= *least),
        Shape::WholeOrNull => value.is_null() || value.is_u64(),
        Shape::Flag => value.is_boolean(),
        Shape::WebUrlOrEmpty => value.as_str().is_some_and(|text| text.is_empty() || is_web_url(text)),
        Shape::WebUrls => all(|element| element.as_str().is_some_and(is_web_url)),
        Shape::Texts => all(Value::is_string),
        Shape::Pairs => all(|pair| {
            matches!(pair.as_array().map(Vec::as_slice), Some([Value::String(_), Value::String(_)]))
        }),
        Shape::Keys => all(|element| element.as_str().is_some_and(is_hex64)),
        Shape::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        Shape::Object(_) => value.is_object(),
        Shape::Objects(_) => all(Value::is_object),
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Name => "text that is not blank",
        Shape::Text => "text",
        Shape::Amount => "a number of 0 or more",
        Shape::Whole(least) => return format!("a whole number of {least} or more"),
        Shape::WholeOrNull => "a whole number of 0 or more, or null",
        Shape::Flag => "true or false",
        Shape::WebUrlOrEmpty => "an http(s) address",
        Shape::WebUrls => "a list of http(s) addresses",
        Shape::Texts => "a list of texts",
        Shape::Pairs => "a list of pairs of texts",
        Shape::Keys => "a list of public keys in hexadecimal",
        Shape::OneOf(words) => return format!("one of {}", words.join(", ")),
        Shape::Object(_) => "an object",
        Shape::Objects(_) => "a list of objects",
    }
    .to_owned()
}

/// Whether a text is an address that a browser would fetch a picture from: http or https, and a host.
pub(crate) fn is_web_url(text: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or("");
        !host.is_empty()
            && !host.starts_with(':')
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(fields: &[Field], content: &str) -> Option<String> {
        let mut faults = Faults::default();
        check(&object(content).expect("an object"), fields, "", &mut faults);
        faults.sentence()
    }

    #[test]
    fn addresses_on_the_web_have_a_scheme_and_a_host() {
        let table = [
            ("https://example.com/a.jpg", true),
            ("http://example.com", true),
            ("HTTPS://example.com", true),
            ("https://example.com?x", true),
            ("https://[::1]:8080/x", true),
            ("https://bücher.example/ä.jpg", true),
            ("https://", false),
            ("https:///x", false),
            ("https://:80/x", false),
            ("https:/example.com", false),
            ("ftp://example.com/a", false),
            ("javascript:alert(1)", false),
            ("data:image/png;base64,AAAA", false),
            ("example.com/a.jpg", false),
            (" https://example.com", false),
            ("https://example.com/a b", false),
            ("https://example.com/\n", false),
            ("äää://example.com", false),
            ("", false),
        ];
        for (text, is) in table {
            assert_eq!(is_web_url(text), is, "{text:?}");
        }
    }

    #[test]
    fn each_shape_has_its_bounds() {
        let key = "a".repeat(64);
        let table: Vec<(Shape, Vec<String>, Vec<String>)> = [
            (Shape::Name, r#""x""#, r#""" | " " | 1 | null | ["x"]"#),
            (Shape::Text, r#""x" | "" | " ""#, "1 | null | {}"),
            (
                Shape::Amount,
                "0 | 0.01 | 1e300 | 18446744073709551615 | -0.0",
                r#"-1 | -0.01 | "1" | null | [1]"#,
            ),
            (
                Shape::Whole(0),
                "0 | 18446744073709551615",
                r#"-1 | 0.5 | 1.0 | 18446744073709551616 | "1" | null"#,
            ),
            (Shape::Whole(1), "1 | 2", "0 | -1"),
            (Shape::WholeOrNull, "0 | 7 | null", r#"-1 | 0.5 | "7" | true"#),
            (Shape::Flag, "true | false", r#"1 | "true" | null"#),
            (Shape::WebUrlOrEmpty, r#""" | "http://a/b""#, r#""a/b" | 1 | ["http://a"]"#),
            (
                Shape::WebUrls,
                r#"[] | ["http://a","https://b/c"]"#,
                r#"[""] | ["http://a","b"] | [1] | "http://a""#,
            ),
            (Shape::Texts, r#"[] | ["",""]"#, r#"["",1] | "a" | [["a"]]"#),
            (
                Shape::Pairs,
                r#"[] | [["a","b"],["",""]]"#,
                r#"["a","b"] | [["a"]] | [["a","b","c"]] | [["a",1]] | {}"#,
            ),
            (Shape::OneOf(&["yes", "no"]), r#""yes" | "no""#, r#""Yes" | "" | 1"#),
            (Shape::Object(&[]), r#"{} | {"a":1}"#, r#"[] | "x""#),
            (Shape::Objects(&[]), r#"[] | [{}]"#, r#"{} | [1] | [[]]"#),
        ]
        .into_iter()
        .map(|(shape, good, bad)| {
            let list = |text: &str| text.split(" | ").map(str::to_owned).collect();
            (shape, list(good), list(bad))
        })
        .chain([(
            Shape::Keys,
            vec!["[]".to_owned(), format!("[\"{key}\"]")],
            vec![
                format!("[\"{}\"]", key.to_uppercase()),
                format!("[\"{}\"]", &key[1..]),
                format!("[\"{key}\",1]"),
                format!("\"{key}\""),
            ],
        )])
        .collect();
        for (shape, good, bad) in table {
            let fields = [required("f", shape)];
            for value in good {
                assert_eq!(faults(&fields, &format!("{{\"f\":{value}}}")), None, "{value}");
            }
            for value in bad {
                let said = faults(&fields, &format!("{{\"f\":{value}}}")).unwrap_or_default();
                assert!(
                    said.starts_with("f must be ") || said.starts_with("f[0] must be "),
                    "{value}: {said}"
                );
            }
        }
    }

    #[test]
    fn what_is_optional_may_be_absent_or_null_but_not_wrong() {
        let fields =
            [optional("name", Shape::Text), required("id", Shape::Name), required("n", Shape::WholeOrNull)];
        let table = [
            (r#"{"id":"x","n":null}"#, None),
            (r#"{"id":"x","n":1,"name":null,"more":[{}]}"#, None),
            (r#"{"id":"x","n":1,"name":5}"#, Some("name must be text")),
            (r#"{"n":1}"#, Some("id is missing")),
            (r#"{"id":null,"n":1}"#, Some("id must be text that is not blank")),
            (r#"{"id":"x"}"#, Some("n is missing")),
        ];
        for (content, said) in table {
            assert_eq!(faults(&fields, content).as_deref(), said, "{content}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_by_its_place_and_many_are_counted() {
        const ZONE: &[Field] = &[required("id", Shape::Name), required("cost", Shape::Amount)];
        let fields = [required("currency", Shape::Name), required("shipping", Shape::Objects(ZONE))];
        let table = [
            (
                r#"{"shipping":[{"id":"a","cost":0},{"id":"b","cost":-1},3]}"#,
                "currency is missing; shipping[1].cost must be a number of 0 or more; shipping[2] must be an object",
            ),
            (
                r#"{"currency":"","shipping":[1,2,3,4,5,6]}"#,
                "currency must be text that is not blank; shipping[0] must be an object; \
                 shipping[1] must be an object; shipping[2] must be an object; shipping[3] must be an object; and 2 more",
            ),
            (r#"{"currency":"x","shipping":{}}"#, "shipping must be a list of objects"),
        ];
        for (content, said) in table {
            assert_eq!(faults(&fields, content).as_deref(), Some(said), "{content}");
        }
    }

    #[test]
    fn content_is_one_json_object() {
        for (content, said) in [
            ("", "the content is not valid JSON"),
            ("{", "the content is not valid JSON"),
            ("{} {}", "the content is not valid JSON"),
            (r#"{"price":1e999}"#, "the content is not valid JSON"),
            ("[]", "the content must be a JSON object"),
            ("\"{}\"", "the content must be a JSON object"),
            ("null", "the content must be a JSON object"),
        ] {
            assert_eq!(object(content).expect_err(content), said);
        }
        assert!(
            object(&format!("{}{}", "{\"a\":".repeat(1_000), "}".repeat(1_000))).is_err(),
            "depth is bounded"
        );
    }
}
