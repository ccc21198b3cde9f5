//! A community's search index as a folder: what its documents hold, its stamp, whether it can be gone on with. In: the
//! store's folder, an event. Out: an index of tantivy, documents. Never reads the store's records.

use std::fs::{self, DirBuilder};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::store::Compressor;
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{Index, IndexSettings, TantivyDocument, Term};

use super::{SEARCH, SearchError, text};
use crate::config::Settings;
use crate::event::{Event, Id, Kind, PublicKey};
use crate::filter::places;
use crate::nips::nip50::{self, Searchable, searchable};
use crate::store::{CommunityId, Group, Store};

/// The folder of all of them, within the store's.
pub const FOLDER: &str = "search";

/// Goes up whenever documents of the same event would be others than before.
const VERSION: u32 = 1;

const TOKENIZER: &str = "plaza";

/// What a folder says of itself, with each commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    version: u32,
    /// The settings that decide what is in it.
    settings: String,
    /// Drawn anew for each folder, and named by the store. It is the key of the marks' hashes too.
    stamp: String,
    /// All records with lower numbers were read.
    pub(super) upto: u64,
}

/// The parts of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) title: Field,
    pub(super) body: Field,
    /// Hashes of what filters may ask for.
    pub(super) marks: Field,
    created_at: Field,
    id: [Field; 4],
}

/// The names of the parts of an id, and of the time, as they are read back.
pub(super) const ID: [&str; 4] = ["id0", "id1", "id2", "id3"];
pub(super) const CREATED_AT: &str = "created_at";

/// What a mark is of, besides letters of tags.
const KIND: u8 = 0;
const AUTHOR: u8 = 1;
const EVENT: u8 = 2;
const ADDRESS: u8 = 3;
const PLACE: u8 = 4;
const LANGUAGE: u8 = 5;
const WARNED: u8 = 6;

/// Hashes of what filters ask for, keyed so that nobody can choose two that are the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    key: (u64, u64),
    field: Field,
}

impl Marks {
    fn of(self, what: u8, value: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u8(what);
        hasher.write(value);
        hasher.finish()
    }

    fn term(self, what: u8, value: &[u8]) -> Term {
        Term::from_field_u64(self.field, self.of(what, value))
    }

    pub(super) fn kind(self, kind: Kind) -> Term {
        self.term(KIND, &kind.0.to_le_bytes())
    }

    pub(super) fn author(self, author: &PublicKey) -> Term {
        self.term(AUTHOR, &author.0)
    }

    pub(super) fn id(self, id: &Id) -> Term {
        self.term(EVENT, &id.0)
    }

    pub(super) fn address(self, address: &str) -> Term {
        self.term(ADDRESS, address.as_bytes())
    }

    pub(super) fn tag(self, letter: u8, value: &str) -> Term {
        self.term(letter, value.as_bytes())
    }

    pub(super) fn place(self, prefix: &str) -> Term {
        self.term(PLACE, prefix.as_bytes())
    }

    pub(super) fn language(self, language: &str) -> Term {
        self.term(LANGUAGE, language.as_bytes())
    }

    pub(super) fn warned(self) -> Term {
        self.term(WARNED, b"")
    }
}

/// A folder that is open.
pub(super) struct Folder {
    pub(super) index: Index,
    pub(super) fields: Fields,
    pub(super) marks: Marks,
    pub(super) payload: Payload,
    pub(super) path: PathBuf,
    by_prefix: bool,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = TextOptions::default().set_indexing_options(indexing);
    let fields = Fields {
        title: builder.add_text_field("title", text.clone()),
        body: builder.add_text_field("body", text),
        marks: builder.add_u64_field("marks", NumericOptions::from(INDEXED)),
        created_at: builder.add_u64_field(CREATED_AT, FAST),
        id: ID.map(|name| builder.add_u64_field(name, FAST)),
    };
    (builder.build(), fields)
}

/// The settings that decide which documents there are, and what is in them.
fn deciding(settings: &Settings) -> String {
    let Settings { search, nip17, geohash, .. } = settings;
    format!("{}; {:?}; {}", search.kinds, nip17.private_kinds, geohash.prefix_filters)
}

fn path_of(store: &Path, community: CommunityId) -> PathBuf {
    store.join(FOLDER).join(community.0.to_string())
}

