//! Loading a whole file: the state that its bytes give, and the facts that are needed to append to it.

use super::hand_edits::{FileOrigin, Overwritten, has_same_value};
use super::known_file::{AppendState, KnownFile};
use super::last_copy_format::{Fingerprint, LastCopy, Relation};
use crate::model::{Key, Revision, Time};
use crate::store::{EntryView, RecentChanges};
use crate::yaml::format::document::header_revision;
use crate::yaml::format::parse_error::ParseError;
use crate::yaml::format::reader::Document;
use crate::yaml::format::stream::RawDocument;
use crate::yaml::format::whole_file::{MAX_ERRORS, documents, torn_stored_data};
use crate::yaml::format::{at_rest, stream};
use crate::yaml::fs::Stat;
use crate::yaml::state::{BucketState, Damage, FileHistory, Unstamped};

/// A file to load, with what is known about it.
pub(crate) struct LoadInput<'a> {
    pub(crate) stat: Option<Stat>,
    pub(crate) bytes: &'a [u8],
    /// The length that was certainly durable once: a torn tail cannot begin before it.
    pub(crate) durable: u64,
    /// The last copy of this file.
    pub(crate) last: Option<&'a LastCopy>,
    pub(crate) change: FileChange,
    /// Whether files of this length have a copy.
    pub(crate) is_small: bool,
}

/// How the file compares with the record in the lock file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileChange {
    /// The file is as it was recorded.
    Unchanged,
    /// The file is the one that kvs put in place last, with later appends if it is longer.
    Announced,
    /// The file seems to be as recorded, with later appends.
    ProbablyAppended,
    /// The file is not as recorded.
    Changed,
    /// There is no record.
    Unknown,
}

pub(crate) struct Loaded {
    pub(crate) state: BucketState,
    pub(crate) overwritten: Overwritten,
    /// Whether the last copy holds the same as the file.
    pub(crate) is_copied: bool,
}

/// Loads a file: the state that its bytes give, or the last good state and the errors.
pub(crate) fn load_bytes(
    source: &LoadInput<'_>,
    history: FileHistory,
    known: &mut KnownFile,
    old: &BucketState,
) -> Loaded {
    let stat = source.stat;
    let stream = stream::split(source.bytes);
    let (documents, mut errors) = documents(&stream);
    if errors.is_empty() {
        errors.extend(torn_stored_data(source.bytes, &stream, source.durable));
    }
    if !errors.is_empty() {
        errors.truncate(MAX_ERRORS);
        let state = last_good_state(source, documents, errors, old);
        return Loaded { state, overwritten: Overwritten::default(), is_copied: false };
    }
    let end = stream.torn.unwrap_or(source.bytes.len());
    let committed = source.bytes.get(..end).unwrap_or_default();
    known.torn = stream.torn.map(|at| at as u64);
    known.committed = end as u64;
    known.snapshot = stream.documents.first().map_or(0, |raw| raw.end as u64);
    known.mark = mark(committed, stream.documents.last());
    known.is_plain = documents.iter().all(|document| !document.by_hand && !document.has_notes);
    let is_one = documents.iter().skip(1).all(|document| document.lines.is_empty() && !document.has_notes);

    let header_revision = header_revision(stream.documents.first().map(|raw| raw.text).unwrap_or_default());
    let relation = relation(source.last, committed, documents.iter().zip(&stream.documents));
    let is_as_copied = relation != Relation::Other;
    let history = FileHistory { appended: written_in_log(&documents), is_as_copied, ..history };
    let mut state = BucketState { stat, revision: header_revision, ..BucketState::default() };
    let mut read = ReadDocuments { is_restamped: false, is_edited: false, overwritten: Overwritten::default() };
    let (mut must_rewrite, mut is_copied) = (end == 0, false);
    if let (Some(last), Relation::Same | Relation::Appended(_)) = (source.last, relation) {
        is_copied = relation == Relation::Same;
        read.is_restamped = apply_to_copy(&mut state, last, relation, documents.into_iter().zip(&stream.documents));
    } else {
        read = read_documents(source, documents, &mut state, old);
        if read.is_edited || source.is_small && read.is_restamped {
            known.edited = Some(Fingerprint::of(committed));
        }
        must_rewrite |= read.is_restamped;
    }
    if must_rewrite {
        known.append_state = AppendState::AfterRewrite;
    }
    known.is_tidy = is_one && !read.is_restamped;
    state.follow(old, &history);
    Loaded { state, overwritten: read.overwritten, is_copied }
}

/// What reading the documents of a file has shown.
struct ReadDocuments {
    /// Whether the state has revisions that the file does not have.
    is_restamped: bool,
    is_edited: bool,
    overwritten: Overwritten,
}

/// Reads the documents of a file that is not as its last copy says. `state` has the revision in its header.
fn read_documents(
    source: &LoadInput<'_>,
    documents: Vec<Document>,
    state: &mut BucketState,
    old: &BucketState,
) -> ReadDocuments {
    let header_revision = state.revision;
    let mut unstamped = Unstamped::default();
    for document in documents {
        state.apply(document, &mut unstamped);
    }
    let origin = match before(source, old) {
        _ if source.change == FileChange::Unchanged => FileOrigin::Ours,
        Some(before) if source.change == FileChange::Announced && is_behind(before, state) => FileOrigin::Ours,
        Some(before) => FileOrigin::Edited(before),
        None if source.change == FileChange::Changed => FileOrigin::Unknown,
        None => FileOrigin::Ours,
    };
    let modified = source.stat.map_or(0, |stat| stat.modified);
    let overwritten = match origin {
        FileOrigin::Edited(before) => state.overwritten(before, header_revision, Time::from_nanos(modified)),
        _ => Overwritten::default(),
    };
    let mut is_restamped = state.stamp(unstamped, origin, modified);
    if let (FileOrigin::Edited(before), FileChange::Changed) = (origin, source.change) {
        is_restamped |= state.stamp_later(before.revision, modified);
    }
    state.raise_after_edit(origin, source.stat);
    ReadDocuments { is_restamped, is_edited: !matches!(origin, FileOrigin::Ours), overwritten }
}

