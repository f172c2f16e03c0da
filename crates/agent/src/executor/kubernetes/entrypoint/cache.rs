//! Images that were looked up a moment ago.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::image::Image;
use super::reference::Reference;

/// How long a tag is trusted to mean what it meant.
const TAG_LIFETIME: Duration = Duration::from_secs(60);
/// The most images that are kept; each is some hundred bytes.
const LIMIT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<BTreeMap<Reference, (Arc<Image>, Instant)>>);

impl Cache {
    pub(super) fn get(&self, reference: &Reference, now: Instant) -> Option<Arc<Image>> {
        let images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (image, at) = images.get(reference)?;
        let fresh = reference.is_fixed() || now.duration_since(*at) < TAG_LIFETIME;
        fresh.then(|| Arc::clone(image))
    }

    pub(super) fn put(&self, reference: Reference, image: Arc<Image>, now: Instant) {
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if images.len() >= LIMIT && !images.contains_key(&reference) {
            let oldest = images
                .iter()
                .min_by_key(|(_, (_, at))| *at)
                .map(|(reference, _)| reference.clone());
            oldest.and_then(|reference| images.remove(&reference));
        }
        images.insert(reference, (image, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_grow_old_and_digests_do_not() {
        let (cache, now) = (Cache::default(), Instant::now());
        let tag = Reference::parse("a:1").unwrap();
        let fixed = Reference::parse(&format!("a@sha256:{}", "0".repeat(64))).unwrap();
        for reference in [&tag, &fixed] {
            assert!(cache.get(reference, now).is_none());
            cache.put(reference.clone(), Arc::default(), now);
            assert!(cache.get(reference, now).is_some());
        }
        assert!(cache.get(&tag, now + TAG_LIFETIME).is_none());
        assert!(cache.get(&fixed, now + 1000 * TAG_LIFETIME).is_some());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let (cache, now) = (Cache::default(), Instant::now());
        let name = |number| Reference::parse(&format!("a:{number}")).unwrap();
        for number in 0..=LIMIT {
            cache.put(name(number), Arc::default(), now + Duration::from_micros(number as u64));
        }
        assert!(cache.get(&name(0), now).is_none() && cache.get(&name(1), now).is_some());
        assert_eq!(cache.0.lock().unwrap().len(), LIMIT);
    }
}
