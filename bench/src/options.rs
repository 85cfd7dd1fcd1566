//! The arguments of the program: how much to measure, and which parts.

use std::time::Duration;

use crate::parts::PARTS;

/// The time of one side in a round of durable writes in this process.
pub(crate) const WRITE_TURN: Duration = Duration::from_millis(140);

/// What to measure.
pub(crate) struct Options {
    /// Fewer and shorter turns.
    pub(crate) quick: bool,
    words: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (flags, words): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.starts_with('-'));
        if let Some(unknown) = flags.iter().find(|flag| *flag != "--quick") {
            return Err(format!("unknown flag {unknown}; there is --quick"));
        }
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        let part = |word: &String| word.split(':').next().unwrap_or_default().to_owned();
        match words.iter().find(|word| !names.contains(&part(word).as_str())) {
            Some(unknown) => Err(format!("there is no part {unknown}; the parts are {}", names.join(" "))),
            None => Ok(Self { quick: !flags.is_empty(), words }),
        }
    }

    /// Whether every part runs as a whole.
    pub(crate) fn includes_all(&self) -> bool {
        self.words.is_empty() || PARTS.iter().all(|(part, _)| self.words.iter().any(|word| word == part))
    }

    /// Whether something of this part runs.
    pub(crate) fn includes_part(&self, part: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| word.split(':').next() == Some(part))
    }

    /// Whether this group of a part runs.
    pub(crate) fn includes(&self, part: &str, group: &str) -> bool {
        let is_named = |word: &String| word == part || *word == format!("{part}:{group}");
        self.words.is_empty() || self.words.iter().any(is_named)
    }

    /// The number of rounds of most rows.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// The number of rounds of durable writes. The speed of a disk may change from one second to the next, so they have
    /// more rounds, each with shorter turns.
    pub(crate) fn write_rounds(&self) -> usize {
        if self.quick { 3 } else { 35 }
    }

    /// The number of rounds of rows whose rounds take long.
    pub(crate) fn long_rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// The time of one side in a round over HTTP. `wrk` knows only whole seconds.
    pub(crate) fn turn(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 2 })
    }

    /// The time of one side in a round in this process.
    pub(crate) fn short_turn(&self) -> Duration {
        Duration::from_millis(if self.quick { 150 } else { 700 })
    }
}
