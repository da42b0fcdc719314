//! Arrays as a job takes them.

use std::fs;
use std::path::Path;

use super::*;

/// A .npy array of these bytes.
fn npy(kind: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), bytes].concat()
}

/// An archive of members that are not compressed.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, member) in members {
        let (start, size) = ((bytes.len() as u32).to_le_bytes(), (member.len() as u32).to_le_bytes());
        let name_bytes = (name.len() as u16).to_le_bytes();
        bytes.extend(
            [&b"PK\x03\x04"[..], &[0; 14], &size, &size, &name_bytes, &[0; 2], name.as_bytes(), member].concat(),
        );
        let fields = [&[0; 16][..], &size, &size, &name_bytes, &[0; 12], &start];
        directory.extend([&b"PK\x01\x02"[..], &fields.concat(), name.as_bytes()].concat());
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    [bytes, directory, [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size, &start, &[0; 2]].concat()].concat()
}

#[test]
fn arrays_are_rows_of_numbers_with_their_labels() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let images =
        [&[0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0, 1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11]].concat();
    fs::write(path("images"), images).unwrap();
    fs::write(path("labels"), [&[0, 0, 8, 1, 0, 0, 0, 6][..], &[0, 1, 0, 1, 0, 1]].concat()).unwrap();
    let pair = format!("{},{}", path("images").display(), path("labels").display());
    let data = Dataset::read(Path::new(&pair), &ReadOptions::default()).unwrap();
    let contiguous = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let prepared = data.prepare(&contiguous).unwrap();
    assert_eq!((data.task(), prepared.features, classes(&prepared)), (Task::Classify, 2, &names(&["0", "1"])[..]));
    assert_eq!(prepared.shards[0].values, [0.0, 1.0, 0.0, 3.0, 0.0, 5.0, 0.0, 7.0, 0.0, 9.0]);
    assert_eq!(prepared.validation, block(2, vec![0.0, 11.0], 1));

    let doubles = |data: &[f64]| data.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let npy = |data: &[f64], shape: &str| npy("<f8", shape, &doubles(data));
    fs::write(path("all.npy"), npy(&[1.0, 0.25, 2.0, f64::NAN, 3.0, 0.75, 5.0, 1.25], "(4, 2)")).unwrap();
    let error = Dataset::read(&path("all.npy"), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("some labels are no finite numbers"), "{error}");
    fs::write(path("all.npy"), npy(&[1.0, 0.25, f64::NAN, 0.5, 3.0, 0.75, 5.0, 1.25], "(4, 2)")).unwrap();
    let prepared = Dataset::read(&path("all.npy"), &ReadOptions::default()).unwrap().prepare(&contiguous).unwrap();
    // The missing number is filled in with the median of 1 and 3, and marked.
    assert_eq!(prepared.shards[0].values, [1.0, 0.0, 2.0, 1.0, 3.0, 0.0]);
}

#[test]
fn of_an_archive_only_features_and_labels_are_read_and_others_may_be_of_any_type() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.npz");
    let features = npy("<f4", "(4, 1)", &[1f32, 2.0, 3.0, 5.0].map(f32::to_le_bytes).concat());
    let others =
        [("seed.npy", npy("<i8", "()", &[42, 0, 0, 0, 0, 0, 0, 0])), ("half.npy", npy("<f2", "(2,)", &[0; 4]))];
    let mut members = others.to_vec();
    members.extend([("names.npy", npy("|O", "(1,)", b"pickle")), ("X.npy", features)]);
    let labels = npy("|u1", "(4,)", &[0, 1, 0, 1]);
    fs::write(&path, npz(&[&members[..], &[("y.npy", labels)]].concat())).unwrap();
    let data = Dataset::read(&path, &ReadOptions::default()).unwrap();
    assert_eq!((data.rows(), data.task()), (4, Task::Classify));
    let refused = |labels: Vec<u8>| {
        fs::write(&path, npz(&[&members[..], &[("y.npy", labels)]].concat())).unwrap();
        Dataset::read(&path, &ReadOptions::default()).unwrap_err().to_string()
    };
    let said = refused(npy("<f2", "(4,)", &[0; 8]));
    assert!(said.contains("y of the archive: the array's elements are of type \"<f2\""), "{said}");
    // A member, and a directory of more than 4 GiB, that lie where nothing is.
    let mut bytes = npz(&members);
    let far = bytes.len() - 22;
    let extra = [&[1, 0, 8, 0][..], &[0xFF; 8]].concat();
    let locator = [&b"PK\x06\x07"[..], &[0; 4], &[0xFF; 8], &[0; 4]].concat();
    bytes.splice(far..far, locator);
    fs::write(&path, &bytes).unwrap();
    assert!(Dataset::read(&path, &ReadOptions::default()).unwrap_err().to_string().contains("the archive is damaged"));
    let mut bytes = npz(&[("X.npy", Vec::new())]);
    let directory = 4 + 26 + 5;
    bytes[directory + 30] = 12;
    bytes[directory + 42..directory + 46].fill(0xFF);
    bytes.splice(directory + 46 + 5..directory + 46 + 5, extra);
    fs::write(&path, &bytes).unwrap();
    assert!(Dataset::read(&path, &ReadOptions::default()).unwrap_err().to_string().contains("the archive is damaged"));
}

#[test]
fn labels_that_are_whole_numbers_and_one_f64_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("X.npy"), npy("<f4", "(6, 1)", &[1f32, 2.0, 3.0, 5.0, 6.0, 8.0].map(f32::to_le_bytes).concat()))
        .unwrap();
    let pair = format!("{},{}", path("X.npy").display(), path("y.npy").display());
    let big = 1i64 << 53;
    for (kind, [first, second], is_merged) in [
        ("<i8", [big, big + 1], true),
        ("<u8", [big, big + 1], true),
        (">i8", [-big, -big - 1], true),
        ("<i8", [big, big + 2], false),
        ("<i8", [0, big - 1], false),
    ] {
        let bytes = |label: i64| if kind.starts_with('>') { label.to_be_bytes() } else { label.to_le_bytes() };
        let labels: Vec<u8> = [first, second].repeat(3).into_iter().flat_map(bytes).collect();
        fs::write(path("y.npy"), npy(kind, "(6,)", &labels)).unwrap();
        let options = ReadOptions { task: Some(Task::Classify), ..ReadOptions::default() };
        let read = Dataset::read(Path::new(&pair), &options);
        let said = read.err().map(|error| error.to_string());
        assert_eq!(said.is_some(), is_merged, "{kind} {first} {second}: {said:?}");
        assert!(said.is_none_or(|said| said.contains("save texts that are no numbers")));
    }
}
