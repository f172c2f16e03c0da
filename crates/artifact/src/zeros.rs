//! Content that is all zeros: what sparse files are made of.

/// What is compared at once.
const BLOCK: [u8; 4_096] = [0; 4_096];

/// Whether there is nothing but zeros.
pub(crate) fn are_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK.len()).all(|block| *block == BLOCK[..block.len()])
}

#[cfg(test)]
mod tests {
    use super::are_zeros;

    #[test]
    fn one_byte_is_enough() {
        let mut bytes = vec![0; 10_000];
        assert!(are_zeros(&bytes) && are_zeros(&[]));
        for place in [0, 4_095, 4_096, 9_999] {
            bytes[place] = 1;
            assert!(!are_zeros(&bytes), "{place}");
            bytes[place] = 0;
        }
    }
}