/// How the file relates to its last copy.
///
/// If a person has added something to what kvs appended since the copy, there are entries that neither of them has a
/// revision for. So this is another file.
fn relation<'a>(
    last: Option<&LastCopy>,
    committed: &[u8],
    mut documents: impl Iterator<Item = (&'a Document, &'a RawDocument<'a>)>,
) -> Relation {
    match last.map_or(Relation::Other, |last| last.relation(committed)) {
        Relation::Appended(from) if documents.any(|(document, raw)| raw.start >= from && document.by_hand) => {
            Relation::Other
        }
        relation => relation,
    }
}

/// The writes in the log of a file: the documents after the first one.
fn written_in_log(documents: &[Document]) -> Vec<(Revision, Key)> {
    let lines = documents.iter().skip(1).flat_map(|document| &document.lines);
    lines.map(|line| (line.revision_reached(), line.key.clone())).collect()
}

/// The state to serve while the file cannot be read: that of this process, else that of the copy, else what comes
/// before the first error.
fn last_good_state(
    source: &LoadInput<'_>,
    documents: Vec<Document>,
    errors: Vec<ParseError>,
    old: &BucketState,
) -> BucketState {
    let stat = source.stat;
    let good = Some(old).filter(|old| old.is_good()).or(source.last.map(|last| &last.state));
    if let Some(good) = good {
        let revision = good.revision.max(old.revision);
        let (entries, by_hand) = (good.entries.clone(), good.by_hand.clone());
        let recent = if old.is_good() { old.recent.clone() } else { RecentChanges::after(revision) };
        return BucketState { entries, by_hand, revision, recent, stat, damage: Some(Damage { errors, blind: false }) };
    }
    let blind = documents.is_empty();
    let (mut state, mut unstamped) = (BucketState::default(), Unstamped::default());
    for document in documents {
        state.apply(document, &mut unstamped);
    }
    state.stamp(unstamped, FileOrigin::Ours, stat.map_or(0, |stat| stat.modified));
    state.recent = RecentChanges::after(state.revision);
    BucketState { stat, damage: Some(Damage { errors, blind }), ..state }
}

/// The state before a person changed the file: that of this process, or that of the copy if it is later.
fn before<'a>(source: &LoadInput<'a>, old: &'a BucketState) -> Option<&'a BucketState> {
    let old = Some(old).filter(|old| old.is_good());
    let last = source.last.map(|last| &last.state);
    match (old, last) {
        (Some(old), Some(last)) if old.revision > last.revision => Some(old),
        (old, last) => last.or(old),
    }
}

/// Whether `before` is an earlier state of a file that kvs wrote, because a power cut has undone the last copy. If a
/// person has restored an old file, it is a later one.
fn is_behind(before: &BucketState, state: &BucketState) -> bool {
    let is_other = |was: EntryView<'_>| {
        let entry = state.entries.view(was.key);
        entry.is_some_and(|entry| entry.revision == was.revision && !has_same_value(&entry, &was))
    };
    // The file does not have the revisions of what a person wrote, unless kvs has written it since.
    let has_revision =
        |key: &Key| state.revision_of(key).is_none_or(|revision| Some(revision) >= before.revision_of(key));
    let has_revisions = before.by_hand.iter().all(has_revision);
    has_revisions && before.revision < state.revision && !before.entries.iter().any(is_other)
}

/// Takes the state of the copy, and what was appended since. Returns whether the file gives other revisions or times to
/// live.
fn apply_to_copy<'a>(
    state: &mut BucketState,
    last: &LastCopy,
    relation: Relation,
    documents: impl Iterator<Item = (Document, &'a RawDocument<'a>)>,
) -> bool {
    let mut contents = BucketState::default();
    let mut unstamped = Unstamped::default();
    let (entries, by_hand) = (last.state.entries.clone(), last.state.by_hand.clone());
    (state.entries, state.by_hand, state.revision) = (entries, by_hand, last.state.revision.max(state.revision));
    for (document, raw) in documents {
        if matches!(relation, Relation::Appended(from) if raw.start >= from) {
            state.apply(document.clone(), &mut Unstamped::default());
        }
        contents.apply(document, &mut unstamped);
    }
    let differs = contents.entries.iter().any(|view| {
        let is = state.entries.view(view.key);
        view.revision != Revision::ZERO && is.is_none_or(|is| is.revision != view.revision)
    });
    differs || !unstamped.ttls.is_empty()
}

/// The missing part of the end mark of the last document.
fn mark(bytes: &[u8], last: Option<&RawDocument<'_>>) -> &'static [u8] {
    let Some(last) = last else { return at_rest::mark(b"") };
    let mark = bytes.get(last.start + last.text.len()..last.end).unwrap_or_default();
    match mark.strip_prefix(b"...") {
        Some(mark) if mark.ends_with(b"\n") => b"",
        Some(_) => b"\n",
        None => at_rest::mark(last.text),
    }
}