/// Removes what is kept of a community; it is built anew when somebody wants it.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(store: &Path, community: CommunityId) -> io::Result<()> {
    match fs::remove_dir_all(path_of(store, community)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Bytes that are free where a community's folder is or would be, if that can be told.
pub(super) fn free_bytes(store: &Store, community: CommunityId) -> Option<u64> {
    let path = path_of(store.path(), community);
    let there = path.ancestors().find(|path| path.exists())?;
    Store::disk_free_bytes_at(there).ok().flatten()
}

impl Folder {
    /// Opens the folder of a community where it can be gone on with, else makes a new one.
    pub(super) fn open(
        store: &Store,
        community: CommunityId,
        settings: &Settings,
    ) -> Result<Folder, SearchError> {
        let path = path_of(store.path(), community);
        let named = store.state_entry(community, SEARCH, &[])?;
        let decides = deciding(settings);
        if path.exists() {
            match read(&path) {
                Ok(folder)
                    if folder.payload.version == VERSION
                        && folder.payload.settings == decides
                        && named.as_deref().map(hex::encode).as_ref() == Some(&folder.payload.stamp)
                        && folder.payload.upto <= store.next_number(community) =>
                {
                    return Ok(Folder { by_prefix: settings.geohash.prefix_filters, ..folder });
                }
                Ok(_) => tracing::info!("{}: it is not of these settings and this store", path.display()),
                Err(error) => tracing::warn!("{}: {error}; it is built anew", path.display()),
            }
        }
        Folder::make(store, community, settings, path).inspect_err(|_| {
            // What is half made is of no use; what cannot be removed now is the next time.
            let _ = remove(store.path(), community);
        })
    }

    fn make(
        store: &Store,
        community: CommunityId,
        settings: &Settings,
        path: PathBuf,
    ) -> Result<Folder, SearchError> {
        remove(store.path(), community)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let stamp: [u8; 16] = secp256k1::rand::random();
        let mut group = Group::default();
        group.put_state(community, SEARCH, &[], &stamp);
        store.commit(group)?;
        let (schema, _) = schema();
        let storing = IndexSettings { docstore_compression: Compressor::None, ..IndexSettings::default() };
        let index = Index::builder().schema(schema).settings(storing).create_in_dir(&path)?;
        let payload =
            Payload { version: VERSION, settings: deciding(settings), stamp: hex::encode(stamp), upto: 0 };
        Ok(Folder { by_prefix: settings.geohash.prefix_filters, ..assemble(index, payload, path) })
    }

    /// The document of an event.
    pub(super) fn document(&self, event: &Event) -> TantivyDocument {
        let Folder { fields, marks, .. } = self;
        let Searchable { title, body } = searchable(event);
        let mut document = TantivyDocument::default();
        document.add_text(fields.title, title);
        document.add_text(fields.body, body);
        document.add_u64(fields.created_at, event.created_at);
        for (field, part) in fields.id.iter().zip(event.id.0.as_chunks::<8>().0) {
            document.add_u64(*field, u64::from_be_bytes(*part));
        }
        let mut mark = |what, value: &[u8]| document.add_u64(fields.marks, marks.of(what, value));
        mark(KIND, &event.kind.0.to_le_bytes());
        mark(AUTHOR, &event.pubkey.0);
        mark(EVENT, &event.id.0);
        if let Some(address) = event.address() {
            mark(ADDRESS, address.as_bytes());
        }
        event.tags.indexed().for_each(|(letter, value)| mark(letter, value.as_bytes()));
        nip50::languages(event).for_each(|language| mark(LANGUAGE, language.as_bytes()));
        if nip50::is_warned(event) {
            mark(WARNED, b"");
        }
        if self.by_prefix {
            let prefixes = places::places(&event.tags).flat_map(places::prefixes_of);
            prefixes.for_each(|prefix| mark(PLACE, prefix.as_bytes()));
        }
        document
    }

    /// Whether it is what these settings ask for.
    pub(super) fn is_for(&self, settings: &Settings) -> bool {
        self.payload.settings == deciding(settings)
    }

    /// Bytes that its files take.
    pub(super) fn disk_bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        // Files come and go with each merge.
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

/// Reads what a folder is; every byte of it is compared with its checksum.
fn read(path: &Path) -> Result<Folder, SearchError> {
    let index = Index::open_in_dir(path)?;
    if index.schema() != schema().0 {
        return Err(io::Error::other("it is of another version").into());
    }
    let damaged = index.validate_checksum()?;
    if let Some(file) = damaged.iter().next() {
        return Err(io::Error::other(format!("{} is damaged", file.display())).into());
    }
    let payload = index.load_metas()?.payload.unwrap_or_default();
    let payload = serde_json::from_str(&payload).map_err(io::Error::other)?;
    Ok(assemble(index, payload, path.to_owned()))
}

fn assemble(index: Index, payload: Payload, path: PathBuf) -> Folder {
    index.tokenizers().register(TOKENIZER, TextAnalyzer::from(Words));
    let (_, fields) = schema();
    let stamp = hex::decode(&payload.stamp).unwrap_or_default();
    let half =
        |at: usize| stamp.get(at..at + 8).and_then(|half| half.try_into().ok()).map_or(0, u64::from_le_bytes);
    let marks = Marks { key: (half(0), half(8)), field: fields.marks };
    Folder { index, fields, marks, payload, path, by_prefix: false }
}

/// [`text::tokens`] as tantivy takes them.
#[derive(Clone)]
struct Words;

struct WordStream {
    tokens: std::vec::IntoIter<text::Token>,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        WordStream { tokens: text::tokens(text).into_iter(), token: Token::default() }
    }
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some(text::Token { text, position }) = self.tokens.next() else { return false };
        self.token.position = position as usize;
        self.token.text = text;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
