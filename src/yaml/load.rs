//! A whole file, read: the image that its bytes tell, and what has to be known to go on from there.

use super::disk::Stat;
use super::image::{Damage, Image, Unstamped};
use super::stream;
use crate::model::{Revision, Time};

/// What is known of the data file, as of [`stat`](Self::stat).
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) stat: Option<Stat>,
    /// The epoch of the record that matched; none if none did.
    pub(super) epoch: Option<u64>,
    /// The offset behind the last commit mark: where the next document goes.
    pub(super) committed: u64,
    /// The length of the snapshot, the first document.
    pub(super) snapshot: u64,
    /// Where a torn tail begins.
    pub(super) torn: Option<u64>,
    /// The file is missing or empty, but the bucket had data in it.
    pub(super) vanished: bool,
    /// The file must be written anew before it is appended to: a person edited it, or a sync failed.
    pub(super) rewrite: bool,
    /// A sync failed: appending to it will not do.
    pub(super) suspect: bool,
}

/// The state that the bytes of a whole file tell, or the last good one and what is wrong.
///
/// `durable`: so many of its first bytes were durable once, so an append that an interrupted write left is not among them.
pub(super) fn read_all(bytes: &[u8], durable: u64, known: &mut Known, old: &Image) -> Image {
    let stat = known.stat;
    let cut = stream::cut(bytes, true);
    let mut image = Image { stat, ..Image::default() };
    let mut unstamped = Unstamped::default();
    let mut fault = None;
    let mut read = 0;
    for piece in &cut.pieces {
        match stream::read(piece) {
            Ok(document) => {
                if read == 0 {
                    known.snapshot = piece.end as u64;
                    image.revision = told_revision(piece.text).max(image.revision);
                }
                known.rewrite |= document.by_hand || !piece.ended;
                image.take(document.lines, &mut unstamped);
                read += 1;
            }
            Err(found) => {
                fault = Some(found);
                break;
            }
        }
    }
    if let Some(fault) = fault.or_else(|| stream::lost(bytes, &cut, durable)) {
        let seen = old.is_good();
        let damage = Some(Damage { fault, blind: read == 0 && !seen });
        if seen {
            return Image { entries: old.entries.clone(), revision: old.revision, stat, damage };
        }
        image.stamp(unstamped, old, stat.map_or(0, |s| s.modified));
        return Image { damage, ..image };
    }
    let end = cut.torn.unwrap_or(bytes.len());
    known.torn = cut.torn.map(|at| at as u64);
    known.committed = end as u64;
    known.rewrite |= end == 0 || bytes.get(end - 1) != Some(&b'\n');
    known.rewrite |= image.stamp(unstamped, old, stat.map_or(0, |s| s.modified));
    // A person may have removed what was written last, or put a file back; that moved the bucket on as well.
    image.revision = image.revision.max(old.revision);
    if image.revision == old.revision && image.entries != old.entries {
        image.revision = Revision::new(old.revision.number().saturating_add(1));
    }
    image
}

/// The revision that the head of a file tells: that of the last write before it was written anew.
fn told_revision(text: &[u8]) -> Revision {
    let told = text.split(|b| *b == b'\n').take_while(|line| line.starts_with(b"#")).find_map(|line| {
        let time = std::str::from_utf8(line.strip_prefix(b"# revision: ")?).ok()?;
        time.trim().parse::<Time>().ok().filter(|time| *time <= Time::LATEST_COMMIT)
    });
    told.map(Into::into).unwrap_or_default()
}
