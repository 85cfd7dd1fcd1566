//! A whole file, read: the image that its bytes tell, and what has to be known to go on from there.

use super::disk::Stat;
use super::document::read_header;
use super::edited::{Origin, Overwritten};
use super::hand::Fault;
use super::image::{Damage, Image, Unstamped};
use super::last::{Fingerprint, Last, Relation};
use super::mistakes::mistakes;
use super::reader::{self, Document};
use super::rest;
use super::stream::{self, Cut, Piece};
use crate::model::{Revision, Time};

/// What is known of the data file, as of [`stat`](Self::stat).
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about one file")]
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) stat: Option<Stat>,
    /// The epoch of the record that matched; none if none did.
    pub(super) epoch: Option<u64>,
    /// The offset behind the last document: where the next one goes.
    pub(super) committed: u64,
    /// The length of the first document.
    pub(super) snapshot: u64,
    /// What is put before the next document: the mark of the last one, if it has none.
    pub(super) mark: &'static [u8],
    /// Where a torn tail begins.
    pub(super) torn: Option<u64>,
    /// The file is missing or empty, but the bucket had data in it.
    pub(super) vanished: bool,
    /// Whether it is as it is to be at rest: one document, which says what the image does.
    pub(super) is_tidy: bool,
    /// Whether it has nothing but lines of kvs.
    pub(super) is_plain: bool,
    /// The file must be written anew before it is appended to: the image has revisions that neither the file nor the copy
    /// has.
    pub(super) rewrite: bool,
    /// A sync failed: appending to it will not do before it has been written anew.
    pub(super) suspect: bool,
    /// Whether the copy says what the file does.
    pub(super) is_copied: bool,
    /// The file as it was read, if a person changed it and that has not been recorded yet.
    pub(super) edited: Option<Fingerprint>,
}

/// A file to be read.
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    /// So many of its first bytes were durable once, so an append that an interrupted write left is not among them.
    pub(super) durable: u64,
    /// The copy of what kvs left last, if there is one of this file.
    pub(super) last: Option<&'a Last>,
    pub(super) left: Left,
    /// Whether there is a copy for files of this length.
    pub(super) is_small: bool,
}

/// What the record says of how a file was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// As it is.
    So,
    /// As it is but for appends, by the look of it.
    Likely,
    /// Otherwise.
    Otherwise,
    /// Nothing.
    Unsaid,
}

/// The state that the bytes of a whole file tell, or the last good one and what is wrong; and what a save has overwritten.
pub(super) fn read_all(source: &Source<'_>, known: &mut Known, old: &Image) -> (Image, Overwritten) {
    let stat = known.stat;
    let cut = stream::cut(source.bytes, true);
    let (documents, mut faults) = documents(&cut);
    if faults.is_empty() {
        faults.extend(stream::lost(source.bytes, &cut, source.durable));
    }
    if !faults.is_empty() {
        return (damaged(source, documents, faults, old, stat), Overwritten::default());
    }
    let end = cut.torn.unwrap_or(source.bytes.len());
    let committed = source.bytes.get(..end).unwrap_or_default();
    known.torn = cut.torn.map(|at| at as u64);
    known.committed = end as u64;
    known.snapshot = cut.pieces.first().map_or(0, |piece| piece.end as u64);
    known.mark = mark(committed, cut.pieces.last());
    known.is_plain = documents.iter().all(|document| !document.by_hand && !document.has_notes);
    let is_one = documents.iter().skip(1).all(|document| document.lines.is_empty() && !document.has_notes);

    let told = told_revision(&cut);
    let relation = source.last.map_or(Relation::Other, |last| last.relation(committed));
    let mut image = Image { stat, revision: told, ..Image::default() };
    let mut overwritten = Overwritten::default();
    let restamped;
    let modified = stat.map_or(0, |stat| stat.modified);
    if let (Some(last), Relation::Same | Relation::Behind(_)) = (source.last, relation) {
        known.is_copied = relation == Relation::Same;
        restamped = take_as_left(&mut image, last, relation, (documents, &cut));
    } else {
        let mut unstamped = Unstamped::default();
        for document in documents {
            image.take(document.lines, &mut unstamped);
        }
        let before = before(source, old);
        let origin = match before {
            _ if source.left == Left::So => Origin::Ours,
            Some(before) => Origin::Edited(before),
            None if source.left == Left::Otherwise => Origin::Unknown,
            None => Origin::Ours,
        };
        if let Origin::Edited(before) = origin {
            overwritten = image.overwritten(before, told, Time::from_nanos(modified));
        }
        let was_edited = !matches!(origin, Origin::Ours);
        restamped = image.stamp(unstamped, origin, modified);
        if was_edited || source.is_small && restamped {
            known.edited = Some(Fingerprint::of(committed));
        }
        known.rewrite = restamped;
    }
    known.rewrite |= end == 0;
    known.is_tidy = is_one && !restamped;
    // A person may have removed what was written last, or put a file back; that moved the bucket on as well.
    image.revision = image.revision.max(old.revision);
    if image.revision == old.revision && image.entries != old.entries {
        image.revision = old.revision.following();
    }
    (image, overwritten)
}

