//! A file whose long runs of zeros take no room on the disk: holes stay holes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use crate::zeros::are_zeros;

/// Shorter runs are written: a file in many pieces is slow to read.
const HOLE_BYTES: usize = 64 * 1024;

/// A new file that is written from its beginning to its end.
pub(super) struct SparseFile {
    file: File,
    /// How far the file is, holes included.
    position: u64,
    /// Whether the last bytes are a hole: then its length is still to be set.
    ends_in_hole: bool,
}

impl SparseFile {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            position: 0,
            ends_in_hole: false,
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let is_hole = |block: &[u8]| block.len() == HOLE_BYTES && are_zeros(block);
            let holes = bytes.chunks(HOLE_BYTES).take_while(|block| is_hole(block)).count();
            let (hole, rest) = bytes.split_at(holes * HOLE_BYTES);
            if !hole.is_empty() {
                self.position += hole.len() as u64;
                self.file.seek(SeekFrom::Start(self.position))?;
                self.ends_in_hole = true;
            }
            let blocks = rest.chunks(HOLE_BYTES).take_while(|block| !is_hole(block));
            let (data, rest) = rest.split_at(blocks.map(<[u8]>::len).sum());
            if !data.is_empty() {
                self.file.write_all(data)?;
                self.position += data.len() as u64;
                self.ends_in_hole = false;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The file, as long as what was written.
    pub(super) fn finish(self) -> io::Result<File> {
        if self.ends_in_hole {
            self.file.set_len(self.position)?;
        }
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn zeros_take_no_room_and_are_there() {
        let zeros = vec![0; 40 * HOLE_BYTES];
        let noise: Vec<u8> = (1..=HOLE_BYTES as u32).map(|number| (number % 255 + 1) as u8).collect();
        for (pieces, least, most) in [
            (vec![&zeros[..]], 0, HOLE_BYTES),
            (vec![&noise[..], &zeros[..]], HOLE_BYTES, 2 * HOLE_BYTES),
            (vec![&zeros[..], &noise[..100]], 1, HOLE_BYTES),
            (
                vec![&noise[..7], &zeros[..], &noise[..], &zeros[..9]],
                HOLE_BYTES,
                5 * HOLE_BYTES,
            ),
            (vec![&zeros[..10]], 0, HOLE_BYTES),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = SparseFile::new(File::create_new(&path).unwrap());
            for piece in &pieces {
                file.write(piece).unwrap();
            }
            file.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == pieces.concat());
            let room = std::fs::metadata(&path).unwrap().blocks() * 512;
            assert!((least as u64..=most as u64).contains(&room), "{room} bytes");
        }
    }
}
