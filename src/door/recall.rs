//! The last answers, for requests that come again: who polls sends the same request again and again.
//!
//! Nothing is known here of what an answer says. What always holds: one is given again only if the service says that it
//! would be the same now, and to a request that is the same in all but who asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::variables::Variables;
use crate::service::Repeat;

/// So many answers are kept.
const MOST: usize = 32;

/// Answers with longer bodies are not kept, nor answers to requests whose variables are longer.
pub(super) const LONGEST: usize = 16 << 10;

/// After so long a request goes to the service again: on the way there settings are looked at that may have changed.
const AGE: Duration = Duration::from_secs(1);

/// Variables that tell who asks, on which no answer depends that can be given again.
const WHO: [&[u8]; 4] = [b"REMOTE_PORT", b"REMOTE_ADDR", b"UNIQUE_ID", b"HTTP_USER_AGENT"];

/// The last answers, of all connections of a door.
#[derive(Default)]
pub(super) struct Recall(Mutex<VecDeque<Arc<Recalled>>>);

/// An answer that was given.
pub(super) struct Recalled {
    /// What was asked.
    variables: Variables,
    /// Head and body.
    pub(super) text: Vec<u8>,
    repeat: Repeat,
    since: Instant,
}

impl Recall {
    /// The answer to a bodiless request, if it was given lately and can be given again.
    pub(super) async fn answer(&self, variables: &Variables) -> Option<Arc<Recalled>> {
        let found = self.find(variables)?;
        found.repeat.is_due().await.then_some(found)
    }

    /// Keeps an answer of head and body to a bodiless request.
    pub(super) fn keep(&self, variables: Variables, text: Vec<u8>, repeat: Repeat) -> Arc<Recalled> {
        let given = Arc::new(Recalled { variables, text, repeat, since: Instant::now() });
        if given.text.len().max(given.variables.size()) <= LONGEST {
            let mut all = self.0.lock();
            all.retain(|known| !known.is_for(&given.variables));
            all.truncate(MOST - 1);
            all.push_front(Arc::clone(&given));
        }
        given
    }

    fn find(&self, variables: &Variables) -> Option<Arc<Recalled>> {
        let all = self.0.lock();
        let known = all.iter().find(|known| known.is_for(variables))?;
        (known.since.elapsed() < AGE).then(|| Arc::clone(known))
    }
}

impl Recalled {
    /// Whether these variables ask for the same.
    fn is_for(&self, variables: &Variables) -> bool {
        self.variables.agree(variables, &WHO)
    }
}
