//! What a measurement says: figures by key, and tables that name the keys of their cells, so that each figure is
//! named once. In: figures. Out: Markdown for people, JSON for programs and for setting relays side by side.

use serde_json::{Map, Value, json};

use super::stats::Figures;
use crate::words;

/// What a figure of one of these units is divided by, how many digits it gets, and what is written behind it. The
/// end of a key is its unit.
const UNITS: &[(&str, usize, &str)] = &[
    ("_milliseconds", 2, " ms"),
    ("_microseconds", 1, " µs"),
    ("_nanoseconds", 0, " ns"),
    ("_seconds", 2, " s"),
    ("_per_second", 0, "/s"),
    ("_bytes", 0, " bytes"),
    ("_share", 2, ""),
];

/// One line of a table, and the figures of each of its cells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) label: String,
    /// For each column the keys of what is shown there.
    pub(super) cells: Vec<Vec<String>>,
}

/// One table. With a single column that is the relay; else the columns have names of their own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// A table of one column.
    pub(super) fn new(title: impl Into<String>) -> Table {
        Table { title: title.into(), columns: Vec::new(), rows: Vec::new() }
    }

    /// A table of one column with these lines.
    pub(super) fn of(title: impl Into<String>, rows: &[(&str, &[&str])]) -> Table {
        let mut table = Table::new(title);
        for (label, keys) in rows {
            table.row(*label, keys.iter().map(|key| (*key).to_owned()).collect());
        }
        table
    }

    /// Adds a line to a table of one column.
    pub(super) fn row(&mut self, label: impl Into<String>, keys: Vec<String>) {
        self.rows.push(Row { label: label.into(), cells: vec![keys] });
    }
}

/// Everything that was measured of one relay.
pub(super) struct Report {
    /// The relay's name.
    pub(super) relay: String,
    /// What stands above the tables, in words.
    pub(super) heading: String,
    /// The same for programs.
    pub(super) about: Value,
    pub(super) figures: Figures,
    pub(super) tables: Vec<Table>,
    /// Parts that could not be measured, and why.
    pub(super) failures: Vec<(String, String)>,
}

/// A figure as people read it.
pub(super) fn shown(key: &str, value: f64) -> String {
    let unit = UNITS.iter().find(|(unit, ..)| key.ends_with(unit));
    let (_, digits, words) = unit.copied().unwrap_or(("", usize::from(value.fract() != 0.0), ""));
    match digits {
        0 => format!("{}{words}", words::number(value.round().max(0.0) as u64)),
        _ => format!("{value:.digits$}{words}"),
    }
}

/// One cell: its figures with a comma between; a dash when nothing of it was measured, and words when the relay gave
/// no answer in time.
fn cell(keys: &[String], figures: &dyn Fn(&str) -> Option<Option<f64>>) -> String {
    if keys.iter().any(|key| figures(key) == Some(None)) {
        return "no answer".to_owned();
    }
    let cells: Vec<String> = keys.iter().filter_map(|key| Some(shown(key, figures(key)??))).collect();
    if cells.is_empty() { "–".to_owned() } else { cells.join(", ") }
}

fn markdown_line(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<String>>().join(" | "))
}

fn markdown_head(cells: Vec<String>) -> String {
    let rule = format!("|{}\n", "---|".repeat(cells.len()));
    markdown_line(cells) + &rule
}

impl Report {
    /// Adds the table of a part, and its figures.
    pub(super) fn add(&mut self, table: Table, figures: Figures) {
        self.figures.append(figures);
        self.tables.push(table);
    }

    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        for table in &self.tables {
            let columns = match table.columns.is_empty() {
                true => vec![self.relay.clone()],
                false => table.columns.clone(),
            };
            text.push('\n');
            text += &markdown_head([vec![table.title.clone()], columns].concat());
            for row in &table.rows {
                let cells = row.cells.iter().map(|keys| cell(keys, &|key| self.figures.get(key)));
                text += &markdown_line(std::iter::once(row.label.clone()).chain(cells));
            }
        }
        for (part, reason) in &self.failures {
            text += &format!("\n{part} could not be measured: {reason}\n");
        }
        text
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let tables = self.tables.iter().map(|table| {
            let rows: Vec<Value> =
                table.rows.iter().map(|row| json!({"label": row.label, "cells": row.cells})).collect();
            json!({"title": table.title, "columns": table.columns, "rows": rows})
        });
        let failures: Map<String, Value> =
            self.failures.iter().map(|(part, reason)| (part.clone(), json!(reason))).collect();
        json!({
            "relay": self.relay,
            "heading": self.heading,
            "about": self.about,
            "figures": figures,
            "tables": tables.collect::<Vec<Value>>(),
            "failures": failures,
        })
    }
}

/// The reports of several relays, read from their JSON, as one: lines are what was measured, columns are relays.
pub(super) struct SideBySide(Vec<Value>);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl SideBySide {
    pub(super) fn new(reports: Vec<Value>) -> SideBySide {
        SideBySide(reports)
    }

