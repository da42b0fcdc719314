//! The order in which a file takes the place of another, and a disk for tests that loses what was not synced.

mod machine;
pub(crate) mod simulated;

use std::path::Path;

use self::simulated::SimulatedDisk;
use super::*;

#[test]
fn a_file_is_written_synced_renamed_and_its_directory_synced_and_the_first_error_ends_it() {
    let expected = [
        "write 2 bytes at 0 of /f.part",
        "write 3 bytes at 2 of /f.part",
        "sync /f.part",
        "rename /f.part /f",
        "open /",
        "sync /",
    ];
    let errors = [
        "cannot write /f.part: ",
        "cannot write /f.part: ",
        "cannot sync /f.part: ",
        "cannot rename /f: ",
        "cannot open /: ",
        "cannot sync /: ",
    ];
    let [part, path] = ["/f.part", "/f"].map(Path::new);
    for fails_at in 0..=expected.len() {
        let disk = SimulatedDisk::new(0);
        let file = disk.create(part).unwrap();
        disk.record();
        if let Some(before) = fails_at.checked_sub(1) {
            disk.fail_after(before as u64);
        }
        let result = replace(&disk, &*file, part, path, &[b"ab", b"cde"]);
        let steps: Vec<String> = disk.recorded().into_iter().filter(|step| step != "FAILED").collect();
        match fails_at.checked_sub(1) {
            None => assert!(result.is_ok() && steps == expected, "{steps:?}"),
            Some(last) => {
                let error = result.unwrap_err().to_string();
                assert!(error.starts_with(errors[last]), "{error}");
                assert_eq!(steps, expected[..fails_at]);
            }
        }
    }
    assert_eq!(directory_of(Path::new("f")), Path::new("."));
}
