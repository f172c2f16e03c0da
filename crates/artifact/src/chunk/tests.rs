use super::*;

fn text() -> Bytes {
    Bytes::from("all work and no play ".repeat(10_000))
}

fn noise(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[test]
fn stores_and_decodes() {
    for (bytes, compressed) in [
        (text(), true),
        (noise(100_000), false),
        (Bytes::from_static(b"x"), false),
        (vec![0; 16 << 20].into(), true),
    ] {
        let chunk = Chunk::new(bytes.clone());
        let stored = StoredChunk::encode(&chunk);
        assert_eq!(stored.coding[0] == ZSTD, compressed);
        assert!(stored.stored_length() <= bytes.len() + 1);
        let (again, content) = StoredChunk::verify(stored.to_bytes(), chunk.reference()).unwrap();
        assert_eq!(content.bytes(), &bytes);
        assert_eq!(again.to_bytes(), stored.to_bytes());
        assert_eq!(again.reference(), chunk.reference());
        let (_, content) = StoredChunk::verify_digest(stored.to_bytes(), chunk.reference().digest).unwrap();
        assert_eq!(content.bytes(), &bytes);
    }
}

/// Every flipped bit and every cut of a stored chunk is found, and no lie makes a larger buffer than the manifest says.
#[test]
fn refuses_what_is_not_the_chunk() {
    for bytes in [text(), noise(3_000)] {
        let chunk = Chunk::new(bytes);
        let object = StoredChunk::encode(&chunk).to_bytes();
        for position in 0..object.len().min(500) {
            let mut damaged = object.to_vec();
            damaged[position] ^= 1 << (position % 8);
            assert!(
                StoredChunk::verify(damaged.into(), chunk.reference()).is_err(),
                "byte {position}"
            );
            assert!(
                StoredChunk::verify(object.slice(..position), chunk.reference()).is_err(),
                "cut at {position}"
            );
        }
        let longer = ChunkReference {
            length: chunk.reference().length + 1,
            ..chunk.reference()
        };
        let shorter = ChunkReference {
            length: chunk.reference().length - 1,
            ..chunk.reference()
        };
        assert!(StoredChunk::verify(object.clone(), longer).is_err());
        assert!(StoredChunk::verify(object.clone(), shorter).is_err());
        let other = ChunkReference {
            digest: digest_of(b"other"),
            ..chunk.reference()
        };
        assert!(matches!(
            StoredChunk::verify(object.clone(), other),
            Err(Error::Digest { .. })
        ));
    }
}

#[test]
fn a_bomb_is_refused_before_it_grows() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let object = Bytes::from([&[ZSTD][..], &bomb].concat());
    let expected = ChunkReference {
        digest: digest_of(b""),
        length: 1_000,
    };
    assert!(matches!(
        StoredChunk::verify(object.clone(), expected),
        Err(Error::Decompress { .. })
    ));
    assert!(matches!(
        StoredChunk::verify_digest(object.clone(), expected.digest),
        Err(Error::Decompress { .. })
    ));
    assert!(matches!(
        decode_object(object, expected.digest, 1 << 20),
        Err(Error::Decompress { .. })
    ));
    let raw = Bytes::from(vec![RAW; MAXIMUM_CHUNK_BYTES as usize + 2]);
    assert!(matches!(
        StoredChunk::verify_digest(raw, expected.digest),
        Err(Error::Length { .. })
    ));
}

#[test]
fn objects_round_trip() {
    for bytes in [Bytes::new(), text(), noise(1_000)] {
        assert_eq!(
            decode_object(encode_object(&bytes), digest_of(&bytes), 1 << 20).unwrap(),
            bytes
        );
    }
    assert!(matches!(
        decode_object(encode_object(&text()), digest_of(b"other"), 1 << 20),
        Err(Error::Digest { .. })
    ));
    assert!(decode_object(encode_object(&noise(2_000)), digest_of(&noise(2_000)), 1_999).is_err());
}
