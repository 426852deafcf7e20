//! Not yet.
use crate::Setup;

pub(crate) fn call(s: &Setup<'_>) {
    s.unknown()
}
