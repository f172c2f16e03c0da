//! Content-addressed outputs: pack, chunk, manifest, unpack.
