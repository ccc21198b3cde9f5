//! What lists of domains say in public of those that they suspend: for whoever passes it on (docs/lists.md). In: the
//! texts of CSV files in Mastodon's export format, and what they come to. Out: domains and public comments.

use std::borrow::Cow;
use std::collections::HashMap;

use csv::StringRecord;

use super::lists::{Domains, reader};
use super::normalize;

/// A domain, and what is said of it in public; may be empty.
pub type Told = (Box<str>, String);

/// Where a header has what is told in public.
struct Columns {
    domain: usize,
    comment: Option<usize>,
    is_obfuscated: Option<usize>,
}

fn columns_of(record: &StringRecord) -> Option<Columns> {
    let column = |wanted: &str| {
        let is_around = |c: char| matches!(c, '#' | '"') || c.is_whitespace();
        record.iter().position(|name| name.trim_matches(is_around).eq_ignore_ascii_case(wanted))
    };
    Some(Columns {
        domain: column("domain")?,
        comment: column("public_comment"),
        is_obfuscated: column("obfuscate"),
    })
}

/// Domains that lists, each a name and a text, suspend together, with their public comments, in order. What a line has
/// `obfuscate` for is told to nobody.
pub fn suspended(domains: &Domains, lists: &[(String, &str)]) -> Vec<Told> {
    let mut all: HashMap<&str, Option<String>> = domains.suspended().map(|name| (name, None)).collect();
    let mut hidden = Vec::new();
    for (list, text) in lists {
        let mut reader = reader(text);
        let mut records = reader.records().flatten();
        let Some(columns) = records.by_ref().find_map(|record| columns_of(&record)) else { continue };
        for record in records {
            let get = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
            let Some(name) = normalize(get(Some(columns.domain))).map(Cow::into_owned) else { continue };
            // What another list decided says nothing of this one's reasons.
            let decided =
                domains.find(&name).filter(|verdict| verdict.domain == name && verdict.list == list);
            let Some(verdict) = decided else { continue };
            if get(columns.is_obfuscated).eq_ignore_ascii_case("true") {
                hidden.push(name);
            } else if let Some(comment @ None) = all.get_mut(verdict.domain) {
                *comment = Some(get(columns.comment).to_owned());
            }
        }
    }
    hidden.iter().for_each(|name| drop(all.remove(&**name)));
    let mut all: Vec<Told> =
        all.into_iter().map(|(name, comment)| (name.into(), comment.unwrap_or_default())).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suspended_is_told_with_what_is_said_in_public() {
        let own = "#domain,#severity,#public_comment,#obfuscate\nb.example,suspend,spam,false\n\
            A.example,suspend,\"ads, many\",\nquiet.example,silence,x,false\nsecret.example,suspend,y,TRUE\n";
        let shared =
            "domain,public_comment,severity\nb.example,other,suspend\nc.example,,suspend\nno name,,suspend\n";
        let lists = [("own", own), ("shared", shared), ("bare", "d.example\n")];
        let (domains, _) = Domains::parse(&lists);
        let texts = lists.map(|(name, text)| (name.to_owned(), text));
        let told = suspended(&domains, &texts);
        let told: Vec<(&str, &str)> = told.iter().map(|(name, comment)| (&**name, &**comment)).collect();
        let wanted =
            [("a.example", "ads, many"), ("b.example", "spam"), ("c.example", ""), ("d.example", "")];
        assert_eq!(told, wanted);
    }
}
