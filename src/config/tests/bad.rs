//! Each test-data/config/bad_*.toml is refused with exactly the text beside it.
//!
//! `WEYBRIDGE_WRITE_EXPECTED=1` writes the texts anew; read the difference before it is committed.

use super::*;

#[test]
fn each_bad_file_is_refused_with_the_text_beside_it() {
    let write = std::env::var_os("WEYBRIDGE_WRITE_EXPECTED").is_some();
    let mut files: Vec<PathBuf> =
        fs::read_dir("test-data/config").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() >= 15, "the table is there");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = Path::new(file.file_name().unwrap());
        let errors =
            Config::parse(&text, name, SystemTime::UNIX_EPOCH).expect_err(&format!("{} is bad", file.display()));
        let expected = file.with_extension("txt");
        if write {
            fs::write(&expected, format!("{errors}\n")).unwrap();
        }
        let want = fs::read_to_string(&expected).unwrap();
        assert_eq!(format!("{errors}\n"), want, "{}", file.display());
    }
}
