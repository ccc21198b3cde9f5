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

/// The day on which a moment is, in UTC: `2026-11-26`.
pub fn day(seconds: u64) -> String {
    // Years that begin in March end with the day that is not always there; 400 of them always have 146,097 days.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

/// When a day begins that is written so, in seconds since 1970; `None` for what is none.
pub fn beginning_of_day(text: &str) -> Option<u64> {
    let (year, rest) = text.split_once('-')?;
    let (month, date) = rest.split_once('-')?;
    let [year, month, date] =
        [year, month, date].map(|part| part.parse::<u64>().ok().filter(|_| part.len() <= 4));
    let (year, month, date) = (year?, month?, date?);
    let (from_march, year) =
        if month > 2 { (month - 3, year) } else { (month.checked_add(9)?, year.checked_sub(1)?) };
    let of_era = year % 400;
    let days =
        year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * from_march + 2) / 5 + date;
    let seconds = days.checked_sub(719_469)?.checked_mul(86_400)?;
    // What is no day, such as the 31st of February, is written otherwise.
    (day(seconds) == text).then_some(seconds)
}

/// A number of bytes in the largest unit of which there is one: `512 bytes`, `1.5 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_000.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
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
        let days = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_790_000_000, "2026-09-21"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, text) in days {
            assert_eq!(day(seconds), text);
        }
        let sizes = [(0, "0 bytes"), (999, "999 bytes"), (1_500_000, "1.5 MB"), (999_999_999, "1.0 GB")];
        for (size, text) in sizes {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(any_of(["a", "b", "c"]), "a, b or c");
        assert_eq!(any_of(["a"]), "a");
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        for number in (0..4_000_u64).map(|number| number * 13_579_111) {
            assert_eq!(beginning_of_day(&day(number)), Some(number / 86_400 * 86_400), "{number}");
        }
        for text in [
            "",
            "2026",
            "2026-02-31",
            "2026-2-3",
            "1969-12-31",
            "2026-00-01",
            "2026-13-01",
            "0000-01-01",
            "99999-01-01",
            "2026-01-00",
            "2026-01-01x",
            "+026-01-01",
            "-1-01-01",
        ] {
            assert_eq!(beginning_of_day(text), None, "{text}");
        }
    }
}
