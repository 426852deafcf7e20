//! What `bench` understands, and what it hands on.

use super::command;
use crate::outcome::Failure;

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[test]
fn options_are_handed_on() {
    let args = owned(&["processes", "--quick", "--only", "echo,map_1"]);
    let (program, options) = command(&args).expect("all of it is known");
    assert_eq!(program, "processes");
    assert_eq!(options, ["--quick", "--only", "echo,map_1"]);

    let args = owned(&["threads", "--save"]);
    let (program, options) = command(&args).expect("all of it is known");
    assert_eq!(program, "threads");
    assert_eq!(options, ["--save", "docs"]);
}

/// Among them `--save` of a part, which would take the rest of the table away.
#[test]
fn what_makes_no_sense_is_refused() {
    let cases: [&[&str]; 5] = [
        &[],
        &["--quick"],
        &["threads", "--only"],
        &["threads", "--fast"],
        &["processes", "--save", "--only", "echo"],
    ];
    for args in cases {
        assert!(matches!(command(&owned(args)), Err(Failure::Usage(_))), "{args:?}");
    }
}