    /// As Markdown. A table that has columns of its own stands alone, once for each relay.
    pub(super) fn markdown(&self) -> String {
        let mut out = self.0.first().map_or_else(String::new, |report| text(&report["heading"]) + "\n");
        let mut done: Vec<String> = Vec::new();
        let tables =
            self.0.iter().flat_map(|report| list(&report["tables"]).iter().map(move |table| (report, table)));
        for (report, table) in tables {
            let title = text(&table["title"]);
            let columns: Vec<String> = list(&table["columns"]).iter().map(text).collect();
            if !columns.is_empty() {
                let title = format!("{title}: {}", text(&report["relay"]));
                out += &format!("\n{}", markdown_head([vec![title], columns].concat()));
                list(&table["rows"]).iter().for_each(|row| out += &line(row, &[report]));
            } else if !done.contains(&title) {
                let relays = self.0.iter().map(|report| text(&report["relay"])).collect();
                out += &format!("\n{}", markdown_head([vec![title.clone()], relays].concat()));
                let reports: Vec<&Value> = self.0.iter().collect();
                self.rows(&title).iter().for_each(|row| out += &line(row, &reports));
                done.push(title);
            }
        }
        for report in &self.0 {
            for (part, reason) in report["failures"].as_object().into_iter().flatten() {
                out += &format!(
                    "\n{}: {part} could not be measured: {}\n",
                    text(&report["relay"]),
                    text(reason)
                );
            }
        }
        out
    }

    /// The lines of a table as the first relay has them, then what only others have.
    fn rows(&self, title: &str) -> Vec<&Value> {
        let mut rows: Vec<&Value> = Vec::new();
        let tables = self.0.iter().flat_map(|report| list(&report["tables"]));
        for row in tables.filter(|table| table["title"] == title).flat_map(|table| list(&table["rows"])) {
            if !rows.iter().any(|other| other["label"] == row["label"]) {
                rows.push(row);
            }
        }
        rows
    }
}

/// A line, with a cell for each column of its own, or one for each relay.
fn line(row: &Value, reports: &[&Value]) -> String {
    let cells = list(&row["cells"]).iter().flat_map(|keys| {
        let keys: Vec<String> = list(keys).iter().map(text).collect();
        reports.iter().map(move |report| cell(&keys, &|key| report["figures"].get(key).map(Value::as_f64)))
    });
    markdown_line(std::iter::once(text(&row["label"])).chain(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(relay: &str, slow: Option<f64>) -> Report {
        let mut report = Report {
            relay: relay.to_owned(),
            heading: "a machine".to_owned(),
            about: json!({"seed": 1}),
            figures: Figures::default(),
            tables: Vec::new(),
            failures: Vec::new(),
        };
        let mut figures = Figures::default();
        figures.put("new_events_per_second", 12_345.6);
        match slow {
            Some(value) => figures.put("thread_median_milliseconds", value),
            None => figures.put_no_answer("thread_median_milliseconds"),
        }
        figures.put("thread_p99_milliseconds", 2.0);
        report.add(
            Table::of(
                "ingest",
                &[
                    ("new events", &["new_events_per_second"]),
                    ("thread", &["thread_median_milliseconds", "thread_p99_milliseconds"]),
                    ("not measured", &["x_bytes"]),
                ],
            ),
            figures,
        );
        report
    }

    #[test]
    fn figures_are_shown_by_their_unit() {
        let cases = [
            ("a_per_second", 1_234.4, "1,234/s"),
            ("a_milliseconds", 0.126, "0.13 ms"),
            ("a_seconds", 1.0, "1.00 s"),
            ("a_share", 0.5, "0.50"),
            ("a_bytes", 976.2, "976 bytes"),
            ("a_events", 50.0, "50"),
            ("a_events", 2.25, "2.2"),
        ];
        for (key, value, words) in cases {
            assert_eq!(shown(key, value), words, "{key}");
        }
    }

    #[test]
    fn reports_are_the_same_in_both_forms() {
        let report = report("plaza", Some(0.5));
        let markdown = "a machine\n\n| ingest | plaza |\n|---|---|\n| new events | 12,346/s |\n| thread | 0.50 ms, 2.00 ms |\n| not measured | – |\n";
        assert_eq!(report.markdown(), markdown);
        let json = report.json();
        assert_eq!(json["figures"]["new_events_per_second"], 12_345.6);
        assert_eq!(SideBySide::new(vec![json]).markdown(), markdown, "alone beside itself");
    }

    #[test]
    fn relays_stand_side_by_side() {
        let mut other = report("other", None);
        other.tables[0].row("only there", vec!["new_events_per_second".to_owned()]);
        other.failures.push(("fanout".to_owned(), "it lost events".to_owned()));
        let side = SideBySide::new(vec![report("plaza", Some(0.5)).json(), other.json()]).markdown();
        for line in [
            "| ingest | plaza | other |",
            "| thread | 0.50 ms, 2.00 ms | no answer |",
            "| only there | 12,346/s | 12,346/s |",
            "other: fanout could not be measured: it lost events",
        ] {
            assert!(side.contains(line), "{line} is not in {side}");
        }
    }

    #[test]
    fn a_table_with_columns_of_its_own_stands_alone() {
        let mut report = report("plaza", None);
        let keys = ["new_events_per_second", "thread_p99_milliseconds"].map(|key| vec![key.to_owned()]);
        let rows = vec![Row { label: "work".to_owned(), cells: keys.to_vec() }];
        let columns = vec!["100".to_owned(), "1,000".to_owned()];
        report.tables = vec![Table { title: "growth".to_owned(), columns, rows }];
        assert!(
            report
                .markdown()
                .contains("| growth | 100 | 1,000 |\n|---|---|---|\n| work | 12,346/s | 2.00 ms |")
        );
        let side = SideBySide::new(vec![report.json(), report.json()]).markdown();
        assert_eq!(side.matches("| growth: plaza | 100 | 1,000 |").count(), 2);
    }
}
