//! Takes the values of secrets out of what is said: out of logs before they are written anywhere, and out of messages.
//!
//! A value is looked for in the ways in which programs print it (`variants`): as it is, each of its lines, in base64, in hexadecimal,
//! escaped for JSON or for URLs. No such pattern goes beyond a line. In a stream, what may be the beginning of one is held back until it
//! is known whether it is; that is never more than the longest pattern, and everything else flows at once.

mod variants;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::secrets::Values;

/// What stands for a value.
const MASK: &[u8] = b"***";

/// How much of a pattern is searched for; the rest is compared where that is found. So long patterns cost no more memory than
/// their own bytes.
const ANCHOR_BYTES: usize = 16;

/// Finds values.
#[derive(Debug)]
struct Finder {
    anchors: AhoCorasick,
    /// The patterns that begin with each anchor, by the anchor's number.
    patterns: Vec<Vec<Vec<u8>>>,
}

/// Masks the values of one attempt's secrets. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Masker(Option<Arc<Finder>>);

impl std::fmt::Debug for Masker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Masker").finish_non_exhaustive()
    }
}

impl Masker {
    /// For these values; those that are too short to be told from other text are let through.
    pub(crate) fn new(values: &Values) -> Self {
        let mut by_anchor: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for pattern in values.texts().flat_map(variants::of) {
            let anchor = pattern[..pattern.len().min(ANCHOR_BYTES)].to_vec();
            by_anchor.entry(anchor).or_default().push(pattern);
        }
        if by_anchor.is_empty() {
            return Self(None);
        }
        let (anchors, patterns): (Vec<_>, Vec<_>) = by_anchor.into_iter().unzip();
        let anchors = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&anchors)
            .expect("anchors are short, and fewer than there are numbers");
        Self(Some(Arc::new(Finder { anchors, patterns })))
    }

    /// Begins a stream.
    pub(crate) fn stream(&self) -> Stream {
        Stream {
            finder: self.0.clone(),
            held: Vec::new(),
            known: 0,
            output: Vec::new(),
        }
    }

    /// A text for people without the values.
    pub(crate) fn text<'text>(&self, text: &'text str) -> Cow<'text, str> {
        let Some(finder) = &self.0 else {
            return Cow::Borrowed(text);
        };
        let found = finder.find(text.as_bytes(), 0);
        if found.covered.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut output = Vec::with_capacity(text.len());
        put(&mut output, text.as_bytes(), (0, text.len()), &found.covered);
        Cow::Owned(String::from_utf8_lossy(&output).into_owned())
    }

    /// Whether there is a value in a text.
    pub(crate) fn finds(&self, text: &str) -> bool {
        let found = self.0.as_ref().map(|finder| finder.find(text.as_bytes(), 0));
        found.is_some_and(|found| !found.covered.is_empty())
    }
}

/// What is known of a piece of text.
struct Found {
    /// Where values are: in their order; none overlaps another.
    covered: Vec<Range<usize>>,
    /// From here on it may be the beginning of one.
    open: usize,
}

impl Finder {
    /// Looks for values. Of one that began before, `known` bytes are in the text.
    fn find(&self, text: &[u8], known: usize) -> Found {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut open = self.open_anchor(text);
        for anchor in self.anchors.find_overlapping_iter(text) {
            let rest = &text[anchor.start()..];
            for pattern in &self.patterns[anchor.pattern().as_usize()] {
                if rest.starts_with(pattern) {
                    ranges.push(anchor.start()..anchor.start() + pattern.len());
                } else if pattern.starts_with(rest) {
                    open = open.min(anchor.start());
                }
            }
        }
        ranges.extend((known > 0).then_some(0..known));
        ranges.sort_unstable_by_key(|range| range.start);
        let mut covered: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match covered.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => covered.push(range),
            }
        }
        Found { covered, open }
    }

    /// Where the end of the text may be the beginning of an anchor.
    fn open_anchor(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(ANCHOR_BYTES - 1);
        // No pattern goes beyond a line.
        let first = memchr::memrchr(b'\n', &text[first..]).map_or(first, |end| first + end + 1);
        let begins = |start: &usize| {
            let mut patterns = self.patterns.iter().filter_map(|patterns| patterns.first());
            patterns.any(|pattern| pattern.starts_with(&text[*start..]))
        };
        (first..text.len()).find(begins).unwrap_or(text.len())
    }
}

/// Appends the text up to `end`, with a mask for each range that begins there; the mask of the first `known` bytes is there already.
/// Returns how many bytes after `end` the last mask stands for as well.
fn put(output: &mut Vec<u8>, text: &[u8], (known, end): (usize, usize), covered: &[Range<usize>]) -> usize {
    let mut at = 0;
    for range in covered.iter().take_while(|range| range.start < end) {
        output.extend_from_slice(&text[at..range.start]);
        if known == 0 || range.start > 0 {
            output.extend_from_slice(MASK);
        }
        at = range.end;
    }
    output.extend_from_slice(text.get(at..end).unwrap_or_default());
    at.saturating_sub(end)
}

/// Masks a stream piece by piece, with the same result however it is cut. The default lets everything through.
#[derive(Default)]
pub(crate) struct Stream {
    finder: Option<Arc<Finder>>,
    /// What may be the beginning of a value.
    held: Vec<u8>,
    /// So many bytes of `held` belong to a value whose mask is out.
    known: usize,
    output: Vec<u8>,
}

impl Stream {
    /// What can be shown after this piece.
    pub(crate) fn write<'bytes>(&'bytes mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let Some(finder) = &self.finder else {
            return bytes;
        };
        self.output.clear();
        self.held.extend_from_slice(bytes);
        let Found { covered, open } = finder.find(&self.held, self.known);
        if open > 0 {
            self.known = put(&mut self.output, &self.held, (self.known, open), &covered);
            self.held.drain(..open);
        }
        &self.output
    }

    /// What was held, at the stream's end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let (held, known) = (std::mem::take(&mut self.held), std::mem::take(&mut self.known));
        let mut output = Vec::new();
        if let Some(finder) = &self.finder {
            let covered = finder.find(&held, known).covered;
            put(&mut output, &held, (known, held.len()), &covered);
        }
        output
    }
}

#[cfg(test)]
mod tests;
