//! Numbers and times as people read them, for the sentences of rules.

/// `12,345`.
pub fn number(number: u64) -> String {
    grouped(number, ',')
}

/// A number whose digits are separated by threes.
pub fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// A length of time in the largest unit that divides it: `15 minutes`, `1 day`.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let unit = UNITS.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (count, name) = unit.map_or((seconds, "second"), |(unit, name)| (seconds / unit, name));
    format!("{} {name}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `a`, `a or b`, `a, b or c`.
pub fn any_of<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} or {last}", items.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_easy_to_read() {
        let numbers = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (value, text) in numbers {
            assert_eq!(number(value), text);
        }
        let times = [
            (0, "0 seconds"),
            (1, "1 second"),
            (90, "90 seconds"),
            (900, "15 minutes"),
            (86_400, "1 day"),
            (7_200, "2 hours"),
        ];
        for (seconds, text) in times {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(any_of(["a", "b", "c"]), "a, b or c");
        assert_eq!(any_of(["a"]), "a");
    }
}
