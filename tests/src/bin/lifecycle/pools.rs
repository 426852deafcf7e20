//! Not yet.
use crate::Setup;

pub(crate) fn run(s: &Setup<'_>) {
    s.unknown()
}
