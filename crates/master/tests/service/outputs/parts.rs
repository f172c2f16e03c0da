//! Single files and folders of an output, parts of files, and what is said of those that are not there.

use http::Method;
use tombolo_api::{Code, OutputListing};

use super::{Served, download, packed};
use crate::setting::{User, problem};

pub(super) async fn what_is_not_there_is_explained(user: &User, output: &str) {
    for (path, words, hint) in [
        ("file?path=gone", "nothing at `gone`", "`tombolo outputs ls 1 make`"),
        ("file?path=noise", "nothing at `noise`", "did you mean `deep/er/noise`?"),
        (
            "file?path=reprot.txt",
            "nothing at `reprot.txt`",
            "did you mean `report.txt`?",
        ),
        (
            "file?path=deep%2Fer",
            "is a folder",
            "`tombolo outputs get 1 make deep/er`",
        ),
        (
            "file?path=link",
            "is a symbolic link to `report.txt`",
            "name the file that it leads to",
        ),
        (
            "archive?path=report.txt",
            "is not a folder",
            "`tombolo outputs cat 1 make report.txt`",
        ),
        ("archive?path=dep", "nothing at `dep`", "did you mean `deep`?"),
    ] {
        let refused = user.refused(Method::GET, &format!("{output}/{path}"), None).await;
        assert_eq!(refused.code, Code::NotFound);
        assert!(refused.detail.contains(words), "{path}: {refused}");
        assert!(refused.hint.contains(hint), "{path}: {refused:?}");
    }
    let refused = user.refused(Method::GET, &format!("{output}?path=depe"), None).await;
    assert!(refused.hint.contains("did you mean `deep`?"), "{refused:?}");
    let refused = user.refused(Method::GET, &format!("{output}/file"), None).await;
    assert_eq!(refused.code, Code::InvalidRequest);
    assert!(refused.hint.contains("`tombolo outputs ls 1 make`"), "{refused:?}");
    let refused = user.refused(Method::GET, &format!("{output}/sums?path=a"), None).await;
    assert_eq!(refused.code, Code::InvalidRequest);
}

pub(super) async fn parts_of_it(user: &User, output: &str, served: &Served, noise: &[u8]) {
    let below: OutputListing = user.get(&format!("{output}?path=deep/er/")).await;
    assert_eq!(
        (below.total_entries, below.files, below.bytes),
        (2, 1, noise.len() as u64)
    );
    assert_eq!(below.digest, served.output.manifest);
    let unpacked = tempfile::tempdir().unwrap();
    let archive = download(user, &format!("{output}/archive?path=deep")).await;
    tar::Archive::new(&archive[..]).unpack(unpacked.path()).unwrap();
    let original = served.folder.path().join("tree/deep");
    assert_eq!(packed(unpacked.path()).0.digest(), packed(&original).0.digest());

    let file = format!("{output}/file?path=deep%2Fer%2Fnoise");
    let ask = async |range: &str, condition: &str| {
        let request = user.request(Method::GET, &file).header("range", range);
        request.header("if-range", condition).send().await.unwrap()
    };
    let tag = format!("\"{}\"", served.output.manifest);
    let rest = ask("bytes=8000000-", &tag).await;
    assert_eq!(
        (rest.status().as_u16(), &rest.headers()["etag"]),
        (206, &tag.parse().unwrap())
    );
    assert_eq!(rest.headers()["content-range"], "bytes 8000000-8999999/9000000");
    assert!(rest.bytes().await.unwrap() == noise[8_000_000..]);
    let other = ask("bytes=8000000-", "\"another\"").await;
    assert_eq!(
        (other.status().as_u16(), other.content_length()),
        (200, Some(9_000_000))
    );
    let beyond = ask("bytes=9000000-", &tag).await;
    assert_eq!(beyond.headers()["content-range"], "bytes */9000000");
    assert_eq!(problem(beyond).await.code, Code::RangeNotSatisfiable);

    let sums = download(user, &format!("{output}/sums")).await;
    let mut check = std::process::Command::new("sha256sum");
    check
        .args(["--check", "--strict", "-"])
        .stdin(std::process::Stdio::piped());
    let mut check = check.current_dir(served.folder.path().join("tree")).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), &sums).unwrap();
    assert!(check.wait().unwrap().success(), "{}", String::from_utf8_lossy(&sums));
    assert_eq!(sums.iter().filter(|byte| **byte == b'\n').count(), 2);
}
