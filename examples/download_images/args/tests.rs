//! Command lines that make sense, and those that do not.

use std::fs;

use super::*;

fn parse(args: &[&str], stdin: &str) -> Result<Command, String> {
    super::parse(args.iter().map(Into::into), stdin.as_bytes()).map_err(|error| error.to_string())
}

fn defaults() -> Settings {
    Settings { jobs: None, timeout: TIMEOUT_DEFAULT }
}

fn download(urls: &[&str], output: &str, settings: Settings) -> Command {
    let urls = urls.iter().map(ToString::to_string).collect();
    Command::Download { urls, output: output.into(), settings }
}

#[test]
fn without_urls_it_is_the_demonstration() {
    assert_eq!(parse(&[], ""), Ok(Command::Demo(defaults())));
    let settings = Settings { jobs: NonZeroUsize::new(3), timeout: Duration::from_millis(500) };
    assert_eq!(parse(&["--jobs", "3", "--timeout=0.5"], ""), Ok(Command::Demo(settings)));
}

#[test]
fn options_may_be_anywhere() {
    let settings = || Settings { jobs: NonZeroUsize::new(3), timeout: Duration::from_secs(2) };
    let expected = || Ok(download(&["http://h/a", "http://h/b"], "out", settings()));
    for args in [
        "--output out --jobs 3 --timeout 2 http://h/a http://h/b",
        "http://h/a -j3 -t2 http://h/b -oout",
        "-o out -j=3 --timeout=2 -- http://h/a http://h/b",
    ] {
        let args: Vec<_> = args.split(' ').collect();
        assert_eq!(parse(&args, ""), expected(), "{args:?}");
    }
}

#[test]
fn the_output_is_here_unless_said_otherwise() {
    assert_eq!(parse(&["http://h/a"], ""), Ok(download(&["http://h/a"], ".", defaults())));
}

#[test]
fn help_is_given_whatever_follows() {
    assert_eq!(parse(&["-h"], ""), Ok(Command::Help));
    assert_eq!(parse(&["--help", "--nonsense"], ""), Ok(Command::Help));
}

#[test]
fn urls_come_from_files_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    fs::write(&list, "http://h/b\r\n\n  # a comment\n http://h/c \nhttp://h/d").unwrap();
    let list = list.to_str().unwrap();
    let all = ["http://h/a", "http://h/b", "http://h/c", "http://h/d", "http://h/e"];
    assert_eq!(
        parse(&["--from", list, "http://h/a", "--from", "-"], "http://h/e\n"),
        Ok(download(&all, ".", defaults()))
    );
    // A list may turn out to be empty, which is not the same as no list.
    assert_eq!(parse(&["--from", "-"], ""), Ok(download(&[], ".", defaults())));
}

#[test]
fn mistakes_are_named() {
    for (args, part) in [
        (&["--jobs", "0"][..], "--jobs 0: "),
        (&["--jobs", "many"], "--jobs many: "),
        (&["--jobs", "-1"], "--jobs -1: "),
        (&["--jobs"], "missing argument for option '--jobs'"),
        (&["--timeout", "0"], "--timeout 0: "),
        (&["--timeout", "-1"], "--timeout -1: "),
        (&["--timeout", "NaN"], "--timeout NaN: "),
        (&["--timeout", "1e40"], "--timeout 1000"),
        (&["--timeout", "soon"], "--timeout soon: "),
        (&["--nonsense"], "invalid option '--nonsense'"),
        (&["-x"], "invalid option '-x'"),
        (&["--output", "out"], "--output is of no use without a URL"),
        (&["--from", "/there/is/no/such/file"], "cannot read /there/is/no/such/file: "),
        (&["--from", "-", "--from", "-"], "cannot read -: "),
    ] {
        let error = parse(args, "").unwrap_err();
        assert!(error.contains(part), "{args:?} gives {error}");
    }
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_text_are_no_url() {
    use std::os::unix::ffi::OsStringExt;
    let args = [OsString::from_vec(vec![b'a', 0xFF])];
    let error = super::parse(args, io::empty()).unwrap_err().to_string();
    assert!(error.contains("not a URL"), "{error}");
}
