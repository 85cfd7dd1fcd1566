//! The operations of a run on blobs, those of followers, and maintenance.

use bytes::Bytes;
use kvs::model::{
    Batch, BlobId, BlobRef, ChangesQuery, ContentType, Entry, ErrorKind, Key, Outcome, Result as Answer, Write,
};
use kvs::store::{Finding, Severity, Store as _, StoredBlob, Task};
use sha2::{Digest as _, Sha256};

use super::game::{Follower, HeldBlob, RUNTIME, bucket, key};
use super::operations::Deed;
use super::steps::{BUCKETS, BlobPlan};
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::run;

impl BlobPlan {
    fn bytes(self) -> Bytes {
        let mut seed = Seed::new(self.content);
        (0..self.bytes).map(|_| u8::try_from(seed.below(256)).unwrap()).collect::<Vec<_>>().into()
    }
}

fn id_of(bytes: &[u8]) -> BlobId {
    BlobId::new(Sha256::digest(bytes).into())
}

impl Deed<'_> {
    fn store_blob(&self, number: usize, blob: BlobPlan) -> Answer<StoredBlob> {
        let (name, bytes) = (bucket(number), blob.bytes());
        let _runtime = RUNTIME.enter();
        run(async {
            let mut new = self.store.blobs().unwrap().create_blob(&name).await?;
            let (first, second) = bytes.split_at(bytes.len() / 3);
            new.write(Bytes::copy_from_slice(first)).await?;
            new.write(Bytes::copy_from_slice(second)).await?;
            new.finish().await
        })
    }

    fn stored_blob(&self, number: usize, blob: BlobPlan) -> Option<StoredBlob> {
        let stored = self.store_blob(number, blob);
        match stored {
            _ if self.has_ended() => None,
            Err(error) => {
                self.check_error("storing a blob", &error);
                None
            }
            Ok(stored) => {
                if stored.id != id_of(&blob.bytes()) {
                    self.game.fail(format!("the blob of {blob:?} is stored as {:?}", stored.id));
                }
                Some(stored)
            }
        }
    }

    pub(super) fn put_blob(&self, number: usize, name: usize, blob: BlobPlan) {
        if let Some(stored) = self.stored_blob(number, blob) {
            self.commit_blob(number, name, stored);
        }
    }

    pub(super) fn hold_blob(&self, slot: usize, place: (usize, usize), blob: BlobPlan) {
        if let Some(stored) = self.stored_blob(place.0, blob) {
            let held = HeldBlob { process: self.process, bucket: place.0, key: place.1, stored };
            let old = self.game.held.lock()[slot].replace(held);
            drop(old);
        }
    }

    pub(super) fn commit_held_blob(&self, slot: usize) {
        let held = self.game.held.lock()[slot].take();
        if let Some(held) = held {
            if held.process == self.process {
                self.commit_blob(held.bucket, held.key, held.stored);
            } else {
                self.game.held.lock()[slot] = Some(held);
            }
        }
    }

    fn commit_blob(&self, number: usize, name: usize, stored: StoredBlob) {
        let (value, content_type) = stored.reference(ContentType::new("image/png").unwrap());
        let write = Write::Put { key: key(name), value, content_type, expires: None, modified: None };
        let outcome = self.apply(number, Batch::new(vec![write]));
        let is_committed = matches!(outcome, Some(Ok(Outcome::Committed { .. })));
        if outcome.is_some_and(|outcome| outcome.is_err()) {
            // Perhaps the entry is stored.
            return;
        }
        let _runtime = RUNTIME.enter();
        let _ = run(stored.release(self.store.blobs().unwrap(), &bucket(number), is_committed));
    }

    pub(super) fn remove_blobs(&self, number: usize) {
        let ids = std::mem::take(&mut self.game.buckets.lock()[number].replaced);
        if let Err(error) = run(self.store.blobs().unwrap().remove_unused_blobs(&bucket(number), &ids)) {
            self.check_error("removing blobs", &error);
        }
    }

    /// Reads the blobs of these entries.
    pub(super) fn check_blobs(&self, number: usize, entries: &[(Key, Entry)]) {
        let blobs = self.store.blobs().unwrap();
        for (key, entry) in entries {
            let Some(BlobRef { id, bytes, .. }) = BlobRef::of(entry) else { continue };
            let opened = run(blobs.open_blob(&bucket(number), id));
            let _runtime = RUNTIME.enter();
            let read = opened.and_then(|reader| {
                reader.map(|reader| run(reader.read(0, usize::try_from(bytes).unwrap() + 1))).transpose()
            });
            let wrong = match read {
                _ if !self.is_undisturbed() => return,
                Ok(Some(found)) if id_of(&found) == id => continue,
                Ok(Some(found)) => format!("has other bytes, {} of {bytes}", found.len()),
                Ok(None) => "is missing".into(),
                Err(error) => format!("cannot be read: {error}"),
            };
            self.game.fail(format!("process {}: the blob of {key:?} {wrong}", self.process));
        }
    }

    /// A follower catches up. If nobody disturbs, it then has what the process returns.
    pub(super) fn follow(&self, number: usize, limit: usize) {
        let mut follower = self.game.followers.lock()[number].clone();
        let bucket_number = number % BUCKETS;
        let known = self.catch_up(bucket_number, &mut follower, limit);
        if self.has_ended() {
            return;
        }
        let Some((revision, entries)) = self.scan(bucket_number, 100) else { return };
        let listed = Follower { since: revision, entries: entries.into_iter().collect() };
        if known && self.is_undisturbed() {
            let now = self.game.now();
            let live = |follower: &Follower| {
                let live = follower.entries.iter().filter(|(_, entry)| entry.is_live(now));
                live.map(|(key, entry)| (key.clone(), entry.value.clone(), entry.revision, entry.expires))
                    .collect::<Vec<_>>()
            };
            if live(&follower) != live(&listed) || follower.since != listed.since {
                let (has, should) = (live(&follower), live(&listed));
                self.game.fail(format!(
                    "follower {number} at {:?} has {has:?}, and should have {should:?} at {:?}",
                    follower.since, listed.since
                ));
            }
        }
        self.game.followers.lock()[number] = if known && self.is_undisturbed() { follower } else { listed };
    }

    /// Applies the changes since the last time. Returns whether they are known.
    fn catch_up(&self, number: usize, follower: &mut Follower, limit: usize) -> bool {
        loop {
            let query = ChangesQuery { limit, ..ChangesQuery::since(follower.since) };
            let page = match run(self.store.changes().unwrap().changes_since(&bucket(number), query)) {
                Ok(Some(page)) => page,
                Ok(None) => return false,
                Err(error) => {
                    self.check_error("following", &error);
                    return false;
                }
            };
            if page.next < follower.since || page.has_more && page.next == follower.since {
                self.game.fail(format!("a page of changes since {:?} ends at {:?}", follower.since, page.next));
                return false;
            }
            for change in page.changes {
                match change.entry {
                    Some(entry) => follower.entries.insert(change.key, entry),
                    None => follower.entries.remove(&change.key),
                };
            }
            follower.since = page.next;
            if !page.has_more {
                return true;
            }
        }
    }

    pub(super) fn maintain(&self, number: usize, task: Task) {
        let _runtime = RUNTIME.enter();
        let renames = self.game.disk().renames();
        match run(self.store.maintain(&bucket(number), task)) {
            // The status tells of a full disk until the next write has succeeded.
            Err(error)
                if task == Task::Status && error.kind() == ErrorKind::StorageFull && self.game.had_room_limit() => {}
            Err(error) => self.check_error(&format!("{task:?}"), &error),
            Ok(report) => {
                // An expired entry may name a blob that has been removed. Those of the others are read with the entries.
                let is_blob = |finding: &Finding| {
                    finding.file.as_ref().is_some_and(|file| file.components().any(|part| part.as_os_str() == "blobs"))
                };
                let mut damages = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
                let damage = damages.find(|finding| !is_blob(finding));
                // The status also has the last write that failed.
                let is_new = self.is_undisturbed() && (task != Task::Status || self.game.disk().hits() == 0);
                if let (Some(finding), true) = (damage, is_new) {
                    self.game.fail(format!("{task:?} finds {finding:?}"));
                }
                if report.removed > 0 {
                    self.game.buckets.lock()[number].may_grow();
                }
                // On a full disk there may be no copy of the new file.
                let is_limited = self.game.disk().is_limited();
                if task == Task::Compact && self.is_undisturbed() && !is_limited && self.game.disk().renames() > renames
                {
                    self.game.buckets.lock()[number].is_rewritten();
                }
            }
        }
    }
}