/// The documents up to the first one that cannot be read, and what is wrong with all of them.
fn documents(cut: &Cut<'_>) -> (Vec<Document>, Vec<Fault>) {
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for piece in &cut.pieces {
        match reader::read(piece) {
            Ok(document) if faults.is_empty() => documents.push(document),
            Ok(_) => {}
            Err(fault) => faults.extend(mistakes(piece, fault)),
        }
    }
    faults.truncate(MOST_FAULTS);
    (documents, faults)
}

/// So many mistakes are named at once.
pub(super) const MOST_FAULTS: usize = 20;

/// What is served while a file cannot be read: what this process knows, else the copy, else what comes before the damage.
fn damaged(
    source: &Source<'_>,
    documents: Vec<Document>,
    faults: Vec<Fault>,
    old: &Image,
    stat: Option<Stat>,
) -> Image {
    let good = Some(old).filter(|old| old.is_good()).or(source.last.map(|last| &last.image));
    if let Some(good) = good {
        let revision = good.revision.max(old.revision);
        let (entries, by_hand) = (good.entries.clone(), good.by_hand.clone());
        return Image { entries, by_hand, revision, stat, damage: Some(Damage { faults, blind: false }) };
    }
    let blind = documents.is_empty();
    let (mut image, mut unstamped) = (Image::default(), Unstamped::default());
    for document in documents {
        image.take(document.lines, &mut unstamped);
    }
    image.stamp(unstamped, Origin::Ours, stat.map_or(0, |stat| stat.modified));
    Image { stat, damage: Some(Damage { faults, blind }), ..image }
}

/// The state before a person changed the file: what this process knows, or the copy if that is later.
fn before<'a>(source: &Source<'a>, old: &'a Image) -> Option<&'a Image> {
    let old = Some(old).filter(|old| old.is_good());
    let last = source.last.map(|last| &last.image);
    match (old, last) {
        (Some(old), Some(last)) if old.revision > last.revision => Some(old),
        (old, last) => last.or(old),
    }
}

/// Takes what the copy says, and what was appended since. Returns whether the file says it otherwise.
fn take_as_left(
    image: &mut Image,
    last: &Last,
    relation: Relation,
    (documents, cut): (Vec<Document>, &Cut<'_>),
) -> bool {
    let mut said = Image::default();
    let mut unstamped = Unstamped::default();
    let (entries, by_hand) = (last.image.entries.clone(), last.image.by_hand.clone());
    (image.entries, image.by_hand, image.revision) = (entries, by_hand, last.image.revision.max(image.revision));
    for (document, piece) in documents.into_iter().zip(&cut.pieces) {
        if matches!(relation, Relation::Behind(from) if piece.start >= from) {
            image.take(document.lines.clone(), &mut Unstamped::default());
        }
        said.take(document.lines, &mut unstamped);
    }
    let differs = said.entries.iter().any(|(key, entry)| {
        let is = image.entries.get(key);
        entry.revision != Revision::ZERO && is.is_none_or(|is| is.revision != entry.revision)
    });
    differs || !unstamped.ttls.is_empty()
}

/// What is missing of the mark of the last document.
fn mark(bytes: &[u8], last: Option<&Piece<'_>>) -> &'static [u8] {
    let Some(last) = last else { return rest::mark(b"") };
    let mark = bytes.get(last.start + last.text.len()..last.end).unwrap_or_default();
    match mark.strip_prefix(b"...") {
        Some(mark) if mark.ends_with(b"\n") => b"",
        Some(_) => b"\n",
        None => rest::mark(last.text),
    }
}

/// The revision that the header of a file tells: that of the last write before it was written anew.
fn told_revision(cut: &Cut<'_>) -> Revision {
    let text = cut.pieces.first().map(|piece| piece.text).unwrap_or_default();
    let text = text.strip_prefix(stream::BYTE_ORDER_MARK).unwrap_or(text);
    let head = text.get(..text.len().min(1024)).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    read_header(&head).map(|(_, revision)| revision).unwrap_or_default()
}

/// What is wrong with these bytes, if anything is.
pub(super) fn faults(bytes: &[u8], durable: u64) -> Vec<Fault> {
    let cut = stream::cut(bytes, true);
    let (_, mut faults) = documents(&cut);
    faults.extend(stream::lost(bytes, &cut, durable));
    faults.truncate(MOST_FAULTS);
    faults
}
